"""Backward products of mixed units by masks against the BLAS: `python -m bench.masked_products`.

What the rule of the kernel "active" rests on (`MaskedProducts::pay`): both products of a step, dW2 and dH1, of so many
mixed units, without what comes before and after them. Counted as products, 4 B H units operations, so that the rate of
masks can be compared with sgemm's. Needs a C++ compiler and cmake.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.ceilings import sgemm_rate
from bench.instructions import build
from pyneedle import _blas
from pyneedle.benchmark import cores, describe, machine_table

COUNTS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 400)
# Both sum half as many float32 numbers as there are rows or units, in other orders.
TOLERANCE = 1e-5


def measure(program: Path, width: int, rows: int, threads: int, rounds: int) -> list[tuple[int, float, float]]:
    """Mixed units, and the median seconds of masks and of the BLAS.

    Raises
    ------
    RuntimeError
        Where their results differ by more than rounding.
    """
    numbers = [str(n) for n in (width, rows, rounds, threads)]
    counts = [str(count) for count in COUNTS if count <= width]
    done = subprocess.run([program, *numbers, _blas.find(), *counts], capture_output=True, text=True, check=True)
    found = []
    for line in done.stdout.splitlines():
        count, masks, blas, off = (float(word) for word in line.split())
        if not off <= TOLERANCE:
            raise RuntimeError(f"masks and BLAS differ by {off:.1e} of the largest entry for {count:.0f} units")
        found.append((int(count), masks, blas))
    return found


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.masked_products", description=__doc__)
    parser.add_argument("--widths", nargs="+", type=int, default=[400, 1000, 2000], help="H; default: 400 1000 2000")
    parser.add_argument("--rows", nargs="+", type=int, default=[800, 80], help="B; default: 800 80")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument("--rounds", type=int, default=15, help="default 15")
    options = parser.parse_args()
    sgemm = sgemm_rate() / cores()
    with tempfile.TemporaryDirectory() as name:
        program = build(Path(name) / "build") / "masked_products"
        sys.stdout.write(
            f"{machine_table(describe([], options.threads))}\n\nsgemm on one thread {sgemm / 1e9:.3g} Gop/s.\n\n"
        )
        sys.stdout.write(
            "| H | B | mixed units | masks, ms | BLAS, ms | BLAS / masks | masks, of sgemm |\n" + "|---" * 7 + "|\n"
        )
        for width in options.widths:
            for rows in options.rows:
                for count, masks, blas in measure(program, width, rows, options.threads, options.rounds):
                    share = 4.0 * rows * width * count / masks / (sgemm * options.threads)
                    sys.stdout.write(
                        f"| {width} | {rows} | {count} | {1e3 * masks:.3g} | {1e3 * blas:.3g} | {blas / masks:.2f} "
                        f"| {share:.0%} |\n"
                    )
                    sys.stdout.flush()


if __name__ == "__main__":
    main()

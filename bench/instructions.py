"""Instructions per training step, counted by valgrind's callgrind: `python -m bench.instructions`.

Of the direct kernel and of the one that "auto" takes, on one thread, from the parameters after two epochs of the
protocol. Valgrind knows AVX2 and not AVX-512, so pyneedle's level and the BLAS's are AVX2's. Needs valgrind and a C++
compiler.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyneedle as pn
from pyneedle import _blas

CASES = [
    ("LN", 4, "none"),
    ("LN", 20, "none"),
    ("LN", 60, "none"),
    ("LCN", 20, "none"),
    ("LCN", 60, "none"),
    ("GN", 8, "none"),
    ("GN", 8, "path-norm"),
    ("GN", 20, "none"),
    ("GN", 20, "path-norm"),
]
NETWORKS = {"LN": pn.LocalNetwork, "LCN": pn.LocallyConnectedNetwork, "GN": pn.GlobalNetwork}
WARM, COUNTED = 2, 2  # steps


def build(folder: Path) -> Path:
    """The program count_steps, from this checkout."""
    top = Path(__file__).parents[1]
    options = ["-DPYNEEDLE_NATIVE_BENCH=ON", "-DCMAKE_BUILD_TYPE=Release", f"-DPython_EXECUTABLE={sys.executable}"]
    subprocess.run(["cmake", "-S", top, "-B", folder, *options], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder, "--parallel", "2"], check=True, stdout=subprocess.DEVNULL)
    return folder / "bench" / "native" / "count_steps"


def per_step(program: Path, arguments: list[str], parameters: Path) -> float:
    """Instructions of one step."""
    valgrind = ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=counted_step"]
    steps = [*arguments, str(WARM), str(COUNTED), str(parameters), _blas.find()]
    done = subprocess.run(
        [*valgrind, "--callgrind-out-file=/dev/null", str(program), *steps],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYNEEDLE_ISA": "avx2", "OPENBLAS_CORETYPE": "Haswell"},
    )
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if found is None:
        raise RuntimeError(f"callgrind printed no count: {done.stderr}")
    return int(found[1]) / COUNTED


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    chosen = parser.parse_args().networks
    for tool in ("valgrind", "cmake"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = build(folder / "build")
        print("| network | penalty | direct | kernel of auto | direct / auto |\n|---|---|---|---|---|", flush=True)
        for network, d, penalty in [case for case in CASES if case[0] in chosen]:
            net = NETWORKS[network](d=d)
            cost = pn.PathNorm(1e-5) if penalty == "path-norm" else None
            fit = pn.train(net, pn.make_dataset("square", d, 100_000), 2, penalty=cost)
            start = folder / "parameters"
            start.write_bytes(b"".join(value.tobytes() for value in fit.last_parameters.values()))
            kernels = ("direct", net.kernels[0])
            direct, auto = (per_step(program, [kernel, network, str(d), penalty], start) for kernel in kernels)
            print(
                f"| {network} d={d} | {penalty} | {direct / 1e6:.4g} M | {kernels[1]} {auto / 1e6:.4g} M "
                f"| {direct / auto:.3g} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

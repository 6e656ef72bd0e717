"""Instructions per training step, counted by valgrind's callgrind: `python -m bench.instructions`.

Of the direct kernel and of the one that "auto" takes, on one thread, from the parameters and moments after two epochs
of the protocol. Valgrind knows AVX2 and not AVX-512, so pyneedle's level and the BLAS's are AVX2's. Needs valgrind
and a C++ compiler.

Then of the optimiser alone ("Adam" among --networks), on all parameters of GN: the penalty's gradient added in a pass
of its own, then Adam, against the one pass of training. The separate pass is the package's own gradient of the
penalties, compiled for AVX2; its path norm sums in float64. "vectors apart" is the pass of training where the path
norm's vectors do not come out of the step before, but of a pass of their own in float32. "in training" is the same
pass within a training step of the active kernel: it leaves out rows of W2 that cannot change, and computes
certificates of the rows that do. Bytes are per parameter: what each pass over the arrays reads and writes of W2,
which has nearly all of the parameters.
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
from bench.counting import ADAM_BYTES
from pyneedle import _blas, _penalties
from pyneedle._networks import BY_NAME
from pyneedle.benchmark import PENALTIES, STRENGTHS, PenaltyName

CASES: list[tuple[str, int, PenaltyName]] = [
    ("LN", 4, "none"),
    ("LN", 20, "none"),
    ("LN", 60, "none"),
    ("LCN", 20, "none"),
    ("LCN", 60, "none"),
    ("GN", 8, "none"),
    ("GN", 8, "path-norm"),
    ("GN", 20, "none"),
    ("GN", 20, "l1"),
    ("GN", 20, "l2"),
    ("GN", 20, "path-norm"),
]
# As the command line writes them, with the paper's strengths.
TEXTS = {kind: kind if kind == "none" else f"{kind}:{strength}" for kind, strength in STRENGTHS.items()}
WARM, COUNTED = 2, 2  # steps
ADAM_D = 20
# Bytes per parameter, beside Adam's: a penalty's gradient by itself reads p and the gradient and writes it, and the
# path norm's vectors read p before that.
VECTORS_BYTES = ADAM_BYTES + 4
SEPARATE_BYTES: dict[PenaltyName, int] = {
    "none": ADAM_BYTES,
    "l1": ADAM_BYTES + 12,
    "l2": ADAM_BYTES + 12,
    "path-norm": VECTORS_BYTES + 12,
}
STEP = "counted_step"
PASS = "pn::cpu::AdamPass<float>::step(*"


def build(folder: Path) -> Path:
    """The folder of the programs of bench/native, from this checkout."""
    top = Path(__file__).parents[1]
    options = ["-DPYNEEDLE_NATIVE_BENCH=ON", "-DPYNEEDLE_CUDA=off", "-DCMAKE_BUILD_TYPE=Release"]
    options.append(f"-DPython_EXECUTABLE={sys.executable}")
    subprocess.run(["cmake", "-S", top, "-B", folder, *options], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder, "--parallel", "2"], check=True, stdout=subprocess.DEVNULL)
    return folder / "bench" / "native"


def count(command: list[str], function: str) -> int:
    """Instructions of all calls of `function`, which must not call itself."""
    valgrind = ["valgrind", "--tool=callgrind", "--collect-atstart=no", f"--toggle-collect={function}"]
    done = subprocess.run(
        [*valgrind, "--callgrind-out-file=/dev/null", *command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYNEEDLE_ISA": "avx2", "OPENBLAS_CORETYPE": "Haswell"},
    )
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if found is None or int(found[1]) == 0:
        raise RuntimeError(f"callgrind counted nothing: {done.stderr}")
    return int(found[1])


class Counter:
    """The programs, and what they start from."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._start, self._taken = programs, folder / "state", 0

    def train(self, network: str, d: int, penalty: PenaltyName) -> None:
        """Start from where two epochs of the protocol lead."""
        net = BY_NAME[network](d=d)
        fit = pn.train(
            net, pn.make_dataset("square", d, 100_000), 2, penalty=_penalties.parse(TEXTS[penalty]), keep_state=True
        )
        assert fit.state is not None
        self._start.write_bytes(b"".join(part.tobytes() for part in (fit.state.parameters, fit.state.m, fit.state.v)))
        self._taken = fit.state.steps

    def _steps(self, kernel: str, network: str, d: int, penalty: PenaltyName, counted: int, function: str) -> int:
        numbers = [str(WARM), str(counted), str(self._start), str(self._taken), _blas.find()]
        return count([str(self._programs / "count_steps"), kernel, network, str(d), TEXTS[penalty], *numbers], function)

    def step(self, kernel: str, network: str, d: int, penalty: PenaltyName) -> float:
        """Of a training step."""
        return self._steps(kernel, network, d, penalty, COUNTED, STEP) / COUNTED

    def adam_in_training(self, network: str, d: int, penalty: PenaltyName) -> float:
        """Of the optimiser's part of such a step of the active kernel."""
        # The profiler knows the function by its name alone, so it counts the warm steps, too.
        few, many = (self._steps("active", network, d, penalty, counted, PASS) for counted in (1, 1 + COUNTED))
        return (many - few) / COUNTED

    def adam(self, way: str, d: int, penalty: PenaltyName) -> float:
        """Of the optimiser's step on GN alone; the ways are those of count_adam."""
        numbers = [str(COUNTED), str(self._start)]
        return count([str(self._programs / "count_adam"), way, "GN", str(d), TEXTS[penalty], *numbers], STEP) / COUNTED


def print_steps(counter: Counter, networks: list[str]) -> None:
    """The direct kernel against the one that "auto" takes."""
    print("| network | penalty | direct | kernel of auto | direct / auto |\n|---|---|---|---|---|", flush=True)
    for network, d, penalty in [case for case in CASES if case[0] in networks]:
        counter.train(network, d, penalty)
        kernels = ("direct", BY_NAME[network](d=d).kernels[0])
        direct, auto = (counter.step(kernel, network, d, penalty) for kernel in kernels)
        print(
            f"| {network} d={d} | {penalty} | {direct / 1e6:.4g} M | {kernels[1]} {auto / 1e6:.4g} M "
            f"| {direct / auto:.3g} |",
            flush=True,
        )


def print_adam(counter: Counter) -> None:
    """Separate passes against the one pass."""
    print("| optimiser | separate passes | vectors apart | one pass | separate / one | in training |")
    print("|---|---|---|---|---|---|", flush=True)
    for penalty in PENALTIES:
        counter.train("GN", ADAM_D, penalty)
        separate, one = (counter.adam(way, ADAM_D, penalty) for way in ("separate", "one"))
        vectors = ""
        if penalty == "path-norm":
            vectors = f"{counter.adam('vectors', ADAM_D, penalty) / 1e6:.4g} M, {VECTORS_BYTES} B"
        within = counter.adam_in_training("GN", ADAM_D, penalty)
        print(
            f"| Adam with {penalty}, GN d={ADAM_D} | {separate / 1e6:.4g} M, {SEPARATE_BYTES[penalty]} B | {vectors} "
            f"| {one / 1e6:.4g} M, {ADAM_BYTES} B | {separate / one:.3g} | {within / 1e6:.4g} M |",
            flush=True,
        )


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    choices = [*BY_NAME, "Adam"]
    parser.add_argument("--networks", nargs="+", choices=choices, default=choices, help="default: all")
    chosen = parser.parse_args().networks
    for tool in ("valgrind", "cmake"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        counter = Counter(build(folder / "build"), folder)
        networks = [network for network in chosen if network in BY_NAME]
        if networks:
            print_steps(counter, networks)
        if "Adam" in chosen:
            if networks:
                print()
            print_adam(counter)


if __name__ == "__main__":
    main()

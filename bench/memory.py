"""Peak memory of a training against the least that it must hold: `python -m bench.memory`.

What must be held are parameters, two moments, the best parameters and the data (training and validation rows). Beyond
that a training may take scratch for about one batch, and nothing that grows with the epochs but the history.

Measured is by how much the resident memory of a process rises at most, over what it was just before the training: each
training in a process of its own, which has drawn the data and trained a tiny network of the same kind before, so that
libraries are loaded, and has given freed memory back. The data are there before, and are added. Every case is
measured with few and with many epochs, for pyneedle and for PyTorch eager (gradient by autograd, fused Adam). Needs
Linux, which can set the mark of the highest resident memory back.
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyneedle as pn
from pyneedle.benchmark import (
    NetworkName,
    Problem,
    TorchTrainer,
    cores,
    dataset_of,
    describe,
    machine_table,
    make_problem,
    missing,
    network_of,
    shipped_peers,
)

EPOCHS = (2, 20)
SIDES = ("pyneedle", "PyTorch eager")
MEBIBYTE = float(1 << 20)


@dataclass(frozen=True)
class Case:
    """A training: network, d, and how many full batches of 800 training rows; a validation row for four of them."""

    network: NetworkName
    d: int
    batches: int

    def problem(self) -> Problem:
        """With its data."""
        return make_problem(self.network, self.d, batches=self.batches, validation_rows=200 * self.batches)

    def tiny(self) -> Problem:
        """Of the same kind, for the libraries to be loaded."""
        return make_problem(self.network, 2, 4, 8, batches=2, validation_rows=8)


# The dense networks take long: few rows.
CASES = (Case("LN", 60, 80), Case("LCN", 60, 80), Case("GN", 20, 5), Case("GN", 40, 5), Case("GN", 60, 5))
QUICK = (Case("LN", 60, 8), Case("LCN", 60, 8), Case("GN", 20, 2))


@dataclass(frozen=True)
class Sizes:
    """Bytes that a training cannot do without, and those of a batch's activations."""

    rows: int
    parameters: int
    data: int
    activations: int

    @classmethod
    def of(cls, problem: Problem) -> "Sizes":
        arrays = (problem.train_x, problem.train_y, problem.validation_x, problem.validation_y)
        return cls(
            rows=len(problem.train_x) + len(problem.validation_x),
            parameters=sum(value.nbytes for value in problem.initial.values()),
            data=sum(array.nbytes for array in arrays),
            activations=4 * 2 * problem.batch * problem.d * problem.alpha,  # two hidden layers
        )

    @property
    def least(self) -> int:
        """Parameters, two moments, the best parameters, and the data."""
        return 4 * self.parameters + self.data


@dataclass(frozen=True)
class Measured:
    """The rise of resident memory of one side, by epochs."""

    network: str
    d: int
    side: str
    sizes: Sizes
    growth: dict[int, int]

    @property
    def held(self) -> dict[int, int]:
        """Bytes with the data, by epochs."""
        return {epochs: self.sizes.data + growth for epochs, growth in self.growth.items()}

    @property
    def ratio(self) -> float:
        """Of what it held at most, to the least."""
        return max(self.held.values()) / self.sizes.least

    @property
    def beyond(self) -> float:
        """What it held at most beyond the least, in activations of one batch."""
        return (max(self.held.values()) - self.sizes.least) / self.sizes.activations

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "least": self.sizes.least, "ratio": self.ratio, "beyond": self.beyond}


def _status(field: str) -> int:
    """Bytes of a line of /proc/self/status."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return 1024 * int(value.split()[0])
    raise OSError(f"/proc/self/status has no {field}")


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def unavailable() -> str | None:
    """Why it cannot be measured here; None if it can."""
    try:
        _reset_peak()
        _status("VmHWM")
    except OSError as error:
        return f"the highest resident memory cannot be set back and read here: {error}"
    return None


def peak_growth(work: Callable[[], object]) -> int:
    """Bytes by which the resident memory rises at most while `work` runs."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # else freed memory is used again, and seems to be none
    if trim is not None:
        trim(0)
    _reset_peak()
    before = _status("VmRSS")
    kept = work()  # its end is not to be freed before the peak is read
    peak = _status("VmHWM")
    del kept
    return max(0, peak - before)


def _train(side: str, problem: Problem, epochs: int) -> Callable[[], object]:
    """A training that is ready to run; whatever it needs of data is made."""
    if side == "pyneedle":
        net, data = network_of(problem), dataset_of(problem)
        return lambda: pn.train(net, data, epochs=epochs, batch_size=problem.batch)

    def run() -> object:
        trainer = TorchTrainer(problem, cores())
        trainer.run_epochs(epochs)
        return trainer

    return run


def measured_growth(case: Case, side: str, epochs: int) -> int:
    """In a process that has done nothing else."""
    _train(side, case.tiny(), 2)()
    return peak_growth(_train(side, case.problem(), epochs))


# The checkout comes last on the path: there pyneedle/ may be sources without the compiled module.
CHILD = """
import sys
sys.path.append(sys.argv[1])
from bench.memory import Case, measured_growth
network, d, batches, side, epochs = sys.argv[2:]
print(measured_growth(Case(network, int(d), int(batches)), side, int(epochs)))
"""


def growth_in_a_child(case: Case, side: str, epochs: int) -> int:
    """`measured_growth` in a process of its own."""
    arguments = [str(Path(__file__).parents[1]), case.network, str(case.d), str(case.batches), side, str(epochs)]
    with tempfile.TemporaryDirectory() as folder:  # -c puts the working directory on the path
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *arguments], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
        )
    return int(done.stdout.split()[-1])


def measure(case: Case, side: str, epochs: Sequence[int] = EPOCHS) -> Measured:
    """A process for each number of epochs."""
    growth = {count: growth_in_a_child(case, side, count) for count in epochs}
    return Measured(case.network, case.d, side, Sizes.of(case.problem()), growth)


def table(found: Sequence[Measured]) -> str:
    """As Markdown."""
    epochs = list(dict.fromkeys(count for row in found for count in row.growth))
    head = ["network", "N", "parameters, MiB", "data, MiB", "least, MiB", "side"]
    head += [f"held in {count} epochs, MiB" for count in epochs] + ["held / least", "beyond it, batches"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in found:
        sizes = (row.sizes.parameters, row.sizes.data, row.sizes.least)
        cells = [f"{row.network} d={row.d}", f"{row.sizes.rows:,}", *(f"{size / MEBIBYTE:.4g}" for size in sizes)]
        cells += [row.side, *(f"{row.held[count] / MEBIBYTE:.4g}" if count in row.held else "" for count in epochs)]
        cells += [f"{row.ratio:.3g}", f"{row.beyond:.3g}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Least: 4 P + data. Batches: of activations, 8 B d alpha bytes (two hidden layers). Highest of both."]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a Markdown table; status 1 where nothing can be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller data sets, and GN at d = 20 only")
    parser.add_argument("--networks", nargs="+", choices=("LN", "LCN", "GN"), help="default: all")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if reason := unavailable():
        sys.stderr.write(f"{reason}\n")
        return 1
    sides, skipped = list(SIDES), []
    if reason := missing("torch"):
        sides.remove("PyTorch eager")
        skipped.append(f"PyTorch eager skipped: {reason}")
    cases = [c for c in (QUICK if options.quick else CASES) if not options.networks or c.network in options.networks]
    machine = describe([peer for peer in shipped_peers() if peer.name in sides], cores())
    found = []
    for case in cases:
        for side in sides:
            found.append(measure(case, side))
            sys.stderr.write(f"{case.network} d={case.d}, {side}: held / least {found[-1].ratio:.3g}\n")
    text = "\n\n".join([machine_table(machine), table(found), *(f"- {line}" for line in skipped)]) + "\n"
    sys.stdout.write(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    if options.json:
        content = {"machine": machine, "rows": [row.as_dict() for row in found], "skipped": skipped}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""pyneedle on a GPU against PyTorch (eager, CUDA graphs, torch.func), JAX (vmap and scan) and CuPy on the same GPU.

Every side is first checked against float64; then they are timed in turns. TF32 is off on every side, unless --tf32
adds pyneedle's own. What of this was never run on a GPU yet: CUDA graphs, CuPy, and pyneedle's side; everything else
was, on CPUs, by `pytest bench/test_gpu_peers.py`.
"""

import argparse
import functools
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import pyneedle as pn
from bench.gpu import adam
from bench.gpu.cupy_side import CupySide
from bench.gpu.jax_side import JaxSide
from bench.gpu.pyneedle_side import PyneedleGpuSide
from bench.gpu.sides import Ensemble, Side, check
from bench.gpu.torch_side import TorchSide
from pyneedle import _device
from pyneedle.benchmark import (
    DisagreementError,
    NetworkName,
    PeerClock,
    PenaltyName,
    PyneedleClock,
    Ratio,
    What,
    in_turns,
    make_problem,
    missing,
    module,
)

OURS = "pyneedle"


@dataclass(frozen=True)
class Case:
    """What is compared; the protocol at N_sample = 10^5."""

    network: NetworkName
    d: int
    members: int = 1
    what: What = "epoch"
    penalty: PenaltyName = "none"


# What matters most comes first: where time is short, the end of the list is left out.
CASES = (
    Case("LN", 20), Case("GN", 20), Case("LN", 20, 128), Case("LCN", 20, 16), Case("GN", 40), Case("GN", 20, 8),
    Case("GN", 60), Case("LN", 60, 128), Case("GN", 20, what="step"), Case("LN", 20, what="step"),
    Case("GN", 20, penalty="path-norm"), Case("LCN", 20), Case("LN", 4, 512), Case("LCN", 60, 8), Case("GN", 8, 32),
)  # fmt: skip
QUICK = (Case("LN", 4, 2), Case("GN", 4), Case("LCN", 4, 2))


@dataclass(frozen=True)
class Row:
    """The outcome for one case and one kernel of pyneedle."""

    label: str
    what: str
    kernel: str
    seconds: dict[str, list[float]]
    ratios: dict[str, Ratio]
    fastest: str
    agreement: dict[str, str]
    skipped: dict[str, str] = field(default_factory=dict)

    def as_markdown(self, peers: Sequence[str]) -> str:
        """A line of the table."""
        ours = statistics.median(self.seconds[OURS])
        cells = [f"{self.label}, {self.what}", self.kernel, f"{1e3 * ours:.4g}", self.fastest or "none"]
        cells.append(str(self.ratios[self.fastest]) if self.fastest else "")
        cells += [f"{self.ratios[peer].median:.3g}x" if peer in self.ratios else "" for peer in peers]
        return "| " + " | ".join(cells) + " |"


def sides_of(ensemble: Ensemble, device: str) -> dict[str, Callable[[], Side]]:
    """The peers, by name; CUDA's graphs and CuPy are for a GPU."""
    on_gpu = device == "cuda"
    many = ensemble.members > 1
    peers: dict[str, Callable[[], Side]] = {}
    if on_gpu:
        peers["PyTorch vmap, graph" if many else "PyTorch graph"] = lambda: TorchSide(ensemble, device)
    peers["PyTorch vmap" if many else "PyTorch eager"] = lambda: TorchSide(ensemble, device, graphs=False)
    peers["JAX vmap, scan"] = lambda: JaxSide(ensemble)
    if on_gpu:
        peers["CuPy"] = lambda: CupySide(ensemble, module("cupy"))
    else:
        peers["NumPy, as CuPy"] = lambda: CupySide(ensemble, np)
    return peers


class Suite:
    """The comparison, until the time is up."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._started = options, time.monotonic()
        self.machine = machine(options.device)
        self.rows: list[Row] = []
        self.adam: adam.AdamOnGpu | None = None
        self.failures: list[str] = []
        self.left_out: list[str] = []

    def run(self) -> None:
        """Measure everything that there is time for."""
        cases = QUICK if self._options.quick else CASES
        for i, case in enumerate(cases):
            if self._spent() > self._options.seconds:
                self.left_out = [f"{case.network} d={case.d}, {case.members} members" for case in cases[i:]]
                self.say(f"time is up: {len(self.left_out)} cases left out")
                break
            self._attempt(functools.partial(self._case, case))
            if i == 1:
                self._attempt(self._adam)
            gc.collect()
            empty_pools()

    def say(self, text: str) -> None:
        """A line of progress."""
        sys.stderr.write(f"[{self._spent():5.0f} s] {text}\n")

    def _spent(self) -> float:
        return time.monotonic() - self._started

    def _attempt(self, part: Callable[[], None]) -> None:
        """Go on with the rest where a side is wrong or fails."""
        try:
            part()
        except DisagreementError as error:
            self.failures.append(f"NOT TIMED: {error}")
            self.say(self.failures[-1])
        except Exception as error:  # noqa: BLE001 - one case must not cost the others
            self.failures.append(f"FAILED: {type(error).__name__}: {error}".splitlines()[0])
            self.say(self.failures[-1])

    def _case(self, case: Case) -> None:
        size = {"alpha": 5, "batch": 50, "batches": 10, "validation_rows": 100} if self._options.quick else {}
        problem = make_problem(case.network, case.d, penalty=case.penalty, **size)
        ensemble = Ensemble.of(problem, case.members)
        self.say(f"{ensemble.label}, {case.what}")
        kernels = ["auto"]
        if self._options.tf32 and case.network == "GN":
            kernels.append("direct_tf32")
        agreement: dict[str, str] = {}
        ours = {kernel: PyneedleGpuSide(ensemble, kernel, self._options.device) for kernel in kernels}
        agreement[OURS] = check(ensemble, OURS, ours["auto"])
        peers, skipped = self._peers(ensemble, agreement)
        budget = self._options.budget
        measures = {OURS if k == "auto" else k: PyneedleClock(s, case.what, budget).measure for k, s in ours.items()}  # type: ignore[arg-type]
        measures |= {name: PeerClock(side, case.what, budget).measure for name, side in peers.items()}  # type: ignore[arg-type]
        seconds = in_turns(measures, self._options.rounds)
        medians = {name: statistics.median(seconds[name]) for name in peers}
        fastest = min(medians, key=lambda name: medians[name]) if medians else ""
        for kernel, side in ours.items():
            own = seconds[OURS if kernel == "auto" else kernel]
            shown = {OURS: own, **{name: seconds[name] for name in peers}}
            ratios = {name: Ratio.of(seconds[name], own) for name in peers}
            row = Row(ensemble.label, case.what, side.kernel, shown, ratios, fastest, agreement, skipped)
            self.rows.append(row)
            found = ", ".join(f"{name} {ratio}" for name, ratio in ratios.items())
            self.say(f"  {side.kernel}: {1e3 * statistics.median(own):.4g} ms; times as long: {found or 'no peer'}")

    def _peers(self, ensemble: Ensemble, agreement: dict[str, str]) -> tuple[dict[str, Side], dict[str, str]]:
        peers, skipped = {}, {}
        for name, make in sides_of(ensemble, self._options.device).items():
            try:
                side = make()
                agreement[name] = check(ensemble, name, side)
                peers[name] = side
            except DisagreementError as error:
                skipped[name] = f"NOT TIMED: {error}"
            except Exception as error:  # noqa: BLE001 - a peer that can't run is left out, and that is said
                skipped[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            if name in skipped:
                self.say(f"  {name} skipped: {skipped[name]}")
        return peers, skipped

    def _adam(self) -> None:
        d = 2 if self._options.quick else 20
        self.adam = adam.measure(d, self._options.device, self._options.rounds, self._options.budget)
        self.say(f"  {self.adam.line()}")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "machine": self.machine,
            "rows": [asdict(row) for row in self.rows],
            "adam": None if self.adam is None else asdict(self.adam),
            "failures": self.failures,
            "left_out": self.left_out,
        }

    def as_markdown(self) -> str:
        """One table, with the machine above and what was left out below."""
        peers = list(dict.fromkeys(name for row in self.rows for name in row.ratios))
        lines = ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in self.machine.items()), ""]
        head = ["what", "kernel", "pyneedle, ms", "fastest peer", "ratio [range]", *peers]
        lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        lines += [row.as_markdown(peers) for row in self.rows]
        if self.adam is not None:
            lines += ["", self.adam.line()]
        skipped = dict.fromkeys(f"- {k} skipped: {v}" for row in self.rows for k, v in row.skipped.items())
        lines += ["", *skipped, *(f"- {text}" for text in self.failures)]
        lines += [f"- left out for want of time: {'; '.join(self.left_out)}"] if self.left_out else []
        return "\n".join(lines).rstrip() + "\n"


def machine(device: str) -> dict[str, str]:
    """What a reader needs to judge the numbers."""
    found = {"device": device}
    if device == "cuda":
        gpu = _device.info()
        found["GPU"] = f"{gpu.name}, sm_{gpu.compute_capability[0]}{gpu.compute_capability[1]}"
        found["driver"] = driver()
        from pyneedle import _cuda

        found["CUDA runtime of pyneedle"] = _cuda.runtime_version()
        found["cuBLAS of pyneedle"] = Path(_device.ensure_cublas()).name
    names = [name for name in ("torch", "jax", "cupy", "numpy") if missing(name) is None]
    found["versions"] = ", ".join([f"pyneedle {pn.__version__}", *(f"{n} {module(n).__version__}" for n in names)])
    found["TF32"] = "off on every side: PyTorch and JAX precision 'highest', CuPy's default, pyneedle's default"
    return found


def driver() -> str:
    """The driver's version, as nvidia-smi has it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def empty_pools() -> None:
    """Give memory that a framework keeps for itself back to the GPU, for the next case."""
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    if cupy is not None:
        cupy.get_default_memory_pool().free_all_blocks()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try the program, not to time"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: to try the program, not to time")
    parser.add_argument("--tf32", action="store_true", help="time pyneedle's GN with TF32, too")
    parser.add_argument("--seconds", type=float, default=240.0, help="no case is begun after these; default 240")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=0.4, help="seconds of a round of one side; default 0.4")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 where a side did not compute the same, or failed."""
    options = parse(arguments)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take three quarters of the memory
    if options.device == "cpu":
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    suite = Suite(options)
    suite.run()
    sys.stdout.write(suite.as_markdown())
    if options.markdown:
        options.markdown.write_text(suite.as_markdown(), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(suite.as_dict(), indent=1) + "\n", encoding="utf-8")
    return 1 if suite.failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""pyneedle on a GPU against PyTorch (eager, CUDA graphs, torch.func), JAX (vmap and scan) and CuPy on the same GPU.

Every side is first checked against float64; then they are timed in turns. TF32 is off on every side; --tf32 adds
pyneedle's GN with TF32 against PyTorch's with TF32. What of this was never run on a GPU yet: CUDA graphs, TF32, CuPy,
and pyneedle's side; everything else was, on CPUs, by `pytest bench/test_gpu_peers.py`.
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
from bench.gpu import adam, goals
from bench.gpu.cupy_side import CupySide
from bench.gpu.jax_side import JaxSide
from bench.gpu.pyneedle_side import PyneedleGpuSide
from bench.gpu.sides import FLOAT32, TF32, Ensemble, Side, check
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
    clear_of_kinks,
    in_turns,
    make_problem,
    missing,
    module,
)

OURS = "pyneedle"
WITH_TF32 = ", TF32"
TF32_KERNELS = ("direct_tf32", "active_tf32")


@dataclass(frozen=True)
class Case:
    """What is compared; the protocol at N_sample = 10^5."""

    network: NetworkName
    d: int
    members: int = 1
    what: What = "epoch"
    penalty: PenaltyName = "none"


# What goals were set for comes first (180 LN are those of figure 3): where time is short, the end is left out.
CASES = (
    Case("LN", 20, 180), Case("GN", 60), Case("LN", 20), Case("GN", 20), Case("LCN", 20, 16), Case("GN", 40),
    Case("GN", 20, 8), Case("LN", 60, 128), Case("GN", 20, what="step"), Case("LN", 20, what="step"),
    Case("GN", 20, penalty="path-norm"), Case("LCN", 20), Case("LN", 4, 512), Case("LCN", 60, 8), Case("GN", 8, 32),
)  # fmt: skip
ADAM_AFTER = 2  # cases
ADAM_D = (adam.BEYOND_CACHES, 60)
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
    must_reach: str = ""
    skipped: dict[str, str] = field(default_factory=dict)

    def as_markdown(self, peers: Sequence[str]) -> str:
        """A line of the table."""
        ours = statistics.median(self.seconds[OURS])
        cells = [f"{self.label}, {self.what}", self.kernel, f"{1e3 * ours:.4g}", self.fastest or "none"]
        cells += [str(self.ratios[self.fastest]) if self.fastest else "", self.must_reach]
        cells += [f"{self.ratios[peer].median:.3g}x" if peer in self.ratios else "" for peer in peers]
        return "| " + " | ".join(cells) + " |"


def sides_of(ensemble: Ensemble, device: str, tf32: bool) -> dict[str, Callable[[], Side]]:
    """The peers, by name; CUDA's graphs, CuPy and TF32 are for a GPU."""
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
    if on_gpu and tf32:
        peers["PyTorch graph" + WITH_TF32] = lambda: TorchSide(ensemble, device, tf32=True)
        peers["PyTorch eager" + WITH_TF32] = lambda: TorchSide(ensemble, device, graphs=False, tf32=True)
    return peers


def uses_tf32(name: str) -> bool:
    """Whether a peer, or a kernel of pyneedle, is one with TF32, by its name."""
    return name.endswith((WITH_TF32, "_tf32"))


class Suite:
    """The comparison, until the time is up."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._started = options, time.monotonic()
        self.machine = machine(options.device)
        self.rows: list[Row] = []
        self.adam: list[adam.AdamOnGpu] = []
        self.failures: list[str] = []
        self.left_out: list[str] = []

    def run(self) -> None:
        """Measure everything that there is time for."""
        parts = self._parts()
        for i, (_, part) in enumerate(parts):
            if self._spent() > self._options.seconds:
                self.left_out = [label for label, _ in parts[i:]]
                self.say(f"time is up: {len(self.left_out)} parts left out")
                break
            self._attempt(part)
            self._save()
            gc.collect()
            empty_pools()
        self._save()

    def _parts(self) -> list[tuple[str, Callable[[], None]]]:
        quick = self._options.quick
        parts: list[tuple[str, Callable[[], None]]] = [
            (f"{case.network} d={case.d}, {case.members} members", functools.partial(self._case, case))
            for case in (QUICK if quick else CASES)
        ]
        steps = [(f"Adam d={d}", functools.partial(self._adam, d)) for d in ((2,) if quick else ADAM_D)]
        parts[ADAM_AFTER:ADAM_AFTER] = steps
        return parts

    def _save(self) -> None:
        """Write what there is so far: whoever ends this program in the middle of a case keeps the others."""
        if self._options.markdown:
            self._options.markdown.write_text(self.as_markdown(), encoding="utf-8")
        if self._options.json:
            self._options.json.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")

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
        problem = clear_of_kinks(make_problem(case.network, case.d, penalty=case.penalty, **size))
        ensemble = Ensemble.of(problem, case.members)
        self.say(f"{ensemble.label}, {case.what}")
        # Where TF32 counts, and what a goal was set for: products of one model.
        tf32 = self._options.tf32 and case == Case("GN", case.d)
        agreement: dict[str, str] = {}
        ours = self._kernels(ensemble, ("auto", *(TF32_KERNELS if tf32 else ())), agreement)
        peers, skipped = self._peers(ensemble, tf32, agreement)
        budget = self._options.budget
        measures = {name: PyneedleClock(side, case.what, budget).measure for name, side in ours.items()}  # type: ignore[arg-type]
        measures |= {name: PeerClock(side, case.what, budget).measure for name, side in peers.items()}  # type: ignore[arg-type]
        done = len(self.rows)

        def keep(seconds: dict[str, list[float]]) -> None:
            """What the rounds so far say: the last one may never end."""
            del self.rows[done:]
            for name, side in ours.items():
                alike = {peer: list(seconds[peer]) for peer in peers if uses_tf32(peer) == uses_tf32(name)}
                own = list(seconds[name])
                self.rows.append(row_of(case, ensemble.label, side.kernel, own, alike, agreement, skipped))
            self._save()

        in_turns(measures, self._options.rounds, keep)
        for row in self.rows[done:]:
            found = ", ".join(f"{peer} {ratio}" for peer, ratio in row.ratios.items())
            took = 1e3 * statistics.median(row.seconds[OURS])
            self.say(f"  {row.kernel}: {took:.4g} ms; times as long: {found or 'no peer'}; {row.must_reach}")

    def _kernels(
        self, ensemble: Ensemble, kernels: Sequence[str], agreement: dict[str, str]
    ) -> dict[str, PyneedleGpuSide]:
        """pyneedle with each of the kernels that compute the same."""
        ours = {}
        for kernel in kernels:
            name = OURS if kernel == "auto" else f"{OURS} {kernel}"

            def make(kernel: str = kernel, name: str = name) -> None:
                side = PyneedleGpuSide(ensemble, kernel, self._options.device)
                agreement[name] = check(ensemble, name, side, TF32 if uses_tf32(name) else FLOAT32)
                ours[name] = side

            self._attempt(make)
        return ours

    def _peers(
        self, ensemble: Ensemble, tf32: bool, agreement: dict[str, str]
    ) -> tuple[dict[str, Side], dict[str, str]]:
        peers, skipped = {}, {}
        for name, make in sides_of(ensemble, self._options.device, tf32).items():
            try:
                side = make()
                agreement[name] = check(ensemble, name, side, TF32 if uses_tf32(name) else FLOAT32)
                peers[name] = side
            except DisagreementError as error:
                skipped[name] = f"NOT TIMED: {error}"
            except Exception as error:  # noqa: BLE001 - a peer that can't run is left out, and that is said
                skipped[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            if name in skipped:
                self.say(f"  {name} skipped: {skipped[name]}")
        return peers, skipped

    def _adam(self, d: int) -> None:
        self.adam.append(adam.measure(d, self._options.device, self._options.rounds, self._options.budget))
        self.say(f"  {self.adam[-1].line()}")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "machine": self.machine,
            "rows": [asdict(row) for row in self.rows],
            "adam": [asdict(result) for result in self.adam],
            "failures": self.failures,
            "left_out": self.left_out,
        }

    def as_markdown(self) -> str:
        """One table, with the machine above and what was left out below."""
        peers = list(dict.fromkeys(name for row in self.rows for name in row.ratios))
        lines = ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in self.machine.items()), ""]
        head = ["what", "kernel", "pyneedle, ms", "fastest peer", "ratio [range]", "must reach", *peers]
        lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        lines += [row.as_markdown(peers) for row in self.rows]
        lines += [result.as_markdown(len(peers)) for result in self.adam]
        lines += ["", *(f"- {result.line()}" for result in self.adam)]
        skipped = dict.fromkeys(f"- {k} skipped: {v}" for row in self.rows for k, v in row.skipped.items())
        lines += ["", *skipped, *(f"- {text}" for text in self.failures)]
        lines += [f"- left out for want of time: {'; '.join(self.left_out)}"] if self.left_out else []
        return "\n".join(lines).rstrip() + "\n"


def row_of(
    case: Case,
    label: str,
    kernel: str,
    ours: list[float],
    peers: dict[str, list[float]],
    agreement: dict[str, str],
    skipped: dict[str, str],
) -> Row:
    """The outcome for seconds that were measured, round by round."""
    medians = {name: statistics.median(seconds) for name, seconds in peers.items()}
    fastest = min(medians, key=lambda name: medians[name]) if medians else ""
    ratios = {name: Ratio.of(seconds, ours) for name, seconds in peers.items()}
    goal = None
    if case.what == "epoch" and case.penalty == "none":
        goal = goals.of_epoch(case.network, case.d, case.members, uses_tf32(kernel))
    must_reach = "" if goal is None else goal.verdict(ratios)
    return Row(label, case.what, kernel, {OURS: ours, **peers}, ratios, fastest, agreement, must_reach, skipped)


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
    found["TF32"] = "off but where a line says so: PyTorch and JAX precision 'highest', CuPy's and pyneedle's default"
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
    parser.add_argument("--tf32", action="store_true", help="time GN with TF32 on pyneedle's side and PyTorch's, too")
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
    return 1 if suite.failures else 0


if __name__ == "__main__":
    sys.exit(main())

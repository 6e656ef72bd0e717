"""The whole comparison: `python -m bench.compare`. See README.md."""

import argparse
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import adam_path_norm, curves, ensemble, goals
from bench.baselines import all_peers
from pyneedle.benchmark import (
    ACTIVATIONS,
    NETWORKS,
    PENALTIES,
    Comparison,
    DisagreementError,
    NetworkName,
    PenaltyName,
    Problem,
    What,
    busy,
    compare,
    comparison_table,
    cores,
    describe,
    machine_table,
    make_problem,
    skipped_lines,
)

DIMENSIONS: dict[NetworkName, tuple[int, ...]] = {"LN": (4, 20, 60), "LCN": (4, 20, 60), "GN": (8, 20, 40, 60)}
QUICK: dict[NetworkName, tuple[int, ...]] = {"LN": (20,), "LCN": (20,), "GN": (8,)}
PENALIZED_GN = (20, 40)  # where performance.md sets goals for the penalties
EPOCHS_AT = {("LN", 20), ("LN", 60), ("LCN", 20), ("GN", 8), ("GN", 20)}  # whole epochs are timed there, too
KERNELS = ("auto", "direct")


@dataclass
class Outcome:
    """All that was measured."""

    machine: dict[str, str]
    rows: list[Comparison] = field(default_factory=list)
    ensembles: list[ensemble.EnsembleResult] = field(default_factory=list)
    adam: list[adam_path_norm.AdamResult] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "machine": self.machine,
            "rows": [row.as_dict() for row in self.rows],
            "ensembles": [result.as_dict() for result in self.ensembles],
            "adam": [result.as_dict() for result in self.adam],
            "failures": self.failures,
        }

    def as_markdown(self) -> str:
        """The tables of README.md."""
        parts = [machine_table(self.machine), comparison_table(self.rows, goals.goal)]
        if self.ensembles or self.adam:
            parts.append(self._others())
        parts += [f"- {text}" for text in (*skipped_lines(self.rows), *self.failures)]
        return "\n\n".join(parts) + "\n"

    def _others(self) -> str:
        lines = ["| what | ratio [range] | must reach | aim |", "|---|---|---|---|"]
        for r in self.ensembles:
            what = f"{r.members} runs of {r.network} d={r.d} ({r.kernel}) on {r.threads} threads, to one by one on one"
            lines.append(f"| {what} | {r.ratio} | {' | '.join(goals.ENSEMBLE)} |")
        for a in self.adam:
            ratio = ", ".join(f"{ratio} to {peer}" for peer, ratio in a.ratios.items()) or "no peer"
            aim = f"{goals.ADAM_PATH_NORM[1]} (reached {a.bandwidth_share:.0%})"
            lines.append(f"| {a.label}, alone | {ratio} | {goals.ADAM_PATH_NORM[0]} | {aim} |")
        return "\n".join(lines)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one size per network, short rounds: minutes, and rough")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--d", nargs="+", type=int, help="dimensions, for every network")
    parser.add_argument("--penalties", nargs="+", choices=PENALTIES, help="default: none, and all for GN d=20 and 40")
    parser.add_argument("--kernels", nargs="+", default=list(KERNELS), help="default: auto direct")
    parser.add_argument("--activation", choices=ACTIVATIONS, default="relu")
    parser.add_argument("--peers", nargs="+", metavar="NAME", help="only peers whose name contains one of these")
    parser.add_argument("--threads", type=int, default=cores(), help="of every side; default: all cores")
    parser.add_argument("--rounds", type=int, help="default 5; 3 with --quick")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="of a round of one side; default 1; 0.2")
    parser.add_argument("--only", choices=("steps", "epochs", "ensembles", "adam", "plots"), help="only this part")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument(
        "--plots", type=Path, metavar="DIR", help="also measure and plot cost against d, alpha, B, members"
    )
    options = parser.parse_args(arguments)
    if options.only == "plots" and not options.plots:
        parser.error("--only plots needs --plots DIR")
    if not 1 <= options.threads <= cores():
        parser.error(f"--threads must be 1 to {cores()}, the cores of this process, got {options.threads}")
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.budget = options.budget or (0.2 if options.quick else 1.0)
    return options


def pin(threads: int) -> None:
    """Starts this program again on `threads` cores: BLAS and XLA size their pools when they are loaded."""
    if threads < cores():
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        os.execv(sys.executable, [sys.executable, "-m", "bench.compare", *sys.argv[1:]])


def problems(options: argparse.Namespace) -> Iterator[Problem]:
    """The cases that the options ask for."""
    for network in options.networks:
        for d in options.d or (QUICK if options.quick else DIMENSIONS)[network]:
            wanted: Sequence[PenaltyName] = options.penalties or (
                PENALTIES if network == "GN" and d in PENALIZED_GN and not options.quick else ("none",)
            )
            for penalty in wanted:
                yield make_problem(network, d, penalty=penalty, activation=options.activation)


class Suite:
    """The parts of the comparison that the options ask for, one after the other."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._started = options, time.monotonic()
        names = [name.lower() for name in options.peers or [""]]
        self._peers = [peer for peer in all_peers() if any(name in peer.name.lower() for name in names)]
        self._timing = {"rounds": options.rounds, "budget": options.budget}
        self.outcome = Outcome(describe(self._peers, options.threads))

    def run(self) -> Outcome:
        """Measures everything."""
        for peer in self._peers:
            if reason := peer.available():
                self._say(f"{peer.name} skipped: {reason}")
        if busy(self.outcome.machine):
            self._say("WARNING: other programs are running; frameworks that wait for their threads lose most by it")
        only = self._options.only
        if only in {None, "steps", "epochs"}:
            self._steps_and_epochs()
        if only in {None, "ensembles"}:
            self._ensembles()
        if only in {None, "adam"} and "GN" in self._options.networks:
            self._attempt(self._adam)
        if self._options.plots:
            for path in curves.draw_all(self._options.plots, self._peers, self._options, self._say, self._attempt):
                self._say(f"wrote {path}")
        return self.outcome

    def _say(self, text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - self._started:6.0f} s] {text}\n")

    def _whats(self, problem: Problem) -> tuple[What, ...]:
        if self._options.only:
            return ("step",) if self._options.only == "steps" else ("epoch",)
        return ("step", "epoch") if (problem.network, problem.d) in EPOCHS_AT else ("step",)

    def _attempt(self, part: Callable[[], None]) -> None:
        """Goes on with the rest where a side did not compute the same."""
        try:
            part()
        except DisagreementError as error:
            self._say(f"NOT TIMED: {error}")
            self.outcome.failures.append(str(error))

    def _steps_and_epochs(self) -> None:
        for problem in problems(self._options):
            self._attempt(functools.partial(self._compare, problem))

    def _compare(self, problem: Problem) -> None:
        options = self._options
        self.outcome.rows += compare(
            problem,
            self._peers,
            options.kernels,
            options.threads,
            whats=self._whats(problem),
            say=self._say,
            **self._timing,
        )

    def _ensembles(self) -> None:
        for network in self._options.networks:
            if network != "GN":
                result = ensemble.measure(network, 20, self._options.threads, **self._timing)
                self._say(f"ensemble of {result.members} {network}: {result.ratio}")
                self.outcome.ensembles.append(result)

    def _adam(self) -> None:
        d = 8 if self._options.quick else 20
        result = adam_path_norm.measure(d, self._options.threads, **self._timing)
        self._say(f"{result.label}: {', '.join(f'{peer} {ratio}' for peer, ratio in result.ratios.items())}")
        self.outcome.adam.append(result)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 where a side did not compute the same."""
    options = parse(arguments)
    pin(options.threads)
    outcome = Suite(options).run()
    sys.stdout.write(outcome.as_markdown())
    if options.markdown:
        options.markdown.write_text(outcome.as_markdown(), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(outcome.as_dict(), indent=1) + "\n", encoding="utf-8")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Achieved share of copy bandwidth and of sgemm, per kernel: `python -m bench.roofline`."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.adam_path_norm import adam_seconds
from bench.ceilings import copy_bandwidth, sgemm_rate
from bench.counting import ADAM, Counts, of_forward, of_step
from pyneedle.benchmark import (
    NETWORKS,
    PENALTIES,
    NetworkName,
    Problem,
    PyneedleClock,
    PyneedleSide,
    after_one_epoch,
    cores,
    describe,
    machine_table,
    make_problem,
    network_of,
)

CASES = (("LN", 20), ("LN", 60), ("LCN", 20), ("LCN", 60), ("GN", 8), ("GN", 20), ("GN", 40), ("GN", 60))
QUICK = (("LN", 20), ("LCN", 20), ("GN", 8))
# Dense networks from here on are measured with their first kernel alone: a step of the plain one takes a second.
LARGE = 40


@dataclass(frozen=True)
class Line:
    """One kernel's time and shares; the larger share says what it is nearer to."""

    name: str
    seconds: float
    operations: float
    bytes: float
    share_of_sgemm: float
    share_of_copy: float
    counted: str

    @classmethod
    def of(cls, name: str, seconds: float, counts: Counts, problem: Problem, ceilings: tuple[float, float]) -> "Line":
        size = sum(v.size for v in problem.initial.values())
        operations, moved = counts.operations(problem, size), counts.bytes(problem, size)
        copy, sgemm = ceilings
        return cls(name, seconds, operations, moved, operations / seconds / sgemm, moved / seconds / copy, counts.words)


def forward_seconds(problem: Problem, kernel: str, threads: int, budget: float) -> float:
    """Median time of `Network.forward` on one batch; its checks of the arguments are in it."""
    network, x = network_of(problem), problem.train_x[: problem.batch]
    times: list[float] = []
    spent = 0.0
    network.forward(problem.initial, x, kernel, threads)
    while spent < budget or len(times) < 3:
        start = time.perf_counter()
        network.forward(problem.initial, x, kernel, threads)
        times.append(time.perf_counter() - start)
        spent += times[-1]
    return statistics.median(times)


@dataclass(frozen=True)
class Bench:
    """How everything is timed, and the machine's ceilings."""

    threads: int
    rounds: int
    budget: float
    ceilings: tuple[float, float]

    def of_case(self, network: NetworkName, d: int) -> Iterator[Line]:
        """A training step and a forward pass of every kernel; for GN the optimiser alone."""
        problem = make_problem(network, d, validation_rows=1)
        large = network == "GN" and d >= LARGE
        kernels = network_of(problem).kernels[: 1 if large else None]
        trained = after_one_epoch(problem, self.threads)
        for kernel in kernels:
            counts = of_step(network, kernel)
            if counts is None:  # the reference
                continue
            clock = PyneedleClock(PyneedleSide(problem, kernel, self.threads), "step", self.budget)
            # a round of a large one begins with the slow first epoch, in which its units settle
            seconds = statistics.median(clock.measure() for _ in range(1 if large else self.rounds))
            yield Line.of(f"{problem_name(problem)}: step, {kernel}", seconds, counts, problem, self.ceilings)
            seconds = forward_seconds(trained, kernel, self.threads, self.budget)
            name = f"{problem_name(problem)}: forward, {kernel}"
            yield Line.of(name, seconds, of_forward(kernel), problem, self.ceilings)
        if network == "GN":
            for penalty in PENALTIES:
                seconds = adam_seconds(d, penalty, self.threads, self.budget)
                name = f"{problem_name(problem)}: Adam, penalty {penalty}"
                yield Line.of(name, seconds, ADAM, problem, self.ceilings)


def problem_name(problem: Problem) -> str:
    return f"{problem.network} d={problem.d}"


def table(ceilings: tuple[float, float], found: Sequence[Line]) -> str:
    """As Markdown; the counting formulas below it, each once."""
    copy, sgemm = ceilings
    text = [f"Copy bandwidth {copy / 1e9:.3g} GB/s, sgemm {sgemm / 1e9:.4g} Gop/s.", ""]
    text += ["| kernel | ms | Gop/s | of sgemm | GB/s | of copy |", "|---|---|---|---|---|---|"]
    for x in found:
        rates = f"{x.operations / x.seconds / 1e9:.4g} | {x.share_of_sgemm:.0%} | {x.bytes / x.seconds / 1e9:.3g}"
        text.append(f"| {x.name} | {1e3 * x.seconds:.4g} | {rates} | {x.share_of_copy:.0%} |")
    text += ["", "Counted (operations; bytes), Adam being 12 P; 28 P:", ""]
    names: dict[str, list[str]] = {}
    for x in found:
        names.setdefault(x.counted, []).append(x.name.split(": ")[1])
    text += [f"- {', '.join(dict.fromkeys(who))}: {words}" for words, who in names.items()]
    return "\n".join(text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.roofline", description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, help="default: all")
    parser.add_argument("--d", nargs="+", type=int, help="default: a few for each network")
    parser.add_argument("--quick", action="store_true", help="one size per network, short rounds")
    parser.add_argument("--rounds", type=int, help="default 3; 1 for GN from d = 40 on, and with --quick")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="of one round; default 0.5; 0.1 with --quick")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    sizes = QUICK if options.quick else CASES
    cases = [(n, d) for n in options.networks or NETWORKS for d in (options.d or [d for m, d in sizes if m == n])]
    machine = describe([], cores())
    ceilings = copy_bandwidth(cores()), sgemm_rate()
    rounds, budget = options.rounds or (1 if options.quick else 3), options.budget or (0.1 if options.quick else 0.5)
    bench = Bench(cores(), rounds, budget, ceilings)
    found = []
    for network, d in cases:
        for line in bench.of_case(network, d):
            sys.stderr.write(f"{line.name}: {1e3 * line.seconds:.4g} ms\n")
            found.append(line)
    sys.stdout.write(machine_table(machine) + "\n\n" + table(ceilings, found) + "\n")
    if options.json:
        limits = {"copy, bytes/s": ceilings[0], "sgemm, operations/s": ceilings[1]}
        content: dict[str, Any] = {"machine": machine, "ceilings": limits, "lines": [asdict(x) for x in found]}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Achieved share of copy bandwidth and of sgemm, per kernel: `python -m bench.roofline`."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.ceilings import copy_bandwidth, sgemm_rate
from bench.counting import ADAM, FORWARD, Counts, of_step
from pyneedle.benchmark import (
    Problem,
    PyneedleClock,
    PyneedleSide,
    cores,
    describe,
    machine_table,
    make_problem,
    network_of,
)

CASES = (("LN", 20), ("LN", 60), ("LCN", 20), ("LCN", 60), ("GN", 8), ("GN", 20))


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
    network, x, times, spent = network_of(problem), problem.train_x[: problem.batch], [], 0.0
    network.forward(problem.initial, x, kernel, threads)
    while spent < budget or len(times) < 3:
        start = time.perf_counter()
        network.forward(problem.initial, x, kernel, threads)
        times.append(time.perf_counter() - start)
        spent += times[-1]
    return statistics.median(times)


def lines(
    cases: Sequence[tuple[str, int]], threads: int, rounds: int, budget: float
) -> tuple[dict[str, float], list[Line]]:
    """Ceilings and a line per kernel, measured in the same run."""
    from bench.adam_path_norm import adam_seconds

    ceilings = copy_bandwidth(threads), sgemm_rate()
    found: list[Line] = []
    for network, d in cases:
        problem = make_problem(network, d, validation_rows=1)  # type: ignore[arg-type]
        for kernel in network_of(problem).kernels:
            counts = of_step(network, kernel)
            if counts is None:  # the reference
                continue
            clock = PyneedleClock(PyneedleSide(problem, kernel, threads), "step", budget)
            seconds = statistics.median(clock.measure() for _ in range(rounds))
            found.append(Line.of(f"{network} d={d}: step, {kernel}", seconds, counts, problem, ceilings))
            if kernel == "direct":
                seconds = forward_seconds(problem, kernel, threads, budget)
                found.append(Line.of(f"{network} d={d}: forward, {kernel}", seconds, FORWARD, problem, ceilings))
        if network == "GN":
            for penalty in ("none", "path-norm"):
                seconds = adam_seconds(d, penalty, threads, budget)  # type: ignore[arg-type]
                found.append(Line.of(f"GN d={d}: Adam, penalty {penalty}", seconds, ADAM, problem, ceilings))
    return {"copy, bytes/s": ceilings[0], "sgemm, operations/s": ceilings[1]}, found


def table(ceilings: dict[str, float], found: Sequence[Line]) -> str:
    """As Markdown; the counting formulas below it, each once."""
    copy, sgemm = ceilings.values()
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
    parser.add_argument("--networks", nargs="+", choices=("LN", "LCN", "GN"), help="default: all")
    parser.add_argument("--d", nargs="+", type=int, help="default: a few for each network")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=0.5, metavar="SECONDS", help="of one round")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    networks = options.networks or ("LN", "LCN", "GN")
    cases = [(n, d) for n in networks for d in (options.d or [d for m, d in CASES if m == n])]
    machine = describe([], cores())
    ceilings, found = lines(cases, cores(), options.rounds, options.budget)
    sys.stdout.write(machine_table(machine) + "\n\n" + table(ceilings, found) + "\n")
    if options.json:
        content: dict[str, Any] = {"machine": machine, "ceilings": ceilings, "lines": [asdict(x) for x in found]}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

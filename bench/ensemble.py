"""Eight runs of LN or LCN side by side on all threads, against one after another on one thread."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import pyneedle as pn
from pyneedle.benchmark import NetworkName, Ratio, dataset_of, in_turns, make_problem, network_of

MEMBERS = 8


@dataclass(frozen=True)
class EnsembleResult:
    """Seconds of both ways, round by round, and their ratio."""

    network: str
    d: int
    members: int
    threads: int
    kernel: str
    seconds: dict[str, list[float]]
    ratio: Ratio

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def runs_of(network: NetworkName, d: int, members: int, epochs: int) -> list[pn.Run]:
    """Runs of the protocol at N_sample = 10^4 that differ in their seed; all share one data set."""
    problem = make_problem(network, d, batch=80, batches=80, validation_rows=1600)
    net, data = network_of(problem), dataset_of(problem)
    return [pn.Run(net, data, epochs=epochs, batch_size=problem.batch, seed=seed) for seed in range(members)]


def measure(network: NetworkName, d: int, threads: int, rounds: int, budget: float) -> EnsembleResult:
    """Times both ways in turns; both give bitwise the same results."""
    one = pn.train_ensemble(runs_of(network, d, 1, 1), 1, progress=False)[0]
    epochs = max(2, round(budget / MEMBERS / max(one.seconds, 1e-9)))
    runs = runs_of(network, d, MEMBERS, epochs)

    def together() -> float:
        start = time.perf_counter()
        pn.train_ensemble(runs, threads, progress=False)
        return time.perf_counter() - start

    def alone() -> float:
        start = time.perf_counter()
        for run in runs:
            pn.train_ensemble([run], 1, progress=False)
        return time.perf_counter() - start

    seconds = in_turns({"one after another": alone, "ensemble": together}, rounds)
    ratio = Ratio.of(seconds["one after another"], seconds["ensemble"])
    return EnsembleResult(network, d, MEMBERS, threads, one.kernel, seconds, ratio)

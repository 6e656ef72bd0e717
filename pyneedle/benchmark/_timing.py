"""Timing in turns: every side once per round, so that a slow minute of the machine falls on all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ._peer import Trainer

# After a parallel section the threads of a pool spin for a while, on the cores that the next side is to be timed on.
PAUSE = 0.05


class PeerClock:
    """Seconds per step or epoch of a peer's trainer; the first calls compile and warm up.

    Parameters
    ----------
    trainer : Trainer
        What to time. It is reset before every round, so that no side ever works on denormal moments.
    what : {"step", "epoch"}
        What one unit is.
    budget : float
        Seconds of a round; at least one unit is run.
    """

    def __init__(self, trainer: Trainer, what: str, budget: float) -> None:
        self._reset: Callable[[], None] = trainer.reset
        self._run: Callable[[int], object] = trainer.run_steps if what == "step" else trainer.run_epochs
        self._count = 1
        self._run(1)
        while True:
            spent = self.measure() * self._count
            if spent > budget / 4:
                break
            self._count *= 4
        self._count = max(1, round(self._count * budget / spent)) if spent < budget else self._count

    def measure(self) -> float:
        """One round."""
        self._reset()
        start = time.perf_counter()
        self._run(self._count)
        return (time.perf_counter() - start) / self._count


def in_turns(
    measures: Mapping[str, Callable[[], float]],
    rounds: int,
    after_round: Callable[[dict[str, list[float]]], object] | None = None,
) -> dict[str, list[float]]:
    """Seconds per unit of each side, one entry a round; each round starts with another side.

    Parameters
    ----------
    measures : mapping
        One round of a side, by its name.
    rounds : int
    after_round : callable, optional
        Called with the seconds so far.
    """
    names = list(measures)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for r in range(rounds):
        turn = r % len(names)
        for name in names[turn:] + names[:turn]:
            time.sleep(PAUSE)
            seconds[name].append(measures[name]())
        if after_round is not None:
            after_round(seconds)
    return seconds


@dataclass(frozen=True)
class Ratio:
    """How many times as long a peer takes: the median over rounds, and the range."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, peer: list[float], ours: list[float]) -> "Ratio":
        """From the rounds of both sides, paired: a round's two times were taken close together."""
        ratios = [p / o for p, o in zip(peer, ours, strict=True)]
        return cls(statistics.median(ratios), min(ratios), max(ratios))

    def __str__(self) -> str:
        return f"{self.median:.3g}x [{self.low:.3g}, {self.high:.3g}]"

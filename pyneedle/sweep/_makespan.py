"""How long runs take together, handed out as the scheduler hands them out."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

# With more runs than these, those at the end hardly count.
_MOST_SIMULATED = 20_000


@dataclass(frozen=True)
class Runs:
    """Equal runs.

    Parameters
    ----------
    count : int
        How many.
    seconds : float
        Of one, on one thread.
    speedup : float
        Of one that has all threads to itself; one that has some of them has its part of it.
    """

    count: int
    seconds: float
    speedup: float = 1.0


def makespan(runs: Sequence[Runs], threads: int) -> float:
    """Seconds until the last run has ended, where the longest go first and the memory is enough for all of them.

    As `Scheduler` says, a run has one thread while others wait for theirs, and the last one all that are free then.
    """
    count = sum(same.count for same in runs)
    if not count:
        return 0.0
    if count > _MOST_SIMULATED:
        return max(sum(same.count * same.seconds for same in runs) / threads, *(same.seconds for same in runs))
    waiting, now, free = count, 0.0, threads
    running: list[tuple[float, int]] = []
    for same in sorted(runs, key=lambda same: same.seconds, reverse=True):
        for _ in range(same.count):
            while running and (not free or running[0][0] <= now):
                now, freed = heapq.heappop(running)
                free += freed
            waiting -= 1
            given = max(1, free // (1 + min(waiting, free)))
            free -= given
            speedup = 1.0 if given == 1 else 1.0 + (same.speedup - 1.0) * (given - 1) / (threads - 1)
            heapq.heappush(running, (now + same.seconds / speedup, given))
    return max(end for end, _ in running)

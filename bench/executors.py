"""Threads of one process against processes, on the same short runs: `python -m bench.executors`.

The local executor of a sweep trains on threads of its own process. This measures what it would be with processes: the
same cells through the function that every executor calls, in a pool of processes that hand the outcomes back as
pickles, or in a pool of threads. All sides get the same groups of runs, in turn, over some rounds; starting the workers
and drawing the data set in each are part of the first time, as they are of a sweep's; the second is of the same pool
when it is warm. Nothing is stored on any side.
"""

import argparse
import functools
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

import pyneedle as pn
from pyneedle.sweep import Cell
from pyneedle.sweep._data import DatasetCache
from pyneedle.sweep._outcome import Keep, Outcome
from pyneedle.sweep._work import train_cells

_KEPT_BYTES = 1 << 28
_datasets = DatasetCache(_KEPT_BYTES)


def train(cells: Sequence[Cell]) -> list[Outcome]:
    """Train one group, in whatever worker this is."""
    return train_cells(cells, _datasets, 1, [Keep()] * len(cells))


def timed(make: Callable[[], Executor], groups: Sequence[Sequence[Cell]]) -> tuple[float, float]:
    """(seconds with the start of the workers, seconds when they are warm)."""
    began = time.perf_counter()
    with make() as pool:
        list(pool.map(train, groups))
        cold, began = time.perf_counter() - began, time.perf_counter()
        outcomes = [outcome for group in pool.map(train, groups) for outcome in group]
        warm = time.perf_counter() - began
    assert all(outcome.status == "completed" for outcome in outcomes)
    return cold, warm


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--group", type=int, default=15, help="runs handed out together")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sweep = pn.Sweep(network="LN", d=8, alpha=10, n_samples=1000, epochs=100, repeat=range(options.runs))
    groups = [sweep.cells[i : i + options.group] for i in range(0, len(sweep), options.group)]
    sides: dict[str, Callable[[], Executor]] = {
        "threads": lambda: ThreadPoolExecutor(options.workers),
        **{
            f"processes, {method}": functools.partial(
                ProcessPoolExecutor, options.workers, multiprocessing.get_context(method)
            )
            for method in ("spawn", "forkserver")
        },
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, make in sides.items():
            _datasets.__init__(_KEPT_BYTES)  # type: ignore[misc] # a new process has none either
            seconds[name].append(timed(make, groups))
    print(f"{options.runs} runs of LN, d=8, alpha=10, 1000 samples, 100 epochs; {options.workers} workers")
    print(f"{'':24}{'with the start':>16}{'warm':>10}   seconds, median of {options.rounds}")
    for name, pairs in seconds.items():
        cold, warm = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"{name:24}{cold:16.2f}{warm:10.2f}   warm {min(w for _, w in pairs):.2f} to {max(w for _, w in pairs):.2f}"
        )


if __name__ == "__main__":
    main()

"""Training the cells of a task: what every executor calls, so that the results are the same on all of them."""

from collections.abc import Callable, Sequence

from pyneedle._native import Progress
from pyneedle._training import train_ensemble
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._checkpoint import Checkpoints
from pyneedle.sweep._cost import Speeds
from pyneedle.sweep._data import DatasetCache
from pyneedle.sweep._outcome import Keep, Outcome, failure, make_outcome
from pyneedle.sweep._segments import train_segments

Report = Callable[[list[Progress]], object]


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """Raised by a report to end the runs."""


def train_cells(
    cells: Sequence[Cell],
    datasets: DatasetCache,
    threads: int,
    keeps: Sequence[Keep],
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
    speeds: Speeds | None = None,
) -> list[Outcome]:
    """Train cells of one shape as an ensemble; an error is recorded for the run that has it, and for no other.

    Parameters
    ----------
    cells : sequence of Cell
        Of one data set's dtype.
    datasets : DatasetCache
        Where their data come from.
    threads : int
        For all of them together.
    keeps : sequence of Keep
        Which arrays go into the outcome of each.
    report : callable, optional
        Given snapshots of the runs a few times a second; may raise `Stopped`.
    checkpoints : Checkpoints, optional
        Where a run that has the call to itself, or runs that share a GPU, are put down while they last.
    speeds : Speeds, optional
        For how long the first piece of such runs should be.

    Returns
    -------
    list of Outcome
        In the order of the cells.

    Raises
    ------
    Stopped
        By `report`, or where the runs were interrupted otherwise.
    """
    try:
        return _train(cells, datasets, threads, keeps, report, checkpoints, speeds)
    except Stopped:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is recorded, and the other runs go on
        if len(cells) == 1:
            return [failure(cells[0], error)]
    each = zip(cells, keeps, strict=True)
    alone = (train_cells([cell], datasets, threads, [keep], report, checkpoints, speeds) for cell, keep in each)
    return [outcome for outcomes in alone for outcome in outcomes]


def _train(
    cells: Sequence[Cell],
    datasets: DatasetCache,
    threads: int,
    keeps: Sequence[Keep],
    report: Report | None,
    checkpoints: Checkpoints | None,
    speeds: Speeds | None,
) -> list[Outcome]:
    runs = [cell.make_run(datasets.get(cell)) for cell in cells]
    if checkpoints is not None and (len(cells) == 1 or cells[0].device == "cuda"):
        # Speeds are those of one thread: a run with more has shorter first segments.
        epoch_seconds = len(cells) * (speeds or Speeds()).seconds(cells[0]) / cells[0].epochs
        fits = train_segments(cells, runs, threads, report, checkpoints, epoch_seconds)
    else:
        fits = train_ensemble(runs, threads, progress=report or False)
    if any(fit.status == "interrupted" for fit in fits):
        raise Stopped
    return [make_outcome(*result, threads) for result in zip(cells, fits, keeps, strict=True)]

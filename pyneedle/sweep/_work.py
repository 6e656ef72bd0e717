"""Training the cells of a task: what every executor calls, so that the results are the same on all of them."""

from collections.abc import Callable, Sequence

from pyneedle._native import Progress
from pyneedle._training import train_ensemble
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._data import DatasetCache
from pyneedle.sweep._outcome import Keep, Outcome, failure, make_outcome

Report = Callable[[list[Progress]], object]


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """Raised by a report to end the runs."""


def train_cells(
    cells: Sequence[Cell], datasets: DatasetCache, threads: int, keep: Keep, report: Report | None = None
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
    keep : Keep
        Which arrays go into the outcomes.
    report : callable, optional
        Given snapshots of the runs a few times a second; may raise `Stopped`.

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
        return _train(cells, datasets, threads, keep, report)
    except Stopped:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is recorded, and the other runs go on
        if len(cells) == 1:
            return [failure(cells[0], error)]
    return [outcome for cell in cells for outcome in train_cells([cell], datasets, threads, keep, report)]


def _train(
    cells: Sequence[Cell], datasets: DatasetCache, threads: int, keep: Keep, report: Report | None
) -> list[Outcome]:
    data = [datasets.get(cell) for cell in cells]
    runs = [cell.make_run(dataset) for cell, dataset in zip(cells, data, strict=True)]
    fits = train_ensemble(runs, threads, progress=report or False)
    if any(fit.status == "interrupted" for fit in fits):
        raise Stopped
    return [
        make_outcome(cell, fit, dataset, keep, threads) for cell, fit, dataset in zip(cells, fits, data, strict=True)
    ]

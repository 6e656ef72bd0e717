"""How fast runs of a shape are on this machine, from a few of their steps."""

import math
import time
from dataclasses import dataclass, replace

from pyneedle._fit import Fit
from pyneedle._state import TrainingState
from pyneedle._training import Run, train_ensemble
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._cost import Speeds

_STEPS = 4
# A shape whose few steps took less is run for about this long, since the clock and the start would count too much.
_LEAST_SECONDS = 0.05
_TRAIN_SHARE = 0.64
# Of these the time of drawing is measured.
_DRAWN_ROWS = 2000
# A GN loses most of its units within so many steps, and its steps are then several times as fast. Small batches get
# there as well, at a fraction of the time: with the paper's settings, to numbers of units that differ by a few per
# cent (d = 8 and 20).
_DENSE_STEPS = 100
_DENSE_BATCH = 64
_DENSE_CHUNK = 25
_MOST_DENSE_SECONDS = 3.0


@dataclass(frozen=True)
class Measured:
    """What runs of a shape take.

    Parameters
    ----------
    first_seconds, later_seconds : float
        Of a step on one thread, or as its share of a GPU: at first, and once a GN has lost its units.
    speedup : float
        Of a run that has all threads to itself.
    run_seconds, row_seconds : float
        Beside the steps: to start and to end a run, and to make a row of its data.
    may_be_less : bool
        Whether steps may get faster than was measured.
    """

    first_seconds: float
    later_seconds: float
    speedup: float
    run_seconds: float
    row_seconds: float
    may_be_less: bool = False

    def seconds(self, cell: Cell) -> float:
        """Time of a whole run on one thread."""
        first = min(cell.steps, _DENSE_STEPS)
        return first * self.first_seconds + (cell.steps - first) * self.later_seconds


def measure(cell: Cell, threads: int, members: int = 1) -> Measured:
    """Measure the shape of a cell.

    Parameters
    ----------
    cell : Cell
        One of the shape.
    threads : int
        That a run alone would have.
    members : int
        How many a GPU trains side by side.
    """
    rows = min(cell.n_samples, max(5, math.ceil((_STEPS * cell.batch_size + 1) / _TRAIN_SHARE)))
    sample = replace(cell, n_samples=rows, batch=cell.batch_size, epochs=1)
    dataset = sample.make_dataset()
    beside = math.inf
    for _ in range(2):
        runs = [replace(sample, repeat=seed).make_run(dataset) for seed in range(members)]
        began = time.perf_counter()
        fit = _train(runs, 1)
        beside = min(beside, time.perf_counter() - began - fit.seconds)
        if fit.seconds >= _LEAST_SECONDS or sample.epochs > 1:
            break
        sample = replace(sample, epochs=max(1, min(cell.epochs, round(_LEAST_SECONDS / max(fit.seconds, 1e-6)))))
    speeds = Speeds()  # which guesses where not an epoch was finished
    speeds.learn(cell, fit.seconds / members, len(fit.history["train_loss"]) * runs[0].steps_per_epoch)
    first = later = speeds.step_seconds(cell)
    completed = fit.status == "completed"
    speedup, may_be_less = 1.0, completed and fit.kernel.startswith("active")
    if cell.device == "cpu" and completed:
        state, may_be_less = _collapsed(cell) if may_be_less else (None, False)
        if state is not None:
            later = _step_seconds(runs[0], state, 1)
        if threads > 1:
            speedup = min(max(later / _step_seconds(runs[0], state, threads), 1.0), float(threads))
    return Measured(first, later, speedup, max(0.0, beside) / members, _row_seconds(cell), may_be_less)


def _collapsed(cell: Cell) -> tuple[TrainingState | None, bool]:
    """Where a GN stands after its first steps, and whether there was no time for all of them."""
    batch = min(cell.batch_size, _DENSE_BATCH)
    rows = min(cell.n_samples, math.ceil((_DENSE_CHUNK * batch + 1) / _TRAIN_SHARE))
    chunk = replace(cell, n_samples=rows, batch=batch, epochs=1)
    run = chunk.make_run(chunk.make_dataset())
    state: TrainingState | None = None
    began = time.perf_counter()
    while state is None or state.steps < min(cell.steps, _DENSE_STEPS):
        if time.perf_counter() - began > _MOST_DENSE_SECONDS:
            return state, True
        fit = _train([_continued(run, state)], 1)
        if fit.status != "completed":
            break
        state = fit.state
    return state, False


def _continued(run: Run, state: TrainingState | None) -> Run:
    """The epochs of a run, from a state on."""
    if state is None:
        return replace(run, keep_state=True)
    return replace(run, epochs=state.epochs + run.epochs, initial=None, resume=state, keep_state=True)


def _step_seconds(run: Run, state: TrainingState | None, threads: int) -> float:
    fit = _train([_continued(run, state)], threads)
    seconds, epochs = (0.0, 0) if state is None else (state.seconds, state.epochs)
    done = max(1, len(fit.history["train_loss"]) - epochs) * run.steps_per_epoch
    return max(1e-9, fit.seconds - seconds) / done


def _train(runs: list[Run], threads: int) -> Fit:
    """The first of them."""
    fit, *_ = train_ensemble(runs, threads, progress=False)
    if fit.status == "interrupted":
        raise KeyboardInterrupt
    return fit


def _row_seconds(cell: Cell) -> float:
    # Own data are read whole, however few rows are used.
    rows = min(cell.n_samples, _DRAWN_ROWS) if cell.data is None else cell.n_samples
    began = time.perf_counter()
    replace(cell, n_samples=rows, batch="ratio").make_dataset()
    return (time.perf_counter() - began) / rows

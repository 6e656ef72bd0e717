"""A long run as a row of segments, with a checkpoint after each."""

import time
from collections.abc import Callable
from dataclasses import replace

from pyneedle._fit import Fit
from pyneedle._native import Progress
from pyneedle._training import Run, train_ensemble
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._checkpoint import Checkpoints

# Saving may take this share of a run's time; where a disk is slow, segments get longer.
_SAVING_SHARE = 0.02
# What is left after a segment is joined to it where it is shorter than this part of one.
_SHORT = 0.5


def train_segments(
    cell: Cell,
    run: Run,
    threads: int,
    report: Callable[[list[Progress]], object] | None,
    checkpoints: Checkpoints,
    epoch_seconds: float,
) -> Fit:
    """Train a run, going on from its checkpoint if there is one; bitwise the run in one piece.

    Parameters
    ----------
    cell : Cell
        Whose checkpoint it is.
    run : Run
        The whole training.
    threads : int
        To use.
    report : callable, optional
        As for `train_ensemble`.
    checkpoints : Checkpoints
        Where runs are put down, and how often.
    epoch_seconds : float
        About what an epoch takes; measured from the first segment on.

    Returns
    -------
    Fit
        Of the whole run. Status "interrupted" where it was interrupted in a segment; its checkpoint then stays.
    """
    state = checkpoints.load(cell)
    done = 0 if state is None else state.epochs
    seconds = checkpoints.seconds
    while True:
        end = min(run.epochs, done + max(1, int(min(run.epochs, seconds / max(epoch_seconds, 1e-9)))))
        if run.epochs - end < _SHORT * (end - done):
            end = run.epochs
        # A state brings its own parameters.
        segment = replace(
            run, epochs=end, initial=run.initial if state is None else None, resume=state, keep_state=end < run.epochs
        )
        began = time.monotonic()
        (fit,) = train_ensemble([segment], threads, progress=report or False)
        if fit.status != "completed" or end == run.epochs:
            return fit
        state = fit.state
        assert state is not None
        trained = time.monotonic()
        checkpoints.save(cell, state)
        epoch_seconds = (trained - began) / (end - done)
        seconds = max(checkpoints.seconds, (time.monotonic() - trained) / _SAVING_SHARE)
        done = end

"""Long runs as rows of segments, with a checkpoint after each."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pyneedle._fit import Fit
from pyneedle._native import Progress
from pyneedle._state import TrainingState
from pyneedle._training import Run, train_ensemble
from pyneedle.sweep._checkpoint import Checkpoints, Described

# Saving may take this share of a run's time; where a disk is slow, segments get longer.
_SAVING_SHARE = 0.02
# What is left after a segment is joined to it where it is shorter than this part of one.
_SHORT = 0.5


def train_segments(
    cells: Sequence[Described],
    runs: Sequence[Run],
    threads: int | None,
    report: Callable[[list[Progress]], object] | None,
    checkpoints: Checkpoints,
    epoch_seconds: float,
) -> list[Fit]:
    """Train runs, going on from their checkpoints where there are any; each bitwise the run in one piece.

    Parameters
    ----------
    cells : sequence of Described
        Whose checkpoints they are.
    runs : sequence of Run
        The whole trainings; several on a GPU, where they are trained side by side.
    threads : int, optional
        To use. Default: as many as this process may run on.
    report : callable, optional
        As for `train_ensemble`, of the runs of the present segment.
    checkpoints : Checkpoints
        Where runs are put down, and how often.
    epoch_seconds : float
        About what an epoch of all takes; measured from the first segment on.

    Returns
    -------
    list of Fit
        Of the whole runs. Status "interrupted" where one was interrupted in a segment; its checkpoint then stays.
    """
    fits: dict[int, Fit] = {}
    states = [checkpoints.load(cell) for cell in cells]
    seconds = checkpoints.seconds
    while left := [i for i in range(len(runs)) if i not in fits]:
        length = max(1, int(min(max(run.epochs for run in runs), seconds / max(epoch_seconds, 1e-9))))
        segments = [_segment(runs[i], states[i], length) for i in left]
        done = max(segment.epochs - _epochs(states[i]) for i, segment in zip(left, segments, strict=True))
        began = time.monotonic()
        found = train_ensemble(segments, threads, progress=report or False)
        trained = time.monotonic()
        for i, fit in zip(left, found, strict=True):
            states[i] = fit.state
            if fit.status != "completed" or fit.epochs == runs[i].epochs:
                fits[i] = fit
        if any(fit.status == "interrupted" for fit in found):
            fits.update(zip(left, found, strict=True))
        for i in left:
            if i not in fits and (state := states[i]) is not None:
                checkpoints.save(cells[i], state)
        epoch_seconds = (trained - began) / max(1, done)
        seconds = max(checkpoints.seconds, (time.monotonic() - trained) / _SAVING_SHARE)
    return [fits[i] for i in range(len(runs))]


def _epochs(state: TrainingState | None) -> int:
    return 0 if state is None else state.epochs


def _segment(run: Run, state: TrainingState | None, length: int) -> Run:
    """The next epochs of a run, about so many."""
    done = _epochs(state)
    end = min(run.epochs, done + length)
    if run.epochs - end < _SHORT * (end - done):
        end = run.epochs
    # A state brings its own parameters.
    initial = run.initial if state is None else None
    return replace(run, epochs=end, initial=initial, resume=state, keep_state=end < run.epochs)

"""The loop that drives a sweep: hands cells to an executor and stores what comes back."""

import warnings
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pyneedle._training import check_device
from pyneedle.sweep import _interrupts
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._checkpoint import Checkpoints
from pyneedle.sweep._cost import Speeds
from pyneedle.sweep._executor import Executor, Job
from pyneedle.sweep._outcome import Keep, Outcome
from pyneedle.sweep._store import Store

if TYPE_CHECKING:
    from pyneedle._device import Device
    from pyneedle.sweep._progress import Display

ExecutorName = Literal["local", "ray"]
EXECUTORS: tuple[ExecutorName, ...] = ("local", "ray")
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Settings:
    """How a sweep is run; none of it changes a result."""

    executor: ExecutorName
    progress: bool
    threads: int
    keep: Keep
    checkpoint_seconds: float


def check_available(executor: ExecutorName, devices: "Collection[Device]") -> None:
    """Find out before any run whether an executor has what runs on these devices need.

    Raises
    ------
    ImportError
        Where what the executor needs is not installed.
    RuntimeError
        Where this machine does not have one of the devices; the workers of a cluster may.
    """
    if executor == "ray":
        from pyneedle.sweep._ray import import_ray

        import_ray()
        return
    for device in sorted(devices):
        check_device(device)


def make_executor(name: ExecutorName, job: Job) -> Executor:
    """The executor of that name.

    Raises
    ------
    ImportError
        Where what it needs is not installed.
    """
    if name == "ray":
        from pyneedle.sweep._ray import RayExecutor

        return RayExecutor(job)
    from pyneedle.sweep._gpu import executor_for_devices

    return executor_for_devices(job)


def missing_cells(cells: Sequence[Cell], store: Store, keep: Keep) -> list[Cell]:
    """The cells whose runs are not there; those that failed count as not there."""
    finished = store.finished(keep)
    return [cell for cell in cells if cell.id not in finished]


def drive(cells: Sequence[Cell], store: Store, settings: Settings) -> None:
    """Train the cells that the store does not have, and store each as soon as it is done.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C; what was finished is stored.
    RuntimeError
        Where this machine does not have the device of a cell that it would train; nothing was trained then.
    StoreError
        Where the store can't be written.
    """
    checkpoints = Checkpoints(store.path, settings.checkpoint_seconds, store.holder)
    missing = missing_cells(cells, store, settings.keep)
    checkpoints.clean(store.finished() - {cell.id for cell in missing})
    if not missing:
        return
    check_available(settings.executor, {cell.device for cell in missing})
    speeds = Speeds()
    job = Job(missing, settings.keep, settings.threads, speeds, checkpoints, store.kept())
    left = len(missing)
    with (
        make_executor(settings.executor, job) as executor,
        _display(len(cells) - left, job, settings.progress) as display,
    ):

        def collect(timeout: float) -> None:
            nonlocal left
            # What was polled is nowhere else until it is stored.
            with _interrupts.deferred():
                outcomes = executor.poll(timeout)
                left_out = store.add(outcomes)
                left -= len(outcomes)
                for outcome in outcomes:
                    _learn(speeds, outcome)
                _remove_checkpoints(checkpoints, outcomes, store)
                if display is not None:
                    display.update(outcomes, executor.members())
            _warn(left_out)

        try:
            while left:
                collect(_POLL_SECONDS)
        except KeyboardInterrupt:
            try:
                executor.stop()
            finally:  # also on a further Ctrl-C
                collect(0.0)
            raise


def _display(there: int, job: Job, show: bool) -> "AbstractContextManager[Display | None]":
    if not show:
        return nullcontext(None)
    # Not at the top: it imports rich, for which a sweep that shows nothing and a worker of a cluster have no use.
    from pyneedle.sweep._progress import Display

    return Display(there, job.cells, job.speeds, job.threads, show)


def _warn(left_out: Sequence[Outcome]) -> None:
    for outcome in left_out:
        warnings.warn(
            f"{outcome.cell.label}: trained again for arrays that its result lacks, it failed with {outcome.error}; "
            "the stored result stays as it was",
            RuntimeWarning,
            stacklevel=5,  # the caller of Sweep.run
        )


def _remove_checkpoints(checkpoints: Checkpoints, outcomes: Sequence[Outcome], store: Store) -> None:
    there = [outcome.cell for outcome in outcomes if outcome.status != "failed" and checkpoints.exists(outcome.cell)]
    if there:
        store.sync()  # until then the checkpoint is what survives the machine
    for cell in there:
        checkpoints.remove(cell)


def _learn(speeds: Speeds, outcome: Outcome) -> None:
    # Runs on a GPU share it: what one takes is known to those who put them together.
    if outcome.status != "completed" or outcome.cell.device == "cuda":
        return
    speeds.learn(outcome.cell, outcome.seconds * max(1, outcome.threads), outcome.cell.steps)

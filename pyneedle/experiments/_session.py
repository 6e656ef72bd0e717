"""Running what experiments are made of, into one store: sweeps, and trainings that go on from another's parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyneedle import _parameters
from pyneedle._checks import Array
from pyneedle._fit import Fit
from pyneedle._native import Progress
from pyneedle._parameters import Parameters
from pyneedle._training import make_reporter
from pyneedle.experiments._continuation import Continuation
from pyneedle.sweep import Cell, Store, Sweep
from pyneedle.sweep._checkpoint import Checkpoints
from pyneedle.sweep._segments import train_segments

if TYPE_CHECKING:
    import pandas as pd

    from pyneedle.sweep._driver import ExecutorName

# As sweeps do by default.
_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Session:
    """Where and how the runs of an experiment are made.

    Parameters
    ----------
    store : Path
        The results of sweeps; the folder beside it with the ending .fits keeps continued trainings.
    executor : {"local", "ray"}
        Of sweeps. Continued trainings run on this machine.
    threads : int, optional
        To use on this machine. Default: as many as this process may run on.
    progress : bool
        Show bars on standard error, where that is a terminal.
    """

    store: Path
    executor: "ExecutorName" = "local"
    threads: int | None = None
    progress: bool = True

    def run(self, sweep: Sweep, parameters: bool = False) -> "pd.DataFrame":
        """The results of a sweep, from the store as far as they are there.

        Raises
        ------
        RuntimeError
            Where a run failed; the others are stored.
        KeyboardInterrupt, StoreError, ImportError
            As `Sweep.run`.
        """
        frame = sweep.run(self.store, self.executor, self.progress, self.threads, parameters=parameters)
        failed = frame[frame["status"] == "failed"]
        if len(failed):
            first = failed.iloc[0]
            raise RuntimeError(
                f"{len(failed)} of {len(frame)} runs failed, the first ({first.network}, d={first.d}, repeat "
                f"{first.repeat}) with {first.error}"
            )
        return frame

    def history(self, cell: Cell) -> dict[str, Array]:
        """Losses and counts of units of every epoch of a run that is in the store."""
        with Store(self.store) as store:
            return store.arrays(cell.id)

    def parameters(self, cell: Cell) -> Parameters:
        """The best parameters of a run that was made with `parameters`.

        Raises
        ------
        RuntimeError
            Where they are not there: the run failed when it was made again for them.
        """
        flat = self.history(cell).get("parameters")
        if flat is None:
            raise RuntimeError(f"{cell.label}: its parameters are not in {str(self.store)!r}")
        return _parameters.unflatten(cell.make_network().parameter_shapes, flat)

    def go_on(self, continuations: Sequence[Continuation]) -> list[Fit]:
        """Continue trainings whose first parts are in the store; those that were continued before are read.

        A long one is put down as the runs of a sweep are, in the folder of the results.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; what was finished is kept, and the last checkpoint of what was not.
        OSError
            Where a result can't be written or read.
        """
        folder = self.store.with_suffix(".fits")
        folder.mkdir(exist_ok=True)
        checkpoints = Checkpoints(folder.resolve() / "unfinished", _CHECKPOINT_SECONDS)
        fits = []
        for continuation in continuations:
            path = folder / f"{continuation.id}.npz"
            if not path.exists():
                # One after another, each with all threads: what was finished is kept, whatever happens to the next.
                self._train(continuation, checkpoints).save(path)
            checkpoints.remove(continuation)
            fits.append(Fit.load(path))
        return fits

    def _train(self, continuation: Continuation, checkpoints: Checkpoints) -> Fit:
        run = continuation.make_run(self.parameters(continuation.cell))
        with make_reporter([run], self.progress) as report:

            def show(snapshots: list[Progress]) -> None:
                # A piece that has ended is no run that has.
                if report is not None and not snapshots[0].finished:
                    report(snapshots)

            (fit,) = train_segments([continuation], [run], self.threads, show, checkpoints, continuation.epoch_seconds)
        if fit.status == "interrupted":
            raise KeyboardInterrupt
        return fit

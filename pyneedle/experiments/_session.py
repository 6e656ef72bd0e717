"""Running what experiments are made of, into one store: sweeps, and trainings that go on from another's parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyneedle import _parameters
from pyneedle._checks import Array
from pyneedle._fit import Fit
from pyneedle._parameters import Parameters
from pyneedle._training import train_ensemble
from pyneedle.experiments._continuation import Continuation
from pyneedle.sweep import Cell, Store, Sweep

if TYPE_CHECKING:
    import pandas as pd

    from pyneedle.sweep._driver import ExecutorName


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

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; what was finished is kept.
        OSError
            Where a result can't be written or read.
        """
        folder = self.store.with_suffix(".fits")
        folder.mkdir(exist_ok=True)
        fits = []
        for continuation in continuations:
            path = folder / f"{continuation.id}.npz"
            if not path.exists():
                run = continuation.make_run(self.parameters(continuation.cell))
                # One after another, each with all threads: what was finished is kept, whatever happens to the next.
                (fit,) = train_ensemble([run], self.threads, self.progress)
                if fit.status == "interrupted":
                    raise KeyboardInterrupt
                fit.save(path)
            fits.append(Fit.load(path))
        return fits

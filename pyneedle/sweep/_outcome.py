"""What a finished run leaves: a row of the store, and arrays that are kept on request."""

import functools
import platform
import socket
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pyneedle import _machine, _native, _networks, _parameters
from pyneedle._checks import Array
from pyneedle._fit import Fit
from pyneedle.sweep._cell import Cell

OutcomeStatus = Literal["completed", "diverged", "failed"]

HISTORY = ("train_loss", "validation_loss", "dead_units", "on_units", "mixed_units")
PARAMETERS = "parameters"

_NAN = float("nan")


@dataclass(frozen=True)
class Keep:
    """Which arrays of a run are stored beside its numbers.

    Parameters
    ----------
    history : bool
        Losses and counts of units of every epoch.
    parameters : bool
        The best parameters.
    """

    history: bool = True
    parameters: bool = False

    def __or__(self, other: "Keep") -> "Keep":
        """What either keeps."""
        return Keep(self.history or other.history, self.parameters or other.parameters)


@dataclass(frozen=True)
class Machine:
    """Where and by what a run was computed."""

    name: str
    processor: str
    pyneedle: str
    numpy: str
    python: str


@functools.cache
def this_machine() -> Machine:
    """The machine and the versions of this process."""
    return Machine(
        name=socket.gethostname(),
        processor=_machine.processor(),
        pyneedle=_native.__version__,
        numpy=np.__version__,
        python=platform.python_version(),
    )


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of a cell, or the error that ended it; the numbers are those of the best parameters, scaled."""

    cell: Cell
    status: OutcomeStatus
    error: str | None = None
    train_mse: float = _NAN
    validation_mse: float = _NAN
    test_mse: float = _NAN
    path_norm: float = _NAN
    best_epoch: int = -1
    epochs_finished: int = 0
    seconds: float = _NAN
    kernel: str = ""
    isa: str = ""
    threads: int = 0
    machine: Machine = field(default_factory=this_machine)
    arrays: dict[str, Array] = field(default_factory=dict, repr=False)


def make_outcome(cell: Cell, fit: Fit, keep: Keep, threads: int) -> Outcome:
    """The outcome of a run that was not interrupted."""
    assert fit.status != "interrupted"
    fit.compute_errors(threads)  # on some threads instead of all: other runs train beside this one
    arrays: dict[str, Array] = dict(fit.history) if keep.history else {}
    if keep.parameters:
        arrays[PARAMETERS] = _parameters.flatten(_networks.shapes(fit.network), fit.parameters)
    return Outcome(
        cell=cell,
        status=fit.status,
        train_mse=fit.train_mse,
        validation_mse=fit.validation_mse,
        test_mse=fit.test_mse,
        path_norm=fit.path_norm,
        best_epoch=fit.best_epoch,
        epochs_finished=len(fit.history["train_loss"]),
        seconds=fit.seconds,
        kernel=fit.kernel,
        isa=fit.isa,
        threads=fit.threads,
        arrays=arrays,
    )


def failure(cell: Cell, error: BaseException | str) -> Outcome:
    """The outcome of a run that ended with an error."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}".rstrip(": ")
    return Outcome(cell=cell, status="failed", error=text)

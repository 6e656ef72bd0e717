"""What the driver of a sweep asks of an executor."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from pyneedle.sweep._cell import Cell
from pyneedle.sweep._checkpoint import Checkpoints
from pyneedle.sweep._cost import Speeds
from pyneedle.sweep._outcome import Keep, Outcome

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Member:
    """A run in flight, for the display."""

    cell: Cell
    steps: int = 0
    validation_loss: float | None = None


@dataclass(frozen=True)
class Job:
    """What an executor is to do.

    Parameters
    ----------
    cells : sequence of Cell
        To be trained, each once.
    keep : Keep
        Which arrays to hand back.
    threads : int
        To use at a time, on this machine.
    speeds : Speeds
        Shared with the driver, which teaches it every outcome.
    checkpoints : Checkpoints, optional
        Where long runs are put down.
    """

    cells: Sequence[Cell]
    keep: Keep
    threads: int
    speeds: Speeds
    checkpoints: Checkpoints | None = None


class Executor(Protocol):
    """Trains the cells of a job; a context manager, which ends what is in flight when it is left."""

    def __enter__(self) -> "Self":
        """Start."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; returns when nothing is in flight any more."""
        ...

    def poll(self, timeout: float) -> list[Outcome]:
        """Outcomes since the last call, waiting for the first one for some seconds; empty where there was none."""
        ...

    def stop(self) -> None:
        """End what is in flight; what was finished before can still be polled."""
        ...

    def members(self) -> list[Member]:
        """The runs in flight."""
        ...

"""What the driver of a sweep asks of an executor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        Which arrays to hand back of every cell.
    threads : int
        To use at a time, on this machine.
    speeds : Speeds
        Shared with the driver, which teaches it every outcome.
    checkpoints : Checkpoints, optional
        Where long runs are put down.
    kept : mapping from str to Keep
        Which arrays to hand back beside these, by the hash of the cell: those that the store has, where a run is made
        again for others.
    """

    cells: Sequence[Cell]
    keep: Keep
    threads: int
    speeds: Speeds
    checkpoints: Checkpoints | None = None
    kept: Mapping[str, Keep] = field(default_factory=dict)

    def keeps(self, cells: Sequence[Cell]) -> list[Keep]:
        """Which arrays to hand back of each of these."""
        return [self.keep | self.kept.get(cell.id, self.keep) for cell in cells]


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

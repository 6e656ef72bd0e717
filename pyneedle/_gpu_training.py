"""Training on the GPU: runs of equal shape side by side, as many as its free memory holds, shapes one after another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyneedle import _device, _native, _networks
from pyneedle._networks import Network

if TYPE_CHECKING:
    from pyneedle._native import Progress, Result

# Of the memory that is free; the rest is for what the driver and the libraries take beside it.
_MEMORY_SHARE = 0.9
# Of runs side by side: the kernels' limit.
_MOST_MEMBERS = 65535


@dataclass(frozen=True)
class Shape:
    """What runs must have in common to be trained side by side."""

    network: Network
    dtype: str
    batch_size: int
    train_rows: int
    validation_rows: int
    kernel: str = "auto"
    tf32: bool = False

    def bytes(self) -> tuple[int, int]:
        """GPU memory that a run takes, and that of the data, which runs of one data set share."""
        from pyneedle import _cuda

        native = _networks.native(self.network)
        return _cuda.run_bytes(native, self.dtype, self.batch_size, self.train_rows, self.validation_rows)


@dataclass(frozen=True, eq=False)
class Member:
    """One run: the native job, its shape, and which data set it has."""

    job: _native.Job
    shape: Shape
    data: int


@dataclass(frozen=True)
class Waiting:
    """The snapshot of a run that has not begun; like `_native.Progress`."""

    steps: int = 0
    epochs: int = 0
    train_loss: float = 0.0
    validation_loss: float = 0.0
    best_validation_loss: float = 0.0
    started: bool = False
    finished: bool = False


# Only its attributes are asked for.
WAITING: Any = Waiting()


def train(
    members: Sequence[Member], report: "Callable[[list[Progress]], object] | None" = None
) -> "list[Result | None]":
    """Train runs; each result is bitwise that of the run alone.

    Parameters
    ----------
    members : sequence of Member
        Of any shapes.
    report : callable, optional
        Given snapshots of all of them a few times a second; what it raises ends the runs, as in `_native.train`.

    Returns
    -------
    list
        None for runs that had not begun when others were interrupted.

    Raises
    ------
    MemoryError
        Where the GPU has not enough free memory for one of them.
    """
    shapes: dict[Shape, list[int]] = {}
    for i, member in enumerate(members):
        shapes.setdefault(member.shape, []).append(i)
    results: list[Result | None] = [None] * len(members)
    snapshots: list[Any] = [WAITING] * len(members)
    for shape, indices in shapes.items():
        waiting, most = indices, _MOST_MEMBERS
        while waiting:
            count = fitting(shape, [members[i].data for i in waiting[:most]])
            batch = waiting[:count]
            try:
                found = _train_together([members[i] for i in batch], relay(report, snapshots, batch))
            except MemoryError:
                if count == 1:
                    raise
                most = count // 2  # another program took what was free a moment ago
                continue
            for i, result in zip(batch, found, strict=True):
                results[i] = result
            if any(result["status"] == "interrupted" for result in found):
                return results
            waiting = waiting[count:]
    return results


def fitting(shape: Shape, data: Sequence[int], free: int | None = None) -> int:
    """How many runs of a shape, in the order of their data sets, fit into the GPU's free memory; at least one.

    Parameters
    ----------
    shape : Shape
        Of all of them.
    data : sequence of int
        Their data sets; those that are equal share memory.
    free : int, optional
        Bytes. Default: what the GPU has free now.

    Raises
    ------
    MemoryError
        Where not even the first one fits.
    """
    each, shared = shape.bytes()
    available = int(_MEMORY_SHARE * _device.info().free_bytes) if free is None else free
    used, there = 0, set[int]()
    for count, key in enumerate(data):
        used += each + (0 if key in there else shared)
        there.add(key)
        if used > available:
            if count == 0:
                raise MemoryError(
                    f"training this {shape.network.name} needs {used / 1e9:.3g} GB of the GPU's memory, "
                    f"{available / 1e9:.3g} GB may be used"
                )
            return count
    return len(data)


def _train_together(members: Sequence[Member], report: "Callable[[list[Progress]], object] | None") -> "list[Result]":
    from pyneedle import _cuda

    shape = members[0].shape
    results = _cuda.train([member.job for member in members], _device.INDEX, shape.tf32, report)
    for result in results:
        result["kernel"] = _device.ran(result["kernel"], shape.tf32)
    return results


def relay(
    report: "Callable[[list[Progress]], object] | None", snapshots: list[Any], batch: Sequence[int]
) -> "Callable[[list[Progress]], object] | None":
    """A report on some of the runs that becomes one on all."""
    if report is None:
        return None

    def whole(found: "list[Progress]") -> None:
        for i, snapshot in zip(batch, found, strict=True):
            snapshots[i] = snapshot
        report(list(snapshots))

    return whole

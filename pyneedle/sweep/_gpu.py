"""The executor on this machine's GPU: groups of equal runs side by side, as many as fill the chip and fit into it."""

import itertools
import threading
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from pyneedle import _datasets, _device, _gpu_training
from pyneedle.sweep import _memory
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._cost import Speeds, dataset_bytes
from pyneedle.sweep._data import DataKey, DatasetCache, data_key
from pyneedle.sweep._executor import Executor, Job, Member
from pyneedle.sweep._local import LocalExecutor
from pyneedle.sweep._outcome import Outcome
from pyneedle.sweep._threads import ThreadedExecutor
from pyneedle.sweep._waiting import Waiting
from pyneedle.sweep._work import train_cells

if TYPE_CHECKING:
    from typing_extensions import Self

# Thread blocks that keep the largest chips busy, about four for each of their multiprocessors: with so many in flight,
# further runs would only wait for those before them.
_FULL = 512
# Rows and columns of a product that one block computes, about.
_TILE = 128
# Groups in flight: small ones of different shapes fill the chip together.
_GROUPS = 16
# Of the GPU's free memory, and of this machine's for results and for data sets that are kept.
_MEMORY_SHARE = 0.8
_HOST_SHARE = 0.5
_CACHE_SHARE = 0.25
# On the host, per parameter: at the start, the best, the last; where a run is put down, four vectors more, twice.
_HOST_ARRAYS = 11


def executor_for_devices(job: Job) -> Executor:
    """The executor of this machine: threads for the cells of the CPU, the GPU for its own, or both at once."""
    parts: list[Executor] = []
    for device, executor in (("cpu", LocalExecutor), ("cuda", GpuExecutor)):
        cells = [cell for cell in job.cells if cell.device == device]
        if cells:
            parts.append(executor(replace(job, cells=cells)))
    return parts[0] if len(parts) == 1 else _Both(parts)


class GpuExecutor(ThreadedExecutor[tuple[Cell, ...]]):
    """Trains on the GPU; a thread of this process for each group in flight.

    Parameters
    ----------
    job : Job
        What to do; all cells have device "cuda".
    """

    def __init__(self, job: Job) -> None:
        memory = _memory.available()
        groups = Groups(job.cells, job.speeds, available_bytes(), int(_HOST_SHARE * memory))
        super().__init__(groups, min(_GROUPS, len(job.cells)), "gpu")
        self._job = job
        self._datasets = DatasetCache(int(_CACHE_SHARE * memory))

    def _train(self, cells: tuple[Cell, ...]) -> list[Outcome]:
        job, report = self._job, self._reporter(cells, cells, cells)
        outcomes = train_cells(
            cells, self._datasets, job.threads, job.keeps(cells), report, job.checkpoints, job.speeds
        )
        for outcome in outcomes:
            if outcome.status == "completed":
                job.speeds.learn(outcome.cell, outcome.seconds / len(cells), outcome.cell.steps)
        return outcomes


class Groups:
    """Cells that wait, handed out in groups of one shape, the longest first, while the chip has room; for threads.

    A run that needs more memory than there is goes alone: whether it fits is then for it to find out.

    Parameters
    ----------
    cells : sequence of Cell
        All that there is to do.
    speeds : Speeds
        Known so far.
    memory : int
        Bytes of the GPU that may be in use at a time.
    host_memory : int
        Bytes of this machine that the runs in flight may use.
    """

    def __init__(self, cells: Sequence[Cell], speeds: Speeds, memory: int, host_memory: int) -> None:
        self._memory, self._host_memory = memory, host_memory
        self._blocks = 0
        self._held: dict[tuple[Cell, ...], tuple[int, int, int]] = {}
        self._stopped = False
        self._changed = threading.Condition()
        self._waiting = Waiting(cells, speeds, lambda cell: (cell.n_samples, cell.epochs))

    def take(self) -> tuple[Cell, ...] | None:
        """The next group, when there is room for it; None when there is nothing left, or after `stop`."""
        with self._changed:
            while not self._stopped and len(self._waiting):
                group = self._next()
                if group is not None:
                    return group
                self._changed.wait()
            return None

    def give_back(self, cells: tuple[Cell, ...]) -> None:
        """Say that a group has ended."""
        with self._changed:
            blocks, size, host = self._held.pop(cells)
            self._blocks -= blocks
            self._memory += size
            self._host_memory += host
            self._changed.notify_all()

    def stop(self) -> None:
        """Hand out nothing any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _next(self) -> tuple[Cell, ...] | None:
        if self._held and self._blocks >= _FULL:
            return None
        for waiting in self._waiting.longest():
            count, size, host = self._room(waiting)
            if not count:
                continue
            cells = self._waiting.take(waiting[0], count)
            blocks = count * blocks_of(cells[0])
            self._blocks += blocks
            self._memory -= size
            self._host_memory -= host
            self._held[cells] = (blocks, size, host)
            return cells
        return None

    def _room(self, waiting: Sequence[Cell]) -> tuple[int, int, int]:
        """How many of these fit beside what is in flight, and their memory on the GPU and on the host."""
        wished = max(1, -(-(_FULL - self._blocks) // blocks_of(waiting[0])))
        try:
            each, shared = _shape(waiting[0]).bytes()
        except ValueError:  # the GPU does not take this network: its run will say why
            return 1, 0, 0
        host_each, host_shared = host_bytes(waiting[0]), dataset_bytes(waiting[0])
        there: set[DataKey] = set()
        count = size = host = 0
        for cell in itertools.islice(waiting, wished):
            new = data_key(cell) not in there
            there.add(data_key(cell))
            more, more_host = each + new * shared, host_each + new * host_shared
            if size + more > self._memory or host + more_host > self._host_memory:
                if count or self._held:
                    break
                return 1, more, more_host
            count, size, host = count + 1, size + more, host + more_host
        return count, size, host


def blocks_of(cell: Cell) -> int:
    """Thread blocks that a run keeps busy, about: one for an LN, one for each block of an LCN, tiles for a GN."""
    network = cell.make_network()
    if network.blocks > 1:
        return network.blocks if cell.network == "LCN" else 1
    return max(1, -(-cell.batch_size // _TILE) * -(-network.width // _TILE))


def filling(cell: Cell) -> int:
    """How many runs like this one keep the largest chips busy."""
    return max(1, -(-_FULL // blocks_of(cell)))


def side_by_side(cells: Sequence[Cell]) -> int:
    """How many of some cells of one shape are trained at a time."""
    wished = filling(cells[0])
    data: dict[DataKey, int] = {}
    keys = [data.setdefault(data_key(cell), len(data)) for cell in cells[:wished]]
    return _gpu_training.fitting(_shape(cells[0]), keys, available_bytes())


def available_bytes() -> int:
    """Memory of the GPU that sweeps may use."""
    return int(_MEMORY_SHARE * _device.info().free_bytes)


def group_bytes(cells: Sequence[Cell]) -> tuple[int, int]:
    """Memory on the GPU, and on the host, of cells of one shape side by side."""
    each, shared = _shape(cells[0]).bytes()
    count, sets = len(cells), len({data_key(cell) for cell in cells})
    return count * each + sets * shared, count * host_bytes(cells[0]) + sets * dataset_bytes(cells[0])


def _shape(cell: Cell) -> _gpu_training.Shape:
    train_rows, validation_rows, _ = _datasets.split_counts(cell.n_samples, _datasets.PAPER_SPLIT)
    kernel, tf32 = _device.split_kernel(cell.kernel)
    network = cell.make_network()
    return _gpu_training.Shape(network, cell.dtype, cell.batch_size, train_rows, validation_rows, kernel, tf32)


def host_bytes(cell: Cell) -> int:
    """Memory of a run on the machine of the GPU, beside its data set."""
    return _HOST_ARRAYS * cell.make_network().parameter_count * np.dtype(cell.dtype).itemsize


class _Both:
    """Several executors as one."""

    def __init__(self, parts: Sequence[Executor]) -> None:
        self._parts = parts

    def __enter__(self) -> "Self":
        for part in self._parts:
            part.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in self._parts:
            part.__exit__(kind, error, trace)

    def poll(self, timeout: float) -> list[Outcome]:
        return [outcome for part in self._parts for outcome in part.poll(timeout / len(self._parts))]

    def stop(self) -> None:
        for part in self._parts:
            part.stop()

    def members(self) -> list[Member]:
        return [member for part in self._parts for member in part.members()]

"""Which runs go together, in what order, and how many at a time."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyneedle.sweep._cell import Cell
from pyneedle.sweep._cost import Speeds, dataset_bytes, run_bytes
from pyneedle.sweep._data import DataKey, data_key
from pyneedle.sweep._waiting import Waiting


@dataclass(frozen=True, eq=False)
class Task:
    """Runs that one call trains, and the threads that it may use."""

    cells: tuple[Cell, ...]
    threads: int


class Queue:
    """Cells that wait, the longest first, handed out in groups of equal ones that take about as long as is wished.

    Parameters
    ----------
    cells : sequence of Cell
        All that there is to do.
    speeds : Speeds
        Known so far; the longest is asked for anew each time.
    group_seconds : float
        About how long a group should take, where one run is shorter. A kind of run that was not measured yet goes
        alone.
    """

    def __init__(self, cells: Sequence[Cell], speeds: Speeds, group_seconds: float) -> None:
        self._speeds = speeds
        self._group_seconds = group_seconds
        self._waiting = Waiting(cells, speeds, lambda cell: (cell.n_samples, cell.epochs, *data_key(cell)))

    def __len__(self) -> int:
        """Number of cells that wait."""
        return len(self._waiting)

    def longest(self) -> Iterator[Cell]:
        """One cell of each kind, the longest first; ends when cells are taken."""
        return (cells[0] for cells in self._waiting.longest())

    def take(self, like: Cell, shares: int = 1, wished: int | None = None) -> tuple[Cell, ...]:
        """Remove a group of cells of the kind of `like`, at most its share where others take of them, too.

        As many as are wished, whatever the time; by default as many as take about the time of a group.
        """
        if wished is None:
            known = self._speeds.known(like)
            wished = int(self._group_seconds / max(self._speeds.seconds(like), 1e-9)) if known else 1
        return self._waiting.take(like, max(1, min(wished, -(-len(self._waiting.like(like)) // shares))))


class Scheduler:
    """Hands tasks to the threads of this process, within its threads and its memory.

    A run that needs more memory than there is goes alone: whether it fits is then for it to find out.

    Parameters
    ----------
    queue : Queue
        The cells.
    threads : int
        In use at a time.
    memory : int
        Bytes in use at a time.
    """

    def __init__(self, queue: Queue, threads: int, memory: int) -> None:
        self._queue = queue
        self._threads = self._free = threads
        self._memory = memory
        self._used = 0
        self._data: Counter[DataKey] = Counter()
        self._running = 0
        self._stopped = False
        self._changed = threading.Condition()

    def take(self) -> Task | None:
        """The next task, when there is room for it; None when there is nothing left, or after `stop`."""
        with self._changed:
            while not self._stopped and len(self._queue):
                task = self._next()
                if task is not None:
                    return task
                self._changed.wait()
            return None

    def give_back(self, task: Task) -> None:
        """Say that a task has ended."""
        with self._changed:
            self._running -= 1
            self._free += task.threads
            self._used -= run_bytes(task.cells[0])
            key = data_key(task.cells[0])
            self._data[key] -= 1
            if not self._data[key]:
                self._used -= dataset_bytes(task.cells[0])
            self._changed.notify_all()

    def stop(self) -> None:
        """Hand out nothing any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _next(self) -> Task | None:
        if not self._free:
            return None
        for cell in self._queue.longest():
            needed = self._needed(cell)
            if self._running and self._used + needed > self._memory:
                continue
            cells = self._queue.take(cell, shares=self._threads)
            self._running += 1
            self._used += needed
            self._data[data_key(cell)] += 1
            task = Task(cells, self._share())
            self._free -= task.threads
            return task
        return None

    def _share(self) -> int:
        """Threads for a task: all that are free, where no other run could take them."""
        room = self._memory - self._used
        others = 0
        for cell in self._queue.longest():
            needed = max(1, self._needed(cell))
            if needed <= room:
                others += len(self._queue)
                break
        return max(1, self._free // (1 + min(others, self._free)))

    def _needed(self, cell: Cell) -> int:
        """More bytes in use with this cell: the runs of a task come one after another."""
        return run_bytes(cell) + (0 if self._data[data_key(cell)] else dataset_bytes(cell))

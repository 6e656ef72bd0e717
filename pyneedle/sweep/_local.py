"""The local executor: native threads of this process."""

import queue
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from pyneedle import _blas
from pyneedle._native import Progress
from pyneedle.sweep import _memory
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._data import DatasetCache
from pyneedle.sweep._executor import Job, Member
from pyneedle.sweep._outcome import Outcome
from pyneedle.sweep._schedule import Queue, Scheduler, Task
from pyneedle.sweep._work import Stopped, train_cells

if TYPE_CHECKING:
    from typing_extensions import Self

# Runs shorter than this go in groups, so that handing over costs little and the interpreter's code is in the cache when
# it is needed; a kill loses no more than such a group.
_GROUP_SECONDS = 0.2
# Of the memory, for data sets that are kept for runs to come.
_CACHE_SHARE = 0.25


class LocalExecutor:
    """Trains on threads of this process: training needs no GIL, and data sets are shared.

    Parameters
    ----------
    job : Job
        What to do.
    """

    def __init__(self, job: Job) -> None:
        memory = _memory.available()
        self._job = job
        self._scheduler = Scheduler(
            Queue(job.cells, job.speeds, _GROUP_SECONDS), job.threads, int((1.0 - _CACHE_SHARE) * memory)
        )
        self._datasets = DatasetCache(int(_CACHE_SHARE * memory))
        self._finished: queue.SimpleQueue[list[Outcome]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._members: dict[Task, list[Member]] = {}
        self._lock = threading.Lock()
        count = min(job.threads, len(job.cells))
        self._workers = [threading.Thread(target=self._work, name=f"sweep-{i}", daemon=True) for i in range(count)]

    def __enter__(self) -> "Self":
        """Start the threads."""
        if any(cell.network == "GN" for cell in self._job.cells):
            _blas.ensure_loaded()  # here, on one thread
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the runs in flight and wait for the threads."""
        self.stop()

    def stop(self) -> None:
        """End what is in flight, within about a second; what was finished before can still be polled."""
        self._stopping.set()
        self._scheduler.stop()
        for worker in self._workers:
            if worker.is_alive():
                worker.join()

    def poll(self, timeout: float) -> list[Outcome]:
        """Outcomes since the last call, waiting for the first one for some seconds."""
        outcomes: list[Outcome] = []
        try:
            outcomes += self._finished.get(timeout=timeout)
            while True:
                outcomes += self._finished.get_nowait()
        except queue.Empty:
            return outcomes

    def members(self) -> list[Member]:
        """The runs in flight."""
        with self._lock:
            return [member for members in self._members.values() for member in members]

    def _work(self) -> None:
        while (task := self._scheduler.take()) is not None:
            try:
                self._finished.put(self._train(task))
            except Stopped:
                return
            finally:
                with self._lock:
                    self._members.pop(task, None)
                self._scheduler.give_back(task)

    def _train(self, task: Task) -> list[Outcome]:
        def report(snapshots: list[Progress]) -> None:
            if self._stopping.is_set():
                raise Stopped
            running = [
                _member(cell, snapshot)
                for cell, snapshot in zip(task.cells, snapshots, strict=False)
                if snapshot.started and not snapshot.finished
            ]
            with self._lock:
                self._members[task] = running

        with self._lock:
            self._members[task] = [Member(task.cells[0])]
        job = self._job
        keeps = job.keeps(task.cells)
        return train_cells(task.cells, self._datasets, task.threads, keeps, report, job.checkpoints, job.speeds)


def _member(cell: Cell, snapshot: Progress) -> Member:
    return Member(cell, snapshot.steps, snapshot.best_validation_loss if snapshot.epochs else None)

"""The local executor: native threads of this process."""

from typing import TYPE_CHECKING

from pyneedle import _blas
from pyneedle.sweep import _memory
from pyneedle.sweep._data import DatasetCache
from pyneedle.sweep._executor import Job
from pyneedle.sweep._outcome import Outcome
from pyneedle.sweep._schedule import Queue, Scheduler, Task
from pyneedle.sweep._threads import ThreadedExecutor
from pyneedle.sweep._work import train_cells

if TYPE_CHECKING:
    from typing_extensions import Self

# Runs shorter than this go in groups, so that handing over costs little and the interpreter's code is in the cache when
# it is needed; a kill loses no more than such a group.
_GROUP_SECONDS = 0.2
# Of the memory, for data sets that are kept for runs to come.
_CACHE_SHARE = 0.25


class LocalExecutor(ThreadedExecutor[Task]):
    """Trains on threads of this process: training needs no GIL, and data sets are shared.

    Parameters
    ----------
    job : Job
        What to do.
    """

    def __init__(self, job: Job) -> None:
        memory = _memory.available()
        scheduler = Scheduler(
            Queue(job.cells, job.speeds, _GROUP_SECONDS), job.threads, int((1.0 - _CACHE_SHARE) * memory)
        )
        super().__init__(scheduler, min(job.threads, len(job.cells)), "sweep")
        self._job = job
        self._datasets = DatasetCache(int(_CACHE_SHARE * memory))

    def __enter__(self) -> "Self":
        """Start the threads."""
        if any(cell.network == "GN" for cell in self._job.cells):
            _blas.ensure_loaded()  # here, on one thread
        return super().__enter__()

    def _train(self, task: Task) -> list[Outcome]:
        job, cells = self._job, task.cells
        report = self._reporter(task, cells, cells[:1])
        return train_cells(cells, self._datasets, task.threads, job.keeps(cells), report, job.checkpoints, job.speeds)

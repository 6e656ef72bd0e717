"""The executor on a Ray cluster: tasks are groups of runs; the driver gets their outcomes and stores them."""

import logging
import os
import socket
import warnings
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pyneedle import _native
from pyneedle.sweep import _memory
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._checkpoint import Checkpoints
from pyneedle.sweep._cost import dataset_bytes, run_bytes
from pyneedle.sweep._data import DatasetCache
from pyneedle.sweep._executor import Job, Member
from pyneedle.sweep._gpu import filling, host_bytes
from pyneedle.sweep._outcome import Keep, Outcome, failure
from pyneedle.sweep._schedule import Queue
from pyneedle.sweep._work import train_cells

if TYPE_CHECKING:
    from typing_extensions import Self

    from pyneedle._device import Device

# A task costs milliseconds to hand out, so it should be worth seconds.
_GROUP_SECONDS = 5.0
# Tasks in flight for each processor and for each GPU: one that runs, one that waits beside it.
_IN_FLIGHT = 2
# A run whose worker dies is tried this often before it is recorded as failed.
_ATTEMPTS = 3
_CACHE_SHARE = 0.1


def import_ray() -> Any:
    """Ray; ImportError that says how to install it where it is not there."""
    try:
        import ray
    except ImportError:
        raise ImportError('executor "ray" needs Ray: pip install "pyneedle[ray]"') from None
    return ray


@dataclass(frozen=True)
class _Task:
    cells: tuple[Cell, ...]
    threads: int


class RayExecutor:
    """Trains on the Ray cluster that this process is connected to, or that RAY_ADDRESS names, or on one of its own.

    Parameters
    ----------
    job : Job
        What to do.

    Raises
    ------
    ImportError
        Where Ray is not installed.
    """

    def __init__(self, job: Job) -> None:
        self._ray = import_ray()
        self._job = job
        self._queue = Queue(job.cells, job.speeds, _GROUP_SECONDS)
        self._again: deque[Cell] = deque()
        self._attempts: Counter[str] = Counter()
        self._in_flight: dict[Any, _Task] = {}
        self._started = self._stopped = False

    def __enter__(self) -> "Self":
        """Connect to the cluster, or start one on this machine.

        Raises
        ------
        RuntimeError
            Where a run needs a GPU and no node has one.
        """
        if not self._ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS")
            own = {} if address else {"num_cpus": self._job.threads, "include_dashboard": False}
            self._ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **own)
            self._started = True
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        self._cpus = max(1, int(sum(node.get("CPU", 0.0) for node in nodes)))
        gpus = sum(int(node.get("GPU", 0.0)) for node in nodes)
        if not gpus and any(cell.device == "cuda" for cell in self._job.cells):
            self.__exit__(None, None, None)
            # Ray would wait for one for ever.
            raise RuntimeError('executor "ray": no node of the cluster has a GPU, which runs with device "cuda" need')
        self._units: dict[Device, int] = {"cpu": self._cpus, "cuda": gpus}
        self._node_cpus = max(1, int(max((node.get("CPU", 0.0) for node in nodes), default=1.0)))
        self._node_memory = int(max((node.get("memory", 0.0) for node in nodes), default=0.0))
        # Repeating is this side's business: Ray would repeat a whole group, without telling.
        self._remote = self._ray.remote(max_retries=0)(train_task)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is in flight; end the cluster if it was started here."""
        self.stop()
        if self._started:
            self._ray.shutdown()

    def poll(self, timeout: float) -> list[Outcome]:
        """Outcomes since the last call, waiting for the first one for some seconds."""
        if not self._stopped:
            self._submit()
        if not self._in_flight:
            return []
        ready, _ = self._ray.wait(list(self._in_flight), num_returns=1, timeout=timeout)
        if ready:
            ready, _ = self._ray.wait(list(self._in_flight), num_returns=len(self._in_flight), timeout=0)
        return [outcome for reference in ready for outcome in self._take(reference)]

    def stop(self) -> None:
        """Cancel what is in flight; what was finished before can still be polled."""
        self._stopped = True
        if not self._in_flight:
            return
        ready, pending = self._ray.wait(list(self._in_flight), num_returns=len(self._in_flight), timeout=0)
        for reference in pending:
            self._ray.cancel(reference, force=True)
        self._in_flight = {reference: self._in_flight[reference] for reference in ready}

    def members(self) -> list[Member]:
        """The first run of each task in flight, as far as there are processors for it; its steps are not known here."""
        return [Member(task.cells[0]) for task in self._in_flight.values()][: self._cpus]

    def _submit(self) -> None:
        while cells := self._next():
            task = _Task(cells, self._share(cells[0]))
            # More than any node has would wait for ever.
            memory = min(_task_bytes(cells), self._node_memory)
            gpus = 1 if cells[0].device == "cuda" else 0
            remote = self._remote.options(num_cpus=task.threads, num_gpus=gpus, memory=memory, name=cells[0].label)
            job = self._job
            reference = remote.remote(cells, task.threads, job.keeps(cells), _native.__version__, job.checkpoints)
            self._in_flight[reference] = task

    def _next(self) -> tuple[Cell, ...]:
        """The next group for a device that has room for one; empty where there is none."""
        taken = Counter(task.cells[0].device for task in self._in_flight.values())
        free = [device for device, count in self._units.items() if taken[device] < _IN_FLIGHT * count]
        for cell in self._again:
            if cell.device in free:
                self._again.remove(cell)
                return (cell,)
        for cell in self._queue.longest():
            if cell.device in free:
                # One after another on a processor, side by side on a GPU.
                wished = filling(cell) if cell.device == "cuda" else None
                return self._queue.take(cell, self._units[cell.device], wished)
        return ()

    def _share(self, cell: Cell) -> int:
        """Processors for a task: more than one only where a cluster would be idle otherwise and the run is long."""
        if not self._job.speeds.known(cell) or self._job.speeds.seconds(cell) < _GROUP_SECONDS:
            return 1
        tasks = len(self._queue) + len(self._again) + len(self._in_flight) + 1
        return max(1, min(self._node_cpus, self._cpus // tasks))

    def _take(self, reference: Any) -> list[Outcome]:
        task = self._in_flight.pop(reference)
        try:
            trained: Trained = self._ray.get(reference)
        except Exception as error:  # noqa: BLE001 - a dead worker or node, or whatever else Ray says
            return self._repeat(task, error)
        for text in trained.warnings:
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        return trained.outcomes

    def _repeat(self, task: _Task, error: Exception) -> list[Outcome]:
        """Put the runs of a lost task back, each alone, since one of them may have been the cause."""
        given_up = []
        reason = (str(error).strip().splitlines() or [""])[0]
        for cell in task.cells:
            self._attempts[cell.id] += 1
            if self._attempts[cell.id] < _ATTEMPTS:
                self._again.append(cell)
            else:
                text = f"{type(error).__name__}: {reason} (tried {_ATTEMPTS} times)"
                given_up.append(failure(cell, text))
        return given_up


def _task_bytes(cells: Sequence[Cell]) -> int:
    """Memory of a task on its node."""
    side_by_side = cells[0].device == "cuda"
    return dataset_bytes(cells[0]) + (len(cells) * host_bytes(cells[0]) if side_by_side else run_bytes(cells[0]))


@dataclass(frozen=True)
class Trained:
    """What a task hands back: the outcomes, and the warnings that its process has nobody to show to."""

    outcomes: list[Outcome]
    warnings: list[str]


_datasets: DatasetCache | None = None


def train_task(
    cells: Sequence[Cell], threads: int, keeps: Sequence[Keep], version: str, checkpoints: Checkpoints | None = None
) -> Trained:
    """Train cells in a worker process, which keeps the data sets for its next tasks.

    A run that was put down by a worker that was lost since goes on from there, where the workers see the folder of the
    store. Elsewhere nothing is put down, and such a run starts anew.

    Raises
    ------
    RuntimeError
        Where this worker has another version of pyneedle than the driver.
    """
    global _datasets  # noqa: PLW0603 - a worker process has no other place for what outlives a task
    if version != _native.__version__:
        raise RuntimeError(f"the driver has pyneedle {version}, this worker {_native.__version__}")
    if _datasets is None:
        _datasets = DatasetCache(int(_CACHE_SHARE * _memory.available()))
    seen = checkpoints if checkpoints is not None and checkpoints.reachable() else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcomes = train_cells(cells, _datasets, threads, keeps, checkpoints=seen)
    texts = [str(warning.message) for warning in caught if issubclass(warning.category, RuntimeWarning)]
    if checkpoints is not None and seen is None and any(outcome.seconds > checkpoints.seconds for outcome in outcomes):
        texts.append(f"no checkpoints on {socket.gethostname()}, which does not see {str(checkpoints.store.parent)!r}")
    return Trained(outcomes, texts)

"""Threads of this process that train group after group: what the local executors share."""

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pyneedle._native import Progress
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._executor import Member
from pyneedle.sweep._outcome import Outcome
from pyneedle.sweep._work import Stopped

if TYPE_CHECKING:
    from typing_extensions import Self

GroupT = TypeVar("GroupT")


class Source(Protocol[GroupT]):
    """Hands groups of cells to threads."""

    def take(self) -> GroupT | None:
        """The next group, when there is room for it; None when there is nothing left, or after `stop`."""
        ...

    def give_back(self, group: GroupT, /) -> None:
        """Say that a group has ended."""
        ...

    def stop(self) -> None:
        """Hand out nothing any more."""
        ...


class ThreadedExecutor(ABC, Generic[GroupT]):
    """An executor with a thread of this process for each group in flight.

    Parameters
    ----------
    source : Source
        Of the groups.
    count : int
        Number of threads.
    name : str
        Of the threads, before their number.
    """

    def __init__(self, source: Source[GroupT], count: int, name: str) -> None:
        self._source = source
        self._finished: queue.SimpleQueue[list[Outcome]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._members: dict[GroupT, list[Member]] = {}
        self._lock = threading.Lock()
        self._workers = [threading.Thread(target=self._work, name=f"{name}-{i}", daemon=True) for i in range(count)]

    @abstractmethod
    def _train(self, group: GroupT) -> list[Outcome]:
        """Train a group, with a report of `_reporter`."""

    def __enter__(self) -> "Self":
        """Start the threads."""
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the runs in flight and wait for the threads."""
        self.stop()

    def stop(self) -> None:
        """End what is in flight, soon; what was finished before can still be polled."""
        self._stopping.set()
        self._source.stop()
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

    def _reporter(
        self, group: GroupT, cells: Sequence[Cell], begun: Sequence[Cell]
    ) -> Callable[[list[Progress]], None]:
        """What training calls now and then: shows the runs in flight, first those begun, and ends them on `stop`."""

        def report(snapshots: list[Progress]) -> None:
            if self._stopping.is_set():
                raise Stopped
            running = [
                Member(cell, snapshot.steps, snapshot.best_validation_loss if snapshot.epochs else None)
                for cell, snapshot in zip(cells, snapshots, strict=False)
                if snapshot.started and not snapshot.finished
            ]
            with self._lock:
                self._members[group] = running

        with self._lock:
            self._members[group] = [Member(cell) for cell in begun]
        return report

    def _work(self) -> None:
        while (group := self._source.take()) is not None:
            try:
                self._finished.put(self._train(group))
            except Stopped:
                return
            finally:
                with self._lock:
                    self._members.pop(group, None)
                self._source.give_back(group)

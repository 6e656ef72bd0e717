"""The display of a running sweep on standard error."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from pyneedle.sweep._cell import Cell
from pyneedle.sweep._cost import Speeds, shape_of
from pyneedle.sweep._executor import Member
from pyneedle.sweep._outcome import Outcome

if TYPE_CHECKING:
    from typing_extensions import Self

_Kind: TypeAlias = tuple[object, ...]
# More runs than this in flight are not shown one by one.
_MOST_LINES = 16
_REFRESH_SECONDS = 0.5


class Display:
    """One bar for the sweep and a line for each run in flight; shows nothing where there is no terminal.

    Parameters
    ----------
    there : int
        Runs that were in the store before.
    missing : sequence of Cell
        Those that are to be done.
    speeds : Speeds
        For the time left.
    threads : int
        That train at a time.
    show : bool
        False shows nothing at all.
    console : Console, optional
        Default: standard error.
    """

    def __init__(
        self,
        there: int,
        missing: Sequence[Cell],
        speeds: Speeds,
        threads: int,
        show: bool,
        console: Console | None = None,
    ) -> None:
        self._console = Console(stderr=True) if console is None else console
        self._shown = show and self._console.is_terminal
        self._speeds, self._threads = speeds, threads
        self._total, self._done, self._failed = there + len(missing), there, 0
        # Equal runs take equally long: time left is a sum over the kinds, however many runs there are.
        self._examples: dict[_Kind, Cell] = {}
        self._waiting: Counter[_Kind] = Counter()
        self._finished: Counter[_Kind] = Counter()
        if self._shown:
            for cell in missing:
                self._examples.setdefault(_kind(cell), cell)
                self._waiting[_kind(cell)] += 1
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),  # names of data may have brackets
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            console=self._console,
            auto_refresh=False,  # a refreshing thread would take time from the training ones
            disable=not self._shown,
        )
        self._overall = TaskID(0)
        self._lines: list[TaskID] = []
        self._start = self._refreshed = 0.0

    def __enter__(self) -> "Self":
        """Start the display."""
        self._progress.start()
        self._start = time.monotonic()
        self._overall = self._progress.add_task("sweep", total=self._total, completed=self._done, text="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state of the overall bar on the terminal."""
        if self._shown:
            self._refresh([])
        self._progress.stop()

    def update(self, outcomes: Sequence[Outcome], members: Sequence[Member]) -> None:
        """Take in what was finished, and show it now and then."""
        self._done += len(outcomes)
        self._failed += sum(outcome.status == "failed" for outcome in outcomes)
        if not self._shown:
            return
        for outcome in outcomes:
            kind = _kind(outcome.cell)
            self._waiting[kind] -= 1
            self._finished[kind] += 1
        if time.monotonic() - self._refreshed >= _REFRESH_SECONDS:
            self._refresh(members)

    def seconds_left(self, members: Sequence[Member]) -> float:
        """Time left, from the work that is left and the pace so far."""
        finished, waiting = (
            sum(count * self._speeds.seconds(self._examples[kind]) for kind, count in counts.items())
            for counts in (self._finished, self._waiting)
        )
        begun = sum(member.steps * self._speeds.step_seconds(member.cell) for member in members)
        left = max(0.0, waiting - begun)
        if not self._finished or finished + begun <= 0.0:
            return left / self._threads
        return left * (time.monotonic() - self._start) / (finished + begun)

    def _refresh(self, members: Sequence[Member]) -> None:
        self._refreshed = time.monotonic()
        failed = f", {self._failed} failed" if self._failed else ""
        left = timedelta(seconds=round(self.seconds_left(members)))
        text = f"{self._done}/{self._total} runs{failed}" + (f", {left} left" if self._done < self._total else "")
        self._progress.update(self._overall, completed=self._done, text=text)
        shown = members[:_MOST_LINES]
        while len(self._lines) > len(shown):
            self._progress.remove_task(self._lines.pop())
        while len(self._lines) < len(shown):
            self._lines.append(self._progress.add_task("", total=None, text=""))
        for line, member in zip(self._lines, shown, strict=True):
            loss = "" if member.validation_loss is None else f"best val {member.validation_loss:.2e}"
            self._progress.update(
                line, description=member.cell.label, total=member.cell.steps, completed=member.steps, text=loss
            )
        self._progress.refresh()


def _kind(cell: Cell) -> _Kind:
    return (*shape_of(cell), cell.n_samples, cell.epochs)

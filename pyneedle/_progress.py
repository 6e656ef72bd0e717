"""The progress bar on standard error; imported only where one is asked for."""

import time
from collections import deque
from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pyneedle._native import Progress as Snapshot

# Steps per second are those of the last few seconds.
_WINDOW_SECONDS = 5.0


@final
class ProgressBar:
    """Shows the epochs, losses, steps per second and time left of one run, or of many together.

    A context manager, and the callable that the trainer reports to. Shows nothing where standard error is no terminal.

    Parameters
    ----------
    plan : list of (epochs, steps per epoch)
        Of each run.
    """

    def __init__(self, plan: list[tuple[int, int]], console: Console | None = None) -> None:
        self._plan = plan
        self._console = Console(stderr=True) if console is None else console
        self._progress = Progress(
            TextColumn("{task.fields[epochs]}"),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[losses]}"),
            TextColumn("{task.fields[speed]:,.0f} steps/s"),
            TimeRemainingColumn(),
            console=self._console,
            # The trainer's reports come often enough; a refreshing thread would take time from its threads.
            auto_refresh=False,
            disable=not self._console.is_terminal,
        )
        self._task = TaskID(0)
        self._recent: deque[tuple[float, int]] = deque()

    def __enter__(self) -> "ProgressBar":
        """Start the bar."""
        self._progress.start()
        self._recent.append((time.monotonic(), 0))
        total = sum(epochs * steps for epochs, steps in self._plan)
        self._task = self._progress.add_task("", total=total, epochs=self._epochs(0, 0), losses="", speed=0.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state of the bar on the terminal."""
        self._progress.stop()

    def __call__(self, snapshots: list[Snapshot]) -> None:
        """Show the state of all runs."""
        if self._progress.disable:
            return
        steps = sum(snapshot.steps for snapshot in snapshots)
        # A run that ended early has no steps left to wait for.
        done = sum(
            epochs * per_epoch if snapshot.finished else snapshot.steps
            for snapshot, (epochs, per_epoch) in zip(snapshots, self._plan, strict=True)
        )
        finished = sum(snapshot.finished for snapshot in snapshots)
        self._progress.update(
            self._task,
            completed=done,
            epochs=self._epochs(snapshots[0].epochs, finished),
            losses=self._losses(snapshots),
            speed=self._speed(steps),
            refresh=True,
        )

    def _epochs(self, epochs: int, finished: int) -> str:
        if len(self._plan) == 1:
            return f"epoch {epochs}/{self._plan[0][0]}"
        return f"{finished}/{len(self._plan)} runs"

    def _losses(self, snapshots: list[Snapshot]) -> str:
        if len(snapshots) > 1:
            best = [s.best_validation_loss for s in snapshots if s.epochs > 0]
            return f"best val {min(best):.2e} to {max(best):.2e}" if best else ""
        one = snapshots[0]
        if one.epochs == 0:
            return ""
        # Short enough for a terminal of 80 columns.
        return f"train {one.train_loss:.2e} val {one.validation_loss:.2e}"

    def _speed(self, steps: int) -> float:
        now = time.monotonic()
        self._recent.append((now, steps))
        while len(self._recent) > 2 and now - self._recent[0][0] > _WINDOW_SECONDS:
            self._recent.popleft()
        then, before = self._recent[0]
        return (steps - before) / (now - then) if now > then else 0.0

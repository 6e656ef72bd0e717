"""Ctrl-C that waits until what must not be torn apart is done."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """SIGINT that comes within the block is dealt with at its end, however that is reached.

    Elsewhere than in the main thread, which alone is interrupted, and where SIGINT is ignored or no affair of Python's,
    nothing is changed.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda *signalled: came.append(signalled))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[-1])

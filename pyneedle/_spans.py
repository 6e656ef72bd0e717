"""Where arrays lie in memory, and whether one that is changed shares some with another."""

from collections.abc import Iterable
from typing import NamedTuple

from pyneedle import _checks


class Span(NamedTuple):
    """An array's memory, from its first byte to behind its last one."""

    first: int
    end: int
    changed: bool
    name: str  # of the argument
    key: str  # of the array in that, or ""


def meeting(spans: Iterable[Span]) -> tuple[Span, Span] | None:
    """Two spans that meet, of which one is changed; None where there are none."""
    farthest: Span | None = None
    farthest_changed: Span | None = None
    for span in sorted(spans):
        before = farthest if span.changed else farthest_changed
        if before is not None and span.first < before.end:
            return before, span
        if farthest is None or span.end > farthest.end:
            farthest = span
        if span.changed and (farthest_changed is None or span.end > farthest_changed.end):
            farthest_changed = span
    return None


def error(one: Span, other: Span) -> ValueError:
    """What to raise where these share memory."""
    first, second = (_checks.label(span.name, span.key) for span in (one, other))
    return ValueError(f"{first} and {second} must not share memory")

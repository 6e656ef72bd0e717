"""How much memory the runs of a sweep may use."""

from pyneedle import _machine

# Left to everything else on the machine.
_SHARE = 0.8
_UNKNOWN = 4 << 30


def available() -> int:
    """Bytes that runs and their data may use."""
    free = _machine.available_memory()
    return _UNKNOWN if free is None else int(_SHARE * free)

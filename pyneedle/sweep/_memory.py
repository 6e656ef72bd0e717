"""How much memory this process may use."""

from pathlib import Path

# Left to everything else on the machine.
_SHARE = 0.8
_UNKNOWN = 4 << 30
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available() -> int:
    """Bytes that may be used: what the system has free, or what the control group leaves, if that is less."""
    free = [bytes_ for bytes_ in (_system(), *(_group(*paths) for paths in _CGROUPS)) if bytes_ is not None]
    return int(_SHARE * max(0, min(free))) if free else _UNKNOWN


def _system() -> int | None:
    try:
        with Path("/proc/meminfo").open() as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not on every system
        return None


def _group(limit: str, usage: str) -> int | None:
    try:
        most, used = Path(limit).read_text().strip(), Path(usage).read_text().strip()
    except OSError:  # no control group, or of the other version
        return None
    # "max": no limit; version 1 says so by a number beyond any memory.
    return None if most == "max" else max(0, int(most) - int(used))

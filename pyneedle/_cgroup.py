"""What the control groups around this process, a container's say, let it use of processors and memory."""

import functools
import math
from collections.abc import Callable
from pathlib import Path

_CONTROL = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
# Version 2, and version 1: limit, use, and what of the use is files, which are given up when needed.
_MEMORY = (
    ("memory.max", "memory.current", ("inactive_file", "active_file")),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
)


@functools.cache  # every call of a network asks for the number of threads
def processors() -> int | None:
    """Processors' worth of time that the process may use, rounded up; None where no limit is set."""
    share = _least("cpu", _share)
    return None if share is None else max(1, math.ceil(share))


def memory() -> int | None:
    """Bytes that the process may take yet, 0 where it has too many; None where no limit is set."""
    room = _least("memory", _room)
    return None if room is None else max(0, int(room))


def _least(controller: str, left_by: Callable[[Path], float | None]) -> float | None:
    return min((left for group in _groups(controller) if (left := left_by(group)) is not None), default=None)


def _groups(controller: str) -> list[Path]:
    """The process's own group and those around it, each of which may have a limit; of both versions of the system.

    In a container its own group is where the outermost of them would be, and its path may lead nowhere.
    """
    try:
        lines = _OWN.read_text().splitlines()
    except OSError:  # not on every system
        return []
    folders = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        outermost = _CONTROL / controllers
        group = outermost / path.lstrip("/")
        folders += [folder for folder in (group, *group.parents) if folder.is_relative_to(outermost)]
    return folders


def _share(group: Path) -> float | None:
    """The quota of a group by its period: "max" or -1 is none."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return None if quota == "max" or int(quota) <= 0 else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no group, or none of this kind
        return None


def _room(group: Path) -> int | None:
    """What a group's limit leaves of memory beside what it uses, files apart."""
    for limit, usage, files in _MEMORY:
        try:
            most, used = (int((group / name).read_text()) for name in (limit, usage))
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            return most - used + sum(int(stat.get(name, 0)) for name in files)
        except (OSError, ValueError):  # no group, of the other version, or no limit: "max"
            continue
    return None

"""What the control group of this process, a container's say, lets it use of the processors."""

import functools
import math
from pathlib import Path

_CONTROL = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


@functools.cache  # every call of a network asks for the number of threads
def processors() -> int | None:
    """Processors' worth of time that the process may use, rounded up; None where no limit is set."""
    shares = [share for folder in _folders() if (share := _share(folder)) is not None]
    return max(1, math.ceil(min(shares))) if shares else None


def _folders() -> list[Path]:
    """The process's own group and those around it, each of which may have a limit; of both versions of the system."""
    folders = [_CONTROL, _CONTROL / "cpu", _CONTROL / "cpu,cpuacct"]  # in a container, its own group is mounted there
    try:
        lines = _OWN.read_text().splitlines()
    except OSError:  # not on every system
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = (_CONTROL / controllers if controllers else _CONTROL) / path.lstrip("/")
        folders += [group, *(folder for folder in group.parents if _CONTROL in folder.parents)]
    return folders


def _share(folder: Path) -> float | None:
    """The quota of a group by its period: "max" or -1 is none."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return None if quota == "max" or int(quota) <= 0 else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no group, or none of this kind
        return None

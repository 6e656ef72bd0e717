"""What this process may use of the machine: its processor, cores and memory, as the system tells."""

import os
import platform
from pathlib import Path

from pyneedle import _cgroup

_ROOT = Path("/")
_EXTENSIONS = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512dq",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "asimd",
    "sve",
)


def processor() -> str:
    """The processor's name."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def vector_extensions() -> list[str]:
    """Those of the processor's vector extensions that kernels could use."""
    found = _cpuinfo()
    flags = f"{found.get('flags', '')} {found.get('Features', '')}".split()
    return [name for name in _EXTENSIONS if name in flags]


def cores() -> int:
    """Cores that this process may run on, no more than its control group gives it the time of."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        allowed = os.cpu_count() or 1
    return min(allowed, _cgroup.processors() or allowed)


def available_memory() -> int | None:
    """Bytes that are free, or that the control groups leave, if that is less; None where the system does not say."""
    return min((size for size in (_free(), _cgroup.memory()) if size is not None), default=None)


def _cpuinfo() -> dict[str, str]:
    """What the system says about the first core; nothing where it says it otherwise."""
    return _entries(_ROOT / "proc/cpuinfo")


def _entries(path: Path) -> dict[str, str]:
    """The first value of each key in a file of lines "key: value"; nothing where there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    entries: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        entries.setdefault(key.strip(), value.strip())
    return entries


def _free() -> int | None:
    found = _entries(_ROOT / "proc/meminfo").get("MemAvailable")
    return None if found is None else int(found.split()[0]) * 1024

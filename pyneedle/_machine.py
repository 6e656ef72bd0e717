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
# Of a control group, version 2 and version 1: limit, use, and what of the use is files, which are given up when needed.
_GROUPS = (
    ("memory.max", "memory.current", ("inactive_file", "active_file")),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
    ),
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
    """Bytes that are free, or that the control group leaves, if that is less; None where the system does not say."""
    known = [size for size in (_system(), *(_group(*names) for names in _GROUPS)) if size is not None]
    return max(0, min(known)) if known else None


def _cpuinfo() -> dict[str, str]:
    """What the system says about the first core; nothing where it says it otherwise."""
    return _entries(_ROOT / "proc/cpuinfo", ":")


def _entries(path: Path, separator: str | None = None) -> dict[str, str]:
    """The first value of each key in a file of lines "key value"; nothing where there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    entries: dict[str, str] = {}
    for line in lines:
        key, *value = line.split(separator, 1)[:2] or [""]
        entries.setdefault(key.strip(), "".join(value).strip())
    return entries


def _system() -> int | None:
    found = _entries(_ROOT / "proc/meminfo", ":").get("MemAvailable")
    return None if found is None else int(found.split()[0]) * 1024


def _group(limit: str, usage: str, files: tuple[str, ...]) -> int | None:
    folder = _ROOT / "sys/fs/cgroup"
    try:
        most, used = (int((folder / name).read_text()) for name in (limit, usage))
    except (OSError, ValueError):  # no control group, or of the other version; or no limit: "max"
        return None
    known = _entries((folder / limit).with_name("memory.stat"))
    return most - used + sum(int(known.get(name, 0)) for name in files)

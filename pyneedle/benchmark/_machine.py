"""The machine and the versions that a time was taken with."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import pyneedle as pn
from pyneedle import _native

from ._peer import Peer

_FLAGS = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "asimd", "sve")


def cores() -> int:
    """Cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # no such call on this system
        return os.cpu_count() or 1


def _processor() -> tuple[str, str]:
    """Model and the vector extensions among its flags."""
    name, flags = platform.processor() or platform.machine(), ""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return name, flags
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in {"flags", "Features"}:
            there = set(value.split())
            flags = " ".join(flag for flag in _FLAGS if flag in there)
    return name, flags


def busy(machine: Mapping[str, str]) -> bool:
    """Whether other programs took more than a fifth of the machine before the run, so that ratios mean little."""
    try:
        return float(machine["load before the run"]) > 0.2 * int(machine["cores"])
    except ValueError:  # a system that does not say
        return False


def describe(peers: Sequence[Peer], threads: int) -> dict[str, str]:
    """What a reader needs to judge the numbers; "load" is that of other programs too, before the run."""
    model, flags = _processor()
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    versions = [f"pyneedle {pn.__version__} ({_native.active_level()})", f"Python {platform.python_version()}"]
    versions += [f"numpy {np.__version__}"]
    versions += [peer.version() for peer in peers if peer.available() is None and peer.name != "NumPy"]
    return {
        "processor": model,
        "vector extensions": flags or "unknown",
        "cores": str(cores()),
        "threads": str(threads),
        "system": f"{platform.system()} {platform.machine()}",
        "load before the run": load,
        "versions": ", ".join(versions),
    }

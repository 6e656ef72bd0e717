"""The machine and the versions that a time was taken with."""

import os
import platform
from collections.abc import Mapping, Sequence

import numpy as np

import pyneedle as pn
from pyneedle import _native
from pyneedle._machine import cores, processor, vector_extensions

from ._peer import Peer


def busy(machine: Mapping[str, str]) -> bool:
    """Whether other programs took more than a fifth of the machine before the run, so that ratios mean little."""
    try:
        return float(machine["load before the run"]) > 0.2 * int(machine["cores"])
    except ValueError:  # a system that does not say
        return False


def describe(peers: Sequence[Peer], threads: int) -> dict[str, str]:
    """What a reader needs to judge the numbers; "load" is that of other programs too, before the run."""
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    versions = [f"pyneedle {pn.__version__} ({_native.active_level()})", f"Python {platform.python_version()}"]
    versions += [f"numpy {np.__version__}"]
    versions += [peer.version() for peer in peers if peer.available() is None and peer.name != "NumPy"]
    return {
        "processor": processor(),
        "vector extensions": " ".join(vector_extensions()) or "unknown",
        "cores": str(cores()),
        "threads": str(threads),
        "system": f"{platform.system()} {platform.machine()}",
        "load before the run": load,
        "versions": ", ".join(versions),
    }

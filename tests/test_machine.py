"""What the system says about processor and memory, from files as Linux writes them."""

import platform

import numpy as np
import pytest

import pyneedle as pn
from pyneedle import _checks, _machine
from pyneedle.sweep import _memory

CPUINFO = """processor\t: 0
model name\t: Some CPU @ 2.00GHz
flags\t\t: fpu sse4_2 avx avx2 fma avx512fancy

processor\t: 1
model name\t: Another
flags\t\t: fpu sve
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd sve\n"
MEMINFO = "MemTotal:       16000 kB\nMemFree:         1000 kB\nMemAvailable:    8000 kB\n"


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Writes the system's files, by their paths."""
    monkeypatch.setattr(_machine, "_ROOT", tmp_path)

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def group(folder, limit, used, **stat):
    """A control group: version 2 in "sys__fs__cgroup", version 1 in its folder memory."""
    names = ("memory.max", "memory.current") if not folder.endswith("memory") else (
        "memory.limit_in_bytes", "memory.usage_in_bytes"
    )  # fmt: skip
    lines = "".join(f"{name} {value}\n" for name, value in stat.items())
    texts = (f"{limit}\n", f"{used}\n", f"anon 5\n{lines}")
    return {f"{folder}__{name}": text for name, text in zip((*names, "memory.stat"), texts, strict=True)}


V2, V1 = "sys__fs__cgroup", "sys__fs__cgroup__memory"


def test_processor(system):
    system(proc__cpuinfo=CPUINFO)
    assert _machine.processor() == "Some CPU @ 2.00GHz"
    assert _machine.vector_extensions() == ["sse4_2", "avx", "avx2", "fma"]
    system(proc__cpuinfo=ARM)
    assert _machine.processor() == (platform.processor() or platform.machine())
    assert _machine.vector_extensions() == ["asimd", "sve"]


def test_a_system_that_says_nothing(system):
    assert _machine.processor() == (platform.processor() or platform.machine())
    assert _machine.vector_extensions() == []
    assert _machine.available_memory() is None
    assert _memory.available() == 4 << 30
    _checks.memory(10**12, np.dtype(np.float64), "a giant")  # not known to be too much


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({}, 8000 * 1024),
        (group(V2, "max", 10**6), 8000 * 1024),
        (group(V2, 5_000_000, 2_000_000), 3_000_000),
        (group(V2, 5_000_000, 2_000_000, inactive_file=600_000, active_file=400_000), 4_000_000),
        (group(V2, 10**12, 2_000_000), 8000 * 1024),
        (group(V2, 1_000, 2_000), 0),
        (group(V1, 2**63 - 4096, 10**6), 8000 * 1024),
        (group(V1, 5_000_000, 2_000_000, inactive_file=7, total_inactive_file=1_000_000), 4_000_000),
    ],
)
def test_available_memory(system, files, available):
    """The control group's limit counts where it is less; files in its memory are given up when needed."""
    system(proc__meminfo=MEMINFO, **files)
    assert _machine.available_memory() == available
    assert _memory.available() == int(0.8 * available)


def test_what_does_not_fit_the_control_group_is_refused(system):
    system(proc__meminfo="MemAvailable: 900000000 kB\n", **group(V2, 400_000_000, 0))
    with pytest.raises(MemoryError, match=r"a data set of 60000000 rows with d=4 needs 1\.2 GB .* 0\.4 GB are avail"):
        pn.make_dataset("square", 4, 60_000_000)
    with pytest.raises(MemoryError, match=r"a GN with d=200 and alpha=50 needs 0\.4.* GB of memory, 0\.4 GB"):
        pn.GlobalNetwork(200, 50).init()


def test_cores():
    assert 1 <= _machine.cores() == _checks.threads(None)

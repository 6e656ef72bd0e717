"""What the system says about processor and memory, from files as Linux writes them."""

import platform

import numpy as np
import pytest

import pyneedle as pn
from pyneedle import _cgroup, _checks, _machine
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
    """Writes the system's files, by their paths; there is no control group."""
    monkeypatch.setattr(_machine, "_ROOT", tmp_path)
    monkeypatch.setattr(_cgroup, "_OWN", tmp_path / "none")

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


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


@pytest.mark.parametrize(("left", "available"), [(None, 8000 * 1024), (10**12, 8000 * 1024), (3_000_000, 3_000_000)])
def test_available_memory(system, monkeypatch, left, available):
    """What control groups leave counts where it is less."""
    system(proc__meminfo=MEMINFO)
    monkeypatch.setattr(_cgroup, "memory", lambda: left)
    assert _machine.available_memory() == available
    assert _memory.available() == int(0.8 * available)


def test_what_does_not_fit_the_control_group_is_refused(system, monkeypatch):
    system(proc__meminfo="MemAvailable: 900000000 kB\n")
    monkeypatch.setattr(_cgroup, "memory", lambda: 400_000_000)
    with pytest.raises(MemoryError, match=r"a data set of 60000000 rows with d=4 needs 1\.2 GB .* 0\.4 GB are avail"):
        pn.make_dataset("square", 4, 60_000_000)
    with pytest.raises(MemoryError, match=r"a GN with d=200 and alpha=50 needs 0\.4.* GB of memory, 0\.4 GB"):
        pn.GlobalNetwork(200, 50).init()


def test_cores():
    assert 1 <= _machine.cores() == _checks.threads(None)

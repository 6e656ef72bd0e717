"""What control groups leave of processors and memory, from made-up files of both versions of the system."""

import pytest

from pyneedle import _cgroup, _checks

ALONE = "0::/\n"  # a container's own view
NESTED = "0::/a/b\n"
VERSION_1 = "5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n3:cpuset:/\n"


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Writes what stands in /proc/self/cgroup, and files under /sys/fs/cgroup."""
    monkeypatch.setattr(_cgroup, "_CONTROL", tmp_path / "control")
    monkeypatch.setattr(_cgroup, "_OWN", tmp_path / "own")

    def write(own, files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "control" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")

    return write


def quota(group, quota, period):
    """Of processors, version 1."""
    return {f"{group}/cpu.cfs_quota_us": quota, f"{group}/cpu.cfs_period_us": period}


def memory(group, limit, used, **stat):
    """Of memory, version 2; version 1 where the group is one of "memory"."""
    limit_name, used_name = ("memory.max", "memory.current") if not group.startswith("memory") else (
        "memory.limit_in_bytes", "memory.usage_in_bytes"
    )  # fmt: skip
    lines = "\n".join(f"{name} {value}" for name, value in {"anon": 5, **stat}.items())
    return {
        f"{group}/{name}": text for name, text in {limit_name: limit, used_name: used, "memory.stat": lines}.items()
    }


@pytest.mark.parametrize(
    ("own", "files", "count"),
    [
        ("", {}, None),
        (ALONE, {}, None),
        (ALONE, {"cpu.max": "max 100000"}, None),
        ("1:cpu:/\n", quota("cpu", -1, 100_000), None),
        (ALONE, {"cpu.max": "200000 100000"}, 2),
        (ALONE, {"cpu.max": "150000 100000"}, 2),
        (ALONE, {"cpu.max": "10000 100000"}, 1),
        (ALONE, {"cpu.max": "6400000 100000"}, 64),
        (VERSION_1, quota("cpu,cpuacct/docker/a", 250_000, 100_000), 3),
        (VERSION_1, quota("cpu,cpuacct", 250_000, 100_000), 3),  # in a container, its group is the outermost one
        ("3:cpuset:/docker/a\n", quota("cpuset/docker/a", 250_000, 100_000), None),
        (NESTED, {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        (NESTED, {"a/b/cpu.max": "100000 100000", "a/cpu.max": "300000 100000"}, 1),
        (ALONE, {"cpu.max": "few"}, None),
        (ALONE, {"cpu.max": "100000 0"}, None),
    ],
)
def test_processors(system, own, files, count):
    system(own, files)
    assert _cgroup.processors.__wrapped__() == count


@pytest.mark.parametrize(
    ("own", "files", "left"),
    [
        ("", {}, None),
        (ALONE, memory(".", "max", 10**6), None),
        (ALONE, memory(".", 5_000_000, 2_000_000), 3_000_000),
        (ALONE, memory(".", 5_000_000, 2_000_000, inactive_file=600_000, active_file=400_000), 4_000_000),
        (ALONE, memory(".", 1_000, 2_000), 0),
        (NESTED, {**memory("a/b", 5_000_000, 1_000_000), **memory("a", 6_000_000, 3_000_000)}, 3_000_000),
        (NESTED, {**memory("a/b", "max", 1_000_000), **memory("a", 6_000_000, 3_000_000)}, 3_000_000),
        (VERSION_1, memory("memory", 5_000_000, 2_000_000), 3_000_000),
        (
            VERSION_1,
            memory("memory/docker/a", 5_000_000, 2_000_000, inactive_file=7, total_inactive_file=1_000_000),
            4_000_000,
        ),
    ],
)
def test_memory(system, own, files, left):
    """The narrowest group counts; files in its memory are given up when needed."""
    system(own, files)
    assert _cgroup.memory() == left


def test_a_system_without_groups(system):
    assert _cgroup.processors.__wrapped__() is None
    assert _cgroup.memory() is None


def test_threads_stay_within_it(monkeypatch):
    monkeypatch.setattr(_cgroup, "processors", lambda: 1)
    assert _checks.threads(None) == 1
    assert _checks.threads(7) == 7
    monkeypatch.setattr(_cgroup, "processors", lambda: 5000)
    everything = _checks.threads(None)
    monkeypatch.setattr(_cgroup, "processors", lambda: None)
    assert _checks.threads(None) == everything

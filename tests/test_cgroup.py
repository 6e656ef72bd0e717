"""The processors that a control group leaves, from made-up files of both versions of the system."""

import pytest

from pyneedle import _cgroup, _checks


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Writes files under a made-up /sys/fs/cgroup and /proc/self/cgroup; returns what is found then."""
    monkeypatch.setattr(_cgroup, "_CONTROL", tmp_path / "control")
    monkeypatch.setattr(_cgroup, "_OWN", tmp_path / "own")

    def found(own, **files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "control" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(path.name.replace("_max", ".max").replace("cpu_cfs", "cpu.cfs")).write_text(text + "\n")
        return _cgroup.processors.__wrapped__()

    return found


def test_no_limit(groups):
    assert groups("") is None
    assert groups("0::/\n") is None
    assert groups("0::/\n", cpu_max="max 100000") is None
    assert groups("1:cpu:/\n", cpu__cpu_cfs_quota_us="-1", cpu__cpu_cfs_period_us="100000") is None


@pytest.mark.parametrize(("quota", "count"), [("200000", 2), ("150000", 2), ("10000", 1), ("6400000", 64)])
def test_a_container(groups, quota, count):
    assert groups("0::/\n", cpu_max=f"{quota} 100000") == count


def test_version_1(groups):
    files = {
        "cpu,cpuacct__docker__a__cpu_cfs_quota_us": "250000",
        "cpu,cpuacct__docker__a__cpu_cfs_period_us": "100000",
    }
    assert groups("4:cpu,cpuacct:/docker/a\n3:cpuset:/\n", **files) == 3
    assert groups("3:cpuset:/docker/a\n") is None


def test_the_narrowest_group_counts(groups):
    assert groups("0::/a/b\n", a__b__cpu_max="max 100000", a__cpu_max="300000 100000") == 3
    assert groups("0::/a/b\n", a__b__cpu_max="100000 100000") == 1


def test_files_of_another_form(groups):
    assert groups("0::/\n", cpu_max="few") is None
    assert groups("0::/\n", cpu_max="100000 0") is None


def test_threads_stay_within_it(monkeypatch):
    monkeypatch.setattr(_cgroup, "processors", lambda: 1)
    assert _checks.threads(None) == 1
    assert _checks.threads(7) == 7
    monkeypatch.setattr(_cgroup, "processors", lambda: 5000)
    everything = _checks.threads(None)
    monkeypatch.setattr(_cgroup, "processors", lambda: None)
    assert _checks.threads(None) == everything

"""The Ray executor, on a real cluster on this machine."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from support.own_data import arrays, own, write
from support.sweeps import same_results, tiny

import pyneedle as pn
from pyneedle.sweep import read_results

MARK = "PYNEEDLE_TEST_OF_RAY"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of two workers."""
    ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "pyneedle[ray]"')
    os.environ[MARK] = str(os.getpid())
    # Workers look for modules in the folder where the cluster was started: in the checkout that is the source folder
    # pyneedle/, which has no native module.
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cluster"))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()
    os.chdir(before)
    del os.environ[MARK]


def busy_workers():
    """Processes of this cluster that run a task of ours."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            busy = folder.name.isdigit() and (folder / "cmdline").read_bytes().startswith(b"ray::LN")
            if busy and f"{MARK}={os.getpid()}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_same_results_as_local(cluster, tmp_path):
    sweep = tiny(network=["GN", "LCN", "LN"], d=[2, 3], repeat=range(4), penalty=[None, pn.L2(1e-6)])
    a = sweep.run(tmp_path / "a.sqlite", executor="ray")
    b = sweep.run(tmp_path / "b.sqlite")
    assert same_results(a, b)


def test_own_data_that_workers_see_and_that_they_do_not(cluster, tmp_path):
    files = [write(tmp_path / name, *arrays(seed)) for seed, name in enumerate(("a.npz", "b.npz"))]
    sweep = own(files, repeat=range(2))
    files[1].rename(tmp_path / "hidden.npz")
    frame = sweep.run(tmp_path / "a.sqlite", executor="ray")
    assert frame.groupby("data")["status"].unique().map(list).to_dict() == {"a.npz": ["completed"], "b.npz": ["failed"]}
    assert frame["error"].dropna().str.contains("No such file or directory").all()
    (tmp_path / "hidden.npz").rename(files[1])
    again = sweep.run(tmp_path / "a.sqlite", executor="ray")
    assert same_results(again, sweep.run(tmp_path / "b.sqlite"))


def test_a_worker_killed_in_the_middle(cluster, tmp_path):
    sweep = tiny(alpha=50, n_samples=2000, epochs=1000, repeat=range(4), kernel="direct")  # seconds each
    killed = []

    def kill():
        limit = time.monotonic() + 60
        while not killed and time.monotonic() < limit:
            time.sleep(0.05)
            for process in busy_workers()[:1]:
                os.kill(process, signal.SIGKILL)
                killed.append(process)

    killer = threading.Thread(target=kill)
    killer.start()
    a = sweep.run(tmp_path / "a.sqlite", executor="ray")
    killer.join()
    assert killed
    assert same_results(a, sweep.run(tmp_path / "b.sqlite"))


def test_a_long_run_goes_on_from_its_checkpoint(cluster, tmp_path, monkeypatch):
    """A worker that is killed between two checkpoints: the next one takes the run up, bitwise."""
    from pyneedle.sweep import _ray
    from pyneedle.sweep._checkpoint import Checkpoints

    path, begun = tmp_path / "a.sqlite", tmp_path / "begun"
    sweep = tiny(alpha=50, d=8, n_samples=5000, epochs=600, kernel="direct")
    file = Checkpoints(path, 1.0).path(sweep.cells[0])

    def train_task(cells, threads, keep, version, checkpoints):
        from pyneedle.sweep import _ray as there
        from pyneedle.sweep import _segments

        _segments._SAVING_SHARE = float("inf")
        state = checkpoints.load(cells[0])
        with begun.open("a") as log:
            log.write(f"{os.getpid()} {0 if state is None else state.epochs}\n")
        return there.train_task(cells, threads, keep, version, checkpoints)

    monkeypatch.setattr(_ray, "train_task", train_task)

    def kill():
        limit = time.monotonic() + 60
        while not file.exists() and time.monotonic() < limit:
            time.sleep(0.01)
        os.kill(int(begun.read_text().split()[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    frame = sweep.run(path, executor="ray", checkpoint_seconds=0.1)
    killer.join()
    first, second = (int(line.split()[1]) for line in begun.read_text().splitlines())
    assert first == 0
    assert 0 < second < 600
    assert not file.exists()
    assert same_results(frame, sweep.run(tmp_path / "b.sqlite", checkpoint_seconds=float("inf")))


def test_a_worker_that_does_not_see_the_folder_says_so(cluster, tmp_path, monkeypatch):
    from pyneedle.sweep import _ray

    def train_task(cells, threads, keep, version, checkpoints):
        from dataclasses import replace

        from pyneedle.sweep import _ray as there

        elsewhere = replace(checkpoints, store=tmp_path / "elsewhere" / "a.sqlite")
        return there.train_task(cells, threads, keep, version, elsewhere)

    monkeypatch.setattr(_ray, "train_task", train_task)
    with pytest.warns(RuntimeWarning, match=r"^no checkpoints on .*, which does not see '.*elsewhere'$"):
        frame = tiny(epochs=50).run(tmp_path / "a.sqlite", executor="ray", checkpoint_seconds=1e-9)
    assert frame["status"].tolist() == ["completed"]


def test_a_run_that_always_kills_its_worker_is_recorded(cluster, tmp_path, monkeypatch):
    from pyneedle.sweep import _ray

    def train_task(cells, *args):
        if any(cell.repeat == 1 for cell in cells):
            os._exit(1)
        from pyneedle.sweep import _ray as there

        return there.train_task(cells, *args)

    monkeypatch.setattr(_ray, "train_task", train_task)
    frame = tiny(repeat=range(3)).run(tmp_path / "a.sqlite", executor="ray")
    assert frame["status"].tolist() == ["completed", "failed", "completed"]
    assert "tried 3 times" in frame["error"][1]
    assert read_results(tmp_path / "a.sqlite")["status"].tolist() == ["completed", "failed", "completed"]


def test_without_ray(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'executor "ray" needs Ray: pip install "pyneedle\[ray\]"'):
        tiny().run(tmp_path / "a.sqlite", executor="ray")
    assert list(tmp_path.iterdir()) == []

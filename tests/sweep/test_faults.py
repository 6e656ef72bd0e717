"""Sweeps that are killed, interrupted, or hold runs that fail."""

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from support.fake_cuda import without_cuda
from support.sweeps import same_results, tiny

from pyneedle.sweep import Store, StoreError, _segments, _work, read_results
from pyneedle.sweep._outcome import Outcome

# A program that says when it begins; its first argument is the store.
PROGRAM = """
import sys
import pyneedle as pn
sweep = pn.Sweep(network=["LN", "LCN"], d=[3, 4], alpha=10, n_samples=1000, epochs={epochs}, repeat=range({repeats}))
print("begin", flush=True)
sweep.run(sys.argv[1], threads=2)
"""


def start(path, code):
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=path.parent,
    )
    assert process.stdout.readline() == "begin\n", process.stderr.read()
    return process


def end(process):
    """The end of a process's standard error, after it has ended."""
    return process.communicate(timeout=60)[1][-2000:]


# A hundred runs of some 40 ms, and two of a second or two. It says when a run goes on from a checkpoint.
LONG = """
import sys
import pyneedle as pn
from pyneedle.sweep import _segments
from pyneedle.sweep._checkpoint import Checkpoints

def load(self, cell):
    state = found(self, cell)
    if state is not None:
        print("resumed at epoch", state.epochs, file=sys.stderr, flush=True)
    return state

found, Checkpoints.load = Checkpoints.load, load
_segments._SAVING_SHARE = float("inf")
short = pn.Sweep(network="LN", d=[3, 4], alpha=10, n_samples=1000, epochs=400, repeat=range(50))
long = pn.Sweep(network="GN", d=4, alpha=10, n_samples=2000, epochs=1200, learning_rate=0.001, repeat=range(2))
print("begin", flush=True)
(short + long).run(sys.argv[1], threads=3, checkpoint_seconds={seconds})
"""
ALL = 102
EARLY = 4  # of the kills


def stored(path):
    """How many runs are in the store; 0 where there is none yet."""
    if not path.exists():
        return 0
    with Store(path) as store:
        return len(store.finished())


def checkpoints(folder):
    """The checkpoints there, each with the time that it was written."""
    found = {}
    for file in folder.glob("*.checkpoint"):
        with contextlib.suppress(FileNotFoundError):  # stored meanwhile
            found[file.name] = file.stat().st_mtime_ns
    return found


@pytest.mark.slow
def test_killed_until_it_is_finished(tmp_path):
    """SIGKILL loses no finished run and no checkpoint, and leaves what an undisturbed sweep leaves.

    When it comes depends on what the sweep has done since the last one, so that it falls into the sweep's work, and
    the sweep gets on, however fast the machine is. The first ones come while the store is made, or before any run.
    """
    path = tmp_path / "a.sqlite"
    chance = random.Random(1)
    counts, errors = [0], ""
    for kill in range(10):
        before, goal = checkpoints(tmp_path), counts[-1] + (chance.randint(1, 8) if kill >= EARLY else 0)
        process = start(path, LONG.format(seconds=0.2))
        try:
            while process.poll() is None and stored(path) < goal:
                if kill % 2 == 0 and checkpoints(tmp_path).items() - before.items():
                    break
                time.sleep(0.02)
            time.sleep(chance.uniform(0.0, 0.05))
        finally:
            process.kill()
            errors += process.communicate()[1]
        counts.append(stored(path))
        if counts[-1] > ALL - 20:
            break
    assert counts == sorted(counts)
    assert sum(0 < count < ALL for count in counts) >= 3, errors
    process = start(path, LONG.format(seconds=0.2))
    errors += process.communicate(timeout=200)[1]
    assert process.returncode == 0, errors
    assert "resumed at epoch" in errors
    undisturbed = start(tmp_path / "b.sqlite", LONG.format(seconds="float('inf')"))
    assert "resumed" not in undisturbed.communicate(timeout=200)[1]
    results = [read_results(tmp_path / name) for name in ("a.sqlite", "b.sqlite")]
    assert len(results[0]) == ALL
    assert same_results(*results)
    for cell in results[0]["cell"]:
        with Store(path) as killed, Store(tmp_path / "b.sqlite") as whole:
            arrays = killed.arrays(cell), whole.arrays(cell)
        assert arrays[0].keys() == arrays[1].keys()
        assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.sqlite", "b.sqlite"]


def test_two_drivers_on_one_store(tmp_path):
    path = tmp_path / "a.sqlite"
    process = start(path, PROGRAM.format(epochs=100_000, repeats=4))
    try:
        limit = time.monotonic() + 30
        while not (tmp_path / "a.sqlite.lock").exists() and time.monotonic() < limit:
            time.sleep(0.02)
        with pytest.raises(StoreError, match=f"is in use by process {process.pid} on "):
            tiny().run(path)
    finally:
        process.kill()
        process.communicate()
    assert len(tiny().run(path)) == 1


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_interrupted_by_the_keyboard(number, tmp_path):
    path = tmp_path / "a.sqlite"
    tiny(repeat=range(3)).run(path)
    process = start(path, PROGRAM.format(epochs=1_000_000, repeats=4))
    time.sleep(1.0)
    began = time.monotonic()
    process.send_signal(number)
    error = end(process)
    assert time.monotonic() - began < 10
    assert process.returncode != 0
    assert "KeyboardInterrupt" in error
    assert len(read_results(path)) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["a.sqlite"]


def test_interrupted_in_this_process(tmp_path):
    """What was finished when Ctrl-C came is stored, and the threads have ended."""
    path = tmp_path / "a.sqlite"
    sweep = tiny(repeat=range(3)) + tiny(d=4, alpha=50, epochs=10_000_000, n_samples=1000)
    before = threading.active_count()
    timer = threading.Timer(1.5, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        sweep.run(path, threads=2)
    timer.join()
    assert threading.active_count() == before
    assert len(read_results(path)) == 3
    assert len(tiny(repeat=range(4)).run(path)) == 4


@contextlib.contextmanager
def interrupted_writing(store):
    """A transaction of a store that Ctrl-C comes into."""
    with WRITING(store):
        signal.raise_signal(signal.SIGINT)
        yield


WRITING = Store._writing


def test_interrupted_while_it_stores(tmp_path, monkeypatch):
    """Runs that were finished are stored, and are not trained again; the interrupt comes after."""
    path = tmp_path / "a.sqlite"
    sweep = tiny(repeat=range(40))
    monkeypatch.setattr(Store, "_writing", interrupted_writing)
    stored = []
    add = Store.add
    monkeypatch.setattr(Store, "add", lambda self, outcomes: stored.extend(outcomes) or add(self, outcomes))
    with pytest.raises(KeyboardInterrupt):
        sweep.run(path, threads=1)
    monkeypatch.undo()
    assert 0 < len(read_results(path)) == len(stored)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert same_results(sweep.run(path), sweep.run(tmp_path / "b.sqlite"))


def test_an_interrupted_transaction_leaves_nothing(tmp_path, monkeypatch):
    cells = tiny(repeat=range(2)).cells
    with Store(tmp_path / "a.sqlite", write=True) as store:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "_writing", interrupted_writing)
            with pytest.raises(KeyboardInterrupt):
                store.add([Outcome(cells[0], "completed")])
        assert store.finished() == set()
        store.add([Outcome(cells[1], "completed")])
        assert store.finished() == {cells[1].id}


@pytest.fixture
def broken(monkeypatch):
    """Runs with repeat 2 fail while the list is empty, and say how often they were tried."""
    tried = []
    mended = []
    train = _work.train_ensemble

    def fail(runs, *args, **more):
        if not mended and any(run.seed == 2 for run in runs):
            tried.append(len(runs))
            raise MemoryError("no more of it")
        return train(runs, *args, **more)

    for module in (_work, _segments):
        monkeypatch.setattr(module, "train_ensemble", fail)
    return tried, mended


def test_a_failed_run_is_recorded_and_tried_again(tmp_path, broken):
    path = tmp_path / "a.sqlite"
    tried, mended = broken
    sweep = tiny(repeat=range(8))
    frame = sweep.run(path, threads=1)
    assert frame["status"].tolist() == ["completed"] * 2 + ["failed"] + ["completed"] * 5
    assert frame["error"][2] == "MemoryError: no more of it"
    assert frame.loc[[2], ["train_mse", "test_mse_original", "path_norm", "seconds"]].isna().all(axis=None)
    assert tried[-1] == 1  # in the end alone, so that no other run fails with it
    again = sweep.run(path, threads=1)
    assert again["status"].tolist() == frame["status"].tolist()
    assert again["finished_at"].drop(2).equals(frame["finished_at"].drop(2))
    assert sweep.estimate(path).failed == 1
    mended.append(True)
    assert sweep.run(path)["status"].tolist() == ["completed"] * 8
    assert same_results(sweep.run(path), sweep.run(tmp_path / "b.sqlite"))


def test_a_failure_replaces_no_result(tmp_path, broken):
    """Made again for its parameters, a run fails: its row and its arrays stay, and the caller hears of it."""
    path = tmp_path / "a.sqlite"
    tried, mended = broken
    sweep = tiny(repeat=range(4))
    mended.append(True)
    frame = sweep.run(path)
    lost = sweep.cells[2]
    with Store(path) as store:
        arrays = store.arrays(lost.id)
    mended.clear()
    with pytest.warns(RuntimeWarning, match=r"repeat 2: .* failed with MemoryError: no more of it; the stored result"):
        again = sweep.run(path, parameters=True, threads=1)
    assert tried
    assert same_results(again, frame)
    assert again["finished_at"][2] == frame["finished_at"][2]
    with Store(path) as store:
        kept = store.arrays(lost.id)
        assert [("parameters" in store.arrays(cell.id)) for cell in sweep.cells] == [True, True, False, True]
    assert kept.keys() == arrays.keys() == {"train_loss", "validation_loss", "dead_units", "on_units", "mixed_units"}
    assert all(np.array_equal(kept[name], arrays[name]) for name in arrays)
    mended.append(True)
    sweep.run(path, parameters=True)
    with Store(path) as store:
        assert "parameters" in store.arrays(lost.id)


def test_a_run_beyond_memory_fails_and_the_others_go_on(tmp_path):
    huge = tiny(network="GN", d=20_000, alpha=50, epochs=1)
    frame = (tiny(network=["GN", "LN"], repeat=range(3)) + huge).run(tmp_path / "a.sqlite")
    failed = frame[frame["status"] == "failed"]
    assert len(failed) == 1
    assert failed["d"].item() == 20_000
    assert "MemoryError" in failed["error"].item()
    assert (frame["status"] == "completed").sum() == 6


def test_a_device_that_is_not_there(tmp_path, monkeypatch):
    without_cuda(monkeypatch)
    path = tmp_path / "a.sqlite"
    sweep = tiny(device=["cpu", "cuda"])
    for attempt in (sweep.run, sweep.estimate):
        with pytest.raises(RuntimeError, match="device 'cuda' is not available"):
            attempt(path)
    assert list(tmp_path.iterdir()) == []
    done = tiny().run(path)
    with pytest.raises(RuntimeError, match="device 'cuda' is not available"):
        (tiny(d=3) + sweep).run(path)
    assert same_results(read_results(path), done)  # the other run was not trained either

"""Long runs that are put down at intervals, killed, and taken up again."""

import errno
import hashlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.sweeps import same_results, tiny

import pyneedle as pn
from pyneedle.sweep import Store, _checkpoint, _segments
from pyneedle.sweep._checkpoint import Checkpoints

LONG = {"network": "GN", "d": 4, "alpha": 10, "n_samples": 2000, "epochs": 300, "learning_rate": 0.001}

# Its first argument is the store.
PROGRAM = f"""
import sys
import pyneedle as pn
from pyneedle.sweep import _segments
_segments._SAVING_SHARE = float("inf")
pn.Sweep(**{LONG!r}).run(sys.argv[1], threads=1, parameters=True, checkpoint_seconds=0.05)
"""


@pytest.fixture
def pieces(monkeypatch):
    """(first, end) epoch of each piece that is trained here."""
    seen = []
    monkeypatch.setattr(_segments, "_SAVING_SHARE", float("inf"))  # whatever the disk takes
    train = _segments.train_ensemble

    def spy(runs, *args, **more):
        seen.extend((run.resume.epochs if run.resume else 0, run.epochs) for run in runs)
        return train(runs, *args, **more)

    monkeypatch.setattr(_segments, "train_ensemble", spy)
    return seen


def arrays(path, cell):
    with Store(path) as store:
        return store.arrays(cell.id)


def same_arrays(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_a_run_in_pieces_is_bitwise_the_run_in_one(tmp_path, pieces):
    sweep = tiny(network=["GN", "LCN", "LN"], epochs=9, penalty=["none", "l1:1e-6"], init=["paper", "glorot"])
    whole = sweep.run(tmp_path / "a.sqlite", parameters=True, checkpoint_seconds=float("inf"))
    assert pieces == [(0, 9)] * len(pieces)
    pieces.clear()
    cut = sweep.run(tmp_path / "b.sqlite", parameters=True, checkpoint_seconds=1e-9)
    assert any(piece == (3, 4) for piece in pieces)
    assert same_results(whole, cut)
    for cell in sweep.cells:
        assert same_arrays(arrays(tmp_path / "a.sqlite", cell), arrays(tmp_path / "b.sqlite", cell))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.sqlite", "b.sqlite"]


def test_killed_between_checkpoints(tmp_path, pieces):
    sweep = pn.Sweep(**LONG)
    (cell,) = sweep.cells
    path = tmp_path / "a.sqlite"
    checkpoint = Checkpoints(path, 1.0).path(cell)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stderr=subprocess.PIPE, cwd=tmp_path)
    try:
        limit = time.monotonic() + 60
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.005)
        time.sleep(0.02)
    finally:
        process.kill()
        error = process.communicate()[1]
    assert checkpoint.exists(), error
    (tmp_path / f".{checkpoint.name}.1-2.tmp").write_bytes(b"half")  # killed while it wrote

    resumed = sweep.run(path, threads=1, parameters=True)
    assert pieces[0][0] > 0, "it began anew"
    assert pieces[-1][1] == cell.epochs
    assert [file.name for file in tmp_path.iterdir()] == ["a.sqlite"]
    other = tmp_path / "b.sqlite"
    assert same_results(resumed, sweep.run(other, threads=1, parameters=True, checkpoint_seconds=float("inf")))
    assert same_arrays(arrays(path, cell), arrays(other, cell))
    assert len(arrays(path, cell)["train_loss"]) == cell.epochs


def put_down(path, cell, epochs=3):
    """A checkpoint of a cell after some epochs, as a killed program leaves it."""
    dataset = cell.make_dataset()
    fit = pn.train_ensemble([replace(cell.make_run(dataset), epochs=epochs, keep_state=True)], progress=False)[0]
    checkpoints = Checkpoints(path, 60.0)
    assert checkpoints.save(cell, fit.state)
    return checkpoints.path(cell)


def test_what_a_checkpoint_holds(tmp_path):
    (cell,) = tiny(epochs=9).cells
    put_down(tmp_path / "a.sqlite", cell)
    dataset = cell.make_dataset()
    wanted = pn.train_ensemble([replace(cell.make_run(dataset), epochs=3, keep_state=True)], progress=False)[0].state
    state = Checkpoints(tmp_path / "a.sqlite", 60.0).load(cell)
    for name in ("parameters", "m", "v", "best"):
        assert np.array_equal(getattr(state, name), getattr(wanted, name))
    for name in ("epochs", "steps", "best_epoch", "best_validation_loss"):
        assert getattr(state, name) == getattr(wanted, name)
    assert same_arrays(state.history, wanted.history)
    assert Checkpoints(tmp_path / "b.sqlite", 60.0).load(cell) is None


def flipped(data):
    """The same with one bit of the last array changed."""
    return data[:-1] + bytes([data[-1] ^ 1])


def with_header(data, **changes):
    """The same with other entries of the header, and a right checksum."""
    start = len(b"pyneedle checkpoint\n")
    size = int.from_bytes(data[start + 32 : start + 40], "little")
    header = {**json.loads(data[start + 40 : start + 40 + size]), **changes}
    text = json.dumps(header).encode()
    rest = len(text).to_bytes(8, "little") + text + data[start + 40 + size :]
    return data[:start] + hashlib.sha256(rest).digest() + rest


BAD = {
    "it is damaged: its checksum is wrong": flipped,
    "it is damaged: its": lambda data: data[:30],
    "it is damaged;": lambda data: data[:52] + b"\xff" * 8 + data[60:],  # the length of the header
    "checksum is wrong": lambda data: data[:-100],
    "it is not a checkpoint of pyneedle": lambda data: b"notes\n",
    "not a checkpoint": lambda data: b"",
    "it has version 2 of the format": lambda data: with_header(data, version=2),
    r"it is that of another run \(abc\)": lambda data: with_header(data, cell="abc"),
    "computed with isa None": lambda data: with_header(data, producer={"pyneedle": pn.__version__}),
}


@pytest.mark.parametrize("message", BAD)
def test_a_checkpoint_that_can_not_be_used(message, tmp_path, pieces):
    sweep = tiny(epochs=9)
    path = tmp_path / "a.sqlite"
    file = put_down(path, sweep.cells[0])
    file.write_bytes(BAD[message](file.read_bytes()))
    with pytest.warns(RuntimeWarning, match=f"^the checkpoint '.*' is not used: .*{message}.* the run starts anew$"):
        frame = sweep.run(path)
    assert pieces == [(0, 9)]
    assert not file.exists()
    assert same_results(frame, sweep.run(tmp_path / "b.sqlite"))


def test_a_checkpoint_of_another_store_or_cell_stays(tmp_path, pieces):
    a, b = tiny(epochs=9, repeat=range(2)).cells
    files = [put_down(tmp_path / "other.sqlite", a), put_down(tmp_path / "a.sqlite", b)]
    pn.Sweep.from_cells([a]).run(tmp_path / "a.sqlite")
    assert pieces == [(0, 9)]
    assert all(file.exists() for file in files)
    pn.Sweep.from_cells([b]).run(tmp_path / "a.sqlite")
    assert pieces == [(0, 9), (3, 9)]
    # Killed after the row was stored, before its checkpoint was removed.
    put_down(tmp_path / "a.sqlite", a)
    pn.Sweep.from_cells([b]).run(tmp_path / "a.sqlite")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.sqlite", files[0].name]


def test_a_failed_run_keeps_its_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "a.sqlite"
    sweep = tiny(epochs=9)
    file = put_down(path, sweep.cells[0])
    with monkeypatch.context() as patch:
        patch.setattr(_segments, "train_ensemble", lambda *args, **more: 1 / 0)
        assert sweep.run(path)["status"].tolist() == ["failed"]
    assert file.exists()
    assert sweep.run(path)["status"].tolist() == ["completed"]
    assert not file.exists()


def test_a_full_disk_costs_the_checkpoints_only(tmp_path, monkeypatch):
    def full(file, cell, state):
        file.write(b"some")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_checkpoint, "_write", full)
    sweep = tiny(epochs=9)
    with pytest.warns(RuntimeWarning, match="cannot write the checkpoint '.*': No space left on device; the run goes"):
        cut = sweep.run(tmp_path / "a.sqlite", checkpoint_seconds=1e-9)
    assert [file.name for file in tmp_path.iterdir()] == ["a.sqlite"]
    assert same_results(cut, sweep.run(tmp_path / "b.sqlite"))


def test_short_runs_are_not_put_down(tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoints, "save", lambda *args: pytest.fail("a checkpoint of a short run"))
    assert len(tiny(epochs=50).run(tmp_path / "a.sqlite")) == 1


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_intervals_that_can_not_be(seconds, tmp_path):
    with pytest.raises(ValueError, match="checkpoint_seconds must be above 0"):
        tiny().run(tmp_path / "a.sqlite", checkpoint_seconds=seconds)


def test_who_reaches_the_folder(tmp_path):
    with Store(tmp_path / "a.sqlite", write=True) as store:
        here = Checkpoints(store.path, 60.0, store.holder)
        assert here.reachable()
        assert not replace(here, holder="process 1 on elsewhere").reachable()
    assert not here.reachable()
    assert not Checkpoints(Path("/nowhere/a.sqlite"), 60.0, here.holder).reachable()

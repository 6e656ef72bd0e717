"""The store: what is in it, who may write to it, and what else may lie where it should be."""

import os
import sqlite3
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from support.sweeps import same_results, tiny

import pyneedle as pn
from pyneedle.sweep import Store, StoreError, read_results

COLUMNS = {
    "network", "target", "d", "alpha", "n_samples", "penalty", "strength", "repeat", "epochs", "batch_size",
    "train_mse", "validation_mse", "test_mse", "test_mse_original", "path_norm", "best_epoch", "status", "seconds",
    "kernel", "device", "cell",
}  # fmt: skip


def test_the_frame_is_what_train_returns(tmp_path):
    sweep = tiny(network=["GN", "LN"], d=[2, 3], penalty=[None, pn.L1(1e-8)], repeat=range(2), epochs=4)
    frame = sweep.run(tmp_path / "a.sqlite", parameters=True)
    assert set(frame.columns) >= COLUMNS
    assert list(frame["cell"]) == [cell.id for cell in sweep.cells]
    with Store(tmp_path / "a.sqlite") as store:
        for cell, (_, row) in zip(sweep.cells, frame.iterrows(), strict=True):
            kind = pn.GlobalNetwork if cell.network == "GN" else pn.LocalNetwork
            ds = pn.make_dataset("square", cell.d, 100)
            fit = pn.train(kind(cell.d, 4), ds, epochs=4, penalty=cell.penalty, seed=cell.repeat)
            for name in ("train_mse", "validation_mse", "test_mse", "test_mse_original", "path_norm", "best_epoch"):
                assert row[name] == getattr(fit, name), name
            for name in ("status", "kernel", "isa", "device", "epochs", "batch_size"):
                assert row[name] == getattr(fit, name), name
            assert (row["network"], row["d"], row["alpha"], row["repeat"]) == (cell.network, cell.d, 4, cell.repeat)
            assert (row["penalty"], row["strength"]) == (("l1", 1e-8) if cell.penalty else ("none", 0.0))
            assert row["seconds"] > 0
            arrays = store.arrays(cell.id)
            for name, values in fit.history.items():
                assert arrays[name].dtype == values.dtype
                assert np.array_equal(arrays[name], values)
            flat = np.concatenate([value.ravel() for value in fit.parameters.values()])
            assert np.array_equal(arrays["parameters"], flat)


def test_types_of_the_frame(tmp_path):
    path = tmp_path / "a.sqlite"
    frame = tiny(repeat=2**63 - 1).run(path)
    assert frame["repeat"].tolist() == [2**63 - 1]
    assert frame["d"].dtype == np.int64
    assert frame["strength"].dtype == np.float64
    assert frame["shuffle"].dtype == bool
    assert read_results(path).dtypes.equals(frame.dtypes)
    with Store(tmp_path / "empty.sqlite", write=True):
        pass
    empty = read_results(tmp_path / "empty.sqlite")
    assert len(empty) == 0
    assert list(empty.columns) == list(frame.columns)


def test_finished_runs_are_not_repeated_and_a_larger_grid_reuses_them(tmp_path):
    path = tmp_path / "a.sqlite"
    first = tiny(repeat=range(2)).run(path)
    again = tiny(repeat=range(2)).run(path)
    pd.testing.assert_frame_equal(first, again)  # also the times
    larger = tiny(repeat=range(4), d=[2, 3]).run(path)
    assert len(larger) == 8
    kept = larger[larger["cell"].isin(first["cell"])]
    assert kept["finished_at"].tolist() == first["finished_at"].tolist()
    smaller = tiny(repeat=1).run(path)
    assert smaller["finished_at"].tolist() == first["finished_at"].tolist()[1:]
    assert len(read_results(path)) == 8


def test_arrays_are_optional(tmp_path):
    path = tmp_path / "a.sqlite"
    cell = tiny().cells[0].id

    def names():
        with Store(path) as store:
            return set(store.arrays(cell))

    history = {"train_loss", "validation_loss", "dead_units", "on_units", "mixed_units"}
    first = tiny().run(path, history=False)
    assert names() == set()
    # Asked for later, they are made: the run gives the same numbers again.
    second = tiny().run(path, parameters=True)
    assert names() == history | {"parameters"}
    assert same_results(first, second)
    third = tiny().run(path, history=False)
    assert third["finished_at"].tolist() == second["finished_at"].tolist()


@pytest.mark.parametrize("first", ["history", "parameters"])
def test_arrays_that_are_there_stay(first, tmp_path):
    """Asked for another kind of array, a stored run is made again with the kind that it has; a new one without."""
    path = tmp_path / "a.sqlite"
    kinds = {"history": {"train_loss", "validation_loss", "dead_units", "on_units", "mixed_units"}}
    kinds["parameters"] = {"parameters"}
    second = "parameters" if first == "history" else "history"
    stored = tiny().run(path, **{first: True, second: False})
    sweep = tiny(repeat=range(2))
    frame = sweep.run(path, threads=1, **{first: False, second: True})
    assert frame["finished_at"][0] > stored["finished_at"][0]
    with Store(path) as store:
        old, new = (store.arrays(cell.id) for cell in sweep.cells)
    assert set(old) == kinds["history"] | kinds["parameters"]
    assert set(new) == kinds[second]
    again = sweep.run(path, **{first: False, second: True})
    assert again["finished_at"].tolist() == frame["finished_at"].tolist()


def test_diverged_runs_are_results(tmp_path):
    path = tmp_path / "a.sqlite"
    sweep = tiny(learning_rate=[1e38, 0.01], epochs=9)
    frame = sweep.run(path)
    assert frame["status"].tolist() == ["diverged", "completed"]
    assert frame["epochs_finished"].tolist()[1] == 9
    assert frame["error"].isna().all()
    pd.testing.assert_frame_equal(sweep.run(path), frame)


def test_what_is_not_finite_survives(tmp_path):
    from pyneedle.sweep._outcome import Outcome

    cells = tiny(repeat=range(3)).cells
    numbers = [float("nan"), float("inf"), 1e-300]
    with Store(tmp_path / "a.sqlite", write=True) as store:
        store.add([Outcome(cell, "diverged", test_mse=value) for cell, value in zip(cells, numbers, strict=True)])
    with Store(tmp_path / "a.sqlite") as store:
        from pyneedle.sweep._frame import read_frame

        assert np.array_equal(read_frame(store, cells)["test_mse"], numbers, equal_nan=True)


def test_two_writers_are_one_too_many(tmp_path):
    path = tmp_path / "a.sqlite"
    with Store(path, write=True) as store:
        with pytest.raises(StoreError, match=f"is in use by process {os.getpid()} on "):
            tiny().run(path)
        # Readers do not mind.
        assert len(read_results(path)) == 0
        code = f"import pyneedle.sweep as s; s.Store({str(path)!r}, write=True)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert f"StoreError: {str(path)!r} is in use by process {os.getpid()}" in done.stderr
        link = tmp_path / "link.sqlite"
        link.symlink_to(path)
        with pytest.raises(StoreError, match="is in use"):
            Store(link, write=True)
        assert store.finished() == set()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.sqlite", "link.sqlite"]
    assert len(tiny().run(path)) == 1


def test_a_lock_of_a_dead_process_holds_nobody(tmp_path):
    path = tmp_path / "a.sqlite"
    code = f"""
        import os, pyneedle.sweep as s
        store = s.Store({str(path)!r}, write=True)
        os._exit(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, cwd=tmp_path)
    assert (tmp_path / "a.sqlite.lock").exists()
    assert len(tiny().run(path)) == 1


@pytest.mark.parametrize("content", [b"network,d\nLN,4\n", b"SQLite format 3\0" + bytes(40), b"\0" * 5000])
def test_a_file_that_is_no_store_stays_as_it_is(content, tmp_path):
    path = tmp_path / "a.sqlite"
    path.write_bytes(content)
    for attempt in (lambda: tiny().run(path), lambda: read_results(path)):
        with pytest.raises(StoreError, match="is not a store of pyneedle"):
            attempt()
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["a.sqlite"]


def test_a_database_of_another_program_stays_as_it_is(tmp_path):
    path = tmp_path / "a.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE runs (cell TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program's; it was left as it is"):
        tiny().run(path)
    assert path.read_bytes() == before


def test_a_newer_schema_stays_as_it_is(tmp_path):
    path = tmp_path / "a.sqlite"
    tiny().run(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    before = path.read_bytes()
    for attempt in (lambda: tiny(d=3).run(path), lambda: read_results(path)):
        with pytest.raises(StoreError, match="written by a newer pyneedle: its schema has version 2"):
            attempt()
    assert path.read_bytes() == before


def test_a_damaged_store_is_an_error(tmp_path):
    path = tmp_path / "a.sqlite"
    tiny(repeat=range(20)).run(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    with pytest.raises(StoreError):
        read_results(path)


def test_an_empty_file_becomes_a_store(tmp_path):
    path = tmp_path / "a.sqlite"
    path.touch()
    with pytest.raises(StoreError, match="is empty: there are no results to read"):
        read_results(path)
    assert len(tiny().run(path)) == 1


def test_places_where_no_store_can_be(tmp_path):
    with pytest.raises(StoreError, match="its folder does not exist"):
        tiny().run(tmp_path / "no" / "a.sqlite")
    with pytest.raises(StoreError, match=r"cannot read .*: Is a directory"):
        tiny().run(tmp_path)
    with pytest.raises(StoreError, match="does not exist: there are no results to read"):
        read_results(tmp_path / "a.sqlite")
    assert list(tmp_path.iterdir()) == []


# Root may write anywhere; so this becomes nobody, once everything that nobody may be unable to read is imported.
AS_NOBODY = """
import os, sys
import pyneedle as pn
from pyneedle.sweep import StoreError, read_results
store, other = sys.argv[1:]
sweep = pn.Sweep(network="LN", d=2, alpha=4, n_samples=100, epochs=3)
sweep.run(other)
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(len(read_results(store)))
try:
    sweep.run(store)
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("what", ["file", "folder"])
def test_read_only(what, tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    path = folder / "a.sqlite"
    tiny().run(path)
    before = path.read_bytes()
    for parent in (tmp_path, *tmp_path.parents[:2]):  # pytest's own folders
        if parent.stat().st_uid == os.geteuid() and parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(0o755)
    path.chmod(0o444)
    folder.chmod(0o555 if what == "folder" else 0o777)
    try:
        command = [sys.executable, "-c", AS_NOBODY, str(path), str(tmp_path / "b.sqlite")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    finally:
        folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    rows, message = done.stdout.splitlines()
    assert rows == "1"
    assert ("cannot write beside" if what == "folder" else "readonly database") in message
    assert path.read_bytes() == before


def test_a_full_disk(tmp_path):
    """A limit on the size of files stands for it: the write fails in the middle of a sweep."""
    path = tmp_path / "a.sqlite"
    sweep = tiny(repeat=range(40), epochs=20)
    tiny(repeat=range(3), epochs=20).run(path)
    code = """
        import resource, sys
        import pyneedle as pn
        from pyneedle.sweep import StoreError
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        sweep = pn.Sweep(network="LN", d=2, alpha=4, n_samples=100, epochs=20, repeat=range(40))
        try:
            sweep.run(sys.argv[1])
        except StoreError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert "cannot write to" in done.stdout
    assert "the runs that were stored before are intact" in done.stdout
    stored = read_results(path)
    assert 3 <= len(stored) < 40
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    undisturbed = sweep.run(tmp_path / "b.sqlite")
    assert same_results(stored, undisturbed[undisturbed["cell"].isin(stored["cell"])])
    assert same_results(sweep.run(path), undisturbed)


def test_a_disk_that_was_full_when_the_store_was_opened(tmp_path):
    """Nothing is left of the attempt, and the same process can open the store once there is room."""
    path = tmp_path / "a.sqlite"
    code = """
        import os, resource, sys
        import pyneedle as pn
        from pyneedle.sweep import StoreError
        sweep = pn.Sweep(network="LN", d=2, alpha=4, n_samples=100, epochs=3)
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, unlimited[1]))
        try:
            sweep.run(sys.argv[1])
        except StoreError as error:
            print(error)
        print(os.listdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        print(len(sweep.run(sys.argv[1])))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"cannot write beside {str(path)!r}: File too large", "[]", "1"]


def test_stores_that_were_never_finished_are_removed(tmp_path):
    """What a killed program was making goes when the store is opened for writing; names that are alike stay."""
    path = tmp_path / "a.sqlite"
    code = f"""
        import os, sqlite3
        import pyneedle.sweep as s
        from pyneedle.sweep import _schema
        connect = sqlite3.connect
        class Killed(sqlite3.Connection):
            def executescript(self, script):
                super().executescript("BEGIN; CREATE TABLE runs (cell TEXT); PRAGMA cache_spill = 1;")
                os._exit(9)
        sqlite3.connect = lambda *args, **more: connect(*args, **more, factory=Killed)
        s.Store({str(path)!r}, write=True)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, cwd=tmp_path)
    assert done.returncode == 9
    left = [file.name for file in tmp_path.glob(".a.sqlite.*.tmp*")]
    assert any(name.endswith(".tmp-journal") for name in left), left
    others = [".a.sqlite.csv.7-8.tmp", ".b.sqlite.7.tmp", ".a.sqlite.7.tmp-notes", "a.sqlite.7.tmp"]
    for name in [*others, ".a.sqlite.7.tmp", ".a.sqlite.7.tmp-wal"]:
        (tmp_path / name).touch()
    with pytest.raises(StoreError, match="does not exist"):
        read_results(path)
    assert (tmp_path / ".a.sqlite.7.tmp").exists()  # whoever only reads may not be alone
    for _ in range(2):
        assert len(tiny().run(path)) == 1
        assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*others, "a.sqlite"])
        (tmp_path / ".a.sqlite.7.tmp").touch()

"""Sweeps over own data: .npz files instead of a target, known by the numbers in them."""

import dataclasses
import os
import pickle
import shutil
import sqlite3

import numpy as np
import pandas as pd
import pytest
from support import fake_cuda
from support.own_data import ROWS, D, arrays, own, write
from support.sweeps import same_results, tiny
from typer.testing import CliRunner

import pyneedle as pn
from pyneedle.cli import app
from pyneedle.sweep import Cell, DataFile, Store, _groups, _plot, _ray, _segments, read_results
from pyneedle.sweep._checkpoint import Checkpoints
from pyneedle.sweep._cost import run_bytes


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "measured.npz", *arrays())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_results_are_those_of_train(file, tmp_path, dtype):
    sweep = own(
        file, network=["LN", "GN"], n_samples=[100, ROWS], penalty=[None, "l1:1e-6"], repeat=[0, 1], dtype=dtype
    )
    frame = sweep.run(tmp_path / "a.sqlite")
    x, y = arrays()
    for cell, (_, row) in zip(sweep.cells, frame.iterrows(), strict=True):
        kind = pn.GlobalNetwork if cell.network == "GN" else pn.LocalNetwork
        dataset = pn.Dataset.from_arrays(x[: cell.n_samples], y[: cell.n_samples], dtype=dtype)
        fit = pn.train(kind(D, 4), dataset, epochs=2, penalty=cell.penalty, seed=cell.repeat)
        for name in ("train_mse", "validation_mse", "test_mse", "test_mse_original", "path_norm", "best_epoch"):
            assert row[name] == getattr(fit, name), name
        assert (row["n_samples"], row["batch_size"]) == (cell.n_samples, fit.batch_size)
        assert (row["target"], row["data"], row["d"], row["sort"]) == ("data", "measured.npz", D, "none")


def test_the_columns_stay_as_they_are_unless_sort_is_named(file):
    x, y = arrays()
    for sort, wanted in (
        (None, x),
        ("none", x),
        ("abs", np.take_along_axis(x, np.argsort(np.abs(x), axis=1), axis=1)),
        ("value", np.sort(x, axis=1)),
    ):
        (cell,) = own(file, **({} if sort is None else {"sort": sort}), dtype="float64").cells
        dataset = cell.make_dataset()
        assert cell.sort == dataset.sort == (sort or "none")
        assert np.array_equal(np.concatenate([dataset.test.x, dataset.train.x, dataset.validation.x]), wanted)
        assert np.array_equal(dataset.test.y, y[: len(dataset.test)] / D)
    assert tiny().cells[0].sort == "abs"


def test_sorting_the_smallest_integer(tmp_path):
    """Its absolute value is no int8."""
    x = np.tile(np.array([-128, 5, -3], np.int8), (10, 1))
    (cell,) = own(write(tmp_path / "a.npz", x, np.arange(10)), sort="abs").cells
    assert cell.make_dataset().train.x[0].tolist() == [-3, 5, -128]


def test_what_the_hash_depends_on(file, tmp_path):
    (cell,) = own(file).cells
    shutil.copy(file, tmp_path / "copy.npz")
    np.savez_compressed(tmp_path / "small.npz", y=arrays()[1], x=arrays()[0], notes=np.array(["some", "text"]))
    assert own([tmp_path / "copy.npz", file, str(tmp_path / "small.npz")]).cells == (cell,)
    os.utime(file, (0, 0))
    file.rename(tmp_path / "renamed.npz")
    moved = own(tmp_path / "renamed.npz").cells[0]
    assert (moved.id, moved) == (cell.id, cell)
    assert hash(moved) == hash(cell)
    x, y = arrays()
    hashes = {cell.id, tiny(d=D, n_samples=ROWS, sort="none").cells[0].id}
    x[-1, -1] = np.nextafter(x[-1, -1], 9)
    hashes.add(own(write(file, x, y)).cells[0].id)
    y[0] += 1e-9
    hashes.add(own(write(file, x, y)).cells[0].id)
    hashes.add(own(write(file, x.reshape(-1, 1), np.zeros(x.size))).cells[0].id)
    hashes.add(own(write(file, x.reshape(1, -1).repeat(ROWS, axis=0)[:, :D], y)).cells[0].id)
    hashes |= {dataclasses.replace(cell, n_samples=100).id, dataclasses.replace(cell, sort="abs").id}
    assert len(hashes) == 8


def test_a_content_is_a_cell_again_with_its_data(file):
    (cell,) = own(file, n_samples=100, penalty="l2:1e-7").cells
    data = DataFile.read(file)
    again = Cell.from_content(cell.content, data)
    assert (again.id, again.data) == (cell.id, data)
    assert pickle.loads(pickle.dumps(cell)) == cell
    assert Cell(network="LN", data=data, n_samples=100, alpha=4, epochs=2, penalty=pn.L2(1e-7)) == cell
    with pytest.raises(ValueError, match=f"data must be those of the content, with SHA-256 {data.sha256}, got None"):
        Cell.from_content(cell.content)
    with pytest.raises(ValueError, match=f"data must be those of the content, with SHA-256 None, got {data.sha256}"):
        Cell.from_content(tiny().cells[0].content, data)


def test_the_store_says_where_the_data_were(file, tmp_path):
    path = tmp_path / "a.sqlite"
    (cell,) = own(file).cells
    first = own(file).run(path)
    with Store(path) as store:
        assert store.data_files() == {cell.data.sha256: str(file)}
        assert store.own_data() == {cell.id: cell.data.sha256}
    file.rename(tmp_path / "renamed.npz")
    again = own(tmp_path / "renamed.npz", repeat=range(2)).run(path)
    assert again["finished_at"][0] == first["finished_at"][0]  # not trained again
    # One file, one name: the last.
    assert again["data"].tolist() == ["renamed.npz"] * 2
    assert set(again["data_sha256"]) == {cell.data.sha256}
    frame = read_results(path)
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert pd.read_csv(tmp_path / "a.csv")["data"].tolist() == ["renamed.npz"] * 2


def test_a_store_of_a_version_without_own_data(file, tmp_path):
    path = tmp_path / "a.sqlite"
    tiny().run(path)
    with Store(path) as store:
        assert store.data_files() == store.own_data() == {}
    connection = sqlite3.connect(path)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert tables == {"runs", "arrays"}  # as they always were
    assert read_results(path)["data"].isna().all()
    (tiny() + own(file)).run(path)
    frame = read_results(path)
    assert frame["target"].tolist() == ["data", "square"]
    assert frame["data"][0] == "measured.npz"
    assert pd.isna(frame["data"][1])


def test_two_files(file, tmp_path):
    other = write(tmp_path / "other.npz", *arrays(1, 100, 2))
    sweep = own([file, other], network=["LN", "LCN"], repeat=range(2))
    assert {(cell.d, cell.n_samples) for cell in sweep.cells} == {(D, ROWS), (2, 100)}
    assert len(sweep) == 8
    assert [cell.label for cell in own([file, other]).cells] == [
        "LN, d=3, measured.npz, N=200, repeat 0",
        "LN, d=2, other.npz, N=100, repeat 0",
    ]
    frame = sweep.run(tmp_path / "a.sqlite")
    assert frame["status"].eq("completed").all()
    assert frame.groupby("data")["d"].unique().map(list).to_dict() == {"measured.npz": [3], "other.npz": [2]}
    assert _groups.groups_of(frame, "n_samples", "test_mse")[:2] == ["data", "network"]
    labels = _plot.draw(frame, "epochs", "test_mse", ["data", "network"]).axes[0].get_legend_handles_labels()[1]
    assert labels == ["measured.npz, LCN", "measured.npz, LN", "other.npz, LCN", "other.npz, LN"]


def test_two_files_of_one_name(file, tmp_path):
    (tmp_path / "there").mkdir()
    other = write(tmp_path / "there" / "measured.npz", *arrays(1))
    frame = (own([file, other]) + tiny(d=D, n_samples=ROWS)).run(tmp_path / "a.sqlite")
    mine = frame[frame["target"] == "data"]
    assert _groups.groups_of(mine, "n_samples", "test_mse") == ["data_sha256"]
    figure = _plot.draw(frame, "n_samples", "test_mse", ["target", "data", "data_sha256"])
    wanted = [f"data, measured.npz, {value[:12]}" for value in sorted(mine["data_sha256"])]
    assert figure.axes[0].get_legend_handles_labels()[1] == [*wanted, "square"]


def test_resuming(file, tmp_path):
    path = tmp_path / "a.sqlite"
    first = own(file, n_samples=[50, 100]).run(path)
    frame = own(file, n_samples=[50, 100, 200]).run(path)
    assert frame["finished_at"].tolist()[:2] == first["finished_at"].tolist()
    assert same_results(frame, own(file, n_samples=[50, 100, 200]).run(tmp_path / "b.sqlite"))


CHANGES = {
    "has changed since the sweep was made: its SHA-256 was": lambda file: write(file, arrays()[0], arrays(1)[1]),
    "can't be read any more on ": lambda file: file.unlink(),
    "x must be finite, got nan": lambda file: write(file, arrays()[0] * np.nan, arrays()[1]),
}


@pytest.mark.parametrize("message", CHANGES)
def test_a_file_that_changes_before_the_training(message, file, tmp_path):
    path = tmp_path / "a.sqlite"
    sweep = own(file, repeat=range(2)) + tiny()
    CHANGES[message](file)
    frame = sweep.run(path)
    assert frame["status"].tolist() == ["failed", "failed", "completed"]
    for error in frame["error"][:2]:
        assert error.startswith(f"RuntimeError: data {str(file)!r} ")
        assert message in error
    write(file, *arrays())
    assert sweep.run(path)["status"].tolist() == ["completed"] * 3


def test_a_run_goes_on_from_its_checkpoint(file, tmp_path, monkeypatch):
    path = tmp_path / "a.sqlite"
    sweep = own(file, epochs=20)
    train, states = _segments.train_ensemble, []

    def interrupted(runs, *args, **more):
        states.append(runs[0].resume)
        if len(states) == 3:
            raise KeyboardInterrupt
        return train(runs, *args, **more)

    monkeypatch.setattr(_segments, "train_ensemble", interrupted)
    monkeypatch.setattr(_segments, "_SAVING_SHARE", float("inf"))
    checkpoints = Checkpoints(path, 1e-9)
    with pytest.raises(KeyboardInterrupt):
        _segments.train_segments(
            sweep.cells, [sweep.cells[0].make_run(sweep.cells[0].make_dataset())], 1, None, checkpoints, 1.0
        )
    assert checkpoints.exists(sweep.cells[0])
    frame = sweep.run(path, checkpoint_seconds=1e-9)
    assert states[3].epochs == 2
    assert same_results(frame, sweep.run(tmp_path / "b.sqlite", checkpoint_seconds=float("inf")))


def test_on_a_gpu(file, tmp_path, monkeypatch):
    cuda = fake_cuda.install(monkeypatch)
    other = write(tmp_path / "other.npz", *arrays(1))
    sweep = own([file, other], device="cuda", repeat=range(2))
    frame = sweep.run(tmp_path / "gpu.sqlite")
    wanted = own([file, other], repeat=range(2)).run(tmp_path / "cpu.sqlite")
    for name in ("data", "train_mse", "validation_mse", "test_mse", "best_epoch"):
        assert frame[name].equals(wanted[name]), name
    assert [count for count, _ in cuda.trained] == [4]  # both files side by side
    assert sweep.estimate().shapes[0].runs == 4


def test_a_worker_that_does_not_see_the_file(file):
    from pyneedle import __version__
    from pyneedle.sweep._outcome import Keep

    cells = own(file, repeat=range(2)).cells
    keeps = [Keep()] * 2
    seen = _ray.train_task(cells, 1, keeps, __version__)
    assert [outcome.status for outcome in seen.outcomes] == ["completed"] * 2
    elsewhere = [dataclasses.replace(cell, data=dataclasses.replace(cell.data, path="/no/a.npz")) for cell in cells]
    _ray._datasets = None  # as a fresh worker begins
    unseen = _ray.train_task(elsewhere, 1, keeps, __version__)
    assert [outcome.status for outcome in unseen.outcomes] == ["failed"] * 2
    assert f"data '/no/a.npz' can't be read any more on {os.uname().nodename}" in unseen.outcomes[0].error


def test_the_estimate(file, tmp_path):
    sweep = own(file, network=["LN", "GN"], repeat=range(2))
    assert sweep.estimate(threads=1).cells == 4
    data = DataFile.read(file)
    large = dataclasses.replace(data, n_samples=10**6)
    (cell,) = own(data).cells
    # All rows are read, however few are used.
    assert run_bytes(dataclasses.replace(cell, data=large)) - run_bytes(cell) == (10**6 - ROWS) * (D + 1) * 8


MISTAKES = {
    "target must not be given beside data, whose y is the target": {"target": "square"},
    "data_seed must not be given beside data, which are not drawn": {"data_seed": 0},
    "d must be 3, the columns of x in ": {"d": [3, 4]},
    "n_samples must be at most 200, the rows of ": {"n_samples": [100, 201]},
    "n_samples must be at least 5, so that no split is empty, got 4": {"n_samples": 4},
    "batch must be at most the 64 training rows of n_samples=100, got 65": {"batch": 65, "n_samples": 100},
    "data must be the path of an .npz file or a DataFile, got 3 (int)": {"data": 3},
    "data must be the path of an .npz file or a DataFile, got b'a.npz' (bytes)": {"data": b"a.npz"},
    "data must be the path of an .npz file or a DataFile, got None": {"data": [None]},
    "data must have at least one value, got []": {"data": []},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes(message, file):
    with pytest.raises((TypeError, ValueError)) as caught:
        own(**{"data": file, **MISTAKES[message]})
    assert message in str(caught.value)


def test_mistakes_in_a_cell(file):
    data = DataFile.read(file)
    for message, settings in {
        "target must not be given beside data, whose y is the target, got 'square'": {"data": data, "target": "square"},
        "data_seed must not be given beside data, which are not drawn, got 1": {"data": data, "data_seed": 1},
        "data must be a DataFile, as DataFile.read(path) returns it, got 'a.npz'": {"data": "a.npz"},
        "d must be given where there are no own data that have one": {},
        "target must be one of 'square', 'quartic', 'cosine', got 'data'": {"d": 3, "target": "data"},
    }.items():
        with pytest.raises((TypeError, ValueError)) as caught:
            Cell(network="LN", **settings)
        assert message in str(caught.value)


TOML = """
network = ["LN", "LCN"]
alpha = 4
epochs = 2

[[grid]]
data = "measured.npz"
n_samples = [100, 200]

[[grid]]
data = ["there/other.npz", "measured.npz"]
sort = "abs"
"""


@pytest.fixture
def toml(file, tmp_path):
    (tmp_path / "there").mkdir()
    write(tmp_path / "there" / "other.npz", *arrays(1, 100, 2))
    path = tmp_path / "some.toml"
    path.write_text(TOML)
    return path


def test_toml(toml, file, tmp_path, monkeypatch):
    """Paths are relative to the file, from whatever folder; absolute ones stay."""
    monkeypatch.chdir("/")
    sweep = pn.Sweep.from_toml(toml)
    networks = {"network": ["LN", "LCN"]}
    wanted = own(file, n_samples=[100, 200], **networks)
    wanted += own([tmp_path / "there" / "other.npz", file], sort="abs", **networks)
    assert sweep.cells == wanted.cells
    elsewhere = tmp_path / "there" / "again.toml"
    for text in (sweep.to_toml(), pn.Sweep.from_cells([*sweep.cells, *tiny().cells]).to_toml()):
        elsewhere.write_text(text)
        again = pn.Sweep.from_toml(elsewhere)
        assert again.cells[: len(sweep)] == sweep.cells
    assert again.cells[len(sweep) :] == tiny().cells


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('network = "LN"\ndata = "no.npz"\n', "some.toml: data must be an .npz file"),
        ('network = "LN"\ndata = 3\n', "some.toml: data must be the path of an .npz file"),
        ('target = "square"\n' + TOML, "some.toml, grid 1: target must not be given beside data"),
        (TOML + "n_samples = 150\n", "some.toml, grid 2: n_samples must be at most 100, the rows of "),
        ('network = "LN"\ndata = { file = "a.npz" }\n', "some.toml: data has an unknown key 'file'"),
    ],
)
def test_mistakes_on_the_command_line(text, message, toml):
    toml.write_text(text)
    result = CliRunner().invoke(app, ["sweep", str(toml)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1
    assert not toml.with_suffix(".sqlite").exists()


def test_commands(toml, tmp_path):
    def run(*args):
        result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(a) for a in args])
        assert result.exit_code == 0, result.output
        return result.stdout

    store = toml.with_suffix(".sqlite")
    assert "8 cells, 0 of them there, 8 to do" in run("sweep", toml, "--dry-run")
    assert "8 runs in " in run("sweep", toml)
    assert "8 cells, 8 of them there, 0 to do" in run("sweep", toml, "--dry-run")
    printed = run("results", store)
    assert "measured.npz" in printed
    assert "other.npz" in printed
    run("results", store, "--csv", tmp_path / "a.csv")
    assert pd.read_csv(tmp_path / "a.csv")["data"].value_counts().to_dict() == {"measured.npz": 6, "other.npz": 2}
    run("plot", store, "--x", "n_samples")
    assert (tmp_path / "some.png").stat().st_size > 1000

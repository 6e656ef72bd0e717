"""`pyneedle sweep`, `pyneedle results`, `pyneedle plot`."""

import contextlib
import io
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pandas as pd
import pytest
from support.fake_cuda import without_cuda
from support.sweeps import tiny
from typer.testing import CliRunner

import pyneedle as pn
from pyneedle.cli import app
from pyneedle.sweep import Cell, _measure, _segments, _work, read_results
from pyneedle.sweep._checkpoint import Checkpoints

FILE = """
network = ["LN", "GN"]
d = { from = 2, to = 4 }
alpha = 4
n_samples = 100
epochs = 2
repeat = [0, 1]
"""
HUGE = tiny(network="GN", d=20_000, alpha=50)  # no machine has the memory


def run(*args):
    return CliRunner().invoke(app, [str(a) for a in args])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some.toml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A finished sweep with penalties, a diverged run and two networks."""
    path = tmp_path_factory.mktemp("store") / "runs.sqlite"
    sweep = tiny(network=["GN", "LN"], d=[2, 3], repeat=range(3), penalty=[None, pn.L1(1e-6)])
    (sweep + tiny(d=5, learning_rate=1e38, epochs=9)).run(path)
    return path


def test_help():
    """Brackets are printed as they are, not taken for markup."""
    result = run("sweep", "--help")
    assert result.exit_code == 0
    plain = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", result.output).replace("│", " ").split())
    assert "lists and ranges of them, [[grid]]s." in plain
    for command in ("sweep", "reproduce"):
        plain = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", run(command, "--help").output).replace("│", " ").split())
        assert "This machine (threads, or its GPU), or a Ray cluster." in plain


def test_sweep(file, tmp_path):
    result = run("sweep", file, "--store", tmp_path / "a.sqlite", "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "12 runs" in result.stdout
    assert "12 completed" in result.stdout
    assert result.stderr == ""  # no terminal: no bars
    frame = read_results(tmp_path / "a.sqlite")
    assert len(frame) == 12
    again = run("sweep", file, "--store", tmp_path / "a.sqlite", "--quiet")
    assert (again.exit_code, again.output) == (0, "")
    pd.testing.assert_frame_equal(read_results(tmp_path / "a.sqlite"), frame)


def test_how_often_runs_are_put_down(file, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Checkpoints, "save", lambda self, cell, state: saved.append(state.epochs))
    for seconds, wanted in (("inf", []), ("1e-9", [1] * 12)):
        store = tmp_path / f"{seconds}.sqlite"
        assert run("sweep", file, "--store", store, "--checkpoint-seconds", seconds, "--quiet").exit_code == 0
        assert saved == wanted


def test_the_store_is_named_after_the_sweep(file, tmp_path):
    assert run("sweep", file, "--quiet").exit_code == 0
    assert len(read_results(tmp_path / "some.sqlite")) == 12


def test_dry_run(file, tmp_path):
    store = tmp_path / "a.sqlite"
    result = run("sweep", file, "--store", store, "--dry-run", "--threads", 2)
    assert result.exit_code == 0, result.output
    assert "12 cells, 0 of them there, 12 to do" in result.stdout
    assert re.search(r"time    about \S+ s on 2 threads", result.stdout)
    assert re.search(r"memory  \S+ MB of \S+ GB", result.stdout)
    assert not store.exists()
    tiny(repeat=range(2)).run(store)
    assert "12 cells, 2 of them there, 10 to do" in run("sweep", file, "--store", store, "--dry-run").stdout
    run("sweep", file, "--store", store, "--quiet")
    result = run("sweep", file, "--store", store, "--dry-run")
    assert result.stdout == "12 cells, 12 of them there, 0 to do\n"


def test_an_estimate_is_near_the_time_taken(tmp_path):
    sweep = tiny(network=["LN", "GN"], d=4, n_samples=2000, epochs=60, alpha=20)
    estimate = sweep.estimate(threads=1)
    assert [line.runs for line in estimate.shapes] == [1, 1]
    seconds = sweep.run(tmp_path / "a.sqlite", threads=1)["seconds"].sum()
    # Wide: the machine may be busy.
    assert seconds / 20 < estimate.seconds < 20 * seconds


def test_an_estimate_counts_data_and_what_a_run_takes_beside_its_steps(monkeypatch):
    train, draw = _measure.train_ensemble, Cell.make_dataset

    def slowly(function):
        def slow(*args, **more):
            time.sleep(0.1)
            return function(*args, **more)

        return slow

    monkeypatch.setattr(_measure, "train_ensemble", slowly(train))
    assert tiny(repeat=range(20)).estimate(threads=4).seconds >= 2.0  # the interpreter does it for one at a time
    monkeypatch.setattr(_measure, "train_ensemble", train)
    monkeypatch.setattr(Cell, "make_dataset", slowly(draw))
    assert tiny(data_seed=range(40)).estimate(threads=2).seconds >= 2.0
    assert tiny(repeat=range(40)).estimate(threads=2).seconds < 2.0  # on the same data


BAD = {
    "some.toml: unknown key 'netwrok'; did you mean 'network'?": ("netwrok = 1\n", [], 2),
    "some.toml: d must be at least 1, got 0": ('network = "LN"\nd = 0\n', [], 2),
    "some.toml is not valid TOML": ("network = LN\n", [], 2),
    "--threads must be at least 1, got 0": (FILE, ["--threads", "0"], 2),
    "--checkpoint-seconds must be above 0, got nan": (FILE, ["--checkpoint-seconds", "nan"], 2),
    "its folder does not exist": (FILE, ["--store", "no/such/runs.sqlite"], 1),
    "--executor": (FILE, ["--executor", "slurm"], 2),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_sweeps(message, file):
    text, options, status = BAD[message]
    file.write_text(text)
    result = run("sweep", file, *options)
    assert result.exit_code == status
    assert message in re.sub(r"\x1b\[[0-9;]*m", "", result.stderr)
    assert "Traceback" not in result.output


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_level_that_can_not_be(options, file, monkeypatch):
    monkeypatch.setenv("PYNEEDLE_ISA", "avx3")
    result = run("sweep", file, *options)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: PYNEEDLE_ISA ")
    assert result.stderr.count("\n") == 1
    assert list(file.parent.iterdir()) == [file]


def test_a_sweep_that_is_not_there(tmp_path):
    result = run("sweep", tmp_path / "no.toml")
    assert result.exit_code == 1
    assert "cannot read" in result.stderr


def test_failed_runs_fail(file):
    huge = '[[grid]]\n[[grid]]\nnetwork = "GN"\nd = 20_000\nalpha = 50\n'
    file.write_text(FILE + huge)
    result = run("sweep", file)
    assert result.exit_code == 1
    assert "12 completed, 2 failed" in result.stdout
    assert "GN, d=20000, repeat 0: MemoryError" in result.stderr
    assert "2 of 14 runs failed; they will be tried again" in result.stderr


def test_failing_for_further_arrays_fails(file, monkeypatch):
    assert run("sweep", file).exit_code == 0
    for module in (_work, _segments):
        monkeypatch.setattr(module, "train_ensemble", lambda *args, **more: 1 / 0)
    with pytest.warns(RuntimeWarning, match="ZeroDivisionError: division by zero; the stored result stays"):
        result = run("sweep", file, "--parameters")
    assert result.exit_code == 1
    assert "12 runs in " in result.stdout
    assert ": 12 completed" in result.stdout
    assert "LN, d=2, repeat 0: failed when it was trained again for arrays" in result.stderr
    assert "12 of 12 runs failed" in result.stderr
    assert run("sweep", file).exit_code == 0


def test_a_warning_is_one_sentence(tmp_path):
    (tmp_path / "some.toml").write_text('network = "LN"\nd = 2\nalpha = 4\nn_samples = 100\nepochs = 2\n')
    (cell,) = pn.Sweep.from_toml(tmp_path / "some.toml").cells
    checkpoint = Checkpoints(tmp_path / "some.sqlite", 60.0).path(cell)
    checkpoint.write_bytes(b"notes")
    command = [sys.executable, "-m", "pyneedle", "sweep", "some.toml", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    reason = "it is not a checkpoint of pyneedle; the run starts anew"
    assert done.stderr == f"Warning: the checkpoint {str(checkpoint)!r} is not used: {reason}\n"


def test_a_device_that_is_not_there(file, monkeypatch):
    without_cuda(monkeypatch)
    file.write_text(FILE + 'device = ["cpu", "cuda"]\n')
    for options in ([], ["--dry-run"]):
        result = run("sweep", file, *options)
        assert result.exit_code == 1
        assert "device 'cuda' is not available: this build of pyneedle has no CUDA module" in result.stderr


def test_interrupting_the_program(file, tmp_path):
    file.write_text(FILE + "\n[[grid]]\nepochs = 2\n[[grid]]\nepochs = 1_000_000_000\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "pyneedle", "sweep", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.startswith("Error: the sweep was interrupted; what was finished is in ")
    assert err.count("\n") == 1
    assert out == ""


def test_results(store, tmp_path):
    result = run("results", store)
    assert result.exit_code == 0
    assert "25 runs (24 completed, 1 diverged)" in result.stdout
    csv, parquet = tmp_path / "a.csv", tmp_path / "a.parquet"
    assert run("results", store, "--csv", csv).exit_code == 0
    frame = read_results(store)
    read = pd.read_csv(csv)
    assert list(read.columns) == list(frame.columns)
    for name in ("test_mse", "path_norm", "seconds", "cell", "repeat"):
        pd.testing.assert_series_equal(read[name], frame[name])  # exact
    pytest.importorskip("pyarrow", reason='pyarrow is not installed: pip install "pyneedle[parquet]"')
    assert run("results", store, "--parquet", parquet).exit_code == 0
    pd.testing.assert_frame_equal(pd.read_parquet(parquet), frame)


def test_a_pipe_cuts_nothing_off(store, file):
    """Where the output is no terminal, there is no width that a table would have to fit into."""
    for command in (["results", store], ["sweep", file, "--dry-run"]):
        result = CliRunner(env={"COLUMNS": "40"}).invoke(app, [str(part) for part in command])
        assert result.exit_code == 0
        assert "…" not in result.stdout
    frame = read_results(store)
    best = frame["test_mse_original"].min()
    assert f"{best:.4g}" in run("results", store).stdout


@pytest.mark.parametrize("option", ["--csv", "--parquet"])
def test_results_to_standard_output(option, store, tmp_path):
    if option == "--parquet":
        pytest.importorskip("pyarrow", reason='pyarrow is not installed: pip install "pyneedle[parquet]"')
    command = [sys.executable, "-m", "pyneedle", "results", str(store), option, "-"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, check=True)
    read = (pd.read_csv if option == "--csv" else pd.read_parquet)(io.BytesIO(done.stdout))
    pd.testing.assert_series_equal(read["test_mse"], read_results(store)["test_mse"])
    assert done.stderr == b"25 runs written to /dev/stdout\n"
    assert list(tmp_path.iterdir()) == []


def test_results_are_aligned(store):
    """Text begins below its heading, numbers end below theirs."""
    heading, _, *rows = [line for line in run("results", store).stdout.splitlines() if line.strip()][:-1]
    assert len(rows) == 25
    names = {match[0]: match.span() for match in re.finditer(r"\S+", heading)}
    for line in rows:
        cells = [match.span() for match in re.finditer(r"\S+", line)]
        assert len(cells) == len(names)
        for (name, (start, end)), (first, last) in zip(names.items(), cells, strict=True):
            if name in ("network", "penalty", "status"):
                assert first == start, name
            else:
                assert last == end, name


def test_results_without_pyarrow(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run("results", store, "--parquet", tmp_path / "a.parquet")
    assert result.exit_code == 1
    assert 'pip install "pyneedle[parquet]"' in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--csv", "--parquet"])
@pytest.mark.parametrize("name", ["runs.sqlite", "link.csv", "other.db"])
def test_results_never_replace_a_database(option, name, store, tmp_path):
    kept = tmp_path / "runs.sqlite"
    shutil.copy(store, kept)
    (tmp_path / "link.csv").symlink_to(kept)
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE notes (text)")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    result = run("results", kept, option, tmp_path / name)
    assert result.exit_code == 1
    message = f"{option}: cannot write {str(tmp_path / name)!r}: it is a SQLite database, and was left as it is"
    assert result.stderr == f"Error: {message}\n"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_plot_never_replaces_its_store(store, tmp_path):
    kept = tmp_path / "runs.png"
    shutil.copy(store, kept)
    result = run("plot", kept, "--x", "d")
    assert result.exit_code == 1
    assert "it is a SQLite database, and was left as it is" in result.stderr
    assert kept.read_bytes() == store.read_bytes()


def test_nothing_is_written_where_one_file_can_not_be(store, tmp_path):
    for options in (["--csv", tmp_path], ["--csv", tmp_path / "a.csv", "--parquet", tmp_path / "no" / "a.parquet"]):
        result = run("results", store, *options)
        assert result.exit_code == 1
        assert re.search(
            r"Error: --\w+: cannot write '.*': (it is a directory|No such file or directory)\n", result.stderr
        )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["results", "."], ["plot", ".", "--x", "d"]):
        result = run(*command)
        assert result.exit_code == 1
        assert "Is a directory" in result.stderr


@pytest.mark.parametrize("command", [["results"], ["plot", "--x", "d"]])
def test_no_store(command, tmp_path):
    (tmp_path / "a.csv").write_text("network\n")
    for name, message in (("a.csv", "is not a store of pyneedle"), ("no.sqlite", "does not exist")):
        result = run(command[0], tmp_path / name, *command[1:])
        assert result.exit_code == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_store_without_finished_runs(tmp_path):
    for name, sweep in (("none.sqlite", pn.Sweep.from_cells([])), ("failed.sqlite", HUGE)):
        sweep.run(tmp_path / name)
        if name == "none.sqlite":
            assert run("results", tmp_path / name).stdout == "no runs yet\n"
        result = run("plot", tmp_path / name, "--x", "d")
        assert result.exit_code == 1
        assert "the store has no finished runs" in result.stderr
        assert not (tmp_path / name).with_suffix(".png").exists()


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_plot(store, tmp_path, suffix):
    out = tmp_path / f"a.{suffix}"
    options = ["--x", "d", "--y", "test_mse_original", "--group", "network", "--group", "penalty", "--log-x", "--log-y"]
    result = run("plot", store, *options, "--out", out)
    assert result.exit_code == 0, result.output
    assert out.read_bytes().startswith({"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix])


def test_what_a_plot_shows(store):
    from pyneedle.sweep import _plot

    frame = read_results(store)
    frame = frame[frame["d"] < 5]
    axes = _plot.draw(frame, "d", "test_mse", log_y=True).axes[0]
    labels = {text.get_text() for text in axes.get_legend().get_texts()}
    l1 = r"L1, $\lambda = 10^{-6}$"
    assert labels == {"GN, no penalty", f"GN, {l1}", "LN, no penalty", f"LN, {l1}"}
    assert axes.xaxis.get_majorticklocs().tolist() == [2, 3]
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    means = {line.get_label(): line for line in axes.get_lines()}
    part = frame[(frame["network"] == "GN") & (frame["penalty"] == "none")]
    wanted = part.groupby("d")["test_mse"].apply(lambda values: values.prod() ** (1 / len(values)))
    assert means["GN, no penalty"].get_xdata().tolist() == [2, 3]
    assert means["GN, no penalty"].get_ydata() == pytest.approx(wanted.to_numpy())
    points = [line for line in axes.get_lines() if len(line.get_xdata()) == 6]
    assert len(points) == 4
    assert len(axes.containers) == 4  # error bars


def test_what_a_plot_does_not_tell_apart_is_said(store, tmp_path):
    def notes(*options):
        result = run("plot", store, "--x", "d", "--out", tmp_path / "a.png", *options)
        assert result.exit_code == 0, result.output
        return result.stderr.splitlines()

    averaged = "Note: runs that differ in {} are averaged and drawn as repeats: no --group names it"
    assert notes("--y", "epochs") == []
    assert notes("--y", "epochs", "--group", "network") == [averaged.format("penalty, strength")]
    assert notes("--y", "epochs", "--group", "penalty") == [averaged.format("network")]
    # Those of one strength have one penalty; the learning rate, which d = 5 alone changes, tells none apart.
    assert notes("--y", "epochs", "--group", "network", "--group", "strength") == []
    assert notes("--y", "epochs", "--group", "repeat") == [averaged.format("network, penalty, strength")]


def test_what_a_logarithmic_plot_leaves_out_is_said(store, tmp_path):
    why = "strength or best_epoch is not positive, and a logarithmic axis has no place for it"
    frame = read_results(store)
    for axes, left_out in (
        (["--log-x"], frame["strength"] == 0),
        (["--log-y"], frame["best_epoch"] <= 0),
        (["--log-x", "--log-y"], (frame["strength"] == 0) | (frame["best_epoch"] <= 0)),
    ):
        options = ["--x", "strength", "--y", "best_epoch", *axes]
        result = run("plot", store, *options, "--out", tmp_path / "a.png")
        assert result.exit_code == 0, result.output
        count = int(left_out.sum())
        assert count > 1
        assert result.stderr == f"Note: {count} runs are left out: {why}\n"


def test_what_is_not_finite_is_said_to_be_left_out(store):
    from pyneedle.sweep import _plot

    frame = read_results(store)
    assert _plot.notes(frame, "d", "test_mse") == []
    frame.loc[frame.index[0], "test_mse"] = float("inf")
    assert _plot.notes(frame, "d", "test_mse") == ["1 run is left out: d or test_mse is not finite"]
    frame.loc[frame.index[1], "test_mse"] = 0.0
    assert _plot.notes(frame, "d", "test_mse", log_y=True) == [
        "1 run is left out: d or test_mse is not finite",
        "1 run is left out: d or test_mse is not positive, and a logarithmic axis has no place for it",
    ]
    frame.loc[frame.index[:2], "status"] = "failed"
    assert _plot.notes(frame, "d", "test_mse", log_y=True) == []


def test_plots_that_can_not_be(store, tmp_path):
    for options, message, status in (
        (["--x", "dd"], "--x must be a column of the results, got 'dd'", 2),
        (["--x", "d", "--y", "test_mes"], "did you mean 'test_mse'", 2),
        (["--x", "d", "--group", "net"], "--group must be a column of the results, got 'net'", 2),
        (["--x", "network"], "--x must be a column of numbers, got 'network'", 2),
        (["--x", "d", "--out", "a.doc"], "--out must end in one of", 2),
        (["--x", "strength", "--group", "d", "--log-x", "--y", "best_epoch", "--log-y"], None, 0),
        (["--x", "d", "--out", tmp_path / "no" / "a.png"], "--out: cannot write", 1),
    ):
        result = run("plot", store, *options)
        assert result.exit_code == status, result.output
        assert message is None or message in result.stderr
    (store.parent / "runs.png").unlink()
    result = run("plot", store, "--x", "d", "--y", "data_seed", "--log-y")
    assert result.exit_code == 2
    assert "got none for 'data_seed'" in result.stderr

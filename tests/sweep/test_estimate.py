"""What `estimate` makes of what it measured; how fast this machine is, is not asserted."""

import re

import pytest
from support.sweeps import tiny
from typer.testing import CliRunner

from pyneedle.cli import app
from pyneedle.sweep import _estimate, _measure
from pyneedle.sweep._makespan import Runs, makespan
from pyneedle.sweep._measure import Measured, measure


@pytest.mark.parametrize(
    ("runs", "threads", "seconds"),
    [
        ([], 2, 0.0),
        ([Runs(1, 8.0, 1.0)], 4, 8.0),
        ([Runs(1, 8.0, 4.0)], 4, 2.0),  # alone, it has all threads
        ([Runs(3, 8.0, 1.0)], 1, 24.0),
        ([Runs(2, 8.0, 2.0)], 2, 8.0),
        ([Runs(3, 8.0, 2.0)], 2, 12.0),  # two side by side, then one that has both threads
        ([Runs(3, 8.0, 4.0)], 4, 8.0),  # the last of them has two, the others have one
        ([Runs(2, 8.0, 4.0)], 4, 4.0),
        ([Runs(2, 8.0, 2.5)], 4, 8.0 / 1.5),  # what two threads give of what four give
        ([Runs(6, 1.0, 1.0), Runs(1, 5.0, 1.0)], 2, 6.0),  # the longest first
        ([Runs(30_000, 1.0, 1.0), Runs(1, 5.0, 4.0)], 4, 30_005 / 4),
        ([Runs(30_000, 1.0, 1.0), Runs(1, 50_000.0, 4.0)], 4, 50_000.0),
    ],
)
def test_how_long_runs_take_together(runs, threads, seconds):
    assert makespan(runs, threads) == pytest.approx(seconds)


def test_first_steps_and_later_ones():
    measured = Measured(first_seconds=0.5, later_seconds=0.125, speedup=2.0, run_seconds=0.0, row_seconds=0.0)
    for epochs in (1, 10, 20, 1000):
        (cell,) = tiny(n_samples=1000, epochs=epochs).cells
        assert cell.steps == 80 * epochs
        wanted = 40.0 if epochs == 1 else 50.0 + 0.125 * (cell.steps - 100)
        assert measured.seconds(cell) == wanted


def test_an_estimate_adds_up_what_was_measured(monkeypatch):
    measured = Measured(first_seconds=0.5, later_seconds=0.25, speedup=3.0, run_seconds=1.0, row_seconds=0.125)
    asked = []
    monkeypatch.setattr(_estimate, "measure", lambda cell, *more: asked.append((cell.repeat, *more)) or measured)
    sweep = tiny(n_samples=1000, epochs=2, repeat=range(3))  # 160 steps: 50 s and 15 s
    estimate = sweep.estimate(threads=2)
    assert asked == [(0, 2, 1)]
    (line,) = estimate.shapes
    assert line.seconds == 3 * 65.0
    assert line.step_seconds == 65.0 / 160
    # Two side by side, one on both threads; the data, which two threads draw; what the interpreter does.
    assert estimate.seconds == pytest.approx(65.0 + 65.0 / 3.0 + 0.125 * 1000 / 2 + 3.0)
    assert not estimate.may_be_less


@pytest.fixture
def trained(monkeypatch):
    """The runs that are trained to measure, each with the threads that they had."""
    runs = []
    train = _measure.train_ensemble

    def record(members, threads, **more):
        runs.extend((run, threads) for run in members)
        return train(members, threads, **more)

    monkeypatch.setattr(_measure, "train_ensemble", record)
    return runs


def test_a_dense_network_is_measured_after_its_first_steps(trained):
    (cell,) = tiny(network="GN", d=4, alpha=20, n_samples=100_000, epochs=3).cells
    measured = measure(cell, 2)
    resumed = [(run, threads) for run, threads in trained if run.batch_size == 800 and run.resume is not None]
    assert [threads for _, threads in resumed] == [1, 2]
    for run, _ in resumed:
        assert run.resume.steps >= 100
        assert len(run.dataset.train) <= 4 * 800 + 1  # a few steps
    small = [run.batch_size for run, _ in trained if run.batch_size != 800]
    assert 0 < len(small) < 10
    assert set(small) == {64}
    assert measured.first_seconds > 0.0
    assert measured.later_seconds > 0.0
    assert 1.0 <= measured.speedup <= 2.0
    assert not measured.may_be_less


def test_other_networks_are_not(trained):
    (cell,) = tiny().cells
    measured = measure(cell, 1)
    assert all(run.resume is None and threads == 1 for run, threads in trained)
    assert measured.first_seconds == measured.later_seconds
    assert (measured.speedup, measured.may_be_less) == (1.0, False)


def test_where_there_is_no_time_for_the_first_steps_it_is_said(monkeypatch, tmp_path):
    (tmp_path / "some.toml").write_text('network = "GN"\nd = 4\nalpha = 10\nn_samples = 10_000\nepochs = 3\n')

    def time_line():
        result = CliRunner().invoke(app, ["sweep", str(tmp_path / "some.toml"), "--dry-run", "--threads", "2"])
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()[1]

    assert re.fullmatch(r"time    about \S+( s)? on 2 threads", time_line())
    monkeypatch.setattr(_measure, "_MOST_DENSE_SECONDS", 0.0)
    less = ", may be less: dense networks get faster after their first epochs"
    assert re.fullmatch(rf"time    about \S+( s)? on 2 threads{less}", time_line())


@pytest.mark.parametrize("network", ["GN", "LN"])
def test_runs_that_diverge_are_measured(network):
    (cell,) = tiny(network=network, learning_rate=1e38, epochs=9).cells
    measured = measure(cell, 2)
    assert measured.first_seconds > 0.0
    assert not measured.may_be_less

"""`pyneedle bench`: what it prints of a comparison, and how it refuses."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import pyneedle.benchmark
from pyneedle.cli._app import app


def run(*arguments):
    return CliRunner().invoke(app, ["bench", *arguments])


def comparison():
    """Of one step against NumPy; JAX is missing."""
    from pyneedle.benchmark import Comparison, Ratio

    return Comparison(
        label="LN d=20",
        network="LN",
        d=20,
        alpha=50,
        batch=800,
        penalty="none",
        activation="relu",
        what="step",
        kernel="direct",
        seconds={"pyneedle": 1e-3, "NumPy": 12.5e-3},
        rounds={},
        ratios={"NumPy": Ratio(12.5, 11.0, 14.0)},
        fastest="NumPy",
        agreement={},
        skipped={"JAX jit": "jax is not installed"},
    )


@pytest.fixture
def made_up(monkeypatch):
    """A comparison as `quick` returns it, without its two minutes."""
    from pyneedle.benchmark._quick import QuickResult

    result = QuickResult({"cores": "2"}, [comparison()], ["GN d=20"], ["other programs are running"])
    monkeypatch.setattr(pyneedle.benchmark, "quick", lambda seconds, say: result)
    return result


def test_the_table_names_ratio_range_and_what_is_missing(made_up):
    result = run()
    assert result.exit_code == 0, result.output
    assert "12.5x" in result.stdout
    assert "11 to 14" in result.stdout
    assert "WARNING: other programs are running" in result.stdout
    assert "JAX jit skipped: jax is not installed" in result.stdout
    assert "GN d=20 left out" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_json_holds_the_figures(made_up, tmp_path):
    path = tmp_path / "bench.json"
    assert run("--json", str(path)).exit_code == 0
    record = json.loads(path.read_text())
    assert record["rows"][0]["ratios"]["NumPy"]["median"] == 12.5
    assert record["left_out"] == ["GN d=20"]
    assert record["warnings"] == ["other programs are running"]


def test_rounds_that_differ_too_much_are_told():
    from pyneedle.benchmark import Ratio
    from pyneedle.benchmark._quick import _disturbed

    row = comparison()
    assert _disturbed([row]) == []
    (line,) = _disturbed([replace(row, ratios={"NumPy": Ratio(12.5, 5.0, 20.0), "JAX jit": Ratio(12.5, 11.0, 14.0)})])
    assert line.startswith("LN d=20 against NumPy: the rounds range over a factor 4.0")


@pytest.mark.parametrize("seconds", ["0", "-3", "nan", "inf"])
def test_impossible_times_are_refused(seconds):
    result = run(f"--seconds={seconds}")
    assert result.exit_code == 2
    assert "--seconds must be at least 10" in result.stderr


def test_a_side_that_computes_something_else_is_a_failure(monkeypatch):
    def disagree(seconds, say):
        raise pyneedle.benchmark.DisagreementError("NumPy: gradient")

    monkeypatch.setattr(pyneedle.benchmark, "quick", disagree)
    result = run()
    assert result.exit_code == 1
    assert "do not compute the same" in result.stderr


def test_a_comparison_with_numpy(monkeypatch):
    """The program itself at small sizes, with the one peer that is always there."""
    from pyneedle.benchmark import _quick

    monkeypatch.setattr(_quick, "shipped_peers", lambda: [_quick.NumpyPeer()])
    monkeypatch.setattr(_quick, "_CASES", (("LN", 3), ("GN", 2)))
    told = []
    result = _quick.quick(seconds=20.0, say=told.append)
    assert [(row.network, row.d, row.kernel) for row in result.rows] == [
        ("LN", 3, "piecewise_linear"),
        ("GN", 2, "active"),
    ]
    assert result.left_out == []
    for row in result.rows:
        assert row.fastest == "NumPy"
        assert row.seconds["pyneedle"] > 0.0
        assert "after an epoch: loss" in row.agreement["NumPy"]
    assert len([line for line in told if "errors against float64" in line]) == 4
    late = _quick.quick(seconds=0.0)
    assert (late.rows, late.left_out) == ([], ["LN d=3", "GN d=2"])

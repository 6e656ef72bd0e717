"""What figures share: fitted slopes, published numbers, protocols, continued trainings."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pyneedle as pn
from pyneedle import experiments
from pyneedle.experiments import Protocol, fit_power_law
from pyneedle.experiments._continuation import Continuation
from pyneedle.experiments._experiment import Comparison
from pyneedle.experiments._protocol import differences
from pyneedle.experiments._rates import _rates
from pyneedle.experiments._tables import comparison_frame, make_table
from pyneedle.sweep import Cell

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "reference" / "published_square.csv"
PAPER = Protocol(d=(4, 8), n_samples=(1000,), epochs=10, repeats=2)


def test_slope_of_a_known_line():
    x = np.array([1.0, 2.0, 4.0, 8.0, 8.0])
    line = fit_power_law(x, 3.0 * x**-1.5)
    assert line.slope == pytest.approx(-1.5, abs=1e-12)
    assert math.exp(line.intercept) == pytest.approx(3.0)
    assert line.error == pytest.approx(0.0, abs=1e-12)
    assert (line.points, line.low, line.high) == (5, 1.0, 8.0)
    np.testing.assert_allclose(line([1.0, 100.0]), [3.0, 3.0e-3])


def test_slope_and_its_error_are_those_of_a_textbook():
    rng = np.random.default_rng(0)
    x = np.repeat([4.0, 8.0, 12.0, 16.0], 3)
    y = x**2 * np.exp(rng.normal(0.0, 0.3, x.size))
    line = fit_power_law(x, y)
    design = np.column_stack([np.ones(x.size), np.log(x)])
    beta, residual, _, _ = np.linalg.lstsq(design, np.log(y), rcond=None)
    covariance = residual[0] / (x.size - 2) * np.linalg.inv(design.T @ design)
    assert line.slope == pytest.approx(beta[1])
    assert line.error == pytest.approx(math.sqrt(covariance[1, 1]))
    assert str(line) == f"{line.slope:.3f} ± {line.error:.3f}"


def test_slope_leaves_out_what_has_no_logarithm():
    line = fit_power_law([1.0, 2.0, 4.0, 8.0], [1.0, 2.0, math.nan, math.inf])
    assert (line.slope, line.points) == (pytest.approx(1.0), 2)
    assert math.isnan(line.error)
    assert fit_power_law([2.0, 2.0], [1.0, 3.0]) is None
    with pytest.raises(ValueError, match=r"same number, got shapes \(2,\) and \(3,\)"):
        fit_power_law([1, 2], [1, 2, 3])


def test_rates_and_the_error_of_a_quotient():
    b1, b2 = (fit_power_law([1.0, 2.0, 4.0], [1.0, 2.0**p * 1.1, 4.0**p]) for p in (3.0, -1.0))
    values = _rates(b1, b2)
    assert values["b1"] == (b1.slope, b1.error)
    assert values["b2"] == (-b2.slope, b2.error)
    gamma, error = values["gamma"]
    assert gamma == pytest.approx(3.0)
    assert error == pytest.approx(3.0 * math.hypot(b1.error / 3.0, b2.error / 1.0))
    assert all(math.isnan(value) for value in _rates(None, b2)["gamma"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fig5a", 3.638), ("fig5b", 1.107), ("fig6a", 2.527), ("fig6b", 3.051), ("fig6c", 2.098), ("fig7", -0.158),
        ("fig9a", -0.745), ("fig9b", -0.820), ("fig10", -0.756), ("fig11a", -0.943), ("fig11b", -0.986),
        ("rates.theory.b1", 2.0), ("rates.theory.b2", 0.5), ("rates.theory.gamma", 4.0),
        ("rates.implicit.b1", 3.6), ("rates.implicit.b2", 0.8), ("rates.implicit.gamma", 4.5),
        ("rates.l1.b1", 2.5), ("rates.l1.b2", 1.0), ("rates.l1.gamma", 2.5),
    ],
)  # fmt: skip
def test_published_numbers(name, value):
    assert experiments.NUMBERS[name].value == value


def test_every_published_number_has_a_source():
    assert len(experiments.NUMBERS) == 20
    assert all(number.quantity and number.source for number in experiments.NUMBERS.values())


@pytest.mark.parametrize("preset", experiments.PRESETS)
def test_every_preset_of_every_experiment_is_a_sweep(preset):
    for name in experiments.names():
        assert len(experiments.plan([name], preset)) > 0, name


def test_the_paper_preset_is_the_papers_protocol():
    sweep = experiments.plan(["fig3a"], "paper")
    assert len(sweep) == 3 * 15 * 4
    cell = sweep.cells[-1]
    assert (cell.network, cell.d, cell.n_samples, cell.epochs, cell.alpha) == ("LN", 60, 100_000, 1000, 50)
    assert cell.penalty is None
    assert {cell.strength for cell in experiments.plan(["fig6a"], "paper").cells} == {0.0, 1e-8}
    rows = [cell.n_samples for cell in experiments.plan(["fig10"], "paper").cells if cell.repeat == 0]
    assert rows == [10**k * digit for k in (3, 4, 5) for digit in (1, 3, 5, 7)] + [10**6]
    assert {cell.batch_size for cell in experiments.plan(["fig9a"], "paper").cells} == {80}
    assert experiments.plan(["fig4"], "paper").cells[0].optimizer == pn.Adam(decay=0.03)


def test_figures_share_their_runs():
    alone = experiments.plan(["fig3a"])
    assert len(experiments.plan(["fig3a", "fig5a", "fig5b"])) == len(alone)


def test_differences_from_the_papers_protocol():
    assert differences(PAPER, PAPER) == ()
    assert differences(replace(PAPER, d=(4, 16)), PAPER) == ("d 4–16 (4–8)",)  # noqa: RUF001
    other = replace(PAPER, n_samples=(100_000,), epochs=5, repeats=1, alpha=20, gn_d=(4,), l1=1e-7)
    assert differences(other, PAPER, "LN") == ("N 1e5 (1000)", "epochs 5 (10)", "repeats 1 (2)", "α 20 (50)")
    assert differences(replace(PAPER, gn_d=(4,)), PAPER, "GN") == ("d 4 (4–8)",)  # noqa: RUF001
    assert differences(replace(PAPER, l1=1e-7), PAPER, "GN", "l1") == ("λ 1e-7 (1e-8)",)


def test_a_table_says_once_what_its_lines_share():
    lines = [
        Comparison("a", 1.5, 0.25, 2.0, "figure 1", ("N 1 (2)", "λ 1 (3)")),
        Comparison("b", 1000.0, protocol=("N 1 (2)",)),
        Comparison("c", None, protocol="ours"),
    ]
    table = make_table(lines)
    assert table.protocol == "Protocol of this run (of the paper): N 1 (2)."
    assert table.rows == [
        ("a", "2.000 (figure 1)", "1.500 ± 0.250", "different: λ 1 (3)"),
        ("b", "–", "1000", "different"),  # noqa: RUF001
        ("c", "–", "–", "ours"),  # noqa: RUF001
    ]
    same = make_table([*lines, Comparison("d", math.nan)])
    assert same.protocol == ""
    assert [row[3] for row in same.rows] == ["different: N 1 (2); λ 1 (3)", "different: N 1 (2)", "ours", "same"]
    assert comparison_frame(lines)["protocol"].tolist() == ["N 1 (2); λ 1 (3)", "N 1 (2)", "ours"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"d": ()}, "d must have at least one value"),
        ({"n_samples": (1.5,)}, "n_samples must be an integer, got 1.5"),
        ({"l1": -1.0}, "l1 must be finite and not negative, got -1.0"),
    ],
)
def test_impossible_protocols(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        replace(PAPER, **change)


def test_a_continuation_goes_on_with_the_learning_rate():
    cell = Cell(network="LN", d=2, alpha=3, n_samples=100, epochs=4, optimizer=pn.Adam(decay=0.03))
    second = Continuation(cell).optimizer
    for t in (1, 2, 100):
        first = 0.01 / (1 + 0.03 * (cell.steps + t - 1))
        assert second.learning_rate / (1 + second.decay * (t - 1)) == pytest.approx(first)


def test_a_continuation_starts_from_the_embedded_function():
    cell = Cell(network="LN", d=2, alpha=3, n_samples=100, epochs=4)
    network, data = cell.make_network(), cell.make_dataset()
    p = network.init(seed=1)
    run = Continuation(cell, embedded=True).make_run(p)
    assert run.network == pn.GlobalNetwork(2, 3)
    np.testing.assert_allclose(
        run.network.forward(run.initial, data.test.x), network.forward(p, data.test.x), rtol=1e-5, atol=1e-7
    )
    assert Continuation(cell).id != Continuation(cell, embedded=True).id


def test_published_file(tmp_path):
    path = tmp_path / "others.csv"
    path.write_text(
        "arch,target,penalty,strength,d,n_samples,train_mse,validation_mse,test_mse\n"
        "GN,square,none,0,4,1000,1e-3,2e-3,3e-3\nGN,square,l1,1e-8,8,1000,1e-3,2e-3,4e-3\n"
    )
    overlay = experiments.read_overlay(path)
    assert overlay.select("GN", "square", "none", ())["test_mse_original"].tolist() == [3e-3 * 16]
    assert overlay.select("GN", "square", "l1", (1e-7, 1e-8))["d"].tolist() == [8]
    assert len(overlay.select("GN", "square", "l1", (1e-7,))) == 0
    assert len(overlay.select("LN", "square", "none", ())) == 0


def test_a_published_file_with_spaces_and_gaps(tmp_path):
    path = tmp_path / "others.csv"
    path.write_text(
        "arch, target, penalty, strength, d, n_samples, train_mse, validation_mse, test_mse\n"
        "LN, square, none, , 4, 1e3, , nan, 3e-3 \n"
    )
    rows = experiments.read_overlay(path).select("LN", "square", "none", ())
    assert rows[["strength", "d", "n_samples", "test_mse"]].to_numpy().tolist() == [[0.0, 4.0, 1000.0, 3e-3]]
    assert (rows["d"].dtype, rows["n_samples"].dtype) == (np.int64, np.int64)
    assert rows[["train_mse", "validation_mse"]].isna().all(axis=None)


HEADING = "arch,target,penalty,strength,d,n_samples,train_mse,validation_mse,test_mse\n"
GOOD = "GN,square,none,0,4,9,1,1,1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "published must be a CSV file, got 'others.csv'"),
        ("arch,d\nGN,4\n", "published must have the columns arch, .* without target, penalty"),
        (HEADING, "published must have rows, got 'others.csv' with none"),
        (
            HEADING + "GN,square,none,0,4,9,a,1,1\n",
            "published must have numbers in column train_mse, got 'a' in row 1 of",
        ),
        (
            HEADING + GOOD + "gn,square,none,0,4,9,1,1,1\n",
            "one of 'GN', 'LCN', 'LN' in column arch, got 'gn' in row 2 of",
        ),
        (HEADING + "GN,square,L1,0,4,9,1,1,1\n", "one of 'none', 'l1', .* in column penalty, got 'L1' in row 1 of"),
        (HEADING + "GN,square,none,-1,4,9,1,1,1\n", "that are not negative in column strength, got '-1' in row 1"),
        (HEADING + "GN,square,none,0,0,9,1,1,1\n", "whole numbers of at least 1 in column d, got '0' in row 1"),
        (HEADING + "GN,square,none,0,4.5,9,1,1,1\n", "whole numbers of at least 1 in column d, got '4.5' in row 1"),
        (HEADING + "GN,square,none,0,4,,1,1,1\n", "whole numbers of at least 1 in column n_samples, got '' in row 1"),
        (HEADING + "GN,square,none,0,4,inf,1,1,1\n", "of at least 1 in column n_samples, got 'inf' in row 1"),
        (HEADING + "GN,square,none,0,4,9,1,1,-2\n", "positive numbers, or NaN, in column test_mse, got '-2' in row 1"),
        (HEADING + "GN,square,none,0,4,9,0,1,1\n", "positive numbers, or NaN, in column train_mse, got '0' in row 1"),
        (
            HEADING + "GN,square,none,0,4,9,1,1,inf\n",
            "positive numbers, or NaN, in column test_mse, got 'inf' in row 1",
        ),
    ],
)
def test_bad_published_files(text, message, tmp_path):
    (tmp_path / "others.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        experiments.read_overlay(tmp_path / "others.csv")


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published rows are not part of the source tree")
@pytest.mark.parametrize(
    ("network", "penalty", "slope"), [("GN", "none", 3.638), ("LN", "none", 1.847), ("LCN", "none", 1.845)]
)
def test_slopes_of_the_published_rows(network, penalty, slope):
    rows = experiments.read_overlay(PUBLISHED).select(network, "square", penalty, ())
    assert fit_power_law(rows["d"], rows["test_mse_original"]).slope == pytest.approx(slope, abs=5e-4)

"""The peers and the truth they are checked against; part of `pytest bench/` (not of --benchmark-only)."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bench import ceilings, compare, counting, goals, roofline
from bench.baselines import all_peers
from pyneedle.benchmark import (
    ACTIVATIONS,
    Comparison,
    DisagreementError,
    Problem,
    PyneedleSide,
    Ratio,
    Truth,
    clear_of_kinks,
    first_step,
    in_turns,
    make_problem,
    near_kinks,
    network_of,
)
from pyneedle.benchmark import _truth as truth
from pyneedle.benchmark import compare as compare_sides

# Warnings of the frameworks are theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

NETWORKS = ("LN", "LCN", "GN")
PENALTIES = ("none", "l1", "l2", "path-norm")


def small(network: str, penalty: str = "none", activation: str = "relu") -> Problem:
    """Twelve batches of 33 rows; the penalty strong enough to be seen in a check."""
    problem = make_problem(network, 3, 7, 33, 12, 50, penalty, activation)
    return replace(problem, strength=1e5 * problem.strength)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("network", NETWORKS)
def test_truth_against_finite_differences(network, penalty, activation):
    problem = small(network, penalty, activation)
    rng = np.random.default_rng(3)
    p = {k: rng.uniform(0.1, 0.9, v.shape) * rng.choice([-1, 1], v.shape) for k, v in problem.initial.items()}
    x, y = problem.train_x[:33], problem.train_y[:33]
    _, gradient = truth.loss_and_grad(problem, p, x, y)
    direction = {k: rng.normal(size=v.shape) for k, v in p.items()}
    h = 1e-7  # small enough that no unit of this draw changes its side
    ahead, behind = (
        truth.loss_and_grad(problem, {k: v + s * h * direction[k] for k, v in p.items()}, x, y)[0] for s in (1, -1)
    )
    along = sum(float(np.sum(gradient[k] * direction[k])) for k in p)
    assert along == pytest.approx((ahead - behind) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
def test_truth_of_the_path_norm_is_that_of_the_embedded_network(network):
    problem = small(network)
    p = problem.initial
    if network == "LN":
        p = {k: np.stack([v] * 3) for k, v in p.items()}
    if network == "GN":
        paths = np.einsum("ji,kj,k->", *(np.abs(p[k]) for k in ("w1", "w2", "w3")))
    else:
        paths = np.einsum("gj,gkj,gk->", *(np.abs(p[k]) for k in ("w1", "w2", "w3")))
    assert truth.path_norm(problem, problem.initial) == pytest.approx(paths / 3, rel=1e-6)


@pytest.mark.parametrize("peer", all_peers(), ids=lambda peer: peer.name)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("network", NETWORKS)
def test_peer_computes_the_same(peer, network, penalty):
    if reason := peer.available():
        pytest.skip(f"{peer.name}: {reason}")
    if peer.name == "torch.compile" and penalty not in {"none", "path-norm"}:
        pytest.skip("compiles for half a minute; the same code as eager")
    problem = small(network, penalty)
    trainer = peer.prepare(problem, 2)
    found = Truth.of(problem).compare(trainer)
    assert found.good, found
    first, last = trainer.run_epochs(1), trainer.run_epochs(4)
    assert 0.0 < last <= first < 1.0


@pytest.mark.parametrize("peer", all_peers(), ids=lambda peer: peer.name)
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("network", NETWORKS)
def test_peer_computes_the_same_with_smooth_activations(peer, network, activation):
    if reason := peer.available():
        pytest.skip(f"{peer.name}: {reason}")
    if peer.name == "torch.compile":
        pytest.skip("compiles for half a minute; the same code as eager")
    problem = small(network, activation=activation)
    try:
        trainer = peer.prepare(problem, 2)
    except NotImplementedError as error:
        pytest.skip(f"{peer.name}: {error}")
    found = Truth.of(problem).compare(trainer)
    assert found.good, found


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("network", NETWORKS)
def test_pyneedle_computes_the_same(network, penalty, activation):
    problem = small(network, penalty, activation)
    for kernel in network_of(problem).kernels:
        found = Truth.of(problem).compare(PyneedleSide(problem, kernel, 2))
        assert found.good, (kernel, found)


def test_a_wrong_side_is_found():
    problem = small("LN", "l2")
    wrong = PyneedleSide(replace(problem, strength=0.9 * problem.strength), "auto", 1)
    assert not Truth.of(problem).compare(wrong).good

    class NotANumber(PyneedleSide):
        def loss_and_grad(self):
            return float("nan"), super().loss_and_grad()[1]

    assert not Truth.of(problem).compare(NotANumber(problem, "auto", 1)).good


def test_a_side_that_is_wrong_after_an_epoch_alone_is_found():
    """As a kernel would be whose shortcuts only then apply."""
    problem = small("GN")

    class WrongLater(PyneedleSide):
        def loss_and_grad(self):
            loss, gradient = super().loss_and_grad()
            late = any(np.any(p != problem.initial[name]) for name, p in self.problem.initial.items())
            return loss, {name: 1.01 * g if late else g for name, g in gradient.items()}

    class Wrong:
        name = "wrong"
        available = staticmethod(lambda: None)
        prepare = staticmethod(lambda problem, threads: WrongLater(problem, "auto", threads))

    assert Truth.of(problem).compare(WrongLater(problem, "auto", 1)).good
    with pytest.raises(DisagreementError, match=r"wrong does not compute the same .* after an epoch: loss"):
        compare_sides(problem, [Wrong()], rounds=1, budget=0.01)


@pytest.mark.parametrize("network", NETWORKS)
def test_rows_near_a_kink_leave_the_first_batch(network):
    """The numbers of a kink put on two rows, one unit of each hidden layer."""
    problem = make_problem(network, 3, 7, 33, 12, 50)
    assert not near_kinks(problem, problem.train_x[:33]).any()  # else the draw of this test says nothing
    p = {k: v.copy() for k, v in problem.initial.items()}
    first = {"GN": (2,), "LN": (2,), "LCN": (1, 2)}[network]
    weights, inputs = (p["w1"][2], problem.train_x[5]) if network == "GN" else (p["w1"][first], problem.train_x[5, 1])
    p["b1"][first] = -np.sum(weights.astype(np.float64) * inputs) * (1 + 1e-7)
    kinked = problem.starting_from(p)
    near = near_kinks(kinked, kinked.train_x)
    assert near[5]
    assert near.sum() <= 3
    cleared = clear_of_kinks(kinked)
    assert not near_kinks(cleared, cleared.train_x[:33]).any()
    assert cleared.initial is kinked.initial
    moved = np.flatnonzero((cleared.train_x != kinked.train_x).any(axis=1))
    assert moved[0] == 5
    assert len(moved) == 2
    np.testing.assert_array_equal(cleared.train_x[moved], kinked.train_x[moved[::-1]])
    np.testing.assert_array_equal(cleared.train_y[moved], kinked.train_y[moved[::-1]])
    tanh = replace(kinked, activation="tanh")
    assert clear_of_kinks(tanh) is tanh


def test_a_row_near_a_kink_of_layer_2_is_found():
    problem = make_problem("GN", 3, 7, 33, 12, 50)
    h1 = np.maximum(problem.train_x[4].astype(np.float64) @ problem.initial["w1"].astype(np.float64).T, 0.0)
    p = {k: v.copy() for k, v in problem.initial.items()}
    p["b2"][3] = -h1 @ p["w2"][3].astype(np.float64)
    assert near_kinks(problem.starting_from(p), problem.train_x[:33]).tolist() == [i == 4 for i in range(33)]


def test_first_step_is_the_first_of_training():
    problem = small("GN", "path-norm")
    plain = replace(problem, penalty="none")
    _, g = truth.loss_and_grad(plain, problem.initial, problem.train_x[:33], problem.train_y[:33])
    for name, value in truth.train(problem, 1).items():
        np.testing.assert_allclose(first_step(problem, g)[name], value, rtol=1e-12, atol=1e-15)


def test_comparison_reports_ratios_to_the_fastest_and_skips_with_a_reason():
    class Absent:
        name = "absent"

        def available(self):
            return "not installed"

    numpy_peer = next(peer for peer in all_peers() if peer.name == "NumPy")
    said: list[str] = []
    (row,) = compare_sides(small("LN"), [numpy_peer, Absent()], ("direct", "nonsense"), 1, 2, 0.001, say=said.append)
    assert isinstance(row, Comparison)
    assert row.fastest == "NumPy"
    assert row.kernel == "direct"
    assert len(row.rounds["NumPy"]) == 2
    ratio = row.ratios["NumPy"]
    assert 0.0 < ratio.low <= ratio.median <= ratio.high
    assert row.skipped == {"absent": "not installed"}
    assert any("absent skipped: not installed" in text for text in said)
    assert any("nonsense" in text for text in said)


def test_ratio_pairs_the_rounds():
    assert Ratio.of([2.0, 6.0, 20.0], [1.0, 2.0, 4.0]) == Ratio(3.0, 2.0, 5.0)


def test_turns_rotate():
    order: list[str] = []

    def side(name: str):
        def measure() -> float:
            order.append(name)
            return 1.0

        return measure

    in_turns({"a": side("a"), "b": side("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_goals_are_those_of_one_model_at_the_protocols_sizes():
    def row(**changes):
        fields = {
            "label": "", "network": "GN", "d": 20, "alpha": 50, "batch": 800, "penalty": "none", "activation": "relu",
            "what": "step", "kernel": "active", "seconds": {}, "rounds": {}, "ratios": {}, "fastest": "",
            "agreement": {},
        }  # fmt: skip
        return Comparison(**{**fields, **changes})

    assert goals.goal(row()) == ("2x", "3.5x")
    assert goals.goal(row(penalty="l1")) == ("1.5x", "4x")
    assert goals.goal(row(network="LN", kernel="piecewise_linear")) == ("40x", "80x")
    assert goals.goal(row(network="LN", d=7, kernel="direct")) == ("1.5x", "3x")
    assert goals.goal(row(kernel="direct")) == ("", "")
    assert goals.goal(row(what="epoch")) == goals.goal(row(batch=80)) == ("", "")


def test_formulas_count_what_a_hand_counts():
    problem = make_problem("LN", 2, 10, 5, 1, 1)
    counts = counting.of_step("LN", "direct")
    assert counts is not None
    # 10 points; 3 products of 2 * 100, 14 * 10 for the rest; Adam 12 of 140 parameters
    assert counts.operations(problem, 140) == 10 * (600 + 140) + 12 * 140
    assert counts.bytes(problem, 140) == 4 * (10 + 5) + 28 * 140
    # one table of 2 * 100 + 6 * 10 and a sort of ten hinges
    table = 260 + 10 * np.log2(10)
    assert counting.of_forward("piecewise_linear").operations(problem, 140) == pytest.approx(2 * 10 + table)
    assert counting.of_forward("direct").operations(problem, 140) == 10 * (200 + 60)


def test_roofline_has_a_line_for_every_kernel_and_penalty(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ceilings, "COPY_FLOATS", 1 << 16)
    monkeypatch.setattr(ceilings, "GEMM_SIZE", 64)
    file = tmp_path / "roofline.json"
    options = ["--quick", "--networks", "LN", "GN", "--d", "2", "--budget", "0.001", "--json", str(file)]
    assert roofline.main(options) == 0
    found = json.loads(file.read_text(encoding="utf-8"))["lines"]
    passes = ("step", "forward")
    expected = {f"LN d=2: {what}, {kernel}" for what in passes for kernel in ("piecewise_linear", "direct")}
    expected |= {f"GN d=2: {what}, {kernel}" for what in passes for kernel in ("active", "direct")}
    expected |= {f"GN d=2: Adam, penalty {penalty}" for penalty in PENALTIES}
    assert {line["name"] for line in found} == expected
    assert all(line["seconds"] > 0.0 for line in found)
    assert "| GN d=2: Adam, penalty l1 |" in capsys.readouterr().out


def test_ceilings_are_positive(monkeypatch):
    monkeypatch.setattr(ceilings, "COPY_FLOATS", 1 << 16)
    monkeypatch.setattr(ceilings, "GEMM_SIZE", 64)
    assert ceilings.copy_bandwidth(2, 1) > 0.0
    assert ceilings.sgemm_rate(1) > 0.0


@pytest.mark.parametrize("bad", [["--threads", "0"], ["--networks", "XN"], ["--only", "plots"], ["--penalties", "l3"]])
def test_bad_options_are_refused(bad, capsys):
    with pytest.raises(SystemExit) as stop:
        compare.parse(bad)
    assert stop.value.code == 2
    assert capsys.readouterr().err


def test_whole_comparison_writes_both_files(tmp_path, capsys):
    files = ["--json", str(tmp_path / "out.json"), "--markdown", str(tmp_path / "out.md")]
    sizes = ["--networks", "LN", "--d", "2", "--peers", "numpy", "--rounds", "1", "--budget", "0.001"]
    assert compare.main([*sizes, *files]) == 0
    assert "| LN d=2" in (tmp_path / "out.md").read_text(encoding="utf-8")
    assert '"machine"' in (tmp_path / "out.json").read_text(encoding="utf-8")
    assert "fastest peer" in capsys.readouterr().out

"""The sides of the comparison on a GPU, on the CPU: everything but CUDA's graphs and CuPy itself."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bench.gpu import compare, goals
from bench.gpu.compare import Case, row_of
from bench.gpu.cupy_side import CupySide
from bench.gpu.jax_side import JaxSide
from bench.gpu.pyneedle_side import PyneedleGpuSide
from bench.gpu.sides import FLOAT32, TF32, Ensemble, check
from bench.gpu.torch_side import TorchSide
from pyneedle.benchmark import DisagreementError, make_problem, missing

# Warnings of the frameworks are theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

NETWORKS = ("LN", "LCN", "GN")


def small(network, members, penalty="none"):
    """Ten batches of 33 rows; the penalty strong enough to be seen in a check."""
    problem = make_problem(network, 3, 7, 33, 10, 50, penalty)
    return Ensemble.of(replace(problem, strength=1e5 * problem.strength), members)


def torch_side(ensemble):
    return TorchSide(ensemble, "cpu", graphs=False)


def pyneedle_side(ensemble):
    return PyneedleGpuSide(ensemble, device="cpu")


def cupy_side(ensemble):
    return CupySide(ensemble, np)


SIDES = {"torch": torch_side, "jax": JaxSide, "numpy": cupy_side, "pyneedle": pyneedle_side}


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("penalty", ["none", "path-norm"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", SIDES)
def test_a_side_computes_the_same(name, network, penalty, members):
    if reason := missing(name):
        pytest.skip(reason)
    ensemble = small(network, members, penalty)
    try:
        side = SIDES[name](ensemble)
    except NotImplementedError as error:
        pytest.skip(str(error))
    assert "loss" in check(ensemble, name, side)
    first = np.array(side.run_epochs(1))
    side.reset()
    last = np.array(side.run_epochs(5))
    assert first.shape == last.shape == (members,)
    assert ((last <= first) & (last > 0.0)).all()


def test_a_wrong_side_is_found():
    ensemble = small("LN", 2)

    class Wrong(PyneedleGpuSide):
        def loss_and_grad(self):
            losses, gradients = super().loss_and_grad()
            gradients["w2"][-1] *= 1.01
            return losses, gradients

    with pytest.raises(DisagreementError, match="member 1 of LN"):
        check(ensemble, "wrong", Wrong(ensemble, device="cpu"))


def off_by(factor):
    class Wrong(PyneedleGpuSide):
        def loss_and_grad(self):
            losses, gradients = super().loss_and_grad()
            return losses, {key: g * factor for key, g in gradients.items()}

    return Wrong(small("GN", 1), device="cpu")


def test_tf32_has_a_tolerance_of_its_own():
    ensemble = small("GN", 1)
    assert "gradient 1.0e-02" in check(ensemble, "rounded", off_by(1.01), TF32)
    with pytest.raises(DisagreementError, match="rounded"):
        check(ensemble, "rounded", off_by(1.01), FLOAT32)
    with pytest.raises(DisagreementError, match="wrong"):
        check(ensemble, "wrong", off_by(1.1), TF32)


def test_pytorch_with_tf32_sets_it_for_itself_alone():
    torch = pytest.importorskip("torch")
    ensemble = small("GN", 1)
    with_tf32 = TorchSide(ensemble, "cpu", graphs=False, tf32=True)
    exact = TorchSide(ensemble, "cpu", graphs=False)
    try:
        for side, precision in ((with_tf32, "high"), (exact, "highest"), (with_tf32, "high")):
            side.run_steps(10)
            assert torch.get_float32_matmul_precision() == precision
        check(ensemble, "PyTorch, TF32", with_tf32, TF32)
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("case", "kernel", "peers", "verdict"),
    [
        (Case("LN", 20, 180), "piecewise_linear", {"JAX": 25.0, "PyTorch graph": 60.0}, "20x the fastest: reached"),
        (Case("LN", 20, 180), "piecewise_linear", {"JAX": 15.0, "PyTorch graph": 60.0}, "20x the fastest: MISSED"),
        (Case("GN", 60), "active", {"JAX": 1.5, "PyTorch graph": 2.0, "PyTorch eager": 3.0}, "2x PyTorch: reached"),
        (Case("GN", 60), "active", {"JAX": 1.5}, "2x PyTorch: not measured"),
        (Case("GN", 60), "active_tf32", {"PyTorch graph, TF32": 0.9}, "1x PyTorch: MISSED"),
        (Case("GN", 60, what="step"), "active", {"PyTorch graph": 2.0}, ""),
        (Case("LN", 20), "piecewise_linear", {"JAX": 25.0}, ""),
    ],
)
def test_what_must_be_reached(case, kernel, peers, verdict):
    seconds = {name: [ratio, ratio] for name, ratio in peers.items()}
    row = row_of(case, "label", kernel, [1.0, 1.0], seconds, {}, {})
    assert row.must_reach == verdict
    assert row.fastest == min(peers, key=peers.get)
    assert f"| {verdict} |" in row.as_markdown(list(peers))


def test_adam_must_reach_a_share_of_copying():
    assert goals.adam_verdict(0.85) == "80% of copying: reached (85%)"
    assert goals.adam_verdict(0.5) == "80% of copying: MISSED (50%)"


def test_the_rounds_of_a_case_that_never_ends_are_kept(monkeypatch, tmp_path):
    class Killed(compare.PeerClock):
        rounds = 0

        def __init__(self, trainer, what, budget):
            pass

        def measure(self):
            Killed.rounds += 1
            if Killed.rounds == 3:
                raise KeyboardInterrupt
            return 1.0

    monkeypatch.setattr(compare, "PeerClock", Killed)
    monkeypatch.setattr(compare, "sides_of", lambda ensemble, device, tf32: {"peer": lambda: pyneedle_side(ensemble)})
    options = ["--device", "cpu", "--quick", "--rounds", "3", "--budget", "0.001", "--json", str(tmp_path / "a.json")]
    with pytest.raises(KeyboardInterrupt):
        compare.main(options)
    (row,) = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert row["label"].startswith("LN d=4")
    assert [len(seconds) for seconds in row["seconds"].values()] == [2, 2]
    assert row["fastest"] == "peer"

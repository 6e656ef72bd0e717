"""The sides of the comparison on a GPU, on the CPU: everything but CUDA's graphs and CuPy itself."""

from dataclasses import replace

import numpy as np
import pytest

from bench.gpu.cupy_side import CupySide
from bench.gpu.jax_side import JaxSide
from bench.gpu.pyneedle_side import PyneedleGpuSide
from bench.gpu.sides import Ensemble, check
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

"""The piecewise-linear kernel against the reference, where hinges, zeros and data points fall as badly as they can."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import textbook
from support.cases import cast

import pyneedle as pn

NETWORKS = (pn.LocalNetwork, pn.LocallyConnectedNetwork)
TRICKS = ("plain", "zero biases", "repeated hinges", "w1 = 0", "dead", "points on hinges", "wide data", "one value")


def parameters(net, rng, trick):
    """Dyadic numbers where a trick puts points on hinges, so that these are represented exactly."""
    p = {name: rng.normal(0, 0.4, shape) for name, shape in net.parameter_shapes.items()}
    if trick == "zero biases":
        for name in ("b1", "b2"):
            if net.hidden_layers == 2 or name == "b1":
                p[name][...] = 0.0
    elif trick == "repeated hinges":
        p["w1"][...] = rng.choice([-1.0, 1.0], p["w1"].shape)
        p["b1"][...] = rng.choice([-0.5, 0.25], p["b1"].shape)
    elif trick == "w1 = 0":
        p["w1"][rng.random(p["w1"].shape) < 0.5] = 0.0
    elif trick == "dead":
        p["b1"][...] = -10.0
    elif trick == "points on hinges":
        p["w1"][...] = rng.choice([-2.0, -1.0, 1.0, 2.0], p["w1"].shape)
        p["b1"][...] = rng.integers(-4, 5, p["b1"].shape) / 4.0
    return p


def rows(net, n, rng, trick):
    x = rng.uniform(-1, 1, (n, net.d))
    if trick == "points on hinges":
        x = rng.integers(-8, 9, x.shape) / 8.0
    elif trick == "wide data":
        x = rng.normal(0, 50, x.shape)
    elif trick == "one value":
        x[...] = 0.375
    return x, rng.normal(1, 1, n)


def check(net, p, x, y):
    """Tensor by tensor. Of 1,500 draws none was off by more than 1e-13 in float64 and 5e-8 in float32."""
    got, g = net.loss_and_grad(p, x, y, kernel="piecewise_linear")
    for other in ("reference", "direct"):
        loss, truth = net.loss_and_grad(p, x, y, kernel=other)
        assert got == pytest.approx(loss, rel=1e-12, abs=1e-14)
        assert textbook.worst_relative_error(g, truth) <= 1e-12
    p32, x32, y32 = cast(p, "float32"), x.astype("float32"), y.astype("float32")
    loss, truth = net.loss_and_grad(
        cast(p32, "float64"), x32.astype("float64"), y32.astype("float64"), kernel="reference"
    )
    got, g = net.loss_and_grad(p32, x32, y32, kernel="piecewise_linear")
    assert got == pytest.approx(loss, rel=1e-6, abs=1e-7)
    assert textbook.worst_relative_error(g, truth) <= 1e-6


@settings(max_examples=150, deadline=None)
@given(
    network=st.sampled_from(NETWORKS),
    d=st.sampled_from((*range(1, 13), 50, 100)),
    alpha=st.integers(1, 128),
    n=st.integers(1, 60),
    layers=st.sampled_from((1, 2)),
    trick=st.sampled_from(TRICKS),
    seed=st.integers(0, 2**32 - 1),
)
def test_against_the_reference(network, d, alpha, n, layers, trick, seed):
    net = network(d=d, alpha=alpha, hidden_layers=layers)
    rng = np.random.default_rng(seed)
    check(net, parameters(net, rng, trick), *rows(net, n, rng, trick))


@pytest.mark.parametrize("network", NETWORKS)
def test_many_inputs(network):
    rng = np.random.default_rng(0)
    net = network(d=100, alpha=20)
    check(net, parameters(net, rng, "plain"), *rows(net, 40, rng, "plain"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("network", NETWORKS)
def test_along_a_training(network, dtype):
    """Gradients agree on the rows of the data after 0, 1, 12 and 625 epochs: 0, 80, 960 and 50,000 steps."""
    net, ds = network(d=4, alpha=50), pn.make_dataset("square", d=4, n_samples=4000, dtype=dtype)
    x, y = ds.validation.x[:200], ds.validation.y[:200]
    start = net.init(seed=1, dtype=dtype)
    p = start
    for epochs in (0, 1, 12, 625):
        if epochs:
            fit = pn.train(net, ds, epochs=epochs, initial=start)
            assert fit.kernel == "piecewise_linear"
            p = fit.last_parameters
        wide = cast(p, "float64"), x.astype("float64"), y.astype("float64")
        got, g = net.loss_and_grad(p, x, y)
        for other in ("reference", "direct"):
            loss, truth = net.loss_and_grad(*wide, kernel=other)
            assert got == pytest.approx(loss, rel=1e-6 if dtype == "float32" else 1e-12)
            assert textbook.worst_relative_error(g, truth) <= (1e-6 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("network", NETWORKS)
def test_splits_at_one_address(network):
    """A validation split that is the first part of the training split, in a narrower range."""
    net, ds = network(d=4, alpha=20), pn.make_dataset("square", d=4, n_samples=2000, sort="none", dtype="float64")
    order = np.argsort(np.abs(ds.train.x).max(axis=1))
    x, y = np.ascontiguousarray(ds.train.x[order]), ds.train.y[order]
    own = dataclasses.replace(ds, train=pn.Split(x, y), validation=pn.Split(x[:50], y[:50]))
    fit, direct = (pn.train(net, own, epochs=3, kernel=kernel) for kernel in ("piecewise_linear", "direct"))
    for loss in ("train_loss", "validation_loss"):
        np.testing.assert_allclose(fit.history[loss], direct.history[loss], rtol=1e-6)
    apart = dataclasses.replace(own, validation=pn.Split(x[:50].copy(), y[:50].copy()))
    assert pn.train(net, apart, epochs=3).train_mse == pytest.approx(fit.train_mse, rel=1e-6)


def test_where_it_applies():
    for network in NETWORKS:
        assert network(d=4).kernels[0] == "piecewise_linear"
        assert "piecewise_linear" not in network(d=4, activation="tanh").kernels
        assert "piecewise_linear" not in network(d=4, block_in=2).kernels
        assert "piecewise_linear" in network(d=2, alpha=2048).kernels
        assert network(d=2, alpha=2049).kernels == ["direct", "reference"]
    with pytest.raises(
        ValueError, match=r"kernel must be one of .* takes ReLU, one input per block and an alpha of at"
    ):
        pn.train(pn.LocalNetwork(d=4, activation="tanh"), pn.make_dataset("square", 4, 100), kernel="piecewise_linear")
    wide = pn.LocalNetwork(d=2, alpha=2049)
    p, x = {name: np.zeros(shape, np.float32) for name, shape in wide.parameter_shapes.items()}, np.zeros((1, 2), "f4")
    with pytest.raises(ValueError, match="alpha of at most 2048"):
        wide.forward(p, x, kernel="piecewise_linear")

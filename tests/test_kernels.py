"""Every kernel, at every instruction-set level, in both precisions, against the float64 reference."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import textbook
from support.cases import ACTIVATIONS, AWKWARD, NETWORKS, cast, random_parameters, random_rows

import pyneedle as pn
from pyneedle import _native

LEVELS = _native.supported_levels()
DRAWS = 4  # of parameters and rows: float32 errors are compared as root mean squares over them
FLOOR = 4 * np.finfo(np.float32).eps  # below it a textbook's error is luck


@pytest.fixture(params=LEVELS)
def level(request, monkeypatch):
    monkeypatch.setenv("PYNEEDLE_ISA", request.param)
    assert _native.active_level() == request.param
    return request.param


def fast_kernels(net):
    return [k for k in net.kernels if k != "reference"]


def root_mean_square(values):
    return np.sqrt(np.mean(np.square(values)))


def check_float64(net, n, seed):
    p, (x, y) = random_parameters(net, seed), random_rows(net, n, seed)
    loss, truth = net.loss_and_grad(p, x, y, kernel="reference")
    for kernel in fast_kernels(net):
        got, g = net.loss_and_grad(p, x, y, kernel=kernel)
        assert got == pytest.approx(loss, rel=1e-12)
        assert textbook.relative_error(g, truth) <= 1e-12
        f, expected = (net.forward(p, x, kernel=k) for k in (kernel, "reference"))
        assert textbook.relative_error({"f": f}, {"f": expected}) <= 1e-12


def float32_errors(net, n, seed, kernel):
    """Errors of gradient and prediction, of the kernel and of the textbook in float32.

    Truth is the reference on the rounded arrays: rounding of the input is nobody's error.
    """
    p, (x, y) = random_parameters(net, seed, "float32"), random_rows(net, n, seed, "float32")
    wide = [cast(p, "float64"), x.astype("float64"), y.astype("float64")]
    loss, g = net.loss_and_grad(*wide, kernel="reference")
    truth = (g, {"f": net.forward(*wide[:2], kernel="reference")})
    # The terms of a prediction cancel: its error is relative to their size.
    last = list(net.parameter_shapes)[-1]
    terms = {"f": net.forward({**wide[0], last: np.abs(wide[0][last])}, wide[1], kernel="reference")}
    scale = (1.0, min(1.0, np.linalg.norm(truth[1]["f"]) / max(np.linalg.norm(terms["f"]), 1e-300)))
    got, g = net.loss_and_grad(p, x, y, kernel=kernel)
    assert got == pytest.approx(loss, rel=1e-5)
    assert all(a.dtype == np.float32 for a in g.values())
    mine = (g, {"f": net.forward(p, x, kernel=kernel)})
    book = (textbook.loss_and_grad(net, p, x, y)[1], {"f": textbook.forward(net, p, x)})
    return [
        [s * textbook.relative_error(a, t) for s, a, t in zip(scale, side, truth, strict=True)] for side in (mine, book)
    ]


def check_against_reference(net, n, seed):
    check_float64(net, n, seed)
    for kernel in fast_kernels(net):
        errors = np.array([float32_errors(net, n, seed + 1000 * draw, kernel) for draw in range(DRAWS)])
        for quantity in range(2):
            mine, book = (root_mean_square(errors[:, side, quantity]) for side in range(2))
            assert mine <= 2 * book + FLOOR


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("alpha", AWKWARD)
def test_awkward_widths(level, network, alpha):
    d = 2 if network is pn.GlobalNetwork else 3
    for layers, activation in itertools.product((1, 2), ACTIVATIONS):
        check_against_reference(network(d=d, alpha=alpha, hidden_layers=layers, activation=activation), 19, seed=alpha)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 257])
def test_awkward_batches(level, network, rows):
    check_against_reference(network(d=4, alpha=9), rows, seed=rows)


@pytest.mark.parametrize("network", NETWORKS[:2])
@pytest.mark.parametrize(("d", "block_in"), [(6, 2), (6, 3), (6, 6), (34, 17)])
def test_blocks_with_several_inputs(level, network, d, block_in):
    for activation in ACTIVATIONS:
        check_against_reference(network(d=d, alpha=5, block_in=block_in, activation=activation), 70, seed=d)


@settings(max_examples=60, deadline=None)
@given(
    network=st.sampled_from(NETWORKS),
    d=st.integers(1, 9),
    alpha=st.integers(1, 40),
    rows=st.integers(1, 150),
    layers=st.sampled_from((1, 2)),
    activation=st.sampled_from(ACTIVATIONS),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape(network, d, alpha, rows, layers, activation, seed):
    check_against_reference(network(d=d, alpha=alpha, hidden_layers=layers, activation=activation), rows, seed)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layers", [1, 2])
def test_reference_is_the_textbook(network, activation, layers):
    net = network(d=3, alpha=7, hidden_layers=layers, activation=activation)
    p, (x, y) = random_parameters(net), random_rows(net, 11)
    loss, g = net.loss_and_grad(p, x, y, kernel="reference")
    book_loss, book = textbook.loss_and_grad(net, p, x, y)
    assert loss == pytest.approx(book_loss, rel=1e-13)
    assert textbook.relative_error(g, book) < 1e-14
    np.testing.assert_allclose(net.forward(p, x, kernel="reference"), textbook.forward(net, p, x), rtol=1e-12)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("penalty", [None, pn.L1(1e-2), pn.L2(1e-2), pn.PathNorm(1e-2)])
def test_gradient_is_the_finite_difference(network, activation, layers, penalty):
    """Along random directions, in float64, away from kinks: five-point formula, error O(step^4)."""
    net = network(d=3, alpha=6, hidden_layers=layers, activation=activation)
    p, (x, y) = random_parameters(net, seed=3), random_rows(net, 12)
    _, g = net.loss_and_grad(p, x, y, penalty=penalty)
    rng = np.random.default_rng(5)
    step = 1e-5

    def loss_at(direction, t):
        return net.loss_and_grad({k: p[k] + t * direction[k] for k in p}, x, y, penalty=penalty)[0]

    for _ in range(4):
        direction = {k: rng.normal(size=a.shape) for k, a in p.items()}
        numeric = (
            8 * (loss_at(direction, step) - loss_at(direction, -step))
            - (loss_at(direction, 2 * step) - loss_at(direction, -2 * step))
        ) / (12 * step)
        exact = sum(np.vdot(g[k], direction[k]) for k in g)
        assert numeric == pytest.approx(exact, rel=2e-7, abs=1e-10)


def test_relu_derivative_at_zero_is_zero(level):
    """At the start of the protocol a row of zeros puts every unit on its kink."""
    for network in NETWORKS:
        net = network(d=2, alpha=8)
        p = net.init(seed=0, dtype="float64")
        x, y = np.zeros((3, 2)), np.ones(3)
        for kernel in net.kernels:
            _, g = net.loss_and_grad(p, x, y, kernel=kernel)
            assert all(not a.any() for a in g.values())


@pytest.mark.parametrize("network", NETWORKS)
def test_nan_parameters_give_a_nan_loss(level, network):
    net = network(d=3, alpha=5)
    x, y = random_rows(net, 10)
    for name, kernel in itertools.product(net.parameter_shapes, net.kernels):
        p = random_parameters(net)
        p[name].flat[0] = np.nan
        loss, _ = net.loss_and_grad(p, x, y, kernel=kernel)
        assert not np.isfinite(loss), (name, kernel)


def test_saturated_activations_stay_finite(level):
    for network, activation in itertools.product(NETWORKS, ("tanh", "sigmoid")):
        net = network(d=2, alpha=9, activation=activation)
        for dtype in ("float32", "float64"):
            p = random_parameters(net, scale=1e4, dtype=dtype)
            x, y = random_rows(net, 17, dtype=dtype)
            f = net.forward(p, x)
            truth = net.forward(cast(p, "float64"), x.astype("float64"), kernel="reference")
            np.testing.assert_allclose(f, truth, rtol=1e-5 if dtype == "float32" else 1e-13)
            assert all(np.isfinite(a).all() for a in net.loss_and_grad(p, x, y)[1].values())


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bitwise_the_same_for_any_number_of_threads(network, dtype):
    # Points enough for several pieces of work: of 8,192 in the piecewise-linear kernel of a shared block.
    d, n = (6, 800) if network is pn.GlobalNetwork else (20, 2000)
    net = network(d=d, alpha=50)
    p = random_parameters(net, dtype=dtype)
    x, y = random_rows(net, n, dtype=dtype)
    for kernel in fast_kernels(net):
        loss, g = net.loss_and_grad(p, x, y, kernel=kernel, threads=1)
        for threads in (2, 3, 5):
            other_loss, other = net.loss_and_grad(p, x, y, kernel=kernel, threads=threads)
            assert other_loss == loss
            assert textbook.flat(g).tobytes() == textbook.flat(other).tobytes()


def test_zero_blocks_of_an_embedded_network():
    """A dense network that holds an LN: block by block the LN's gradient, and calculus's in the blocks of zeros."""
    ln = pn.LocalNetwork(d=4, alpha=5)
    p, (x, y) = random_parameters(ln), random_rows(ln, 30)
    gn, q = pn.embed(ln, p, into="GN")
    loss, g = ln.loss_and_grad(p, x, y)
    big_loss, big = gn.loss_and_grad(q, x, y)
    assert big_loss == pytest.approx(loss, rel=1e-13)
    diagonal = [slice(5 * i, 5 * i + 5) for i in range(4)]
    np.testing.assert_allclose(sum(big["w1"][s, i] for i, s in enumerate(diagonal)), g["w1"], rtol=1e-10, atol=1e-16)
    np.testing.assert_allclose(sum(big["w2"][s, s] for s in diagonal), g["w2"], rtol=1e-10, atol=1e-16)
    for name in ("b1", "b2", "w3"):
        np.testing.assert_allclose(sum(big[name][s] for s in diagonal), g[name], rtol=1e-10, atol=1e-16)
    # dW2_kj = sum_b r_b w3_k [z2_bk > 0] h1_bj also where block k is not block j.
    _, layers, f = textbook.forward_trace(gn, q, x)
    (_, h1), (z2, _) = [(z[0], h[0]) for z, h in layers]
    residual = 2 * (f - y) / (len(x) * gn.d)
    dz2 = residual[:, None] * q["w3"] * (z2 > 0)
    np.testing.assert_allclose(big["w2"], dz2.T @ h1, rtol=1e-9, atol=1e-16)
    dz1 = (dz2 @ q["w2"]) * (h1 > 0)
    np.testing.assert_allclose(big["w1"], dz1.T @ x, rtol=1e-9, atol=1e-16)
    assert np.abs(big["w2"][diagonal[0], diagonal[1]]).max() > 0

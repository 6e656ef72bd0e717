"""The active-unit kernel against the reference and the direct kernel (kernels.md, section 3)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import dense
from support.dense import (
    PENALTIES,
    check_float64,
    data,
    flat,
    initial,
    largest_error,
    mixed_units,
    network,
    preactivations,
    rows_off_kinks,
    split,
    train,
)

from pyneedle import _native

PIECE = 1024  # rows that a forward pass takes at once: certificates serve from the second piece on


@pytest.fixture(autouse=True, scope="module")
def _blas() -> None:
    dense.load_blas()


def textbook(p, x, y):
    """Loss gradient in the arrays' precision, in the textbook order."""
    z1, z2 = preactivations(p, x)
    h1, h2 = np.maximum(z1, 0), np.maximum(z2, 0)
    d = x.shape[1]
    r = (2 * (h2 @ p["w3"] / x.dtype.type(d) - y) / x.dtype.type(len(y) * d)).astype(x.dtype)
    dz2 = r[:, None] * p["w3"] * (z2 > 0)
    dz1 = (dz2 @ p["w2"]) * (z1 > 0)
    return {"w1": dz1.T @ x, "b1": dz1.sum(0), "w2": dz2.T @ h1, "b2": dz2.sum(0), "w3": r @ h2}


def test_kernels_of():
    assert network(20, 100).kernels == ["active", "direct", "reference"]
    for other in (network(20, 100, 1), network(20, 100, 2, "tanh"), _native.Network(20, 1, 50, False, 2, "relu")):
        assert "active" not in other.kernels
        with pytest.raises(ValueError, match="kernel must be one of"):
            _native.forward(other, np.zeros(other.parameter_count), np.zeros((3, 20)), "active")


@pytest.mark.parametrize("width", [1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 50, 64, 100])
@pytest.mark.parametrize("n", [1, 5, 257])
def test_gradient_at_awkward_sizes(width, n):
    d = 3
    x, y = data(d, n, "float64")
    p = initial(d, width, np.random.default_rng(width))
    p["b1"] += 0.1
    p["b2"] += np.random.default_rng(1).normal(0, 0.3, width)
    none = _native.Penalty("none", 0.0)
    net = network(d, width)
    loss, g, ran = _native.loss_and_gradient(net, flat(p, "float64"), x, y, none, "active")
    want_loss, want, _ = _native.loss_and_gradient(net, flat(p, "float64"), x, y, none, "reference")
    assert ran == "active"
    assert loss == pytest.approx(want_loss, rel=1e-12)
    assert largest_error(g, want, d, width) < 1e-12


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: p[0])
@pytest.mark.parametrize("d", [4, 8, 20, 40])
def test_gradient_along_a_training(d, penalty):
    """At the start, during the collapse and after it, against direct and reference.

    float64 within 1e-12, float32 within twice the textbook order's error. The reference is slow: from d = 20 on it has
    a small batch, after the collapse.
    """
    width, n, batch, float32_rows = (50 * d, 6400, 400, 1600) if d <= 20 else (50 * d, 1600, 80, 400)
    reference_rows = {4: 300, 8: 300, 20: 80, 40: 20}[d]
    x, y = data(d, n, "float64")
    start = flat(initial(d, width, np.random.default_rng(d)), "float64")
    net, strength = network(d, width), _native.Penalty(*penalty)
    before = mixed_units(split(start, d, width), x[:2000])
    for epochs in (0, 1, 4):
        p = start
        if epochs:
            run = train(d, width, start, x, y, epochs, batch, penalty, "active")
            p = run["last_parameters"]
            assert run["mixed_units"][0, 1] < before / 2  # it has collapsed, or this test would show little
        off = rows_off_kinks(split(p, d, width), x[:300], 1e-11)
        assert len(off) > 290
        check_float64(net, p, x[off], y[off], strength, "direct", width)
        if d < 20 or epochs == 4:
            few = off[:reference_rows]
            check_float64(net, p, x[few], y[few], strength, "reference", width)
        off = rows_off_kinks(split(p, d, width), x[: 2 * float32_rows], 2e-5)[:float32_rows]
        assert len(off) == float32_rows
        check_float32(net, p, [(x[rows], y[rows]) for rows in np.array_split(off, 8)], d, width)


def check_float32(net, p, batches, d, width):
    """Over some batches: the error of a single one hangs on what its residual's rounding errors happen to add up to."""
    p4 = p.astype("float32")
    errors = {name: np.zeros(2) for name in split(p, d, width)}
    for x, y in batches:
        x4, y4 = x.astype("float32"), y.astype("float32")
        exact = textbook(split(p4.astype("float64"), d, width), x4.astype("float64"), y4.astype("float64"))
        plain = textbook(split(p4, d, width), x4, y4)
        _, flat_gradient, _ = _native.loss_and_gradient(net, p4, x4, y4, _native.Penalty("none", 0.0), "active")
        for name, value in split(flat_gradient, d, width).items():
            errors[name] += [np.square(value - exact[name]).sum(), np.square(plain[name] - exact[name]).sum()]
    for name, (error, textbook_error) in errors.items():
        assert np.sqrt(error) <= 2 * np.sqrt(textbook_error), name


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["w1", "b1", "w2", "b2", "w3"])
def test_what_is_not_finite_shows(name, value):
    d, width = 4, 40
    x, y = data(d, 3 * PIECE, "float32")
    p = initial(d, width, np.random.default_rng(0))
    p["b2"] -= 5  # all dead: certified from the second piece on
    p[name].ravel()[7] = value
    net = network(d, width)
    prediction, _ = _native.forward(net, flat(p, "float32"), x, "active")
    direct, _ = _native.forward(net, flat(p, "float32"), x, "direct")
    np.testing.assert_array_equal(np.isfinite(prediction), np.isfinite(direct))
    loss, _, _ = _native.loss_and_gradient(net, flat(p, "float32"), x, y, _native.Penalty("none", 0.0), "active")
    direct_loss, _, _ = _native.loss_and_gradient(net, flat(p, "float32"), x, y, _native.Penalty("none", 0.0), "direct")
    assert np.isfinite(loss) == np.isfinite(direct_loss)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    width=st.sampled_from([1, 5, 16, 40, 65]),
    weight_scale=st.sampled_from([1e-20, 1e-6, 1.0, 1e4]),
    margin=st.sampled_from([0.0, 1e-7, 1e-5, 1e-3, 0.1, 1.0]),
    later=st.sampled_from([1e-3, 0.999, 1.0, 1.001, 1.24, 1.26, 3.0, 1e4]),
    side=st.sampled_from([-1.0, 1.0]),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_no_certificate_lies(seed, width, weight_scale, margin, later, side, dtype):
    """Biases of layer 2 make every unit dead (or on) on the first piece by a margin; then come larger rows.

    A unit wrongly taken for dead or on would change the output by more than rounding can.
    """
    d = 3
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (3 * PIECE, d))
    x[PIECE:] *= later
    x[-1] = 0
    x = x.astype(dtype)
    p = initial(d, width, rng)
    p["b1"] = rng.uniform(-0.2, 0.5, width)
    p["w2"] *= weight_scale * rng.choice([1.0, 1e-3], (width, 1))
    p = {name: v.astype(dtype).astype("float64") for name, v in p.items()}
    h1 = np.maximum(x[:PIECE].astype("float64") @ p["w1"].T + p["b1"], 0)
    z = h1 @ p["w2"].T
    size = np.abs(z).max(0) + 1e-30
    p["b2"] = np.where(rng.random(width) < 0.8, -side * (side * z).max(0) - side * margin * size, -z.mean(0))
    values = flat(p, dtype)
    net = network(d, width)
    got, ran = _native.forward(net, values, x, "active")
    assert ran == "active"
    p = split(values.astype("float64"), d, width)
    h1 = np.maximum(x.astype("float64") @ p["w1"].T + p["b1"], 0)
    z = h1 @ p["w2"].T + p["b2"]
    want = np.maximum(z, 0) @ p["w3"] / d
    sizes = np.abs(x.astype("float64")) @ np.abs(p["w1"]).T + np.abs(p["b1"])
    sizes = (sizes @ np.abs(p["w2"]).T + np.abs(p["b2"])) @ np.abs(p["w3"]) / d
    assert (np.abs(got - want) <= 8 * np.finfo(dtype).eps * (width + 8) * sizes + 1e-37).all()

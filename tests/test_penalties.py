"""Penalties and the path norm against sums over every weight and every path, and Adam against its formula."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyneedle as pn

NETWORKS = (pn.LocalNetwork, pn.LocallyConnectedNetwork, pn.GlobalNetwork)


def random_parameters(network, seed, dtype="float64"):
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-0.7, 0.7, shape).astype(dtype) for name, shape in network.parameter_shapes.items()}


def path_norm_by_enumeration(network, p):
    """Equation 22: the product of |weights| along every path, one after another, divided by d."""
    width, inputs = network.width, network.inputs_per_block
    total = 0.0
    for block in range(network.blocks):

        def tensor(name, block=block):
            value = p[name][block] if network.name == "LCN" else p[name]
            return value.reshape(width, -1).tolist()

        w1 = tensor("w1")
        if network.hidden_layers == 1:
            w2 = tensor("w2")
            for i, j in itertools.product(range(inputs), range(width)):
                total += abs(w1[j][i]) * abs(w2[j][0])
            continue
        w2, w3 = tensor("w2"), tensor("w3")
        for i, j, k in itertools.product(range(inputs), range(width), range(width)):
            total += abs(w1[j][i]) * abs(w2[k][j]) * abs(w3[k][0])
    return total / network.d


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(NETWORKS),
    d=st.integers(1, 4),
    alpha=st.integers(1, 4),
    hidden_layers=st.sampled_from([1, 2]),
    wide=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_path_norm_is_the_sum_over_paths(kind, d, alpha, hidden_layers, wide, dtype):
    more = {} if kind is pn.GlobalNetwork else {"block_in": d if wide else 1}
    network = kind(d, alpha, hidden_layers, **more)
    p = random_parameters(network, d, dtype)
    wanted = path_norm_by_enumeration(network, p)
    norm = pn.path_norm(network, p)
    assert type(norm) is float
    assert math.isclose(norm, wanted, rel_tol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("hidden_layers", [1, 2])
def test_penalties_add_their_value_and_gradient(kind, hidden_layers):
    network = kind(3, 4, hidden_layers)
    p = random_parameters(network, 5)
    weights = [name for name in p if name.startswith("w")]
    weights_of_zero = p["w1"].reshape(-1)
    weights_of_zero[0] = 0.0
    x, y = np.random.default_rng(0).uniform(-1, 1, (8, 3)), np.zeros(8)
    plain, g = network.loss_and_grad(p, x, y)
    values = {
        pn.L1(0.3): (0.3 * sum(np.abs(p[name]).sum() for name in weights), lambda w: 0.3 * np.sign(w)),
        pn.L2(0.2): (0.2 * sum((p[name] ** 2).sum() for name in weights), lambda w: 0.4 * w),
        pn.PathNorm(0.1): (0.1 * path_norm_by_enumeration(network, p), None),
    }
    for penalty, (value, slope) in values.items():
        loss, h = network.loss_and_grad(p, x, y, penalty)
        assert math.isclose(loss, plain + value, rel_tol=1e-12)
        for name in p:
            extra = h[name] - g[name]
            if name.startswith("b"):
                assert not extra.any()
            elif slope is not None:
                assert np.allclose(extra, slope(p[name]), atol=1e-14)
            else:
                assert (extra * p[name] >= -1e-15).all()
        assert abs((h["w1"] - g["w1"]).reshape(-1)[0]) < 1e-15  # sign(0) = 0


def test_penalties_are_values():
    assert pn.L1(np.float32(0.5)) == pn.L1(0.5)
    assert pn.L1(0.5) != pn.L2(0.5)
    assert len({pn.L1(1), pn.L2(1), pn.PathNorm(1), pn.L1(1.0)}) == 3


def adam_by_formula(w, gradients, adam):
    """Steps in float64, from the formulas of protocol.md's two placements of epsilon."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(gradients, start=1):
        rate = adam.learning_rate / (1 + adam.decay * (t - 1))
        m = adam.beta1 * m + (1 - adam.beta1) * g
        v = adam.beta2 * v + (1 - adam.beta2) * g * g
        c1, c2 = 1 - adam.beta1**t, 1 - adam.beta2**t
        w = w * (1 - rate * adam.weight_decay)
        if adam.epsilon_placement == "corrected":
            w = w - rate * (m / c1) / (np.sqrt(v / c2) + adam.epsilon)
        else:
            w = w - rate * math.sqrt(c2) / c1 * m / (np.sqrt(v) + adam.epsilon)
    return w


@pytest.mark.parametrize("placement", ["uncorrected", "corrected"])
@pytest.mark.parametrize("settings_", [{}, {"decay": 0.1}, {"weight_decay": 0.05}, {"epsilon": 1e-2, "beta1": 0.5}])
@pytest.mark.parametrize("shape", [(), (1,), (17,), (3, 5), (4, 0)])
def test_adam_on_any_array(placement, settings_, shape):
    adam = pn.Adam(epsilon_placement=placement, **settings_)
    rng = np.random.default_rng(0)
    w = rng.normal(size=shape)
    gradients = rng.normal(size=(20, *shape))
    wanted = adam_by_formula(w, gradients, adam)
    p = np.array(w)
    state = adam.init_state(p)
    for g in gradients:
        adam.step(p, np.asarray(g), state)
    assert state.t == 20
    assert np.allclose(p, wanted, rtol=1e-12, atol=1e-14)


def test_adam_on_dicts_and_strided_arrays():
    adam = pn.Adam()
    rng = np.random.default_rng(1)
    p = {"a": rng.normal(size=(6, 4))[:, ::2], "b": rng.normal(size=3)}
    g = {"b": rng.normal(size=3), "a": rng.normal(size=(2, 6)).T}
    wanted = {name: adam_by_formula(p[name].copy(), [g[name]] * 3, adam) for name in p}
    state = adam.init_state(p)
    for _ in range(3):
        adam.step(p, g, state)
    assert all(np.allclose(p[name], wanted[name], rtol=1e-12) for name in p)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("placement", ["uncorrected", "corrected"])
def test_adam_with_the_least_epsilon(placement, dtype):
    factor = math.sqrt(1 - 0.999) if placement == "corrected" else 1.0
    adam = pn.Adam(epsilon=1.01 * float(np.finfo(dtype).tiny) / factor, epsilon_placement=placement)
    p = np.ones(3, dtype)
    adam.step(p, np.array([0.0, 1.0, -1.0], dtype), adam.init_state(p))
    assert np.allclose(p, [1.0, 0.99, 1.01], rtol=1e-6)


def test_adam_on_columns_of_one_array_and_on_its_own_gradient():
    adam = pn.Adam()
    start = np.random.default_rng(2).normal(size=(50, 4))
    start[:, 2:] = 0.0
    columns = start.copy()
    p, g, m, v = columns.T
    adam.step(p, g, pn.AdamState(m, v))
    assert np.allclose(p, adam_by_formula(start[:, 0], [start[:, 1]], adam), rtol=1e-12)
    assert np.array_equal(g, start[:, 1])
    itself = {"a": start[:, 0].copy(), "b": start[:, 1].copy()}
    adam.step(itself, itself, adam.init_state(itself))
    assert np.allclose(itself["a"], adam_by_formula(start[:, 0], [start[:, 0]], adam), rtol=1e-12)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("penalty", [None, pn.L1(0.1), pn.L2(0.1), pn.PathNorm(0.1)])
@pytest.mark.parametrize("views", [True, False])
def test_adam_with_a_network_and_a_penalty(kind, penalty, views):
    network = kind(3, 4)
    adam = pn.Adam(weight_decay=0.01)
    p = network.init(dtype="float64") if views else random_parameters(network, 3)
    x, y = np.random.default_rng(0).uniform(-1, 1, (8, 3)), np.zeros(8)
    _, g = network.loss_and_grad(p, x, y)
    _, whole = network.loss_and_grad(p, x, y, penalty)
    plain = pn.Adam()
    wanted = {
        name: adam_by_formula(p[name].copy(), [whole[name]], adam if name.startswith("w") else plain) for name in p
    }
    arrays = dict(p)
    adam.step(p, g, adam.init_state(p), penalty, network)
    assert all(p[name] is arrays[name] for name in p)
    assert all(np.allclose(p[name], wanted[name], rtol=1e-9, atol=1e-12) for name in p)


def test_steps_by_hand_are_the_trainer():
    network = pn.LocalNetwork(2, 5)
    ds = pn.make_dataset("square", 2, 50, dtype="float64")
    adam, penalty = pn.Adam(decay=0.03), pn.PathNorm(1e-3)
    fit = pn.train(network, ds, epochs=3, batch_size=8, optimizer=adam, penalty=penalty, shuffle=False)
    p = network.init(0, dtype="float64")
    state = adam.init_state(p)
    for _ in range(3):
        for first in range(0, 32, 8):
            batch = slice(first, first + 8)
            _, g = network.loss_and_grad(p, ds.train.x[batch], ds.train.y[batch])
            adam.step(p, g, state, penalty, network)
    assert all(np.allclose(p[name], fit.last_parameters[name], rtol=1e-9, atol=1e-12) for name in p)

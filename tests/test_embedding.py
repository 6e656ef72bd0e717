"""Embedding LN -> LCN -> GN keeps the function and its gradient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyneedle as pn


def random_parameters(network, seed, dtype="float64"):
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-0.7, 0.7, shape).astype(dtype) for name, shape in network.parameter_shapes.items()}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from([pn.LocalNetwork, pn.LocallyConnectedNetwork]),
    block_in=st.integers(1, 3),
    blocks=st.integers(1, 4),
    alpha=st.integers(1, 6),
    hidden_layers=st.sampled_from([1, 2]),
    activation=st.sampled_from(["relu", "tanh", "sigmoid"]),
    into=st.sampled_from(["LCN", "GN"]),
)
def test_embedding_keeps_the_function(kind, block_in, blocks, alpha, hidden_layers, activation, into):
    network = kind(block_in * blocks, alpha, hidden_layers, activation, block_in)
    if network.name == into:
        return
    p = random_parameters(network, alpha)
    x = np.random.default_rng(0).uniform(-1, 1, (11, network.d))
    wider, q = pn.embed(network, p, into)
    assert wider.name == into
    assert (wider.d, wider.alpha, wider.hidden_layers, wider.activation) == (
        network.d,
        alpha,
        hidden_layers,
        activation,
    )
    assert {name: value.shape for name, value in q.items()} == wider.parameter_shapes
    assert np.allclose(wider.forward(q, x), network.forward(p, x), rtol=1e-11, atol=1e-12)
    assert np.isclose(pn.path_norm(wider, q), pn.path_norm(network, p), rtol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_embedding_in_two_steps_is_embedding_in_one(dtype):
    net = pn.LocalNetwork(4, 3)
    p = random_parameters(net, 0, dtype)
    dense, direct = pn.embed(net, p, "GN")
    again, two_steps = pn.embed(*pn.embed(net, p, "LCN"), "GN")
    assert dense == again == pn.GlobalNetwork(4, 3)
    assert all(np.array_equal(direct[name], two_steps[name]) for name in direct)
    assert all(value.dtype == dtype for value in direct.values())


def test_a_small_embedding_written_out():
    net = pn.LocallyConnectedNetwork(2, 1)
    p = {
        "w1": np.array([[1.0], [2.0]]),
        "b1": np.array([[3.0], [4.0]]),
        "w2": np.array([[[5.0]], [[6.0]]]),
        "b2": np.array([[7.0], [8.0]]),
        "w3": np.array([[9.0], [10.0]]),
    }
    _, q = pn.embed(net, p, "GN")
    assert q["w1"].tolist() == [[1, 0], [0, 2]]
    assert q["b1"].tolist() == [3, 4]
    assert q["w2"].tolist() == [[5, 0], [0, 6]]
    assert q["b2"].tolist() == [7, 8]
    assert q["w3"].tolist() == [9, 10]


def test_gradient_of_the_embedded_network():
    local = pn.LocalNetwork(3, 4)
    p = random_parameters(local, 2)
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-1, 1, (50, 3)), rng.uniform(-1, 1, 50)
    loss, g = local.loss_and_grad(p, x, y)
    connected, q = pn.embed(local, p, "LCN")
    loss_c, g_c = connected.loss_and_grad(q, x, y)
    dense, r = pn.embed(local, p, "GN")
    loss_d, g_d = dense.loss_and_grad(r, x, y)
    assert np.isclose(loss, loss_c, rtol=1e-12)
    assert np.isclose(loss, loss_d, rtol=1e-12)
    for name in g:
        # The LN's weights are those of all blocks at once, so its gradient is the sum of theirs.
        assert np.allclose(g_c[name].sum(axis=0), g[name], rtol=1e-10, atol=1e-14)
    for block in range(3):
        units = slice(4 * block, 4 * block + 4)
        assert np.allclose(g_d["w1"][units, block], g_c["w1"][block], rtol=1e-10, atol=1e-14)
        assert np.allclose(g_d["w2"][units, units], g_c["w2"][block], rtol=1e-10, atol=1e-14)
        for name in ("b1", "b2", "w3"):
            assert np.allclose(g_d[name][units], g_c[name][block], rtol=1e-10, atol=1e-14)
    # Calculus says what a zero block receives: dW2_kj = sum_b r_b w3_k [z2_bk > 0] h1_bj, also for units of two blocks.
    h1 = np.maximum(x @ r["w1"].T + r["b1"], 0)
    z2 = h1 @ r["w2"].T + r["b2"]
    residual = 2 * (np.maximum(z2, 0) @ r["w3"] / 3 - y) / (50 * 3)
    assert np.allclose(g_d["w2"], (residual[:, None] * (z2 > 0) * r["w3"]).T @ h1, rtol=1e-10, atol=1e-14)


def test_embedding_copies():
    net = pn.LocalNetwork(2, 3)
    p = net.init()
    _, q = pn.embed(net, p, "LCN")
    q["w1"][...] = 7
    assert not (p["w1"] == 7).any()

"""Networks as descriptions: shapes, counts, initial parameters, forward pass, loss and gradient."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyneedle as pn
from pyneedle import _native

NETWORKS = (pn.LocalNetwork, pn.LocallyConnectedNetwork, pn.GlobalNetwork)
ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1.0 / (1.0 + np.exp(-z)),
}


def random_parameters(network, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-0.7, 0.7, shape).astype(dtype) for name, shape in network.parameter_shapes.items()}


def textbook(network, p, x):
    """f(x), block by block, in plain Python loops over rows and blocks."""
    act = ACTIVATIONS[network.activation]
    width, inputs = network.width, network.inputs_per_block
    tensors = {
        name: value.reshape(-1, width, value.size // width // (1 if network.name != "LCN" else network.blocks))
        for name, value in p.items()
    }
    out = np.zeros(len(x))
    for row, point in enumerate(x):
        for block in range(network.blocks):
            g = block if network.name == "LCN" else 0
            h = act(tensors["w1"][g] @ point[block * inputs : (block + 1) * inputs] + tensors["b1"][g][:, 0])
            if network.hidden_layers == 2:
                h = act(tensors["w2"][g] @ h + tensors["b2"][g][:, 0])
            last = tensors["w3" if network.hidden_layers == 2 else "w2"][g][:, 0]
            out[row] += last @ h
    return out / network.d


@st.composite
def networks(draw):
    kind = draw(st.sampled_from(NETWORKS))
    block_in = draw(st.integers(1, 3))
    d = block_in * draw(st.integers(1, 4))
    shared = {
        "d": d,
        "alpha": draw(st.integers(1, 9)),
        "hidden_layers": draw(st.sampled_from((1, 2))),
        "activation": draw(st.sampled_from(tuple(ACTIVATIONS))),
    }
    return kind(**shared) if kind is pn.GlobalNetwork else kind(**shared, block_in=block_in)


def test_shapes_of_the_documentation():
    d, a = 20, 50
    assert pn.LocalNetwork(d).parameter_shapes == {"w1": (a,), "b1": (a,), "w2": (a, a), "b2": (a,), "w3": (a,)}
    assert pn.LocallyConnectedNetwork(d).parameter_shapes == {
        "w1": (d, a),
        "b1": (d, a),
        "w2": (d, a, a),
        "b2": (d, a),
        "w3": (d, a),
    }
    h = d * a
    assert pn.GlobalNetwork(d).parameter_shapes == {"w1": (h, d), "b1": (h,), "w2": (h, h), "b2": (h,), "w3": (h,)}
    assert pn.LocalNetwork(d).parameter_count == 2700
    assert list(pn.GlobalNetwork(d).parameter_shapes) == ["w1", "b1", "w2", "b2", "w3"]


def test_shapes_with_one_hidden_layer_and_wider_blocks():
    assert pn.LocalNetwork(6, 4, hidden_layers=1).parameter_shapes == {"w1": (4,), "b1": (4,), "w2": (4,)}
    assert pn.LocalNetwork(6, 4, block_in=3).parameter_shapes == {
        "w1": (12, 3),
        "b1": (12,),
        "w2": (12, 12),
        "b2": (12,),
        "w3": (12,),
    }
    assert pn.LocallyConnectedNetwork(6, 4, block_in=2).parameter_shapes == {
        "w1": (3, 8, 2),
        "b1": (3, 8),
        "w2": (3, 8, 8),
        "b2": (3, 8),
        "w3": (3, 8),
    }
    assert pn.GlobalNetwork(1, 4).parameter_shapes["w1"] == (4, 1)


@given(networks())
def test_the_native_count_is_that_of_the_shapes(network):
    assert network.parameter_count == sum(math.prod(shape) for shape in network.parameter_shapes.values())


def test_networks_are_values():
    net = pn.LocalNetwork(np.int64(4), np.int32(5))
    assert net == pn.LocalNetwork(4, 5)
    assert hash(net) == hash(pn.LocalNetwork(4, 5))
    assert type(net.d) is int
    assert net != pn.LocallyConnectedNetwork(4, 5)
    assert [kind(4).name for kind in NETWORKS] == ["LN", "LCN", "GN"]
    net.forward(net.init(), np.zeros((1, 4), np.float32))
    assert pickle.loads(pickle.dumps(net)) == net
    with pytest.raises(AttributeError):
        net.d = 5


def test_every_network_lists_its_kernels():
    for kind in NETWORKS:
        kernels = kind(4).kernels
        assert "direct" in kernels
        assert "reference" in kernels
        assert "auto" not in kernels


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scheme", ["paper", "glorot"])
@pytest.mark.parametrize(
    "network", [pn.LocalNetwork(6, 40), pn.LocallyConnectedNetwork(6, 40), pn.GlobalNetwork(6, 40)]
)
def test_initial_weights_fill_their_glorot_interval(network, scheme, dtype):
    p = network.init(3, scheme, dtype)
    fans = {"w1": (1, 40), "w2": (40, 40), "w3": (40, 1)}
    if network.name == "GN":
        fans = {"w1": (6, 240), "w2": (240, 240), "w3": (240, 1)}
    field = 6 if network.name == "LCN" and scheme == "paper" else 1
    assert list(p) == list(network.parameter_shapes)
    for name, value in p.items():
        assert value.shape == network.parameter_shapes[name]
        assert value.dtype == dtype
        if name.startswith("b"):
            assert not value.any()
            continue
        limit = math.sqrt(6.0 / (field * sum(fans[name])))
        assert np.abs(value).max() <= limit * (1 + 1e-6)
        assert np.abs(value).max() > 0.85 * limit
        assert abs(value.mean()) < 4 * limit / math.sqrt(3 * value.size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_weights_are_the_draws_of_their_tensor(dtype):
    networks = (pn.LocallyConnectedNetwork(6, 5, 2, "relu", 2), pn.LocalNetwork(3, 7, 1), pn.GlobalNetwork(3, 4))
    for network, block_in in zip(networks, (2, 1, 3), strict=True):
        for member, (name, value) in enumerate(network.init(2**64 - 1, "glorot", dtype).items()):
            if name.startswith("b"):
                continue
            last = member == len(network.parameter_shapes) - 1
            inputs = 1 if last else block_in if name == "w1" else network.width
            limit = math.sqrt(6.0 / (network.width + inputs))
            u = _native.uniform(2**64 - 1, "initialization", member, 0, value.size, dtype)
            assert np.array_equal(value.ravel(), limit * (2 * u - 1)), name


def test_initial_parameters_depend_on_the_seed_alone():
    net = pn.LocallyConnectedNetwork(3, 5)
    first, again, other = net.init(1), net.init(1), net.init(2)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["w2"], other["w2"])
    assert not np.array_equal(first["w1"].ravel(), first["w3"].ravel())
    wide = net.init(1, dtype="float64")
    assert all(np.allclose(first[name], wide[name], rtol=0, atol=1e-6) for name in first)


def test_one_hidden_layer_scales_its_output_weights_by_their_own_fans():
    p = pn.LocalNetwork(4, 200, hidden_layers=1).init()
    limit = math.sqrt(6.0 / 201)
    assert 0.9 * limit < np.abs(p["w2"]).max() <= limit * (1 + 1e-6)


def test_one_hidden_layer_may_be_wide():
    """Only a second layer has as many weights as the width squared."""
    network = pn.LocalNetwork(2, 2_000_000, hidden_layers=1)
    p = network.init(dtype="float64")
    x = np.array([[0.5, -0.25]])
    wanted = sum(p["w2"] @ np.maximum(p["w1"] * t + p["b1"], 0.0) for t in x[0]) / 2
    assert network.parameter_count == 6_000_000
    assert network.forward(p, x)[0] == pytest.approx(wanted, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(networks(), st.integers(1, 9), st.integers(0, 5))
def test_forward_is_the_textbook_function(network, n, seed):
    p = random_parameters(network, seed)
    x = np.random.default_rng(seed).uniform(-1, 1, (n, network.d))
    wanted = textbook(network, p, x)
    for kernel in ("auto", *network.kernels):
        assert np.allclose(network.forward(p, x, kernel), wanted, rtol=1e-11, atol=1e-12)
    single = {name: value.astype(np.float32) for name, value in p.items()}
    assert np.allclose(network.forward(single, x.astype(np.float32)), wanted, rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(networks(), st.integers(1, 9), st.sampled_from([None, pn.L1(0.03), pn.L2(0.02), pn.PathNorm(0.05)]))
def test_gradient_is_that_of_finite_differences(network, n, penalty):
    rng = np.random.default_rng(n)
    p = random_parameters(network, n)
    x, y = rng.uniform(-1, 1, (n, network.d)), rng.uniform(-1, 1, n)
    loss, g = network.loss_and_grad(p, x, y, penalty)
    assert list(g) == list(p)
    wanted = np.mean((textbook(network, p, x) - y) ** 2)
    if penalty is None:
        assert math.isclose(loss, wanted, rel_tol=1e-10)
    else:
        assert loss > wanted
    step = 1e-6
    for name, value in p.items():
        at = tuple(int(rng.integers(k)) for k in value.shape)
        losses = []
        for sign in (1, -1):
            moved = {key: array.copy() for key, array in p.items()}
            moved[name][at] += sign * step
            losses.append(network.loss_and_grad(moved, x, y, penalty)[0])
        assert math.isclose((losses[0] - losses[1]) / (2 * step), g[name][at], rel_tol=1e-4, abs_tol=1e-7)


def test_gradients_are_views_of_one_flat_array():
    net = pn.LocalNetwork(3, 4)
    p = net.init(dtype="float64")
    x = np.random.default_rng(0).uniform(-1, 1, (7, 3))
    _, g = net.loss_and_grad(p, x, np.zeros(7))
    flat = g["w1"].base
    assert flat.shape == (net.parameter_count,)
    assert all(value.base is flat for value in g.values())
    assert np.array_equal(np.concatenate([value.ravel() for value in g.values()]), flat)


def test_order_and_layout_of_the_arrays_do_not_matter():
    net = pn.LocallyConnectedNetwork(4, 6)
    p = random_parameters(net, 1, "float32")
    x = np.random.default_rng(0).uniform(-1, 1, (9, 4)).astype(np.float32)
    wanted = net.forward(p, x)
    assert np.array_equal(net.forward({name: p[name] for name in reversed(p)}, x), wanted)
    strided = {name: np.repeat(value, 2, axis=-1)[..., ::2] for name, value in p.items()}
    assert not strided["w2"].flags.c_contiguous
    assert np.array_equal(net.forward(strided, x), wanted)
    assert np.array_equal(net.forward(p, np.asfortranarray(x)), wanted)
    assert np.array_equal(net.forward(p, np.repeat(x, 3, axis=0)[::3]), wanted)
    assert np.array_equal(net.forward(p, x[::-1])[::-1], wanted)
    backwards = np.concatenate([p[name].ravel() for name in reversed(p)])
    views, offset = {}, 0
    for name in reversed(p):  # views of one array, but not in storage order
        views[name] = backwards[offset : offset + p[name].size].reshape(p[name].shape)
        offset += p[name].size
    assert np.array_equal(net.forward(views, x), wanted)
    raw = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(np.float32).reshape(x.shape)
    unaligned[...] = x
    assert np.array_equal(net.forward(p, unaligned), wanted)


def test_threads_do_not_change_a_bit():
    rng = np.random.default_rng(0)
    for kind in NETWORKS:
        net = kind(4, 9)
        p = net.init()
        x, y = rng.uniform(-1, 1, (257, 4)).astype(np.float32), rng.uniform(-1, 1, 257).astype(np.float32)
        one, two = net.loss_and_grad(p, x, y, threads=1), net.loss_and_grad(p, x, y, threads=2)
        assert one[0] == two[0]
        assert all(np.array_equal(one[1][name], two[1][name]) for name in p)

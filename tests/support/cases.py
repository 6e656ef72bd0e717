"""The one table of networks and sizes that drives the tests of all kernels."""

import numpy as np

import pyneedle as pn

AWKWARD = (1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 50, 64, 100)
ACTIVATIONS = ("relu", "tanh", "sigmoid")
NETWORKS = (pn.LocalNetwork, pn.LocallyConnectedNetwork, pn.GlobalNetwork)


def random_parameters(net, seed=0, dtype="float64", scale=1.0):
    """Glorot weights and non-zero biases, so that no unit sits on a kink."""
    rng = np.random.default_rng(seed)
    p = net.init(seed=seed, dtype="float64")
    for name, a in p.items():
        if name.startswith("b"):
            a += rng.normal(0, 0.3, a.shape)
        a *= scale
    return cast(p, dtype)


def random_rows(net, n, seed=0, dtype="float64"):
    """Targets far from any prediction: else the loss is a difference of nearly equal numbers, and errors are luck."""
    rng = np.random.default_rng(seed + 1)
    x = rng.uniform(-1, 1, (n, net.d))
    return x.astype(dtype), (1 + rng.exponential(size=n)).astype(dtype)


def cast(p, dtype):
    return {name: np.ascontiguousarray(a, dtype=dtype) for name, a in p.items()}

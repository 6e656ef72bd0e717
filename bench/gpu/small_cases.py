"""Small trainings and calls of every kernel on a GPU, for compute-sanitizer: sizes that end within a warp or a tile."""

import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import pyneedle as pn
from pyneedle import _device, _networks
from pyneedle.benchmark import missing, module

NETWORKS = (pn.LocalNetwork, pn.LocallyConnectedNetwork, pn.GlobalNetwork)
PENALTIES = (None, pn.L1(1e-4), pn.PathNorm(1e-4))
SIZES = ((3, 7), (2, 33))  # d, alpha
LAYERS = ((2, "relu"), (1, "relu"), (2, "tanh"))


def train(net: pn.Network, kernel: str, dtype: str) -> None:
    """Three members side by side, a last batch of few rows, and a diverging one."""
    data = pn.make_dataset("square", net.d, 150, dtype=dtype)
    runs = [
        pn.Run(net, data, 2, 37, pn.Adam(rate), penalty, seed, kernel=kernel, device="cuda")
        for seed, (rate, penalty) in enumerate(zip((0.01, 0.01, 1e30), PENALTIES, strict=True))
    ]
    statuses = [fit.status for fit in pn.train_ensemble(runs, progress=False)]
    if statuses[:2] != ["completed", "completed"]:
        raise RuntimeError(f"{net}, {kernel}, {dtype}: {statuses}")


def call(put: Callable[[Any], Any], net: pn.Network, kernel: str, dtype: str) -> None:
    """Everything that takes arrays on the GPU."""
    rng = np.random.default_rng(0)
    p = {key: put(rng.normal(size=shape).astype(dtype)) for key, shape in net.parameter_shapes.items()}
    x, y = put(rng.uniform(-1, 1, (37, net.d)).astype(dtype)), put(rng.uniform(size=37).astype(dtype))
    net.forward(p, x, kernel)
    _, g = net.loss_and_grad(p, x, y, pn.PathNorm(1e-3), kernel)
    adam = pn.Adam()
    adam.step(p, g, adam.init_state(p), pn.PathNorm(1e-3), net)
    pn.path_norm(net, p)


def cases() -> list[tuple[pn.Network, str, str]]:
    """Networks, kernels and precisions; "active", whose graphs have conditional nodes, last: tools know those least."""
    found = []
    for network, (d, alpha), (layers, activation) in itertools.product(NETWORKS, SIZES, LAYERS):
        net: pn.Network = network(d, alpha, layers, activation)  # type: ignore[arg-type]
        for kernel in _device.kernels(_networks.native(net), dense=False):
            found += [(net, kernel, dtype) for dtype in ("float32", "float64")]
    return sorted(found, key=lambda case: case[1] == "active")


def main() -> int:
    """Exit status 0; what is wrong is for the sanitizer to say."""
    put = None if missing("cupy") else module("cupy").asarray
    found = cases()
    for i, (net, kernel, dtype) in enumerate(found, 1):
        # Before it runs: where it ends the process, or never ends, this says which it was.
        sys.stdout.write(f"[{i}/{len(found)}] {net}, {kernel}, {dtype}\n")
        sys.stdout.flush()
        train(net, kernel, dtype)
        if put is not None:
            call(put, net, kernel, dtype)
    sys.stdout.write(f"{len(found)} cases, arrays {'with CuPy' if put is not None else 'left out: no CuPy'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

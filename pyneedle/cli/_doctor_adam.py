"""The step of Adam with a path norm, for `pyneedle doctor`, against its formulas in NumPy."""

import numpy as np

import pyneedle as pn
from pyneedle._checks import Array

_STEPS_BEFORE = 4


def difference(dtype: str) -> float:
    """Largest error of the moments and of the step that the parameters make, relative to the largest of each."""
    network, adam, penalty = pn.GlobalNetwork(3, 7), pn.Adam(), pn.PathNorm(0.1)
    generator = np.random.Generator(np.random.PCG64(2))

    def draw(low: float, high: float) -> dict[str, Array]:
        return {
            key: generator.uniform(low, high, shape).astype(dtype) for key, shape in network.parameter_shapes.items()
        }

    p, g, state = draw(-0.7, 0.7), draw(-1.0, 1.0), pn.AdamState(draw(-1.0, 1.0), draw(0.1, 1.0), _STEPS_BEFORE)
    start, m, v = _widened(p), _widened(state.m), _widened(state.v)
    penalized = _penalized(start, _widened(g), penalty.strength / network.d)
    adam.step(p, g, state, penalty, network)
    t = _STEPS_BEFORE + 1
    rate = adam.learning_rate * np.sqrt(1 - adam.beta2**t) / (1 - adam.beta1**t)
    worst = 0.0
    for key in p:
        first = adam.beta1 * m[key] + (1 - adam.beta1) * penalized[key]
        second = adam.beta2 * v[key] + (1 - adam.beta2) * penalized[key] ** 2
        step = -rate * first / (np.sqrt(second) + adam.epsilon)
        for got, wanted in ((state.m[key], first), (state.v[key], second), (p[key] - start[key], step)):
            worst = max(worst, float(np.abs(got - wanted).max() / np.abs(wanted).max()))
    return worst


def _widened(arrays: dict[str, Array]) -> dict[str, Array]:
    return {key: value.astype(np.float64) for key, value in arrays.items()}


def _penalized(p: dict[str, Array], g: dict[str, Array], factor: float) -> dict[str, Array]:
    """The gradient with `factor` times that of sum_ijk |w1_ji| |w2_kj| |w3_k|."""
    paths = np.abs(p["w1"]).sum(axis=1)  # paths: (H,) into each unit of the first layer
    sums = {
        "w1": (np.abs(p["w3"]) @ np.abs(p["w2"]))[:, None],
        "w2": np.abs(p["w3"])[:, None] * paths,
        "w3": np.abs(p["w2"]) @ paths,
    }
    return {key: value + factor * np.sign(p[key]) * sums[key] if key in sums else value for key, value in g.items()}

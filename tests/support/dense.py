"""GN through the native module: parameters as a dictionary, the protocol's data, trainings by any kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy_openblas32

from pyneedle import _native

PENALTIES = [("none", 0.0), ("l1", 1e-8), ("l2", 1e-7), ("path-norm", 1e-5)]


def load_blas() -> None:
    library = next(Path(scipy_openblas32.get_lib_dir()).glob("libscipy_openblas*"))
    _native.load_blas(str(library))


def network(d: int, width: int, layers: int = 2, activation: str = "relu") -> _native.Network:
    return _native.Network(d, d, width, False, layers, activation)


def initial(d: int, width: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    def glorot(fan_in, fan_out, shape):
        return rng.uniform(-1, 1, shape) * np.sqrt(6 / (fan_in + fan_out))

    return {
        "w1": glorot(d, width, (width, d)),
        "b1": np.zeros(width),
        "w2": glorot(width, width, (width, width)),
        "b2": np.zeros(width),
        "w3": glorot(width, 1, width),
    }


def flat(p: dict[str, np.ndarray], dtype: str) -> np.ndarray:
    return np.concatenate([np.ravel(v) for v in p.values()]).astype(dtype)


def split(p: np.ndarray, d: int, width: int) -> dict[str, np.ndarray]:
    shapes = {"w1": (width, d), "b1": (width,), "w2": (width, width), "b2": (width,), "w3": (width,)}
    ends = np.cumsum([np.prod(s) for s in shapes.values()])
    return {name: part.reshape(s) for (name, s), part in zip(shapes.items(), np.split(p, ends[:-1]), strict=True)}


def data(d: int, n: int, dtype: str, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).uniform(-1, 1, (n, d))
    x = np.take_along_axis(x, np.argsort(np.abs(x), axis=1), axis=1)
    return x.astype(dtype), (x**2).mean(axis=1).astype(dtype)


def preactivations(p, x):
    z1 = x @ p["w1"].T + p["b1"]
    return z1, np.maximum(z1, 0) @ p["w2"].T + p["b2"]


def rows_off_kinks(p, x, distance):
    """The rows that no unit's kink is near: a rounding there would be another gradient, for anyone."""
    z1, z2 = preactivations(p, x)
    return np.flatnonzero(np.minimum(np.abs(z1).min(1), np.abs(z2).min(1)) > distance)


def mixed_units(p, x):
    """How many units of layer 2 are active on some of the rows and inactive on others."""
    _, z2 = preactivations(p, x)
    return np.count_nonzero((z2 > 0).any(0) & (z2 <= 0).any(0))


def train(d, width, p, x, y, epochs, batch, penalty, kernel, threads=1, rate=0.01, shuffle=True, resume=None):
    """One run; `resume` is the result of the run that it goes on from, `p` being where that has arrived."""
    if resume is not None:
        state, validation = resume["state"], resume["state"]["best_validation_loss"]
        resume = _native.Resumption(
            state["m"],
            state["v"],
            resume["parameters"],
            state["epochs"],
            state["steps"],
            resume["best_epoch"],
            validation,
        )
    job = _native.Job(
        network(d, width), p, x, y, x[:2000], y[:2000], epochs, batch,
        _native.Adam(rate, 0.9, 0.999, 1e-7, 0.0, 0.0, "uncorrected"), _native.Penalty(*penalty), 0, kernel, shuffle,
        resume, keep_state=True,
    )  # fmt: skip
    run = _native.train([job], threads)[0]
    assert run["kernel"] == kernel
    return run


def largest_error(a, b, d, width):
    """Per tensor, relative to its largest entry; the worst of them."""
    a, b = split(a, d, width), split(b, d, width)
    return max(np.abs(a[k] - b[k]).max() / max(np.abs(b[k]).max(), 1e-300) for k in a)


def check_float64(net, p, x, y, penalty, other, width):
    loss, g, ran = _native.loss_and_gradient(net, p, x, y, penalty, "active")
    want_loss, want, other_ran = _native.loss_and_gradient(net, p, x, y, penalty, other)
    assert (ran, other_ran) == ("active", other)
    assert loss == pytest.approx(want_loss, rel=1e-12)
    assert largest_error(g, want, x.shape[1], width) < 1e-12

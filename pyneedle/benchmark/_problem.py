"""What is trained in a comparison: network, data, start and optimiser, in plain NumPy, the same for every side."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Parameters = dict[str, Array]
NetworkName = Literal["LN", "LCN", "GN"]
ActivationName = Literal["relu", "tanh", "sigmoid"]
PenaltyName = Literal["none", "l1", "l2", "path-norm"]

NETWORKS: tuple[NetworkName, ...] = ("LN", "LCN", "GN")
ACTIVATIONS: tuple[ActivationName, ...] = ("relu", "tanh", "sigmoid")
PENALTIES: tuple[PenaltyName, ...] = ("none", "l1", "l2", "path-norm")
STRENGTHS: dict[PenaltyName, float] = {"none": 0.0, "l1": 1e-8, "l2": 1e-7, "path-norm": 1e-5}  # those of the paper
WEIGHTS = ("w1", "w2", "w3")  # penalties apply to these, never to biases


@dataclass(frozen=True)
class Optimizer:
    """Adam; `corrected` places epsilon as PyTorch and JAX do, `uncorrected` as the paper's framework.

    Notes
    -----
    ``corrected``:   p -= lr mhat / (sqrt(vhat) + epsilon).
    ``uncorrected``: p -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon).
    """

    learning_rate: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-7
    placement: Literal["corrected", "uncorrected"] = "corrected"


@dataclass(frozen=True, eq=False)
class Problem:
    """One training problem. Arrays are C-contiguous float32; the networks have two hidden layers of d * alpha units.

    Attributes
    ----------
    train_x, validation_x : ndarray, shape (n, d)
    train_y, validation_y : ndarray, shape (n,)
        The scaled target, mean over i of x_i^2.
    initial : dict of ndarray
        w1, b1, w2, b2, w3 with the shapes of `parameter_shapes`; weights are [out, in].
    """

    network: NetworkName
    d: int
    alpha: int
    batch: int
    train_x: Array
    train_y: Array
    validation_x: Array
    validation_y: Array
    initial: Parameters
    activation: ActivationName = "relu"
    penalty: PenaltyName = "none"
    strength: float = 0.0
    optimizer: Optimizer = field(default_factory=Optimizer)
    seed: int = 0

    @property
    def batches(self) -> int:
        """Batches of one epoch; every batch is full."""
        return len(self.train_x) // self.batch

    @property
    def label(self) -> str:
        penalty = "" if self.penalty == "none" else f", {self.penalty}"
        activation = "" if self.activation == "relu" else f", {self.activation}"
        return f"{self.network} d={self.d} alpha={self.alpha} B={self.batch}{penalty}{activation}"

    def starting_from(self, parameters: Parameters) -> "Problem":
        """The same problem from other parameters, moments zero."""
        return replace(self, initial={k: np.ascontiguousarray(v, np.float32) for k, v in parameters.items()})


def parameter_shapes(network: NetworkName, d: int, alpha: int) -> dict[str, tuple[int, ...]]:
    """Shapes of w1, b1, w2, b2, w3, as `pyneedle`'s ``parameter_shapes`` has them."""
    if network == "LN":
        return {"w1": (alpha,), "b1": (alpha,), "w2": (alpha, alpha), "b2": (alpha,), "w3": (alpha,)}
    if network == "LCN":
        return {"w1": (d, alpha), "b1": (d, alpha), "w2": (d, alpha, alpha), "b2": (d, alpha), "w3": (d, alpha)}
    h = d * alpha
    return {"w1": (h, d), "b1": (h,), "w2": (h, h), "b2": (h,), "w3": (h,)}


def initial_parameters(network: NetworkName, d: int, alpha: int, seed: int = 0) -> Parameters:
    """Glorot-uniform weights with the fan rules of the paper's framework, zero biases.

    An LCN kernel of shape (d, in, out) counts d as a receptive field there: its limit is sqrt(6 / (d (in + out))).
    """
    rng = np.random.default_rng(seed)
    field_size = d if network == "LCN" else 1
    width = d * alpha if network == "GN" else alpha
    fans = {"w1": (d if network == "GN" else 1, width), "w2": (width, width), "w3": (width, 1)}
    parameters: Parameters = {}
    for name, shape in parameter_shapes(network, d, alpha).items():
        if name in fans:
            limit = np.sqrt(6.0 / (field_size * sum(fans[name])))
            parameters[name] = rng.uniform(-limit, limit, shape).astype(np.float32)
        else:
            parameters[name] = np.zeros(shape, np.float32)
    return parameters


def random_rows(rows: int, d: int, seed: int) -> tuple[Array, Array]:
    """X uniform on [-1, 1]^d, each row sorted by absolute value, and the scaled square target."""
    x = np.random.default_rng(seed).uniform(-1.0, 1.0, (rows, d)).astype(np.float32)
    x = np.ascontiguousarray(np.take_along_axis(x, np.argsort(np.abs(x), axis=1), axis=1))
    y = np.mean(x.astype(np.float64) ** 2, axis=1).astype(np.float32)
    return x, y


def make_problem(
    network: NetworkName,
    d: int,
    alpha: int = 50,
    batch: int = 800,
    batches: int = 80,
    validation_rows: int = 16_000,
    penalty: PenaltyName = "none",
    activation: ActivationName = "relu",
    seed: int = 0,
) -> Problem:
    """A problem on the square target; the defaults are the protocol's at N_sample = 10^5.

    Parameters
    ----------
    network : {"LN", "LCN", "GN"}
        The network.
    d, alpha : int
        Its number of inputs, and nodes per input in each hidden layer.
    batch, batches : int
        Rows of a step, and steps of an epoch.
    validation_rows : int
        Rows for validation.
    penalty : {"none", "l1", "l2", "path-norm"}
        Of the paper's strength.
    activation : {"relu", "tanh", "sigmoid"}
        Of every hidden unit.
    seed : int
        Of rows and initial parameters.

    Returns
    -------
    Problem
        With `batches` full batches of training rows and the paper's penalty strength.
    """
    x, y = random_rows(batch * batches + validation_rows, d, seed)
    n = batch * batches
    return Problem(
        network=network,
        d=d,
        alpha=alpha,
        batch=batch,
        train_x=x[:n],
        train_y=y[:n],
        validation_x=x[n:],
        validation_y=y[n:],
        initial=initial_parameters(network, d, alpha, seed),
        activation=activation,
        penalty=penalty,
        strength=STRENGTHS[penalty],
        seed=seed,
    )

"""The optimiser's part of a step alone: fused Adam with the path norm, against autograd path norm and fused Adam."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import pyneedle as pn
from bench.baselines.torch_compile import TorchCompilePeer
from bench.ceilings import copy_bandwidth
from bench.counting import ADAM_BYTES
from pyneedle.benchmark import (
    DisagreementError,
    JaxTrainer,
    Parameters,
    PenaltyName,
    Problem,
    Ratio,
    TorchTrainer,
    first_step,
    in_turns,
    make_problem,
    missing,
    module,
    network_of,
    penalty_of,
)

TOLERANCE = 1e-3  # of the learning rate: float32 forms 0.001 g^2 / 0.001 with a few roundings


@dataclass(frozen=True)
class AdamResult:
    """Seconds of a step of every side, round by round; ratios to pyneedle; its share of copy bandwidth."""

    label: str
    seconds: dict[str, list[float]]
    ratios: dict[str, Ratio]
    errors: dict[str, float]
    bandwidth_share: float
    skipped: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class PyneedleStep:
    """`pyneedle.Adam.step` on parameters, gradient and moments."""

    def __init__(self, problem: Problem, gradient: Parameters, threads: int) -> None:
        self._network, self._penalty, self._threads = network_of(problem), penalty_of(problem), threads
        self._p = self._network.init(0)  # views of one vector, which `step` takes without copying
        self._g = self._network.init(0)
        for k, v in problem.initial.items():
            self._p[k][...], self._g[k][...] = v, gradient[k]
        self._adam = pn.Adam(epsilon_placement="corrected")
        self._state = self._adam.init_state(self._p)

    def run(self, count: int) -> None:
        for _ in range(count):
            self._adam.step(self._p, self._g, self._state, self._penalty, self._network, self._threads)

    def parameters(self) -> Parameters:
        return self._p


class TorchStep(TorchTrainer):
    """Backward of the penalty adds to the gradients that are there, as in a step's one backward; then fused Adam."""

    def __init__(self, problem: Problem, gradient: Parameters, threads: int, compiled: bool) -> None:
        super().__init__(problem, threads)
        for k, p in self._p.items():
            p.grad = self._torch.from_numpy(gradient[k].copy()).reshape(p.shape)
        self._value: Any = self._torch.compile(self.penalty, dynamic=False) if compiled else self.penalty

    def run(self, count: int) -> None:
        for _ in range(count):
            self._value(self._p).backward()
            self._adam.step()


class JaxStep:
    """The gradient of the penalty and Adam in one jit."""

    def __init__(self, problem: Problem, gradient: Parameters) -> None:
        self._jax = module("jax")
        self._trainer = JaxTrainer(problem)
        self._g = {k: self._jax.numpy.asarray(v) for k, v in gradient.items()}
        self._step = self._jax.jit(self._one, donate_argnums=0)

    def _one(self, state: Any, g: Any) -> Any:
        extra = self._jax.grad(self._trainer.penalty)(state[0])
        return self._trainer.adam(state, self._jax.tree.map(lambda a, b: a + b, g, extra))

    def run(self, count: int) -> None:
        for _ in range(count):
            self._trainer.state = self._step(self._trainer.state, self._g)
        self._jax.block_until_ready(self._trainer.state)

    def parameters(self) -> Parameters:
        return self._trainer.parameters()


def measure(d: int, threads: int, rounds: int, budget: float) -> AdamResult:
    """GN with the path-norm penalty; every side is first checked against the first step in float64."""
    problem = make_problem("GN", d, batch=8, batches=2, validation_rows=1, penalty="path-norm")
    rng = np.random.default_rng(1)
    gradient = {k: rng.normal(0, 1e-3, v.shape).astype(np.float32) for k, v in problem.initial.items()}
    makers: dict[str, Callable[[], Any]] = {"pyneedle": lambda: PyneedleStep(problem, gradient, threads)}
    skipped: dict[str, str] = {}
    if reason := missing("torch"):
        skipped["PyTorch eager"] = skipped["torch.compile"] = reason
    else:
        makers["PyTorch eager"] = lambda: TorchStep(problem, gradient, threads, compiled=False)
        reason = TorchCompilePeer().available()
        if reason:
            skipped["torch.compile"] = reason
        else:
            makers["torch.compile"] = lambda: TorchStep(problem, gradient, threads, compiled=True)
    if reason := missing("jax"):
        skipped["JAX jit"] = reason
    else:
        makers["JAX jit"] = lambda: JaxStep(problem, gradient)
    return _measure(problem, gradient, makers, skipped, threads, rounds, budget)


def _measure(
    problem: Problem,
    gradient: Parameters,
    makers: dict[str, Callable[[], Any]],
    skipped: dict[str, str],
    threads: int,
    rounds: int,
    budget: float,
) -> AdamResult:
    truth = first_step(problem, gradient)
    measures: dict[str, Callable[[], float]] = {}
    errors: dict[str, float] = {}
    for name, make in makers.items():
        step = make()
        step.run(1)
        got = step.parameters()
        # the step is at most the learning rate: differences relative to it
        errors[name] = max(float(np.max(np.abs(got[k] - v))) for k, v in truth.items()) / 0.01
        if not errors[name] <= TOLERANCE:
            raise DisagreementError(
                f"{name}: first step of Adam with path norm is off by {errors[name]:.1e} of its size"
            )
        measures[name] = _clock(step, budget)
    seconds = in_turns(measures, rounds)
    ratios = {name: Ratio.of(seconds[name], seconds["pyneedle"]) for name in makers if name != "pyneedle"}
    size = sum(v.size for v in problem.initial.values())
    rate = ADAM_BYTES * size / statistics.median(seconds["pyneedle"])
    label = f"Adam + path norm, GN d={problem.d}"
    return AdamResult(label, seconds, ratios, errors, rate / copy_bandwidth(threads), skipped)


def _clock(step: Any, budget: float) -> Callable[[], float]:
    start = time.perf_counter()
    step.run(2)
    count = max(2, round(budget / max((time.perf_counter() - start) / 2, 1e-9)))

    def one_round() -> float:
        begin = time.perf_counter()
        step.run(count)
        return (time.perf_counter() - begin) / count

    return one_round


def adam_seconds(d: int, penalty: PenaltyName, threads: int, budget: float) -> float:
    """Median seconds of `pyneedle.Adam.step` on GN's arrays, over three rounds."""
    problem = make_problem("GN", d, batch=8, batches=2, validation_rows=1, penalty=penalty)
    gradient = {k: np.full_like(v, 1e-3) for k, v in problem.initial.items()}
    one_round = _clock(PyneedleStep(problem, gradient, threads), budget)
    return statistics.median(one_round() for _ in range(3))

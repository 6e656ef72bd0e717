"""The check that comes before any timing: both sides compute the same."""

from dataclasses import dataclass

import numpy as np

from . import _truth
from ._peer import Trainer
from ._problem import Array, Parameters, Problem

STEPS = 10
# In float32. The gradient's error is relative to each tensor's largest entry. Ten steps are compared by distance moved:
# Adam's first steps are near lr * sign(g), so that an entry whose gradient is rounding noise may move either way.
LOSS_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3
STEPS_TOLERANCE = 0.05


@dataclass(frozen=True)
class Agreement:
    """How far a side is from float64 truth.

    Attributes
    ----------
    loss, gradient : float
        Relative errors; the gradient's is the worst tensor's, max |g - g0| / max |g0|.
    steps : float, optional
        ||p - p0|| / ||p0 - initial|| over all parameters, after ten steps; None where these are not compared.
    """

    loss: float
    gradient: float
    steps: float | None

    @property
    def good(self) -> bool:
        # "not above" would let NaN pass
        steps = self.steps is None or self.steps <= STEPS_TOLERANCE
        return self.loss <= LOSS_TOLERANCE and self.gradient <= GRADIENT_TOLERANCE and steps

    def __str__(self) -> str:
        steps = "" if self.steps is None else f", ten steps {self.steps:.1e}"
        return f"loss {self.loss:.1e}, gradient {self.gradient:.1e}{steps}"


@dataclass(frozen=True, eq=False)
class Truth:
    """The float64 answers for one problem, computed once and used for every side."""

    problem: Problem
    loss: float
    gradient: Parameters
    after_steps: Parameters | None

    @classmethod
    def of(cls, problem: Problem, with_steps: bool = True) -> "Truth":
        """Of loss and gradient on the first batch at the initial parameters, and of ten steps from there."""
        rows = slice(0, problem.batch)
        loss, gradient = _truth.loss_and_grad(problem, problem.initial, problem.train_x[rows], problem.train_y[rows])
        return cls(problem, loss, gradient, _truth.train(problem, STEPS) if with_steps else None)

    def compare(self, trainer: Trainer) -> Agreement:
        """Resets the trainer, asks for loss, gradient and the ten steps, and resets it again."""
        trainer.reset()
        loss, gradient = trainer.loss_and_grad()
        worst = max(_relative(gradient[k], g) for k, g in self.gradient.items())
        steps = None if self.after_steps is None else self._steps(trainer, self.after_steps)
        trainer.reset()
        return Agreement(abs(loss - self.loss) / abs(self.loss), worst, steps)

    def _steps(self, trainer: Trainer, want: Parameters) -> float:
        trainer.run_steps(STEPS)
        after = trainer.parameters()
        off = sum(float(np.sum((after[k] - p) ** 2)) for k, p in want.items())
        moved = sum(float(np.sum((self.problem.initial[k] - p) ** 2)) for k, p in want.items())
        return float(np.sqrt(off / moved))


def _relative(got: Array, want: Array) -> float:
    if got.shape != want.shape:
        raise ValueError(f"gradient has shape {got.shape}, wanted {want.shape}")
    scale = float(np.max(np.abs(want)))
    difference = float(np.max(np.abs(got - want)))
    return difference / scale if scale > 0.0 else difference

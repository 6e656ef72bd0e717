"""What is trained, one model or many side by side, and what every side of a comparison offers."""

import functools
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from pyneedle.benchmark import Agreement, Array, DisagreementError, Parameters, Problem, Truth
from pyneedle.benchmark._equality import GRADIENT_TOLERANCE, LOSS_TOLERANCE, STEPS_TOLERANCE
from pyneedle.benchmark._problem import initial_parameters

STEPS_AT_ONCE = 10  # that a side may put into one graph; the check runs as many


@dataclass(frozen=True)
class Tolerance:
    """How far a side may be from float64, in the measures of `Agreement`."""

    loss: float
    gradient: float
    steps: float

    def allows(self, found: Agreement) -> bool:
        """Whether it is no further; NaN is."""
        return found.loss <= self.loss and found.gradient <= self.gradient and found.steps <= self.steps


FLOAT32 = Tolerance(LOSS_TOLERANCE, GRADIENT_TOLERANCE, STEPS_TOLERANCE)
# Factors have 10 bits behind the point. With products of factors rounded so on the CPU, GN at d = 4 to 20 was off by
# 1e-5, 1.1e-2 (units near their kinks) and 1.4e-2; a GPU that cuts off instead of rounding is off by more.
TF32 = Tolerance(5e-3, 5e-2, 0.1)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Models of one problem that differ in their initial parameters; all have the same rows.

    Attributes
    ----------
    problem : Problem
        Of the first member.
    initial : dict of ndarray
        As the problem's, with a leading axis of members.
    """

    problem: Problem
    initial: Parameters

    @classmethod
    def of(cls, problem: Problem, members: int) -> "Ensemble":
        """Members of seeds problem.seed, problem.seed + 1, ..."""
        if problem.batches % STEPS_AT_ONCE:
            raise ValueError(f"the problem must have a multiple of {STEPS_AT_ONCE} batches, got {problem.batches}")
        each = [initial_parameters(problem.network, problem.d, problem.alpha, problem.seed + i) for i in range(members)]
        return cls(problem, {key: np.stack([p[key] for p in each]) for key in each[0]})

    @property
    def members(self) -> int:
        """How many."""
        return len(self.initial["w1"])

    @property
    def label(self) -> str:
        """For tables."""
        return self.problem.label + (f", {self.members} members" if self.members > 1 else "")

    def member(self, i: int) -> Problem:
        """The problem of one member."""
        return self.problem.starting_from({key: value[i] for key, value in self.initial.items()})


class Side(Protocol):
    """A framework's state for an ensemble. Every call returns when its work is done."""

    def reset(self) -> None:
        """Back to the initial parameters, moments zero, step count zero."""

    def loss_and_grad(self) -> tuple[Array, Parameters]:
        """Losses (members,) and gradients (members, ...) on the first batch at the present parameters."""

    def run_steps(self, count: int) -> None:
        """`count` steps over the batches in their order, from the first; a multiple of STEPS_AT_ONCE."""

    def run_epochs(self, count: int) -> object:
        """Whole epochs: reshuffling, all batches, validation, keeping the best parameters."""

    def parameters(self) -> Parameters:
        """The present parameters (members, ...)."""


class MemberOf:
    """One member of a side, as the check of a single model wants it."""

    def __init__(self, side: Side, index: int) -> None:
        self._side, self._index = side, index

    def reset(self) -> None:
        self._side.reset()

    def loss_and_grad(self) -> tuple[float, Parameters]:
        losses, gradients = self._side.loss_and_grad()
        return float(losses[self._index]), {key: np.asarray(g[self._index]) for key, g in gradients.items()}

    def run_steps(self, count: int) -> None:
        self._side.run_steps(count)

    def run_epochs(self, count: int) -> float:
        self._side.run_epochs(count)
        return float("nan")

    def parameters(self) -> Parameters:
        return {key: np.asarray(value[self._index]) for key, value in self._side.parameters().items()}


@functools.lru_cache(maxsize=2)  # the first and the last member of the ensemble at hand, for all of its sides
def _truth(ensemble: Ensemble, index: int) -> Truth:
    return Truth.of(ensemble.member(index))


def check(ensemble: Ensemble, name: str, side: Side, tolerance: Tolerance = FLOAT32) -> str:
    """Compare the first and the last member with float64; how far they are off, as text.

    Raises
    ------
    DisagreementError
        Where a side computes something else.
    """
    found = {}
    for i in sorted({0, ensemble.members - 1}):
        agreement = _truth(ensemble, i).compare(MemberOf(side, i))
        if not tolerance.allows(agreement):
            raise DisagreementError(f"{name}, member {i} of {ensemble.label}: {agreement}")
        found[i] = str(agreement)
    return "; ".join(found.values())


def without_validation(problem: Problem) -> Problem:
    """The problem with one validation row, as far as training goes: what a step alone takes."""
    return replace(problem, validation_x=problem.validation_x[:1], validation_y=problem.validation_y[:1])


def rows_at_a_time(ensemble: Ensemble, most: int = 1 << 27) -> int:
    """Validation rows that a framework evaluates in one go, so that its activations stay below 2 GB."""
    problem = ensemble.problem
    each = ensemble.members * problem.d * problem.alpha
    return max(1, min(len(problem.validation_x), most // each))


def chunks(count: int, size: int) -> list[slice]:
    """Ranges of at most `size` that cover `count`."""
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def to_numpy(values: dict[str, Any]) -> Parameters:
    """Arrays of a framework, on any device, as NumPy's."""
    return {key: np.asarray(value.get() if hasattr(value, "get") else value) for key, value in values.items()}

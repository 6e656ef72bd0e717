"""pyneedle's own side of a comparison, through its public functions only."""

import functools
import time
from dataclasses import replace
from typing import Literal

import numpy as np

import pyneedle as pn
from pyneedle import _networks, _penalties

from ._problem import Optimizer, Parameters, Problem

What = Literal["step", "epoch"]


def network_of(problem: Problem) -> pn.Network:
    """The problem's network as pyneedle describes it."""
    return _networks.BY_NAME[problem.network](problem.d, problem.alpha, activation=problem.activation)


def penalty_of(problem: Problem) -> pn.L1 | pn.L2 | pn.PathNorm | None:
    """The problem's penalty, None for none."""
    return None if problem.penalty == "none" else _penalties.BY_KIND[problem.penalty](problem.strength)


def dataset_of(problem: Problem) -> pn.Dataset:
    """The problem's rows; a single test row, because from_arrays wants one."""
    x = np.concatenate([problem.train_x[:1], problem.train_x, problem.validation_x])
    y = np.concatenate([problem.train_y[:1], problem.train_y, problem.validation_y])
    n, train = len(x), len(problem.train_x)
    shares = (train / n, len(problem.validation_x) / n, 1 / n)
    return pn.Dataset.from_arrays(x, y.astype(np.float64) * problem.d, split=shares)


def adam_of(optimizer: Optimizer) -> pn.Adam:
    """The same optimiser with the same placement of epsilon."""
    return pn.Adam(
        learning_rate=optimizer.learning_rate,
        beta1=optimizer.beta1,
        beta2=optimizer.beta2,
        epsilon=optimizer.epsilon,
        epsilon_placement=optimizer.placement,
    )


class PyneedleSide:
    """pyneedle with one kernel; a `Trainer` for the equality check, and a clock.

    Parameters
    ----------
    problem : Problem
        Where it starts and on what it trains.
    kernel : str
        "auto" or one of the network's kernels.
    threads : int
        For the single run.
    """

    def __init__(self, problem: Problem, kernel: str, threads: int) -> None:
        self.problem, self.kernel, self.threads = problem, kernel, threads
        self.network = network_of(problem)
        self._data = {
            "epoch": problem,
            "step": replace(problem, validation_x=problem.validation_x[:1], validation_y=problem.validation_y[:1]),
        }
        self._datasets: dict[str, pn.Dataset] = {}
        self._parameters: Parameters = problem.initial

    def fit(self, what: What, epochs: int, problem: Problem | None = None) -> pn.Fit:
        """Train from the initial parameters; "epoch": the whole protocol, "step": rows in order, one validation row."""
        if problem is None and what not in self._datasets:
            self._datasets[what] = dataset_of(self._data[what])
        return pn.train(
            self.network,
            self._datasets[what] if problem is None else dataset_of(problem),
            epochs=epochs,
            batch_size=self.problem.batch,
            optimizer=adam_of(self.problem.optimizer),
            penalty=penalty_of(self.problem),
            seed=self.problem.seed,
            initial=self.problem.initial,
            kernel=self.kernel,
            threads=self.threads,
            shuffle=what == "epoch",
        )

    def reset(self) -> None:
        """Back to the problem's initial parameters."""
        self._parameters = self.problem.initial

    def parameters(self) -> Parameters:
        """The parameters that the last steps reached."""
        return self._parameters

    def loss_and_grad(self) -> tuple[float, Parameters]:
        """Loss with penalty, and gradient, on the first batch."""
        problem = self.problem
        x, y = problem.train_x[: problem.batch], problem.train_y[: problem.batch]
        return self.network.loss_and_grad(
            self._parameters, x, y, penalty_of(problem), kernel=self.kernel, threads=self.threads
        )

    def run_steps(self, count: int) -> None:
        """`count` steps as one epoch over the first `count` batches; moments start at zero."""
        problem = self.problem
        if not 0 < count <= problem.batches:
            raise ValueError(f"count must be 1 to {problem.batches}, the number of batches, got {count}")
        rows = count * problem.batch
        cut = replace(
            problem,
            train_x=problem.train_x[:rows],
            train_y=problem.train_y[:rows],
            validation_x=problem.validation_x[:1],
            validation_y=problem.validation_y[:1],
        )
        self._parameters = self.fit("step", 1, cut).last_parameters

    def run_epochs(self, count: int) -> float:
        """Whole epochs; the lowest validation loss."""
        fit = self.fit("epoch", count)
        self._parameters = fit.last_parameters
        return float(np.min(fit.history["validation_loss"]))

    def seconds(self, what: What, epochs: int) -> float:
        """Time from outside of one whole call of `pyneedle.train`."""
        start = time.perf_counter()
        self.fit(what, epochs)
        return time.perf_counter() - start


class PyneedleClock:
    """Seconds per step or epoch, from the second epoch on: a long training's time less that of its first epoch.

    The difference takes away what a run does once (checks and copies) and the first epoch, in
    which a dense network has not yet settled (kernels.md section 3). What an epoch does once stays in and counts
    against pyneedle: drawing the order, a validation row, keeping the best parameters.

    Parameters
    ----------
    side : PyneedleSide
        What to time.
    what : {"step", "epoch"}
        What one unit is.
    budget : float
        Seconds that the epochs after the first should take; at least one epoch is run.
    """

    def __init__(self, side: PyneedleSide, what: What, budget: float) -> None:
        self._side, self._what = side, what
        self._units = side.problem.batches if what == "step" else 1
        first = side.seconds(what, 1)
        if first < budget:  # the first call also warms up
            first = min(first, side.seconds(what, 1))
        epochs, spent = 1, 0.0
        while True:
            spent = side.seconds(what, 1 + epochs) - first
            if spent > budget / 4 or epochs >= 1 << 16:
                break
            epochs *= 4
        self._epochs = max(1, round(epochs * budget / max(spent, 1e-9))) if spent < budget else epochs

    def measure(self) -> float:
        """One round."""
        first = self._side.seconds(self._what, 1)
        both = self._side.seconds(self._what, 1 + self._epochs)
        return max(both - first, 1e-12) / (self._epochs * self._units)


@functools.lru_cache(maxsize=4)
def _after_one_epoch(problem: Problem, threads: int) -> Parameters:
    return PyneedleSide(problem, "auto", threads).fit("epoch", 1).last_parameters


def after_one_epoch(problem: Problem, threads: int) -> Problem:
    """The problem from where one epoch of the protocol leads: what the peers are timed on."""
    return problem.starting_from(_after_one_epoch(problem, threads))

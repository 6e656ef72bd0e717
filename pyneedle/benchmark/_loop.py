"""Steps and epochs of peers that keep NumPy arrays."""

from abc import ABC, abstractmethod

import numpy as np

from ._problem import Array, Parameters, Problem


class LoopTrainer(ABC):
    """The loops of a `Trainer` over rows in NumPy arrays; a peer adds what a step and a prediction are.

    Parameters
    ----------
    problem : Problem
        Where it starts and on what it trains.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.reset()

    @abstractmethod
    def _step(self, x: Array, y: Array) -> None:
        """Loss, gradient and Adam on one batch."""

    @abstractmethod
    def _predict(self, x: Array) -> Array:
        """The network's output for at most a batch of rows."""

    def reset(self) -> None:
        self._p: Parameters = {k: v.copy() for k, v in self.problem.initial.items()}
        self._m = {k: np.zeros_like(v) for k, v in self._p.items()}
        self._v = {k: np.zeros_like(v) for k, v in self._p.items()}
        self._t = 0
        self._best = np.inf
        self._best_p = {k: v.copy() for k, v in self._p.items()}
        self._rng = np.random.default_rng(self.problem.seed)

    def parameters(self) -> Parameters:
        return self._p

    def run_steps(self, count: int) -> None:
        problem = self.problem
        for k in range(count):
            first = k % problem.batches * problem.batch
            rows = slice(first, first + problem.batch)
            self._step(problem.train_x[rows], problem.train_y[rows])

    def run_epochs(self, count: int) -> float:
        problem = self.problem
        for _ in range(count):
            order = self._rng.permutation(len(problem.train_x))
            for first in range(0, len(order), problem.batch):
                rows = order[first : first + problem.batch]
                self._step(problem.train_x[rows], problem.train_y[rows])
            loss = self._validation_loss()
            if loss < self._best:
                self._best = loss
                for k, best in self._best_p.items():
                    best[...] = self._p[k]
        return float(self._best)

    def _validation_loss(self) -> float:
        x, y, batch = self.problem.validation_x, self.problem.validation_y, self.problem.batch
        total = 0.0
        for first in range(0, len(x), batch):  # in the training's batches: activations stay in cache
            error = self._predict(x[first : first + batch]) - y[first : first + batch]
            total += float(error @ error)
        return total / len(x)

"""What a peer offers: the same training step and epoch as pyneedle, in another framework."""

import importlib
from typing import Any, Protocol

from ._problem import Parameters, Problem


class Trainer(Protocol):
    """A peer's state for one problem. Every call returns when its work is done (no asynchronous rest)."""

    def reset(self) -> None:
        """Back to the problem's initial parameters, moments zero, step count zero."""

    def loss_and_grad(self) -> tuple[float, Parameters]:
        """Loss with penalty, and gradient, on the first batch at the present parameters."""

    def run_steps(self, count: int) -> None:
        """`count` training steps over the batches in their order, starting at the first batch."""

    def run_epochs(self, count: int) -> float:
        """Whole epochs: reshuffling, all batches, validation, keeping the best parameters.

        Returns
        -------
        float
            The lowest validation loss since the last reset.
        """

    def parameters(self) -> Parameters:
        """The present parameters, with the problem's names and shapes."""


class Peer(Protocol):
    """A framework's version of the training step, written as its best users would write it."""

    name: str

    def available(self) -> str | None:
        """None if it can run here; otherwise why not."""

    def version(self) -> str:
        """Name and version of the framework, for the report."""

    def prepare(self, problem: Problem, threads: int) -> Trainer:
        """A trainer at the problem's initial parameters, using `threads` threads.

        Raises
        ------
        NotImplementedError
            The peer has no version of this problem; the message says why.
        """


def missing(module: str) -> str | None:
    """None if the module can be imported, otherwise the reason in a line."""
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001  a broken installation raises more than ImportError, and must only be skipped
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def module(name: str) -> Any:
    """An optional framework, untyped: type checks must pass where it is not installed."""
    return importlib.import_module(name)

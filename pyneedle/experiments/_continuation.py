"""Trainings that go on from the best parameters of another one, as they are or embedded into the GN."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pyneedle._checks import Array
from pyneedle._device import Device
from pyneedle._embedding import embed
from pyneedle._optimizers import Adam
from pyneedle._training import Run
from pyneedle.sweep import Cell
from pyneedle.sweep._cost import Speeds

_ID_DIGITS = 32


@dataclass(frozen=True)
class Continuation:
    """As many epochs again, from the best parameters of a cell.

    The learning rate goes on decaying from where the first part left it; Adam's moments start anew.

    Parameters
    ----------
    cell : Cell
        The first part.
    embedded : bool
        Go on as the GN that computes the same function.
    """

    cell: Cell
    embedded: bool = False

    @property
    def id(self) -> str:
        """A hash of the content, for the name of its result."""
        text = json.dumps(["continuation", 1, self.cell.id, self.embedded])
        return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]

    @property
    def optimizer(self) -> Adam:
        """The optimiser whose step t has the rate of step T + t of the first part, which had T steps."""
        first = self.cell.optimizer
        slower = 1.0 + first.decay * self.cell.steps
        return replace(first, learning_rate=first.learning_rate / slower, decay=first.decay / slower)

    @property
    def device(self) -> Device:
        """Where it runs: where the first part did."""
        return self.cell.device

    @property
    def epoch_seconds(self) -> float:
        """A slow guess."""
        alike = replace(self.cell, network="GN", block_in=1, kernel="auto") if self.embedded else self.cell
        return Speeds().seconds(alike) / alike.epochs

    def make_run(self, parameters: Mapping[str, Array]) -> Run:
        """The training, from the best parameters of the first part."""
        network = self.cell.make_network()
        initial = dict(parameters)
        if self.embedded:
            network, initial = embed(network, initial, into="GN")
        return Run(
            network=network,
            dataset=self.cell.make_dataset(),
            epochs=self.cell.epochs,
            batch_size=self.cell.batch_size,
            optimizer=self.optimizer,
            penalty=self.cell.penalty,
            seed=self.cell.repeat,
            initial=initial,
            device=self.cell.device,
            shuffle=self.cell.shuffle,
        )

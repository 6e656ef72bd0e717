"""The curves of a figure: which runs they are of, and how they look."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pyneedle._networks import NetworkName
from pyneedle._plots import LOOKS, Look, scientific
from pyneedle.experiments._protocol import Protocol, strength
from pyneedle.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd

    from pyneedle._datasets import TargetName

PenaltyName = Literal["none", "l1", "l2", "path-norm"]
_PENALTY_LABELS = {"none": "no penalty", "l1": "L1", "l2": "L2", "path-norm": "path norm"}


BLACK, _, RED, GREEN, PURPLE, ORANGE, BLUE, _ = LOOKS[:8]


@dataclass(frozen=True)
class Series:
    """The runs of one network with one kind of penalty, the strength of which is the protocol's.

    Parameters
    ----------
    network : {"GN", "LCN", "LN"}
        What was trained.
    look : Look
        Of its curve.
    penalty : {"none", "l1", "l2", "path-norm"}
        That it was trained with.
    """

    network: NetworkName
    look: Look = field(repr=False)
    penalty: PenaltyName = "none"

    @property
    def name(self) -> str:
        """The network, and the kind of penalty if there is one."""
        return self.network if self.penalty == "none" else f"{self.network}, {_PENALTY_LABELS[self.penalty]}"

    def label(self, protocol: Protocol) -> str:
        """For tables: with the strength of the penalty."""
        return self.network if self.penalty == "none" else f"{self.network}, {penalty_label(protocol, self.penalty)}"

    def typeset(self, protocol: Protocol) -> str:
        """The same, as mathematical text."""
        return self.network if self.penalty == "none" else f"{self.network}, {typeset_penalty(protocol, self.penalty)}"

    def sweep(self, protocol: Protocol, target: "TargetName" = "square", batch: str | int = "ratio") -> Sweep:
        """The runs, over all d, N and repeats of a protocol."""
        return Sweep(
            network=self.network,
            target=target,
            d=protocol.inputs(self.network),
            alpha=protocol.alpha,
            n_samples=protocol.n_samples,
            batch=batch,
            penalty=[protocol.penalty(self.penalty)],
            epochs=protocol.epochs,
            device=protocol.device,
            repeat=range(protocol.repeats),
        )

    def rows(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """The rows of the frame of a protocol's sweeps that are of this series."""
        return frame[(frame["network"] == self.network) & (frame["penalty"] == self.penalty)]


GN, LCN, LN = Series("GN", BLACK), Series("LCN", BLUE), Series("LN", ORANGE)
NETWORKS = (GN, LCN, LN)


def penalty_label(protocol: Protocol, name: str) -> str:
    """How tables call a penalty of a protocol."""
    penalty = protocol.penalty(name)
    return _PENALTY_LABELS[name] if penalty is None else f"{_PENALTY_LABELS[name]} {strength(penalty)}"


def typeset_penalty(protocol: Protocol, name: str) -> str:
    """How figures call it."""
    penalty = protocol.penalty(name)
    label = _PENALTY_LABELS[name]
    return label if penalty is None else rf"{label}, $\lambda = {scientific(penalty.strength)}$"


def joined(sweeps: Sequence[Sweep]) -> Sweep:
    """One sweep of them all."""
    return Sweep.from_cells(cell for sweep in sweeps for cell in sweep.cells)

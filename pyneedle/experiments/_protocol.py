"""At what scale an experiment is run, and how that differs from the paper's."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from pyneedle import _checks
from pyneedle._device import Device, device_named
from pyneedle._penalties import BY_KIND, Penalty

if TYPE_CHECKING:
    from typing_extensions import Self

PresetName: TypeAlias = Literal["quick", "laptop", "paper"]
PRESETS: tuple[PresetName, ...] = ("quick", "laptop", "paper")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that a preset may change; what it does not name is as in the paper.

    Parameters
    ----------
    d : tuple of int
        Numbers of inputs.
    n_samples : tuple of int
        Rows of the data sets, all three splits together.
    epochs : int
        Of each training.
    repeats : int
        Trainings of each kind; their seeds are 0, 1, ...
    alpha : int
        Nodes per input in each hidden layer.
    gn_d : tuple of int, optional
        Numbers of inputs of the GN, where it takes too long for all of `d`.
    l1, l2, path_norm : float
        Strengths of the penalties; the defaults are those that the paper selected, for its scale.
    device : {"cpu", "cuda"}
        Where it is run.

    Raises
    ------
    TypeError, ValueError
        Where a value is no integer, or below 1; where a strength is no real number, negative or infinite.
    """

    d: tuple[int, ...]
    n_samples: tuple[int, ...]
    epochs: int
    repeats: int
    alpha: int = 50
    gn_d: tuple[int, ...] | None = None
    l1: float = 1e-8
    l2: float = 1e-7
    path_norm: float = 1e-5
    device: Device = "cpu"

    def __post_init__(self) -> None:
        """Check the numbers; what they are used for checks them again, together."""
        for name in ("d", "n_samples", "gn_d"):
            values = getattr(self, name)
            if values is None:
                continue
            object.__setattr__(self, name, tuple(_checks.integer(name, value) for value in values))
            if not values:
                raise ValueError(f"{name} must have at least one value, got {values!r}")
        for name in ("epochs", "repeats", "alpha"):
            object.__setattr__(self, name, _checks.integer(name, getattr(self, name)))
        for name in ("l1", "l2", "path_norm"):
            value = _checks.real(name, getattr(self, name))
            if not 0.0 <= value < float("inf"):
                raise ValueError(f"{name} must be finite and not negative, got {value}")
            object.__setattr__(self, name, value)
        device_named(self.device)

    def on(self, device: Device) -> "Self":
        """The same on a device.

        Parameters
        ----------
        device : {"cpu", "cuda"}
            Where it is run.

        Returns
        -------
        Protocol
            Of the same class.
        """
        return replace(self, device=device)

    def inputs(self, network: str) -> tuple[int, ...]:
        """The numbers of inputs that a network is trained with.

        Parameters
        ----------
        network : {"GN", "LCN", "LN"}
            The network.

        Returns
        -------
        tuple of int
            `gn_d` for a GN, where it is given; else `d`.
        """
        return self.gn_d if network == "GN" and self.gn_d is not None else self.d

    def penalty(self, kind: str) -> Penalty | None:
        """The penalty of a kind.

        Parameters
        ----------
        kind : {"none", "l1", "l2", "path-norm"}
            The kind.

        Returns
        -------
        L1, L2, PathNorm or None
            With the protocol's strength.
        """
        if kind == "none":
            return None
        penalty: Penalty = BY_KIND[kind](getattr(self, kind.replace("-", "_")))
        return penalty


def differences(this: Protocol, paper: Protocol, network: str = "GN", penalty: str = "none") -> tuple[str, ...]:
    """What of a protocol differs from the paper's for a network and a penalty: each value, the paper's in brackets."""
    parts = []
    for name, got, wanted in (
        ("d", this.inputs(network), paper.inputs(network)),
        ("N", this.n_samples, paper.n_samples),
        ("epochs", (this.epochs,), (paper.epochs,)),
        ("repeats", (this.repeats,), (paper.repeats,)),
        ("α", (this.alpha,), (paper.alpha,)),
    ):
        if got != wanted:
            parts.append(f"{name} {span(got)} ({span(wanted)})")
    ours, theirs = this.penalty(penalty), paper.penalty(penalty)
    if ours is not None and theirs is not None and ours != theirs:
        parts.append(f"λ {strength(ours)} ({strength(theirs)})")
    return tuple(parts)


def strength(penalty: Penalty) -> str:
    """The strength of a penalty as people write it: 1e-8."""
    return f"{penalty.strength:g}".replace("e-0", "e-")


def span(values: Iterable[int]) -> str:
    """One value, or the first and the last."""
    ordered = sorted(set(values))
    text = [count(value) for value in ordered]
    return text[0] if len(text) == 1 else f"{text[0]}–{text[-1]}"  # noqa: RUF001 - the sign for a range


def count(value: int) -> str:
    """A number of rows or the like as people write it: 800, 3e4, 1e5."""
    if value < 10_000:
        return str(value)
    text = f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    return text if float(text) == value else f"{value}"

"""Penalties that a loss may carry, on weights only, never on biases (equations 20 to 22 of the paper)."""

import contextlib
from dataclasses import dataclass
from typing import ClassVar, Literal

from pyneedle import _checks, _native

PenaltyKind = Literal["l1", "l2", "path-norm"]


@dataclass(frozen=True)
class _Penalty:
    strength: float
    kind: ClassVar[PenaltyKind]

    def __post_init__(self) -> None:
        """Check the strength."""
        strength = _checks.real("strength", self.strength)
        if not 0.0 <= strength < float("inf"):
            raise ValueError(f"strength must be finite and not negative, got {strength}")
        object.__setattr__(self, "strength", strength)


@dataclass(frozen=True)
class L1(_Penalty):
    """The penalty strength * sum |w| over all weights; its gradient takes sign(0) = 0.

    Parameters
    ----------
    strength : float
        lambda >= 0, finite. The paper selects 1e-8.

    Raises
    ------
    TypeError, ValueError
        Where `strength` is no real number, or negative, NaN or infinite.
    """

    kind: ClassVar[PenaltyKind] = "l1"


@dataclass(frozen=True)
class L2(_Penalty):
    """The penalty strength * sum w^2 over all weights.

    Parameters
    ----------
    strength : float
        lambda >= 0, finite. The paper selects 1e-7.

    Raises
    ------
    TypeError, ValueError
        Where `strength` is no real number, or negative, NaN or infinite.
    """

    kind: ClassVar[PenaltyKind] = "l2"


@dataclass(frozen=True)
class PathNorm(_Penalty):
    """The penalty strength * path norm (see `path_norm`), equation 22 of the paper; its gradient takes sign(0) = 0.

    Parameters
    ----------
    strength : float
        lambda >= 0, finite. The paper selects 1e-5.

    Raises
    ------
    TypeError, ValueError
        Where `strength` is no real number, or negative, NaN or infinite.
    """

    kind: ClassVar[PenaltyKind] = "path-norm"


Penalty = L1 | L2 | PathNorm
BY_KIND: dict[str, type[Penalty]] = {kind.kind: kind for kind in (L1, L2, PathNorm)}


def check(penalty: object) -> None:
    """TypeError where `penalty` is neither a penalty nor None."""
    if penalty is not None and not isinstance(penalty, _Penalty):
        raise TypeError(f"penalty must be None, L1, L2 or PathNorm, got {penalty!r}")


def native(penalty: Penalty | None) -> _native.Penalty:
    """The native form of a checked penalty."""
    if penalty is None:
        return _native.Penalty("none", 0.0)
    return _native.Penalty(penalty.kind, penalty.strength)


def parse(text: str) -> Penalty | None:
    """The penalty that "none" or "kind:strength" stands for; ValueError where it stands for none."""
    if text == "none":
        return None
    kind, colon, strength = text.partition(":")
    number = None
    if colon and kind in BY_KIND:
        with contextlib.suppress(ValueError):
            number = float(strength)
    if number is None:
        raise ValueError(
            f"penalty must be none, l1:STRENGTH, l2:STRENGTH or path-norm:STRENGTH (such as l1:1e-8), got {text!r}"
        )
    return BY_KIND[kind](number)

"""What figures of experiments draw: curves of training and test, fitted lines, others' results, and their keys."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pyneedle import _plots
from pyneedle._plots import DASHED, DOTTED, SOLID, Look
from pyneedle.experiments._protocol import Protocol
from pyneedle.experiments._series import Series
from pyneedle.experiments._slopes import PowerLaw, geometric_mean

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("png", "svg")
# Dashes say what a line is of; colours and markers, which network and penalty.
TRAIN, TEST, FIT = DASHED, SOLID, DOTTED
_CROSSES, _PENALISED = {"GN": "x", "LCN": "+", "LN": "_"}, "|"
# Others' results stand a little to the right of one's own.
_ASIDE = 1.025


def save(figure: Figure, stem: str | os.PathLike[str]) -> list[Path]:
    """Write a figure as `stem` with the ending of each format; each file whole or not at all."""
    paths = [Path(f"{os.fspath(stem)}.{ending}") for ending in FORMATS]
    for path in paths:
        _plots.save(figure, path)
    return paths


def curve(axes: Axes, x: "pd.Series[float]", y: "pd.Series[float]", look: Look, *, train: bool = False) -> None:
    """Repeats as points, their geometric mean as a line: solid for test errors, dashed for training errors.

    The dashed line is thinner and its gaps are white, so that it can be seen on the solid one.
    """
    good = np.isfinite(y) & (y > 0.0)
    means = y[good].groupby(x[good]).agg(geometric_mean)
    face = "white" if train else look.colour
    axes.plot(
        x[good], y[good], look.marker, color=look.colour, markerfacecolor="none" if train else look.colour,
        markersize=2.6, markeredgewidth=0.5, alpha=0.5,
    )  # fmt: skip
    axes.plot(
        means.index, means, color=look.colour, linestyle=TRAIN if train else TEST, linewidth=1.0 if train else 1.7,
        gapcolor="white" if train else None, marker=look.marker, markerfacecolor=face, markersize=3.2 if train else 5.0,
        markeredgewidth=0.7, zorder=2.5 if train else 2.0,
    )  # fmt: skip


def overlaid(axes: Axes, x: "pd.Series[float]", y: "pd.Series[float]", series: Series) -> None:
    """Results of others: crosses, beside one's own at the same x."""
    axes.plot(x * _ASIDE, y, color=series.look.colour, zorder=3.0, **_cross(series))


def _cross(series: Series) -> dict[str, Any]:
    marker = _CROSSES[series.network] if series.penalty == "none" else _PENALISED
    return {"linestyle": "none", "marker": marker, "markersize": 5.0, "markeredgewidth": 0.9}


def fitted(axes: Axes, fit: PowerLaw, look: Look) -> None:
    """The fitted line, a little beyond its points."""
    x = np.geomspace(fit.low / 1.15, fit.high * 1.15, 2)
    axes.plot(x, fit(x), linestyle=FIT, color=look.colour, linewidth=1.7, zorder=1.5)


def key(look: Look, label: str, line: PowerLaw | None = None, name: str = "slope", **changes: Any) -> Line2D:
    """The entry of a legend for a curve, with the slope of its fitted line."""
    label += "" if line is None else typeset(f"\n{name} {line}")
    return _plots.line_key(look, label, **{"linestyle": "-", "linewidth": 1.7, "markersize": 5.0, **changes})


def line_key(label: str, linestyle: Any, colour: str = "0.25", width: float = 1.3) -> Line2D:
    """The entry of a legend for a kind of line."""
    return Line2D([], [], color=colour, linestyle=linestyle, linewidth=width, label=typeset(label))


def typeset(text: str) -> str:
    """Numbers with a minus sign instead of a hyphen."""
    return re.sub(r"(?<= )-(?=\d)", "−", text)


def overlay_key(series: Series, label: str) -> Line2D:
    """The entry of a legend for results of others."""
    return _plots.line_key(series.look, label, **_cross(series))


def kind_keys(fits: bool = True, test: str = "test", train: str = "train") -> list[Line2D]:
    """The entries of a legend for the kinds of lines."""
    kinds = [line_key(test, TEST, width=1.7), line_key(train, TRAIN, width=1.0)] if test else []
    return [*kinds, line_key("fitted", FIT, width=1.7)] if fits else kinds


def scale(protocol: Protocol, x: str, batch: str | int = "ratio") -> str:
    """What the axes do not say of the scale: d or N, alpha, epochs, rows of a step; mathematical text.

    Parameters
    ----------
    protocol : Protocol
        The scale.
    x : str
        The abscissa: "d", "train_rows", or "epoch", where both numbers are to be said.
    batch : "ratio" or int
        Rows of a step.
    """
    parts = [] if x == "d" else [f"$d = {power(protocol.d)}$"]
    parts += [] if x == "train_rows" else [f"$N = {power(protocol.n_samples)}$"]
    parts += [rf"$\alpha = {protocol.alpha}$", f"{protocol.epochs} epochs"]
    if x == "train_rows":
        parts.append("80 steps an epoch" if batch == "ratio" else f"batches of {batch}")
    return ", ".join(parts)


def power(values: Iterable[int]) -> str:
    """One number as a power of ten where it is one, or a range, for mathematical text."""
    ordered = sorted(values)
    return r"\ldots".join(_plots.scientific(value) for value in sorted({ordered[0], ordered[-1]}))


def letter(i: int) -> str:
    """The name of panel i."""
    return f"({chr(ord('a') + i)})"

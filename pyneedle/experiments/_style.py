"""How figures look: as a journal prints them, and readable in grey."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from pyneedle import _files
from pyneedle.experiments._series import Look
from pyneedle.experiments._slopes import PowerLaw, geometric_mean

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("png", "svg")
_DPI = 200
_SETTINGS: dict[Any, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 10.0,
    "axes.labelsize": 11.0,
    "axes.titlesize": 11.0,
    "legend.fontsize": 9.0,
    "axes.linewidth": 0.7,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "svg.hashsalt": "pyneedle",  # the same picture is the same file
    "svg.fonttype": "path",
}
TRAIN, TEST, FIT = (0, (4, 2)), "-", (0, (1, 1.5))
_MOST_TICKS = 8
# Decades of an axis from which on its labels are powers of ten alone.
_MANY_DECADES = 2.0
_LEAST_SPAN = 10.0


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draw and save in this style."""
    with mpl.rc_context(_SETTINGS):
        yield


def new_figure(width: float = 6.4, height: float = 3.6) -> Figure:
    """An empty figure; inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, stem: str | os.PathLike[str]) -> list[Path]:
    """Write a figure as `stem` with the ending of each format; each file whole or not at all."""
    paths = [Path(f"{os.fspath(stem)}.{ending}") for ending in FORMATS]
    for path, ending in zip(paths, FORMATS, strict=True):
        with _files.replacing(path) as file:
            metadata = {"Date": None} if ending == "svg" else None
            figure.savefig(file, format=ending, dpi=_DPI, metadata=metadata)
    return paths


def curve(axes: Axes, x: "pd.Series[float]", y: "pd.Series[float]", look: Look, *, train: bool = False) -> None:
    """Repeats as points, their geometric mean as a line: solid for test errors, dashed for training errors."""
    good = np.isfinite(y) & (y > 0.0)
    means = y[good].groupby(x[good]).agg(geometric_mean)
    face = "none" if train else look.colour
    size = 3.0 if train else 3.6
    axes.plot(
        x[good], y[good], look.marker, color=look.colour, markerfacecolor="none", markersize=size, markeredgewidth=0.6,
        alpha=0.55,
    )  # fmt: skip
    axes.plot(
        means.index, means, color=look.colour, linestyle=TRAIN if train else TEST, linewidth=1.0 if train else 1.3,
        marker=look.marker, markerfacecolor=face, markersize=size, markeredgewidth=0.7,
    )  # fmt: skip


def overlaid(axes: Axes, x: "pd.Series[float]", y: "pd.Series[float]", look: Look) -> None:
    """Results of others: crosses."""
    axes.plot(x, y, look.cross, color=look.colour, markersize=4.0, markeredgewidth=0.7, alpha=0.8)


def fitted(axes: Axes, fit: PowerLaw, look: Look) -> None:
    """The fitted line, a little beyond its points."""
    x = np.geomspace(fit.low / 1.15, fit.high * 1.15, 2)
    axes.plot(x, fit(x), linestyle=FIT, color=look.colour, linewidth=1.7)


def key(look: Look, label: str, line: PowerLaw | None = None, name: str = "slope") -> Line2D:
    """The entry of a legend for a curve, with the slope of its fitted line."""
    label += "" if line is None else typeset(f"\n{name} {line}")
    return Line2D(
        [], [], color=look.colour, linestyle="-", linewidth=1.3, marker=look.marker, markersize=4.0, label=label
    )


def line_key(label: str, linestyle: Any, colour: str = "0.25", width: float = 1.3) -> Line2D:
    """The entry of a legend for a kind of line."""
    return Line2D([], [], color=colour, linestyle=linestyle, linewidth=width, label=typeset(label))


def typeset(text: str) -> str:
    """Numbers with a minus sign instead of a hyphen."""
    return re.sub(r"(?<= )-(?=\d)", "−", text)


def overlay_key(look: Look, label: str) -> Line2D:
    """The entry of a legend for results of others."""
    return Line2D(
        [], [], color=look.colour, linestyle="none", marker=look.cross, markersize=4.5, markeredgewidth=0.8, label=label
    )


def kind_keys(fits: bool = True, test: str = "test", train: str = "train") -> list[Line2D]:
    """The entries of a legend for the kinds of lines."""
    kinds = [line_key(test, TEST), line_key(train, TRAIN)] if test else []
    return [*kinds, line_key("fitted", FIT, width=1.7)] if fits else kinds


def legend(axes: Axes, handles: list[Line2D]) -> None:
    """A legend beside the axes, where it hides nothing."""
    axes.legend(handles=handles, frameon=False, handlelength=2.8, loc="upper left", bbox_to_anchor=(1.01, 1.02))


def log_axes(axes: Axes, ticks: Sequence[float] | None = None) -> None:
    """Logarithmic axes, the abscissa with these ticks, plain, or with powers of ten."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    if ticks is not None:
        chosen = thinned(sorted(set(ticks)))
        axes.xaxis.set_major_locator(FixedLocator(chosen))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    # Noise of a nearly constant quantity must not fill the axes.
    stretch = max(1.0, np.sqrt(_LEAST_SPAN * low / high))
    low, high = axes.set_ylim(low / stretch, high * stretch)
    if np.log10(high / low) < _MANY_DECADES:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def power(values: Iterable[int]) -> str:
    """One number as a power of ten where it is one, or a range, for mathematical text."""
    texts = []
    for value in sorted({min(values := list(values)), max(values)}):
        exponent = round(np.log10(value))
        texts.append(f"10^{{{exponent}}}" if 10**exponent == value and exponent > 3 else str(value))
    return r"\ldots".join(texts)


def thinned(values: Sequence[float]) -> list[float]:
    """Ticks that do not run into one another on a logarithmic axis: about evenly spread ones of `values`."""
    if len(values) < 2:
        return list(values)
    least = np.log(values[-1] / values[0]) / _MOST_TICKS
    chosen = [values[-1]]
    for value in reversed(values[:-1]):
        if np.log(chosen[-1] / value) >= least:
            chosen.append(value)
    return chosen[::-1]

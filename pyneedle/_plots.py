"""How figures look, as a journal prints them and readable in grey; imported only where one is asked for."""

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from pyneedle import _files
from pyneedle._checks import Array

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


@dataclass(frozen=True)
class Look:
    """How a line differs from the others of a figure, in grey as well: shade, marker, dashes.

    Where dashes say something else (test or training), colour and marker alone tell lines apart.
    """

    colour: str
    marker: str
    dash: Any = "-"


# From dark to light, by even steps of lightness.
_SHADES = (
    ("#000000", "o"), ("#26296b", "v"), ("#8a1c2c", "P"), ("#2f6b2a", "D"), ("#8c6bb1", "X"), ("#d97a16", "^"),
    ("#86aed0", "s"), ("#d9c15a", "*"),
)  # fmt: skip
SOLID, DASHED, DOTTED = "-", (0, (4, 2)), (0, (1, 1.5))
_DASHES = (SOLID, DASHED, (0, (6, 2, 1, 2)), DOTTED, (0, (6, 2, 1, 2, 1, 2)))
# As many as there are pairs: the numbers of shades and of dashes have no common divisor.
LOOKS = tuple(
    Look(*_SHADES[i % len(_SHADES)], dash=_DASHES[i % len(_DASHES)]) for i in range(len(_SHADES) * len(_DASHES))
)

_MOST_TICKS = 8
# Decades of an axis from which on its labels are powers of ten alone.
_MANY_DECADES = 2.0
_LEAST_SPAN = 10.0
_MOST_ROWS = 20
_MARGIN = 0.15  # inches
_STRETCHES = 40


def looks(count: int) -> list[Look]:
    """As many looks, from dark to light as far apart as they can be; beyond `LOOKS` they come again."""
    lightest = len(_SHADES) - 2  # the very last is faint on white
    if count > lightest + 1:
        return [LOOKS[i % len(LOOKS)] for i in range(count)]
    shades = (_SHADES[round(i * lightest / max(1, count - 1))] for i in range(count))
    return [Look(*shade, dash=_DASHES[i % len(_DASHES)]) for i, shade in enumerate(shades)]


def formats() -> list[str]:
    """Endings of file names that can be drawn to."""
    return ["pdf", "png", "svg"]


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draw in this style."""
    with mpl.rc_context(_SETTINGS):
        yield


def new_figure(width: float = 4.8, height: float = 3.6) -> Figure:
    """An empty figure; inches, to which `legend` adds what it takes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file whose ending, one of `formats`, says the format; whole or not at all."""
    ending = Path(path).suffix.lower().removeprefix(".")
    no_date: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with styled(), _files.replacing(path) as file:
        figure.savefig(file, format=ending, dpi=_DPI, metadata=no_date.get(ending))


def line_key(look: Look, label: str, **changes: Any) -> Line2D:
    """The entry of a legend for a line; what differs from the look is given as for matplotlib's lines."""
    drawn = {"linestyle": look.dash, "linewidth": 1.3, "marker": look.marker, "markersize": 4.5, **changes}
    return Line2D([], [], color=look.colour, label=label, **drawn)


def legend(axes: Axes, handles: Sequence[Any] | None = None) -> Legend:
    """A legend beside the axes, where it hides nothing; the figure grows by what it takes.

    Parameters
    ----------
    axes : Axes
        The last ones on the right.
    handles : sequence of Artist, optional
        The entries. Default: what is labelled in the axes.
    """
    shown = axes.get_legend_handles_labels()[0] if handles is None else list(handles)
    drawn = axes.legend(
        handles=shown, frameon=False, handlelength=3.2, loc="upper left", bbox_to_anchor=(1.01, 1.02),
        ncols=-(-len(shown) // _MOST_ROWS),
    )  # fmt: skip
    figure = axes.figure
    assert isinstance(figure, Figure)
    assert isinstance(figure.canvas, FigureCanvasAgg)
    size = drawn.get_window_extent(figure.canvas.get_renderer())  # type: ignore[no-untyped-call]
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + size.width / figure.dpi, max(height, size.height / figure.dpi + _MARGIN))
    return drawn


def log_axes(axes: Axes, ticks: Sequence[float] | None = None) -> None:
    """Logarithmic axes, the abscissa with these ticks, plain, or with powers of ten; after what they show is drawn."""
    log_x(axes)
    log_y(axes)
    if ticks is not None:
        value_ticks(axes.xaxis, ticks)


def log_x(axes: Axes) -> None:
    """A logarithmic abscissa."""
    axes.set_xscale("log")
    _number(axes.xaxis, *axes.get_xlim())


def log_y(axes: Axes) -> None:
    """A logarithmic ordinate, over a decade at least: noise of a nearly constant quantity must not fill it."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    stretch = max(1.0, math.sqrt(_LEAST_SPAN * low / high))
    _number(axes.yaxis, *axes.set_ylim(low / stretch, high * stretch))


def _number(axis: Axis, low: float, high: float) -> None:
    """Plain numbers where there are few powers of ten."""
    if math.log10(high / low) < _MANY_DECADES:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axis.set_minor_formatter(NullFormatter())


def value_ticks(axis: Axis, values: Sequence[float]) -> None:
    """Ticks at the values that were drawn, with numbers where these have room, and nowhere else."""
    ordered = sorted(set(values))
    axis.set_major_locator(FixedLocator(thinned(ordered, axis.get_scale() == "log")))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axis.set_minor_locator(FixedLocator(ordered))
    axis.set_minor_formatter(NullFormatter())


def thinned(values: Sequence[float], logarithmic: bool) -> list[float]:
    """Of ascending values those whose numbers have room; on a logarithmic axis all of them, or about doublings."""
    if len(values) < 2:
        return list(values)
    at = np.log(values) if logarithmic else np.asarray(values, dtype=np.float64)
    room = (at[-1] - at[0]) / _MOST_TICKS
    step = max(room, math.log(2.0)) if logarithmic and np.diff(at).min() < room else room
    nearly = 1.0 - 1e-9
    chosen = [0]
    for i in range(1, len(values)):
        if at[i] - at[chosen[-1]] >= (step if i < len(values) - 1 else room) * nearly:
            chosen.append(i)
    return [values[i] for i in chosen]


def tick(value: float) -> str:
    """A number at an axis."""
    return f"{value:g}" if 1e-3 <= abs(value) < 1e6 or value == 0 else f"${scientific(value)}$"


def scientific(value: float) -> str:
    """A number as mathematical text, far from 1 with a power of ten: 10^{-7}."""
    if value == 0 or 1e-2 <= abs(value) < 1e4:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:e}".partition("e")
    mantissa = f"{float(mantissa):g}"
    power = f"10^{{{int(exponent)}}}"
    return power if mantissa == "1" else rf"{mantissa}\times {power}"


def stretches(epochs: Array, losses: Array, most: int = 200) -> tuple[Array, Array]:
    """Geometric means over stretches of epochs: losses of single epochs scatter over their neighbours' lines.

    Parameters
    ----------
    epochs, losses : ndarray, shape (n,)
        What is not finite and positive is left out of the means; NaN where nothing is left.
    most : int
        Stretches.
    """
    length = max(1, -(-len(epochs) // most))
    logarithms = np.full(len(losses), np.nan)
    good = np.isfinite(losses) & (losses > 0.0)
    logarithms[good] = np.log(losses[good])
    parts = [logarithms[i : i + length] for i in range(0, len(losses), length)]
    means = [np.exp(np.nanmean(part)) if np.isfinite(part).any() else np.nan for part in parts]
    return np.array([epochs[i : i + length].mean() for i in range(0, len(epochs), length)]), np.array(means)


def losses(train_loss: Array, validation_loss: Array, best_epoch: int, title: str) -> Figure:
    """Losses against the epoch, on a logarithmic axis: dashed of training, solid of validation.

    Of many epochs each is a point, and the lines are geometric means over stretches of them.

    Parameters
    ----------
    train_loss, validation_loss : ndarray, shape (epochs,)
        Scaled mean squared errors; what is not finite leaves a gap.
    best_epoch : int
        From 0, to be marked; negative: none.
    title : str
        Of the figure.
    """
    figure = new_figure(5.6, 3.4)
    axes = figure.add_subplot()
    epochs = np.arange(len(validation_loss))
    shown = np.concatenate([train_loss, validation_loss])
    # A logarithmic axis without a positive number on it would warn.
    logarithmic = bool(np.any(np.isfinite(shown) & (shown > 0.0)))
    keys = []
    for loss, look, label in (
        (train_loss, Look("#000000", "o", DASHED), "training, mean over batches"),
        (validation_loss, Look(LOOKS[5].colour, "o"), "validation"),
    ):
        many = logarithmic and len(epochs) > _STRETCHES
        face = "none" if look.dash is DASHED else look.colour
        if many:
            axes.plot(
                epochs, loss, look.marker, color=look.colour, markerfacecolor=face, markersize=1.8,
                markeredgewidth=0.4, alpha=0.5,
            )  # fmt: skip
        line = stretches(epochs, loss, _STRETCHES) if many else (epochs, loss)
        marker = "." if len(epochs) < 3 else None
        axes.plot(*line, color=look.colour, linestyle=look.dash, linewidth=1.5, marker=marker)
        keys.append(line_key(look, label, linewidth=1.5, marker=marker))
        if many:
            keys.append(line_key(look, "the same, each epoch", linestyle="", markersize=2.5, markerfacecolor=face))
    if best_epoch >= 0:
        best = Look("#000000", "D", "")
        marked: dict[str, Any] = {"markersize": 6, "markerfacecolor": "white"}
        axes.plot([best_epoch], [validation_loss[best_epoch]], best.marker, color=best.colour, **marked)
        keys.append(line_key(best, f"lowest validation loss, epoch {best_epoch}", **marked))
    if logarithmic:
        log_y(axes)
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean squared error of the scaled target")
    axes.set_title(title)
    legend(axes, keys)
    return figure


def plot_losses(
    path: str | os.PathLike[str], train_loss: Array, validation_loss: Array, best_epoch: int, title: str
) -> None:
    """Draw `losses` into a file whose ending, one of `formats`, says the format; whole or not at all."""
    with styled():
        save(losses(train_loss, validation_loss, best_epoch, title), path)

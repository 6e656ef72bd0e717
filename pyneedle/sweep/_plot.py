"""Results as a figure: two columns, a line a group, points for repeats."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyneedle import _plots
from pyneedle._plots import Look
from pyneedle.sweep._data_file import short_hash
from pyneedle.sweep._groups import groups_of, merged_columns

_SYMBOLS = {"d": "d", "alpha": r"\alpha", "n_samples": "N", "batch_size": "B"}
_PENALTIES = {"none": "no penalty", "l1": "L1", "l2": "L2", "path-norm": "path norm"}


def draw(
    frame: pd.DataFrame,
    x: str,
    y: str,
    group: Sequence[str] | None = None,
    log_x: bool = False,
    log_y: bool = False,
) -> Figure:
    """Draw column `y` against column `x`.

    Every run is a point. Runs of one group at one x are repeats: a line goes through their geometric means (arithmetic
    where a value is not positive), with bars of one standard deviation, of the logarithm in the first case.

    Parameters
    ----------
    frame : DataFrame
        As `Sweep.run` returns it. Runs that failed, and values that are not finite, are left out.
    x, y : str
        Columns of numbers.
    group : sequence of str, optional
        Columns that tell the lines apart. Default: all that describe a run and vary.
    log_x, log_y : bool
        Logarithmic axes; values that are not positive are then left out.

    Raises
    ------
    ValueError
        Where a column is unknown or holds no numbers, or there is nothing to draw.
    """
    for name, column in (("x", x), ("y", y)):
        check_column(frame, name, column)
        if not pd.api.types.is_numeric_dtype(frame[column]):
            raise ValueError(f"{name} must be a column of numbers, got {column!r} of {frame[column].dtype}")
    columns = groups_of(frame, x, y) if group is None else list(group)
    for column in columns:
        check_column(frame, "group", column)
    finite, positive = _drawable(frame, x, y, log_x, log_y)
    shown = frame[finite & positive]
    if shown.empty:
        kind = "finite positive" if log_x or log_y else "finite"
        raise ValueError(f"y must have {kind} values beside x to be drawn, got none for {y!r} against {x!r}")

    with _plots.styled():
        return _figure(shown, x, y, columns, log_x, log_y)


def notes(
    frame: pd.DataFrame,
    x: str,
    y: str,
    group: Sequence[str] | None = None,
    log_x: bool = False,
    log_y: bool = False,
) -> list[str]:
    """What a figure of these arguments, as for `draw`, does not show of its runs: sentences, mostly none."""
    finite, positive = _drawable(frame, x, y, log_x, log_y)
    texts = []
    merged = [] if group is None else merged_columns(frame[finite & positive], x, y, group)
    if merged:
        texts.append(f"runs that differ in {', '.join(merged)} are averaged and drawn as repeats: no --group names it")
    for left_out, why in (
        ((frame["status"] != "failed") & ~finite, "not finite"),
        (finite & ~positive, "not positive, and a logarithmic axis has no place for it"),
    ):
        count = int(left_out.sum())
        if count:
            runs = "1 run is" if count == 1 else f"{count} runs are"
            texts.append(f"{runs} left out: {x} or {y} is {why}")
    return texts


def _drawable(frame: pd.DataFrame, x: str, y: str, log_x: bool, log_y: bool) -> "tuple[pd.Series, pd.Series]":
    """Which runs did not fail and have finite values, and which have positive ones where that matters."""
    finite = frame["status"] != "failed"
    positive = pd.Series(True, frame.index)
    for column, logarithmic in ((x, log_x), (y, log_y)):
        finite &= np.isfinite(frame[column].astype(float))
        positive &= (frame[column] > 0) | (not logarithmic)
    return finite, positive


def _figure(shown: pd.DataFrame, x: str, y: str, columns: list[str], log_x: bool, log_y: bool) -> Figure:
    figure = _plots.new_figure()
    axes = figure.add_subplot()
    parts = list(shown.groupby(columns, sort=True, dropna=False)) if columns else [((), shown)]
    for (group, part), look in zip(parts, _plots.looks(len(parts)), strict=True):
        _line(axes, part, x, y, _label(dict(zip(columns, group, strict=True))), look)
    axes.set_xlabel(x.replace("_", " "))
    axes.set_ylabel(y.replace("_", " "))
    if log_x:
        _plots.log_x(axes)
    if log_y:
        _plots.log_y(axes)
    if pd.api.types.is_integer_dtype(shown[x]):
        _plots.value_ticks(axes.xaxis, shown[x].tolist())
    if columns:
        _plots.legend(axes)
    return figure


def check_column(frame: pd.DataFrame, name: str, column: str) -> None:
    """ValueError that lists the columns where `column` is none."""
    if column in frame.columns:
        return
    close = difflib.get_close_matches(column, list(frame.columns), n=3)
    hint = f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""
    raise ValueError(
        f"{name} must be a column of the results, got {column!r}{hint}; the columns are {', '.join(frame.columns)}"
    )


def _line(axes: Axes, part: pd.DataFrame, x: str, y: str, label: str, look: Look) -> None:
    logarithmic = bool((part[y] > 0).all())
    values = part[y].astype(float).map(math.log if logarithmic else float)
    by_x = values.groupby(part[x])
    centre, spread = by_x.mean(), by_x.std(ddof=1)
    low, high = centre - spread, centre + spread
    if logarithmic:
        centre, low, high = np.exp(centre), np.exp(low), np.exp(high)
    abscissa = centre.index.to_numpy()
    axes.plot(part[x], part[y], look.marker, color=look.colour, markerfacecolor="none", markersize=3, alpha=0.6)
    axes.plot(
        abscissa, centre, linestyle=look.dash, color=look.colour, linewidth=1.3, marker=look.marker, markersize=4.5,
        label=label or None,
    )  # fmt: skip
    repeated = spread.notna().to_numpy()
    if repeated.any():
        bars = np.array([(centre - low)[repeated], (high - centre)[repeated]])
        axes.errorbar(
            abscissa[repeated], centre[repeated], yerr=bars, fmt="none", ecolor=look.colour, capsize=3, elinewidth=1
        )


def _label(group: Mapping[str, Any]) -> str:
    """What tells a line apart, for the legend."""
    parts = []
    for column, value in group.items():
        if column in ("data", "data_sha256") and pd.isna(value):  # drawn ones, which the target names
            continue
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if column == "penalty":
            parts.append(_PENALTIES.get(text, text))
        elif column == "strength":
            if group.get("penalty") != "none":
                parts.append(rf"$\lambda = {_plots.scientific(value)}$")
        elif column in _SYMBOLS:
            parts.append(f"${_SYMBOLS[column]} = {text}$")
        elif column == "data_sha256":
            parts.append(short_hash(text))
        elif column in ("network", "target", "data", "activation", "dtype"):
            parts.append(text)
        else:
            parts.append(f"{column.replace('_', ' ')} {text}")
    return ", ".join(parts)

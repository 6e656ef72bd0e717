"""Figures of curves: an error or the path norm against d or the training rows, with fitted slopes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pyneedle import _plots
from pyneedle._networks import NetworkName
from pyneedle.experiments import _style
from pyneedle.experiments._experiment import Analysis, Comparison, Experiment, Means, compare_slope
from pyneedle.experiments._protocol import PresetName, Protocol, differences
from pyneedle.experiments._series import Series, joined
from pyneedle.experiments._slopes import VISIBLE_GAP, PowerLaw, fit_power_law, geometric_mean
from pyneedle.sweep import Sweep
from pyneedle.sweep._cell import NETWORK_NAMES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from pyneedle._datasets import TargetName
    from pyneedle.experiments._published import Overlay
    from pyneedle.experiments._session import Session

_TERM = {"square": "x_i^2", "quartic": "x_i^4", "cosine": r"\cos x_i"}
TEST_ERROR, TRAIN_ERROR, PATH_NORM = "test_mse_original", "train_mse_original", "path_norm"
_G = {"square": "t^2", "quartic": "t^4", "cosine": "cos t"}
_WHAT = {TEST_ERROR: "test error", TRAIN_ERROR: "training error", PATH_NORM: "path norm"}
_PANEL = 4.1  # inches


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What a figure of curves shows.

    Parameters
    ----------
    series : tuple of Series
        The curves.
    fitted : mapping of Series to str
        Those to which a line is fitted, with the name of the published slope in `NUMBERS`, "" where there is none.
    x : {"d", "train_rows"}
        Abscissa.
    y : {"test_mse_original", "path_norm"}
        Ordinate; with the first one, the training error is shown, too.
    target : {"square", "quartic", "cosine"}
        g of the target sum_i g(x_i).
    batch : "ratio" or int
        Rows of a step.
    visible_gap : bool
        Fit only points where the test error is visibly larger than the training error.
    """

    series: tuple[Series, ...]
    fitted: Mapping[Series, str]
    x: str = "d"
    y: str = TEST_ERROR
    target: "TargetName" = "square"
    batch: str | int = "ratio"
    visible_gap: bool = False

    @property
    def networks(self) -> tuple[NetworkName, ...]:
        """Those that the curves are of, from small to large."""
        return tuple(sorted({series.network for series in self.series}, key=NETWORK_NAMES.index, reverse=True))

    @property
    def panels(self) -> tuple[tuple[Series, ...], ...]:
        """The curves of each panel; without the GN far above them, those of LCN and LN would lie on one another."""
        apart = len(self.series) > 1 and "GN" not in self.networks
        return tuple((series,) for series in self.series) if apart else (self.series,)

    def only(self, networks: Collection[NetworkName]) -> "Curves":
        """The curves of some networks, with a fitted line for each."""
        chosen = tuple(series for series in self.series if series.network in networks)
        fitted = {series: self.fitted.get(series, "") for series in chosen}
        return replace(self, series=chosen, fitted=fitted)

    @property
    def overlays(self) -> bool:
        """Whether published results, which are errors against d, can be drawn beside these."""
        return self.x == "d" and self.y == TEST_ERROR


def curves_experiment(
    name: str, title: str, curves: Curves, protocols: Mapping[PresetName, Protocol]
) -> Experiment[Protocol]:
    """The experiment of a figure of curves."""

    def restrict(networks: tuple[NetworkName, ...]) -> Experiment[Protocol]:
        return curves_experiment(name, f"{title}: {' and '.join(networks)} alone", curves.only(networks), protocols)

    return Experiment(
        name=name,
        title=title,
        protocols=protocols,
        plan=partial(plan, curves),
        analyse=partial(_analyse, curves, protocols["paper"]),
        draw=partial(_draw, curves),
        overlays=curves.overlays,
        networks=curves.networks,
        restrict=restrict,
    )


def plan(curves: Curves, protocol: Protocol) -> Sweep:
    """The runs of all curves."""
    return joined([series.sweep(protocol, curves.target, curves.batch) for series in curves.series])


def run(curves: Curves, session: "Session", protocol: Protocol) -> "pd.DataFrame":
    """The results of all curves, with a column train_rows."""
    sweep = plan(curves, protocol)
    frame = session.run(sweep)
    rows = {cell.id: cell.train_rows for cell in sweep.cells}
    return frame.assign(train_rows=frame["cell"].map(rows))


def fit(curves: Curves, series: Series, frame: "pd.DataFrame") -> PowerLaw | None:
    """The line through the points of a curve that the figure fits."""
    part = series.rows(frame)
    if curves.visible_gap:
        visible = [x for x, runs in part.groupby(curves.x) if gap(runs) >= VISIBLE_GAP]
        part = part[part[curves.x].isin(visible)]
    return fit_power_law(part[curves.x], part[curves.y])


def gap(runs: "pd.DataFrame") -> float:
    """The ratio of test to training error of some runs, of their geometric means."""
    return geometric_mean(runs[TEST_ERROR]) / geometric_mean(runs[TRAIN_ERROR])


def _analyse(
    curves: Curves, paper: Protocol, session: "Session", protocol: Protocol, overlay: "Overlay | None"
) -> Analysis:
    frame = run(curves, session, protocol)
    fits: dict[str, PowerLaw] = {}
    comparisons = []
    against = "d" if curves.x == "d" else "training rows"
    for series, number in curves.fitted.items():
        label = series.label(protocol)
        line = fit(curves, series, frame)
        if line is not None:
            fits[label] = line
        quantity = f"{label}: slope of {_WHAT[curves.y]} against {against}"
        differing = differences(protocol, paper, series.network, series.penalty)
        compared = compare_slope(quantity, line, number, differing)
        comparisons.append(_with_overlay(compared, curves, series, protocol, overlay))
    if len(curves.series) > 1:
        comparisons += _ratios(curves, frame, protocol, paper)
    notes = []
    if curves.visible_gap:
        notes.append(
            f"A gap is called visible where the test error is at least {VISIBLE_GAP:g} times the training error "
            "(geometric means over repeats); the paper gives no number."
        )
    if overlay is not None and curves.overlays:
        shown = sum(len(published_rows(overlay, curves, series, protocol)) for series in curves.series)
        if not shown:
            notes.append(f"No rows of {overlay.name} belong to this figure.")
    diverged = int((frame["status"] == "diverged").sum())
    if diverged:
        notes.append(f"{diverged} of {len(frame)} runs diverged; their best parameters before that are used.")
    return Analysis(frame, comparisons, fits, notes, _means(curves, frame, protocol))


def _means(curves: Curves, frame: "pd.DataFrame", protocol: Protocol) -> Means:
    """What the lines of the figure go through."""
    import pandas as pd

    columns = {}
    for series in curves.series:
        by_x = series.rows(frame).groupby(curves.x)
        for column in (TEST_ERROR, TRAIN_ERROR) if curves.y == TEST_ERROR else (curves.y,):
            columns[f"{series.label(protocol)}, {_WHAT[column]}"] = by_x[column].agg(geometric_mean)
    table = pd.DataFrame(columns).rename_axis("d" if curves.x == "d" else "training rows").reset_index()
    what = "Path norms" if curves.y == PATH_NORM else f"Mean squared errors of Σ g(x_i), g(t) = {_G[curves.target]}"
    return Means(table, f"{what}, geometric means over {protocol.repeats} repeats:")


def _with_overlay(
    compared: Comparison, curves: Curves, series: Series, protocol: Protocol, overlay: "Overlay | None"
) -> Comparison:
    """Where the paper prints no number, the slope of the published rows stands beside this run's."""
    if overlay is None or compared.published is not None or not curves.overlays:
        return compared
    rows = published_rows(overlay, curves, series, protocol)
    line = fit_power_law(rows["d"], rows[TEST_ERROR])
    if line is None:
        return compared
    return Comparison(
        compared.quantity, compared.value, compared.error, line.slope, f"rows of {overlay.name}", compared.protocol
    )


def published_rows(overlay: "Overlay", curves: Curves, series: Series, protocol: Protocol) -> "pd.DataFrame":
    """The rows that belong to a curve, with this run's strength of the penalty or else the paper's."""
    defaults = Protocol(d=(1,), n_samples=(1,), epochs=1, repeats=1)
    penalties = (protocol.penalty(series.penalty), defaults.penalty(series.penalty))
    strengths = [penalty.strength for penalty in penalties if penalty is not None]
    return overlay.select(series.network, curves.target, series.penalty, strengths)


def _ratios(curves: Curves, frame: "pd.DataFrame", protocol: Protocol, paper: Protocol) -> list[Comparison]:
    """How many times larger the first curve's ordinate is than the others', at the largest d of both."""
    first = curves.series[0]
    lines = []
    for other in curves.series[1:]:
        a, b = first.rows(frame), other.rows(frame)
        at = max(set(a["d"]) & set(b["d"]), default=None)
        if at is None:
            continue
        ratio = geometric_mean(a[a["d"] == at][curves.y]) / geometric_mean(b[b["d"] == at][curves.y])
        lines.append(
            Comparison(
                f"{_WHAT[curves.y]} of {first.label(protocol)} / {other.label(protocol)}, d = {at}",
                ratio,
                protocol=differences(protocol, paper, first.network, first.penalty),
            )
        )
    return lines


def _draw(curves: Curves, analysis: Analysis, protocol: Protocol, overlay: "Overlay | None") -> "Figure":
    panels = curves.panels
    figure = _plots.new_figure() if len(panels) == 1 else _plots.new_figure(_PANEL * len(panels))
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    keys: list[Line2D] = []
    others: list[Line2D] = []
    ticks = analysis.frame["d"].tolist()
    for i, (axes, shown) in enumerate(zip(grid, panels, strict=True)):
        for series in shown:
            _one_curve(axes, curves, series, protocol, analysis)
            keys.append(_style.key(series.look, series.typeset(protocol), analysis.fits.get(series.label(protocol))))
            rows = None if overlay is None else published_rows(overlay, curves, series, protocol)
            if rows is None or not curves.overlays or not len(rows):
                continue
            _style.overlaid(axes, rows["d"], rows[TEST_ERROR], series)
            ticks += rows["d"].tolist()
            label = f"{series.name}, published, $N = {_style.power(rows['n_samples'])}$"
            others.append(_style.overlay_key(series, label))
        axes.set_xlabel("number of inputs $d$" if curves.x == "d" else "training rows $0.64\\,N$")
        scale = _style.scale(protocol, curves.x, curves.batch)
        named = f"{_style.letter(i)} {shown[0].network}, " if len(panels) > 1 else ""
        if curves.y == PATH_NORM:
            named += rf"target $\Sigma_i\,{_TERM[curves.target]}$, "
        axes.set_title(named + scale, loc="left", fontsize=10)
    for axes in grid:  # after all of them are drawn, whose ordinate is one
        _plots.log_axes(axes, ticks if curves.x == "d" else None)
    grid[0].set_ylabel(ordinate(curves.y, curves.target))
    kinds = _style.kind_keys(bool(analysis.fits), "test" if curves.y == TEST_ERROR else "")
    _plots.legend(grid[-1], [*keys, *kinds, *others])
    return figure


def _one_curve(axes: "Axes", curves: Curves, series: Series, protocol: Protocol, analysis: Analysis) -> None:
    """Points and lines of a series, and the fitted line."""
    part, line = series.rows(analysis.frame), analysis.fits.get(series.label(protocol))
    if curves.y == TEST_ERROR:
        _style.curve(axes, part[curves.x], part[TRAIN_ERROR], series.look, train=True)
    _style.curve(axes, part[curves.x], part[curves.y], series.look)
    if line is not None:
        _style.fitted(axes, line, series.look)


def ordinate(y: str, target: str = "square") -> str:
    """The label of an ordinate."""
    if y == PATH_NORM:
        return r"path norm $\|\theta\|_{\mathrm{P}}$"
    return rf"mean squared error of $\Sigma_i\,{_TERM[target]}$"

"""Beyond the paper: the fewest rows with which a network reaches a test error, read off directly."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pyneedle import _checks, _plots
from pyneedle._plots import Look
from pyneedle.experiments import _style
from pyneedle.experiments._curves import TEST_ERROR
from pyneedle.experiments._experiment import Analysis, Comparison, Experiment
from pyneedle.experiments._protocol import PresetName, Protocol, count, span
from pyneedle.experiments._series import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, Series, joined
from pyneedle.experiments._slopes import PowerLaw, fit_power_law, geometric_mean
from pyneedle.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from pyneedle.experiments._published import Overlay
    from pyneedle.experiments._session import Session

SERIES = (
    Series("GN", BLACK),
    Series("GN", PURPLE, "l2"),
    Series("GN", GREEN, "l1"),
    Series("GN", RED, "path-norm"),
    Series("LCN", BLUE),
    Series("LN", ORANGE),
)
_STRUCTURED = tuple(series for series in SERIES if series.network != "GN")


@dataclass(frozen=True, kw_only=True)
class HaystackProtocol(Protocol):
    """A protocol whose `n_samples` are tried from the smallest on, until the test error is small enough.

    Parameters
    ----------
    target_error : float
        Mean squared error over the test rows that all networks are to reach, in the original scale; positive.
    smaller_error : float
        Another one, for LCN and LN: they reach the first with so few rows that these say little. Positive, and below
        `target_error`.
    structured_repeats : int
        Trainings of LCN and LN of each kind: they cost little, and one seed says little of them.
    """

    target_error: float
    smaller_error: float
    structured_repeats: int

    def __post_init__(self) -> None:
        """Check the errors and the repeats."""
        super().__post_init__()
        object.__setattr__(self, "structured_repeats", _checks.integer("structured_repeats", self.structured_repeats))
        for name in ("target_error", "smaller_error"):
            error = _checks.real(name, getattr(self, name))
            if not 0.0 < error < float("inf"):
                raise ValueError(f"{name} must be finite and positive, got {error}")
        if not self.smaller_error < self.target_error:
            raise ValueError(f"smaller_error must be below target_error={self.target_error}, got {self.smaller_error}")

    @property
    def aims(self) -> "tuple[tuple[float, tuple[Series, ...]], ...]":
        """The errors, and what is to reach each."""
        return (self.target_error, SERIES), (self.smaller_error, _STRUCTURED)

    def of(self, series: Series) -> Protocol:
        """That of a series: with its repeats."""
        return replace(self, repeats=self.structured_repeats) if series in _STRUCTURED else self


# How points outside the ladder are marked.
_ARROWS = {"more": (r"$\uparrow$", "more than the ladder has"), "at most": (r"$\downarrow$", "at most the first rung")}
_BEYOND = 1.05
# A line through two points has no standard error.
_LEAST_POINTS = 3
_LADDER = tuple(100 * 2**k for k in range(14))  # up to 819200
PROTOCOLS: Mapping[PresetName, HaystackProtocol] = {
    "quick": HaystackProtocol(
        d=(4, 6, 8, 12, 16),
        n_samples=_LADDER[:9],
        epochs=200,
        repeats=1,
        alpha=20,
        l1=1e-7,
        l2=1e-6,
        target_error=1e-2,
        smaller_error=2e-4,
        structured_repeats=2,
    ),
    "laptop": HaystackProtocol(
        d=(4, 6, 8, 12, 16),
        n_samples=_LADDER[:10],
        epochs=300,
        repeats=1,
        l1=1e-7,
        l2=1e-6,
        target_error=1e-2,
        smaller_error=2e-4,
        structured_repeats=4,
    ),
    # Ours, not the paper's: its scale, with as many rows as it drew.
    "paper": HaystackProtocol(
        d=tuple(range(4, 41, 4)),
        n_samples=_LADDER,
        epochs=1000,
        repeats=4,
        target_error=1e-2,
        smaller_error=2e-4,
        structured_repeats=4,
    ),
}


def _sweep(series: Series, protocol: HaystackProtocol, d: int, n_samples: int) -> Sweep:
    return series.sweep(replace(protocol.of(series), d=(d,), gn_d=None, n_samples=(n_samples,)))


def _plan(protocol: HaystackProtocol) -> Sweep:
    """All that there may be: rungs above the one that reaches the target are never run."""
    return joined([series.sweep(protocol.of(series)) for series in SERIES])


def _climb(session: "Session", protocol: HaystackProtocol) -> "pd.DataFrame":
    """The results of all rungs up to the first that reaches the last of the errors, for every series and d."""
    import pandas as pd

    last = {series: error for error, aiming in protocol.aims for series in aiming}
    waiting = {(series, d) for series in SERIES for d in protocol.inputs(series.network)}
    frames = []
    for n_samples in sorted(protocol.n_samples):
        if not waiting:
            break
        order = [(series, d) for series in SERIES for d in protocol.d if (series, d) in waiting]
        frame = session.run(joined([_sweep(series, protocol, d, n_samples) for series, d in order]))
        frames.append(frame)
        for series, d in order:
            part = series.rows(frame)
            if geometric_mean(part[part["d"] == d][TEST_ERROR]) <= last[series]:
                waiting.discard((series, d))
    return pd.concat(frames, ignore_index=True)


def _needed(runs: "pd.DataFrame", target: float) -> tuple[float, str]:
    """The rows at which the error crosses the target, between two rungs by a power law; and what is known of it."""
    errors = runs.groupby("n_samples")[TEST_ERROR].agg(geometric_mean)
    n, error = errors.index.to_numpy(dtype=np.float64), errors.to_numpy(dtype=np.float64)
    reached = np.flatnonzero(error <= target)
    if not reached.size:
        return float(n[-1]), "more"
    at = reached[0]
    if at == 0:
        return float(n[0]), "at most"
    share = np.log(error[at - 1] / target) / np.log(error[at - 1] / error[at])
    return float(n[at - 1] * (n[at] / n[at - 1]) ** share), "about"


def _analyse(session: "Session", protocol: HaystackProtocol, _: "Overlay | None") -> Analysis:
    import pandas as pd

    frame = _climb(session, protocol)
    lines = []
    for error, aiming in protocol.aims:
        for series in aiming:
            for d, runs in series.rows(frame).groupby("d"):
                rows, known = _needed(runs, error)
                common = {"network": series.network, "penalty": series.penalty, "target_error": error, "d": d}
                lines.append({**common, "n_samples_needed": rows, "known": known})
    needed = pd.DataFrame.from_records(lines)
    fits: dict[str, PowerLaw] = {}
    comparisons = []
    for error, aiming in protocol.aims:
        for series in aiming:
            part = _reaching(needed, series, error)
            exact = part[part["known"] == "about"]
            line = fit_power_law(exact["d"], exact["n_samples_needed"])
            name = _fit_name(series, protocol, error)
            if line is not None and line.points < _LEAST_POINTS:
                line = None
            if line is not None:
                fits[name] = line
            last = part.iloc[-1]
            text = {"about": "about ", "more": "more than ", "at most": "at most "}[last["known"]]
            found = count(10 * round(last["n_samples_needed"] / 10.0))
            comparisons.append(
                Comparison(
                    f"{name}: exponent of N against d; {text}{found} samples at d = {last['d']}",
                    float("nan") if line is None else line.slope,
                    float("nan") if line is None else line.error,
                    protocol="ours",
                )
            )
    note = (
        f"All networks are to reach a test error of {protocol.target_error:g} within {protocol.epochs} epochs, and LCN "
        f"and LN, for which that takes hardly any samples, {protocol.smaller_error:g} as well "
        f"(d {span(protocol.d)}, N {span(protocol.n_samples)}, repeats {protocol.repeats}, of LCN and LN "
        f"{protocol.structured_repeats}, α {protocol.alpha}). N is "
        "the size of the data set of which 64% are training rows, read off between two rungs of the ladder; points "
        "outside the ladder (arrows) are not fitted. The paper's exponent gamma, 4.5 without a penalty and 2.5 with "
        "L1, is that of the rows which keep the gap as it is."
    )
    return Analysis(needed, comparisons, fits, [note], data=frame)


def _reaching(needed: "pd.DataFrame", series: Series, error: float) -> "pd.DataFrame":
    return series.rows(needed[needed["target_error"] == error])


def _fit_name(series: Series, protocol: Protocol, error: float) -> str:
    return f"{series.label(protocol)}, error {error:g}"


def _draw(analysis: Analysis, protocol: HaystackProtocol, _: "Overlay | None") -> "Figure":
    figure = _plots.new_figure(7.4)
    grid = figure.subplots(1, len(protocol.aims), sharey=True, width_ratios=(4, 3))
    for i, (axes, (error, aiming)) in enumerate(zip(grid, protocol.aims, strict=True)):
        for series in aiming:
            _points(axes, _reaching(analysis.frame, series, error), _look(series))
            line = analysis.fits.get(_fit_name(series, protocol, error))
            if line is not None:
                x = np.geomspace(line.low / _BEYOND, line.high * _BEYOND, 2)
                look = _look(series)
                axes.plot(x, line(x), linestyle=look.dash, color=look.colour, linewidth=1.1, zorder=1.5)
        axes.set_xlabel("number of inputs $d$")
        scale = rf", $\alpha = {protocol.alpha}$, {protocol.epochs} epochs" if i == 0 else ""
        axes.set_title(f"{_style.letter(i)} test error ${_plots.scientific(error)}${scale}", loc="left", fontsize=10)
    for axes in grid:  # after all of them are drawn, whose ordinate is one
        _plots.log_axes(axes, list(protocol.d))
    grid[0].set_ylabel("samples $N$ that reach the test error")
    keys = [_key(series, analysis, protocol) for series in SERIES]
    for kind, (arrow, label) in _ARROWS.items():
        if kind in set(analysis.frame["known"]):
            keys.append(_plots.line_key(Look("black", arrow, ""), label, markersize=5.0))
    _plots.legend(grid[-1], keys)
    return figure


def _look(series: Series) -> Look:
    return replace(series.look, dash=_plots.LOOKS[SERIES.index(series)].dash)


def _points(axes: "Axes", part: "pd.DataFrame", look: Look) -> None:
    """What is needed for each d; open, with an arrow, where it is not on the ladder."""
    exact = part["known"] == "about"
    drawn: dict[str, Any] = {"color": look.colour, "markersize": 4.5, "markeredgewidth": 0.8}
    axes.plot(part["d"][exact], part["n_samples_needed"][exact], look.marker, **drawn)
    for kind, (arrow, _label) in _ARROWS.items():
        outside = part[part["known"] == kind]
        at, rows = outside["d"], outside["n_samples_needed"]
        axes.plot(at, rows, look.marker, markerfacecolor="none", **drawn)
        shift = 1.25 if kind == "more" else 0.8
        axes.plot(at, rows * shift, marker=arrow, color="black", linestyle="", markersize=5.0)


def _key(series: Series, analysis: Analysis, protocol: HaystackProtocol) -> "Line2D":
    """As drawn, with the exponent of each panel: a line where one is fitted, an open marker without an exact point."""
    look, label = _look(series), series.typeset(protocol)
    aims = [(i, error) for i, (error, aiming) in enumerate(protocol.aims) if series in aiming]
    fitted = [(i, analysis.fits.get(_fit_name(series, protocol, error))) for i, error in aims]
    lines = [(i, line) for i, line in fitted if line is not None]
    for i, line in lines:
        label += _style.typeset(f"\nexponent {_style.letter(i)} {line}")
    exact = (series.rows(analysis.frame)["known"] == "about").any()
    face = look.colour if exact else "none"
    return _style.key(look, label, markerfacecolor=face, linestyle=look.dash if lines else "", linewidth=1.1)


EXPERIMENTS = (
    Experiment(
        name="haystack",
        title="fewest samples that reach a test error, against d",
        protocols=PROTOCOLS,
        plan=_plan,
        analyse=_analyse,
        draw=_draw,
        remark="This is all of the ladder; runs above the first rung that reaches the error are never made.",
    ),
)

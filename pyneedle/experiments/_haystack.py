"""Beyond the paper: the fewest rows with which a network reaches a target error, read off directly."""

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


@dataclass(frozen=True, kw_only=True)
class HaystackProtocol(Protocol):
    """A protocol whose `n_samples` are tried from the smallest on, until the test error is at most `target_error`.

    Parameters
    ----------
    target_error : float
        Mean squared error over the test rows, in the original scale; positive.
    """

    target_error: float

    def __post_init__(self) -> None:
        """Check the error."""
        super().__post_init__()
        error = _checks.real("target_error", self.target_error)
        if not 0.0 < error < float("inf"):
            raise ValueError(f"target_error must be finite and positive, got {error}")


# How points outside the ladder are marked.
_ARROWS = {"more": (r"$\uparrow$", "more than the ladder has"), "at most": (r"$\downarrow$", "at most the first rung")}
_BEYOND = 1.05
_LADDER = tuple(100 * 2**k for k in range(15))  # up to 1.6 million
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
    ),
    "laptop": HaystackProtocol(
        d=(4, 6, 8, 12, 16), n_samples=_LADDER[:10], epochs=300, repeats=1, l1=1e-7, l2=1e-6, target_error=1e-2
    ),
    # Ours, not the paper's: its scale, with as many rows as it drew.
    "paper": HaystackProtocol(
        d=tuple(range(4, 41, 4)), n_samples=_LADDER[:14], epochs=1000, repeats=4, target_error=1e-2
    ),
}


def _sweep(series: Series, protocol: Protocol, d: int, n_samples: int) -> Sweep:
    return Sweep(
        network=series.network,
        d=d,
        alpha=protocol.alpha,
        n_samples=n_samples,
        penalty=[protocol.penalty(series.penalty)],
        epochs=protocol.epochs,
        device=protocol.device,
        repeat=range(protocol.repeats),
    )


def _plan(protocol: HaystackProtocol) -> Sweep:
    """All that there may be: rungs above the one that reaches the target are never run."""
    return joined([series.sweep(protocol) for series in SERIES])


def _climb(session: "Session", protocol: HaystackProtocol) -> "pd.DataFrame":
    """The results of all rungs up to the first that reaches the target, for every series and d."""
    import pandas as pd

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
            if geometric_mean(part[part["d"] == d][TEST_ERROR]) <= protocol.target_error:
                waiting.discard((series, d))
    return pd.concat(frames, ignore_index=True)


def _needed(runs: "pd.DataFrame", target: float) -> tuple[float, str]:
    """The rows at which the error crosses the target, between two rungs by a power law; and what is known of it."""
    errors = runs.groupby("n_samples")[TEST_ERROR].agg(geometric_mean)
    n, error = errors.index.to_numpy(dtype=np.float64), errors.to_numpy(dtype=np.float64)
    if not error[-1] <= target:
        return float(n[-1]), "more"
    if len(n) == 1:
        return float(n[0]), "at most"
    share = np.log(error[-2] / target) / np.log(error[-2] / error[-1])
    return float(n[-2] * (n[-1] / n[-2]) ** share), "about"


def _analyse(session: "Session", protocol: HaystackProtocol, _: "Overlay | None") -> Analysis:
    import pandas as pd

    frame = _climb(session, protocol)
    lines = []
    for series in SERIES:
        for d, runs in series.rows(frame).groupby("d"):
            rows, known = _needed(runs, protocol.target_error)
            common = {"network": series.network, "penalty": series.penalty, "d": d}
            lines.append({**common, "n_samples_needed": rows, "known": known, "target_error": protocol.target_error})
    needed = pd.DataFrame.from_records(lines)
    fits: dict[str, PowerLaw] = {}
    comparisons = []
    for series in SERIES:
        part = series.rows(needed)
        exact = part[part["known"] == "about"]
        line = fit_power_law(exact["d"], exact["n_samples_needed"])
        if line is not None:
            fits[series.label(protocol)] = line
        last = part.iloc[-1]
        text = {"about": "about ", "more": "more than ", "at most": "at most "}[last["known"]]
        found = count(10 * round(last["n_samples_needed"] / 10.0))
        comparisons.append(
            Comparison(
                f"{series.label(protocol)}: exponent of N against d; {text}{found} samples at d = {last['d']}",
                float("nan") if line is None else line.slope,
                float("nan") if line is None else line.error,
                protocol="ours",
            )
        )
    note = (
        f"The target is a test error of {protocol.target_error:g} after {protocol.epochs} epochs "
        f"(d {span(protocol.d)}, N {span(protocol.n_samples)}, repeats {protocol.repeats}, α {protocol.alpha}). N is "
        "the size of the data set of which 64% are training rows, read off between two rungs of the ladder; points "
        "outside the ladder (arrows) are not fitted. The paper's exponent gamma, 4.5 without a penalty and 2.5 with "
        "L1, is that of the rows which keep the gap as it is."
    )
    return Analysis(needed, comparisons, fits, [note], data=frame)


def _draw(analysis: Analysis, protocol: HaystackProtocol, _: "Overlay | None") -> "Figure":
    figure = _plots.new_figure()
    axes = figure.add_subplot()
    keys = []
    for i, series in enumerate(SERIES):
        part = series.rows(analysis.frame)
        look = replace(series.look, dash=_plots.LOOKS[i].dash)
        exact = part["known"] == "about"
        drawn: dict[str, Any] = {"color": look.colour, "markersize": 4.5, "markeredgewidth": 0.8}
        axes.plot(part["d"][exact], part["n_samples_needed"][exact], look.marker, **drawn)
        for kind, (arrow, _label) in _ARROWS.items():
            outside = part[part["known"] == kind]
            at, rows = outside["d"], outside["n_samples_needed"]
            axes.plot(at, rows, look.marker, markerfacecolor="none", **drawn)
            shift = 1.25 if kind == "more" else 0.8
            axes.plot(at, rows * shift, marker=arrow, color="black", linestyle="", markersize=5.0)
        line = analysis.fits.get(series.label(protocol))
        keys.append(_key(look, series.typeset(protocol), line, bool(exact.any())))
        if line is not None:
            x = np.geomspace(line.low / _BEYOND, line.high * _BEYOND, 2)
            axes.plot(x, line(x), linestyle=look.dash, color=look.colour, linewidth=1.1, zorder=1.5)
    for kind, (arrow, label) in _ARROWS.items():
        if kind in set(analysis.frame["known"]):
            keys.append(_plots.line_key(Look("black", arrow, ""), label, markersize=5.0))
    _plots.log_axes(axes, list(protocol.d))
    axes.set_xlabel("number of inputs $d$")
    axes.set_ylabel(f"samples $N$ for a test error of {protocol.target_error:g}")
    _plots.legend(axes, keys)
    return figure


def _key(look: Look, label: str, line: PowerLaw | None, exact: bool) -> "Line2D":
    """As drawn: a line where one is fitted, an open marker where no point lies within the ladder."""
    drawn = {"linestyle": look.dash if line is not None else "", "linewidth": 1.1}
    return _style.key(look, label, line, "fitted exponent", markerfacecolor=look.colour if exact else "none", **drawn)


EXPERIMENTS = (
    Experiment(
        name="haystack",
        title="fewest samples that reach a target error, against d",
        protocols=PROTOCOLS,
        plan=_plan,
        analyse=_analyse,
        draw=_draw,
        remark="This is all of the ladder; runs above the first rung that reaches the target error are never made.",
    ),
)

"""The table of rates: gap ~ d^b1 / n^b2, so that d inputs need about d^gamma rows, gamma = b1 / b2."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyneedle import _plots
from pyneedle.experiments import _curves, _presets, _style
from pyneedle.experiments._curves import Curves
from pyneedle.experiments._experiment import Analysis, Comparison, Experiment
from pyneedle.experiments._protocol import PresetName, Protocol, differences
from pyneedle.experiments._published import NUMBERS
from pyneedle.experiments._series import GN, GREEN, Series, joined
from pyneedle.experiments._slopes import PowerLaw
from pyneedle.sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from typing_extensions import Self

    from pyneedle._device import Device
    from pyneedle.experiments._published import Overlay
    from pyneedle.experiments._session import Session

_L1 = Series("GN", GREEN, "l1")


@dataclass(frozen=True, kw_only=True)
class RatesProtocol(Protocol):
    """The protocol against d, and in `rows` the one against the number of rows."""

    rows: Protocol

    def on(self, device: "Device") -> "Self":
        """Both on a device."""
        return replace(super().on(device), rows=self.rows.on(device))


def _both(against_d: Protocol, against_n: Protocol) -> RatesProtocol:
    return RatesProtocol(**vars(against_d), rows=against_n)


PROTOCOLS: Mapping[PresetName, RatesProtocol] = {
    name: _both(protocol, _presets.AGAINST_N[name]) for name, protocol in _presets.AGAINST_D.items()
}
# Implicit: the lines of figures 5a and 9b; L1: those of figures 6a and 11a.
_KINDS = (
    (
        "implicit",
        "implicit",
        Curves(series=(GN,), fitted={GN: ""}),
        Curves(series=(GN,), fitted={GN: ""}, x="train_rows"),
    ),
    (
        "l1",
        "L1",
        Curves(series=(_L1,), fitted={_L1: ""}),
        Curves(series=(_L1,), fitted={_L1: ""}, x="train_rows", visible_gap=True),
    ),
)


def _plan(protocol: RatesProtocol) -> Sweep:
    return joined(
        [
            _curves.plan(curves, part)
            for _, _, by_d, by_n in _KINDS
            for curves, part in ((by_d, protocol), (by_n, protocol.rows))
        ]
    )


def _analyse(session: "Session", protocol: RatesProtocol, _: "Overlay | None") -> Analysis:
    import pandas as pd

    session.run(_plan(protocol))  # all at once, so that the longest go first
    paper = PROTOCOLS["paper"]
    frames, fits = [], {}
    comparisons = [
        Comparison(f"theory: {rate}", None, published=number.value, source=number.source, protocol="–")  # noqa: RUF001
        for rate in ("b1", "b2", "gamma")
        for number in (NUMBERS[f"rates.theory.{rate}"],)
    ]
    for name, label, by_d, by_n in _KINDS:
        lines: dict[str, PowerLaw | None] = {}
        differing: list[tuple[str, ...] | str] = []
        for rate, curves, part, wanted in (("b1", by_d, protocol, paper), ("b2", by_n, protocol.rows, paper.rows)):
            series = curves.series[0]
            frame = _curves.run(curves, session, part)
            frames.append(frame.assign(rate=rate, regularisation=label))
            lines[rate] = line = _curves.fit(curves, series, frame)
            if line is not None:
                fits[f"{label} {rate}"] = line
            differing.append(differences(part, wanted, series.network, series.penalty))
        values = _rates(lines["b1"], lines["b2"])
        protocols = (*differing, "as b1 and b2")
        for (rate, (value, error)), differs in zip(values.items(), protocols, strict=True):
            number = NUMBERS[f"rates.{name}.{rate}"]
            comparisons.append(Comparison(f"{label}: {rate}", value, error, number.value, number.source, differs))
    note = (
        "gap ~ d^b1 / n^b2 and gamma = b1 / b2. b1 and b2 are fitted to the test errors: implicit those of figures 5a "
        "and 9b, L1 those of figures 6a and 11a. The error of gamma is that of a quotient of independent numbers."
    )
    return Analysis(pd.concat(frames, ignore_index=True), comparisons, fits, [note])


def _rates(b1: PowerLaw | None, b2: PowerLaw | None) -> dict[str, tuple[float, float]]:
    """b1, b2 and gamma with their standard errors; b2 is the fall, so minus the slope."""
    nothing = (math.nan, math.nan)
    up = nothing if b1 is None else (b1.slope, b1.error)
    down = nothing if b2 is None else (-b2.slope, b2.error)
    gamma = up[0] / down[0] if down[0] else math.nan
    error = abs(gamma) * math.hypot(up[1] / up[0], down[1] / down[0]) if up[0] and down[0] else math.nan
    return {"b1": up, "b2": down, "gamma": (gamma, error)}


def _draw(analysis: Analysis, protocol: RatesProtocol, _: "Overlay | None") -> "Figure":
    figure = _plots.new_figure(7.2, 3.5)
    for column, (rate, x) in enumerate((("b1", "d"), ("b2", "train_rows"))):
        axes = figure.add_subplot(1, 2, column + 1)
        keys = []
        for _name, label, by_d, by_n in _KINDS:
            series = (by_d if rate == "b1" else by_n).series[0]
            frame = analysis.frame
            rows = frame[(frame["rate"] == rate) & (frame["regularisation"] == label)]
            _style.curve(axes, rows[x], rows[_curves.TRAIN_ERROR], series.look, train=True)
            _style.curve(axes, rows[x], rows[_curves.TEST_ERROR], series.look)
            line = analysis.fits.get(f"{label} {rate}")
            keys.append(_style.key(series.look, series.typeset(protocol if rate == "b1" else protocol.rows), line))
            if line is not None:
                _style.fitted(axes, line, series.look)
        _plots.log_axes(axes, analysis.frame[analysis.frame["rate"] == "b1"]["d"].tolist() if x == "d" else None)
        axes.set_xlabel("number of inputs $d$" if x == "d" else r"training rows $n = 0.64\,N$")
        if column == 0:
            axes.set_ylabel(_curves.ordinate(_curves.TEST_ERROR))
        keys += _style.kind_keys() if column else []
        scale = _style.scale(protocol if rate == "b1" else protocol.rows, x)
        axes.set_title(f"{_style.letter(column)} {scale}", loc="left", fontsize=10)
        axes.legend(
            handles=keys, frameon=False, fontsize=8, handlelength=2.6, loc="upper left" if column == 0 else "best"
        )
    return figure


EXPERIMENTS = (
    Experiment(
        name="rates",
        title="rates of the gap in d and n, and of the rows that d inputs need",
        protocols=PROTOCOLS,
        plan=_plan,
        analyse=_analyse,
        draw=_draw,
    ),
)

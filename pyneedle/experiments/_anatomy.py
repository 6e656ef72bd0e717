"""Beyond the paper: how much of the haystack is left while GN trains.

A unit of the second hidden layer is dead (inactive on all validation rows), on (active on all: linear), or mixed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from pyneedle import _plots
from pyneedle._optimizers import Adam
from pyneedle.experiments import _style
from pyneedle.experiments._curves import TEST_ERROR, TRAIN_ERROR
from pyneedle.experiments._experiment import Analysis, Comparison, Experiment
from pyneedle.experiments._presets import AGAINST_D
from pyneedle.experiments._protocol import PresetName, Protocol, differences
from pyneedle.experiments._series import BLACK, PenaltyName, joined, penalty_label, typeset_penalty
from pyneedle.experiments._slopes import geometric_mean
from pyneedle.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pyneedle.experiments._published import Overlay
    from pyneedle.experiments._session import Session

_PAPER_RATE = Adam().learning_rate
_KINDS = ("dead", "on", "mixed")
_SHADES = ("0.82", "0.55", "0.1")
# Epochs whose counts are kept: about evenly spread on a logarithmic axis.
_MOST_EPOCHS = 40
_LAYER = 2
# On the shares: seen on each of their shades.
_BEST: dict[str, Any] = {"color": "#d97a16", "linewidth": 1.4, "linestyle": (0, (3, 1.5))}


@dataclass(frozen=True)
class _Setting:
    """A penalty and a learning rate."""

    penalty: PenaltyName = "none"
    learning_rate: float = _PAPER_RATE

    def label(self, protocol: Protocol) -> str:
        if self.learning_rate != _PAPER_RATE:
            return f"learning rate {self.learning_rate:g}"
        return penalty_label(protocol, self.penalty)

    def typeset(self, protocol: Protocol) -> str:
        if self.learning_rate != _PAPER_RATE:
            return f"learning rate {self.learning_rate:g}"
        return typeset_penalty(protocol, self.penalty)

    def sweep(self, protocol: Protocol) -> Sweep:
        return Sweep(
            network="GN",
            d=protocol.inputs("GN"),
            alpha=protocol.alpha,
            n_samples=protocol.n_samples,
            penalty=[protocol.penalty(self.penalty)],
            optimizer=Adam(learning_rate=self.learning_rate),
            epochs=protocol.epochs,
            device=protocol.device,
            repeat=range(protocol.repeats),
        )


# One repeat in the shorter presets: six settings take long enough.
PROTOCOLS: Mapping[PresetName, Protocol] = {
    "quick": replace(AGAINST_D["quick"], repeats=1),
    "laptop": replace(AGAINST_D["laptop"], repeats=1),
    "paper": AGAINST_D["paper"],
}
_SETTINGS = (
    _Setting(),
    _Setting("l1"),
    _Setting("l2"),
    _Setting("path-norm"),
    _Setting(learning_rate=0.003),
    _Setting(learning_rate=0.001),
)


def _plan(protocol: Protocol) -> Sweep:
    return joined([setting.sweep(protocol) for setting in _SETTINGS])


def _analyse(session: "Session", protocol: Protocol, _: "Overlay | None") -> Analysis:
    import pandas as pd

    session.run(_plan(protocol))  # all at once, so that the longest go first
    frames, comparisons = [], []
    for setting in _SETTINGS:
        sweep = setting.sweep(protocol)
        rows = session.run(sweep).set_index("cell")
        best_epochs = {str(cell): int(epoch) for cell, epoch in rows["best_epoch"].items()}
        parts = []
        for cell in sweep.cells:
            history = session.history(cell)
            finished = len(history["train_loss"])
            if not finished:
                continue
            best = best_epochs[cell.id] + 1  # 0 where no epoch was finite
            at = np.unique(np.geomspace(1, finished, _MOST_EPOCHS).round().astype(int))
            at = np.union1d(at, [best] if best else [])
            shares = {kind: history[f"{kind}_units"][at - 1, _LAYER - 1] / (cell.d * cell.alpha) for kind in _KINDS}
            row = rows.loc[cell.id]
            errors = {name: row[name] for name in (TRAIN_ERROR, TEST_ERROR)}
            parts.append(
                pd.DataFrame(
                    {
                        "setting": setting.label(protocol), "penalty": setting.penalty, "strength": cell.strength,
                        "learning_rate": setting.learning_rate, "d": cell.d, "repeat": cell.repeat, "epoch": at,
                        "best": at == best, "last": at == finished, **shares, **errors,
                    }
                )
            )  # fmt: skip
        part = pd.concat(parts, ignore_index=True)
        frames.append(part)
        comparisons += _lines(part, setting, protocol)
    note = (
        f"Mixed units of hidden layer {_LAYER} are those that are neither dead nor linear, counted over the validation "
        "rows after an epoch; shares are means over repeats. Errors are of the parameters of the best epoch, the one "
        "with the lowest validation error. The paper has no such numbers; the protocol says how its own scale differs "
        "from this run's."
    )
    return Analysis(pd.concat(frames, ignore_index=True), comparisons, notes=[note])


def _lines(part: "pd.DataFrame", setting: _Setting, protocol: Protocol) -> list[Comparison]:
    """Of a setting: what is left after an epoch at the smallest and the largest d, and there later, and the error."""
    label = setting.label(protocol)
    inputs = sorted(set(protocol.inputs("GN")))
    smallest, largest = inputs[0], inputs[-1]
    first = part["epoch"] == 1
    chosen = [("first", first, smallest)] * (smallest < largest)
    chosen += [("first", first, largest), ("best", part["best"], largest), ("last", part["last"], largest)]
    values = {
        f"share of mixed units, {when} epoch, d = {d}": part[rows & (part["d"] == d)]["mixed"].mean()
        for when, rows, d in chosen
    }
    values[f"test error, d = {largest}"] = geometric_mean(part[part["last"] & (part["d"] == largest)][TEST_ERROR])
    differing = differences(protocol, PROTOCOLS["paper"], "GN", setting.penalty)
    return [Comparison(f"{label}: {quantity}", float(value), protocol=differing) for quantity, value in values.items()]


def _draw(analysis: Analysis, protocol: Protocol, _: "Overlay | None") -> "Figure":
    frame = analysis.frame
    largest = max(protocol.inputs("GN"))
    figure = _plots.new_figure(11.0, 8.6)
    grid = figure.subplots(4, len(_SETTINGS), sharey="row")
    for column, setting in enumerate(_SETTINGS):
        part = frame[frame["setting"] == setting.label(protocol)]
        epochs, first, best, errors = grid[:, column]
        _shares(epochs, part[part["d"] == largest], "epoch")
        for epoch in part[part["best"] & (part["d"] == largest)]["epoch"]:
            epochs.axvline(epoch, clip_on=False, **_BEST)  # whole at the border, where it often is
        epochs.set_xlabel(f"epoch ($d = {largest}$)")
        _shares(first, part[part["epoch"] == 1], "d")
        first.set_xlabel("$d$ (first epoch)")
        _shares(best, part[part["best"]], "d")
        best.set_xlabel("$d$ (best epoch)")
        runs = part[part["last"]]
        _style.curve(errors, runs["d"], runs[TRAIN_ERROR], BLACK, train=True)
        _style.curve(errors, runs["d"], runs[TEST_ERROR], BLACK)
        errors.set_yscale("log")
        errors.set_xlabel("$d$ (best epoch)")
        for axes in (first, best, errors):
            axes.xaxis.set_major_locator(FixedLocator(_ticks(protocol.inputs("GN"))))
    settings = [setting.typeset(protocol) for setting in _SETTINGS]
    for i, axes in enumerate(grid.flat):
        axes.set_title(" ".join([_style.letter(i), *settings[i : i + 1]]), loc="left", fontsize=10)
    for axes in grid[:-1, 0]:
        axes.set_ylabel("share of layer 2")
    grid[-1, 0].set_ylabel("mean squared error")
    handles = grid[0, 0].get_legend_handles_labels()[0]
    keys = [Line2D([], [], label="best epoch", **_BEST), *_style.kind_keys(fits=False)]
    figure.legend(
        handles=[*handles, *keys], loc="outside upper center", ncols=len(handles) + len(keys), frameon=False,
        title=f"GN, {_style.scale(protocol, 'd')}",
    )  # fmt: skip
    return figure


def _ticks(values: Sequence[int]) -> list[int]:
    """At most five of the values, the last one among them."""
    ordered = sorted(values)
    return ordered[::-1][:: -(-len(ordered) // 5)]


def _shares(axes: "Axes", part: "pd.DataFrame", x: str) -> None:
    """Shares of the kinds of units, means over repeats, on top of one another."""
    means = part.groupby(x)[list(_KINDS)].mean()
    stacked = means.to_numpy().T
    axes.stackplot(means.index, stacked, colors=_SHADES, labels=[f"{kind} units" for kind in _KINDS], linewidth=0)
    axes.set_ylim(0.0, 1.0)
    axes.tick_params(direction="out", which="both", top=False, right=False)  # within, the black would hide them
    low, high = float(means.index.min()), float(means.index.max())
    if low < high:
        if x == "epoch":
            axes.set_xscale("log")
        axes.set_xlim(low, high)


EXPERIMENTS = (
    Experiment(
        name="anatomy",
        title="dead, on and mixed units of GN's second hidden layer against epoch and d",
        protocols=PROTOCOLS,
        plan=_plan,
        analyse=_analyse,
        draw=_draw,
    ),
)

"""Figure 4: LN embedded into GN and trained on keeps a gap between training and validation that LN lacks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pyneedle import _plots
from pyneedle._optimizers import Adam
from pyneedle._plots import Look
from pyneedle.experiments import _style
from pyneedle.experiments._continuation import Continuation
from pyneedle.experiments._experiment import Analysis, Comparison, Experiment
from pyneedle.experiments._protocol import PresetName, Protocol, differences
from pyneedle.experiments._series import BLACK, GREEN, ORANGE
from pyneedle.sweep import Cell, Sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pyneedle._networks import NetworkName
    from pyneedle.experiments._published import Overlay
    from pyneedle.experiments._session import Session

_DECAY = 0.03
# The program shows one run; so does this, the first.
_PAPER = Protocol(d=(20,), n_samples=(1000,), epochs=1000, repeats=1)
PROTOCOLS: Mapping[PresetName, Protocol] = {
    "quick": replace(_PAPER, alpha=20),
    "laptop": _PAPER,
    "paper": _PAPER,
}


@dataclass(frozen=True)
class _Part:
    """A curve: the first half's network, and how the second half goes on."""

    label: str
    network: "NetworkName"
    embedded: bool
    look: Look


_PARTS = (
    _Part("GN", "GN", False, BLACK),
    _Part("LN embedded in GN", "LN", True, GREEN),
    _Part("LN", "LN", False, ORANGE),
)


def _cell(network: "NetworkName", protocol: Protocol) -> Cell:
    return Cell(
        network=network,
        d=protocol.d[0],
        n_samples=protocol.n_samples[0],
        alpha=protocol.alpha,
        epochs=protocol.epochs,
        device=protocol.device,
        optimizer=Adam(decay=_DECAY),
    )


def _plan(protocol: Protocol) -> Sweep:
    return Sweep.from_cells([_cell("GN", protocol), _cell("LN", protocol)])


def _analyse(session: "Session", protocol: Protocol, _: "Overlay | None") -> Analysis:
    import pandas as pd

    session.run(_plan(protocol), parameters=True)
    continuations = [Continuation(_cell(part.network, protocol), part.embedded) for part in _PARTS]
    scale = protocol.d[0] ** 2
    frames, comparisons = [], []
    for part, continuation, fit in zip(_PARTS, continuations, session.go_on(continuations), strict=True):
        first = session.history(continuation.cell)
        for half, history in enumerate((first, fit.history)):
            losses = {f"{name}_mse_original": scale * history[f"{name}_loss"] for name in ("train", "validation")}
            epochs = half * protocol.epochs + 1 + np.arange(len(history["train_loss"]))
            frames.append(pd.DataFrame({"curve": part.label, "half": half + 1, "epoch": epochs, **losses}))
        comparisons += [
            Comparison(
                f"{part.label}, continued: {split} error",
                getattr(fit, f"{split}_mse_original"),
                protocol=differences(protocol, PROTOCOLS["paper"]),
            )
            for split in ("train", "validation", "test")
        ]
    note = (
        "Each second half starts from the parameters with the lowest validation error of the first; the learning rate "
        "goes on decaying, Adam's moments start anew. It is no run of the store: it is made on this machine, with any "
        "executor, and kept as an .npz file in the folder with the store's name and the ending .fits. The paper prints "
        "no number here."
    )
    return Analysis(pd.concat(frames, ignore_index=True), comparisons, notes=[note])


def _draw(analysis: Analysis, protocol: Protocol, _: "Overlay | None") -> "Figure":
    figure = _plots.new_figure()
    axes = figure.add_subplot()
    keys = []
    for part in _PARTS:
        rows = analysis.frame[analysis.frame["curve"] == part.label]
        # The embedded network's first half is that of LN.
        shown = rows[rows["half"] == 2] if part.embedded else rows
        for split, dash in (("train", _style.TRAIN), ("validation", _style.TEST)):
            epoch, loss = _plots.stretches(shown["epoch"].to_numpy(), shown[f"{split}_mse_original"].to_numpy())
            axes.plot(epoch, loss, linestyle=dash, color=part.look.colour, linewidth=1.2)
            at = np.linspace(0, len(epoch) - 1, 10).astype(int)[1:-1]
            axes.plot(
                epoch[at], loss[at], part.look.marker, color=part.look.colour, markersize=3.6,
                markerfacecolor="none" if split == "train" else part.look.colour, markeredgewidth=0.7,
            )  # fmt: skip
        keys.append(_style.key(part.look, part.label, linewidth=1.2))
    keys += _style.kind_keys(fits=False, test="validation")
    axes.axvline(protocol.epochs, color="0.6", linewidth=0.8)
    keys.append(_style.line_key(f"second halves start, epoch {protocol.epochs}", "-", "0.6", 0.8))
    axes.set_yscale("log")
    axes.set_xlim(0, 2 * protocol.epochs)
    axes.set_xlabel("epoch")
    axes.set_ylabel(r"mean squared error of $\Sigma_i\,x_i^2$")
    axes.set_title(_style.scale(protocol, "epoch"), loc="left", fontsize=10)
    _plots.legend(axes, keys)
    return figure


EXPERIMENTS = (
    Experiment(
        name="fig4",
        title="GN, LN, and LN embedded into GN, trained on",
        protocols=PROTOCOLS,
        plan=_plan,
        analyse=_analyse,
        draw=_draw,
        parameters=True,
        remark="The second halves, two of GN and one of LN, come on top.",
    ),
)

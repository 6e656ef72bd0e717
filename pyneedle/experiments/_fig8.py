"""Figure 8: the first weight matrix of GN without and with penalties, and of LN embedded into GN."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm

from pyneedle import _plots
from pyneedle._embedding import embed
from pyneedle._networks import NetworkName
from pyneedle.experiments import _style
from pyneedle.experiments._experiment import Analysis, Comparison, Experiment
from pyneedle.experiments._presets import AGAINST_D
from pyneedle.experiments._protocol import PresetName, Protocol, differences
from pyneedle.experiments._series import PenaltyName, penalty_label, typeset_penalty
from pyneedle.sweep import Cell, Sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pyneedle._checks import Array
    from pyneedle.experiments._published import Overlay
    from pyneedle.experiments._session import Session

_GROUP = 10
# Weights below this share of a matrix's largest one count as zero in the table, and are the lightest in the images.
_SMALL = 1e-2
_PENALTIES: tuple[PenaltyName, ...] = ("none", "l1", "l2", "path-norm")
PROTOCOLS: Mapping[PresetName, Protocol] = {
    # Where its d is among those of the figures against d, these are some of their runs.
    "quick": replace(AGAINST_D["quick"], d=(16,), repeats=1),
    "laptop": Protocol(d=(32,), n_samples=(10_000,), epochs=300, repeats=1, l1=1e-7, l2=1e-6),
    "paper": replace(AGAINST_D["paper"], d=(32,), repeats=1),
}


def _cell(protocol: Protocol, network: NetworkName, penalty: PenaltyName = "none") -> Cell:
    return Cell(
        network=network,
        d=protocol.d[0],
        n_samples=protocol.n_samples[0],
        alpha=protocol.alpha,
        epochs=protocol.epochs,
        device=protocol.device,
        penalty=protocol.penalty(penalty),
    )


def _cells(protocol: Protocol) -> list[Cell]:
    """The four GN, and LN."""
    return [*(_cell(protocol, "GN", name) for name in _PENALTIES), _cell(protocol, "LN")]


def _plan(protocol: Protocol) -> Sweep:
    return Sweep.from_cells(_cells(protocol))


def _analyse(session: "Session", protocol: Protocol, _: "Overlay | None") -> Analysis:
    cells = _cells(protocol)
    frame = session.run(_plan(protocol), parameters=True)
    labels = [f"GN, {penalty_label(protocol, name)}" for name in _PENALTIES]
    images = {label: _image(session.parameters(cell)["w1"]) for label, cell in zip(labels, cells, strict=False)}
    local = cells[-1]
    embedded = embed(local.make_network(), session.parameters(local), into="GN")[1]
    images["LN embedded in GN"] = _image(embedded["w1"])
    paper = PROTOCOLS["paper"]
    kinds = [*_PENALTIES, "none"]
    comparisons = [
        Comparison(
            f"{label}: share of shown weights below {_SMALL:.0%} of the largest",
            float((image < _SMALL * image.max()).mean()),
            protocol=differences(protocol, paper, penalty=kind),
        )
        for (label, image), kind in zip(images.items(), kinds, strict=True)
    ]
    notes = ["The paper shows images and prints no number here."]
    return Analysis(frame, comparisons, notes=notes, data=images)


def _image(w1: "Array") -> "Array":
    """The largest absolute value of each ten rows: w1 (H, d) -> (H / 10, d)."""
    rows = -(-len(w1) // _GROUP) * _GROUP
    padded = np.zeros((rows, w1.shape[1]), dtype=np.float64)
    padded[: len(w1)] = np.abs(w1)
    largest: Array = padded.reshape(-1, _GROUP, w1.shape[1]).max(axis=1)
    return largest


def _draw(analysis: Analysis, protocol: Protocol, _: "Overlay | None") -> "Figure":
    images: dict[str, Array] = analysis.data
    figure = _plots.new_figure(9.0, 4.6)
    axes = figure.subplots(1, len(images), sharey=True)
    d, groups = protocol.d[0], len(next(iter(images.values())))
    titles = [f"GN, {typeset_penalty(protocol, name)}" for name in _PENALTIES] + ["LN, embedded in GN"]
    for i, (one, title, image) in enumerate(zip(axes, titles, images.values(), strict=True)):
        top = float(image.max()) or 1.0
        drawn = one.imshow(
            np.maximum(image / top, _SMALL), cmap="gray_r", norm=LogNorm(_SMALL, 1.0), aspect="auto",
            interpolation="nearest", extent=(0.5, d + 0.5, groups * _GROUP, 0),
        )  # fmt: skip
        # In two lines, or the titles run into one another.
        one.set_title(f"{_style.letter(i)} {title}".replace(", ", "\n", 1), fontsize=10)
        one.set_xlabel("input")
        one.tick_params(direction="out", top=False, right=False)  # within, dark images would hide them
        one.set_xticks(sorted({1, d // 4, d // 2, 3 * d // 4, d} - {0}))
    axes[0].set_ylabel("unit of the first hidden layer")
    bar = figure.colorbar(drawn, ax=list(axes), fraction=0.025, pad=0.01)
    bar.set_ticks([_SMALL, 0.1, 1.0], labels=[f"≤ {_SMALL:g}", "0.1", "1"])
    bar.set_label(r"$\max\,|W_1|$ of ten units, relative to the matrix's largest")
    return figure


EXPERIMENTS = (
    Experiment(
        name="fig8",
        title="first weight matrices of GN without and with penalties, and of LN embedded into GN",
        protocols=PROTOCOLS,
        plan=_plan,
        analyse=_analyse,
        draw=_draw,
        parameters=True,
        remark="Runs that a store has without their best parameters are made again; `all` makes these first.",
    ),
)

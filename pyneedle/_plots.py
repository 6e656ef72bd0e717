"""Figures; imported only where one is asked for."""

import os
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pyneedle import _files
from pyneedle._checks import Array


def formats() -> list[str]:
    """Endings of file names that can be drawn to."""
    return ["pdf", "png", "svg"]


def losses(train_loss: Array, validation_loss: Array, best_epoch: int, title: str) -> Figure:
    """Losses against the epoch, on a logarithmic axis.

    Lines differ in their dashes, not in colour alone, so that the figure can be read in grey.

    Parameters
    ----------
    train_loss, validation_loss : ndarray, shape (epochs,)
        Scaled mean squared errors; what is not finite leaves a gap.
    best_epoch : int
        From 0, to be marked; negative: none.
    title : str
        Of the figure.
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    epochs = np.arange(len(validation_loss))
    marker = "." if len(epochs) < 3 else None
    axes.plot(epochs, train_loss, "--", color="0.45", marker=marker, label="training, mean over batches")
    axes.plot(epochs, validation_loss, "-", color="tab:blue", marker=marker, label="validation")
    if best_epoch >= 0:
        axes.plot(
            [best_epoch],
            [validation_loss[best_epoch]],
            "o",
            color="black",
            markerfacecolor="none",
            markersize=9,
            label=f"best epoch ({best_epoch})",
        )
    shown = np.concatenate([train_loss, validation_loss])
    # A logarithmic axis without a positive number on it would warn.
    if np.any(np.isfinite(shown) & (shown > 0.0)):
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean squared error of the scaled target")
    axes.set_title(title)
    axes.grid(True, which="major", color="0.9")
    axes.legend(frameon=False)
    return figure


def plot_losses(
    path: str | os.PathLike[str], train_loss: Array, validation_loss: Array, best_epoch: int, title: str
) -> None:
    """Draw `losses` into a file whose ending, one of `formats`, says the format; whole or not at all."""
    figure = losses(train_loss, validation_loss, best_epoch, title)
    with _files.replacing(path) as file:
        figure.savefig(file, format=Path(path).suffix.lower().removeprefix("."), dpi=150)

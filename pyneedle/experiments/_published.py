"""Published results: the numbers that the paper prints, and files of other results to draw beside one's own."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyneedle._penalties import BY_KIND
from pyneedle.sweep._cell import NETWORK_NAMES

if TYPE_CHECKING:
    import pandas as pd

PAPER = (
    "Zhang, Zepeda-Núñez, Yao, Lin: Learning the mapping x -> sum x_i^2: the cost of finding the needle in a haystack "
    "(2020)"
)


@dataclass(frozen=True)
class PublishedNumber:
    """A number of the paper.

    Attributes
    ----------
    value : float
        As it is printed.
    quantity : str
        What it is.
    source : str
        Where it stands: the figure or table.
    """

    value: float
    quantity: str
    source: str


def _slope(figure: str, value: float, of: str) -> PublishedNumber:
    return PublishedNumber(value, f"slope of {of}", f"figure {figure}")


_D, _N = "test error against d", "test error against training rows"

# By experiment; the rates by row of the table.
NUMBERS: Mapping[str, PublishedNumber] = {
    "fig5a": _slope("5a", 3.638, _D),
    "fig5b": _slope("5b", 1.107, "path norm against d"),
    "fig6a": _slope("6a", 2.527, _D),
    "fig6b": _slope("6b", 3.051, _D),
    "fig6c": _slope("6c", 2.098, _D),
    "fig7": _slope("7", -0.158, "path norm against d"),
    "fig9a": _slope("9a", -0.745, f"{_N}, points with a visible gap"),
    "fig9b": _slope("9b", -0.820, _N),
    "fig10": _slope("10", -0.756, _N),
    "fig11a": _slope("11a", -0.943, f"{_N}, points with a visible gap"),
    "fig11b": _slope("11b", -0.986, f"{_N}, points with a visible gap"),
    "rates.theory.b1": PublishedNumber(2.0, "b1, theory", "table of rates"),
    "rates.theory.b2": PublishedNumber(0.5, "b2, theory", "table of rates"),
    "rates.theory.gamma": PublishedNumber(4.0, "gamma, theory", "table of rates"),
    "rates.implicit.b1": PublishedNumber(3.6, "b1, implicit", "table of rates"),
    "rates.implicit.b2": PublishedNumber(0.8, "b2, implicit", "table of rates"),
    "rates.implicit.gamma": PublishedNumber(4.5, "gamma, implicit", "table of rates"),
    "rates.l1.b1": PublishedNumber(2.5, "b1, L1", "table of rates"),
    "rates.l1.b2": PublishedNumber(1.0, "b2, L1", "table of rates"),
    "rates.l1.gamma": PublishedNumber(2.5, "gamma, L1", "table of rates"),
}

COLUMNS = (
    "arch", "target", "penalty", "strength", "d", "repeat", "n_samples", "n_parameters", "train_mse", "validation_mse",
    "test_mse",
)  # fmt: skip
_SAME_STRENGTH = 1e-6
_OPTIONAL = ("repeat", "n_parameters")
# What the values of a column must be; a run without a penalty may leave its strength empty.
_NAMES = {"arch": NETWORK_NAMES, "penalty": ("none", *BY_KIND)}
_COUNTS = ("d", "n_samples")
_ERRORS = ("train_mse", "validation_mse", "test_mse")
_NO_STRENGTH = ("", "none")


@dataclass(frozen=True, eq=False)
class Overlay:
    """Results of others, a row a run: errors are of the scaled target.

    Attributes
    ----------
    frame : DataFrame
        With the columns of `COLUMNS`, and train_mse_original and test_mse_original.
    name : str
        Of the file.
    """

    frame: "pd.DataFrame"
    name: str

    def select(self, network: str, target: str, penalty: str, strengths: Sequence[float]) -> "pd.DataFrame":
        """Choose the rows of one kind of training.

        Parameters
        ----------
        network, target, penalty : str
            Names of the network and the target, and the kind of the penalty or "none".
        strengths : sequence of float
            Of the penalty, the most wanted first.

        Returns
        -------
        DataFrame
            The rows with the first of the strengths that there is; empty where none is there.
        """
        rows = self.frame
        rows = rows[(rows["arch"] == network) & (rows["target"] == target) & (rows["penalty"] == penalty)]
        if penalty == "none":
            return rows
        for strength in strengths:
            same = rows[(rows["strength"] / strength - 1.0).abs() < _SAME_STRENGTH]
            if len(same):
                return same
        return rows[:0]


def read_overlay(path: str | os.PathLike[str]) -> Overlay:
    """Read a CSV file of published results.

    Parameters
    ----------
    path : path-like
        With at least the columns arch, target, penalty, strength, d, n_samples, train_mse, validation_mse and test_mse.

    Returns
    -------
    Overlay
        The rows, and the file's name.

    Raises
    ------
    OSError
        Where the file can't be read.
    ValueError
        Where it is no CSV file, has no rows, a column is missing, or a value is impossible: another network or penalty,
        d or n_samples below 1, an error that is neither positive nor NaN. The message names column and row.
    """
    import pandas as pd

    name = Path(path).name
    try:
        frame = pd.read_csv(path, keep_default_na=False, skipinitialspace=True, dtype=str)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"published must be a CSV file, got {name!r}: {error}") from None
    frame.columns = frame.columns.str.strip()
    needed = [column for column in COLUMNS if column not in _OPTIONAL]
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise ValueError(
            f"published must have the columns {', '.join(needed)}, got {name!r} without {', '.join(missing)}"
        )
    if not len(frame):
        raise ValueError(f"published must have rows, got {name!r} with none")
    for column in needed:
        frame[column] = [
            _value(column, text.strip(), f"row {i} of {name!r}") for i, text in enumerate(frame[column], start=1)
        ]
    for split in ("train", "test"):
        frame[f"{split}_mse_original"] = frame[f"{split}_mse"] * frame["d"] ** 2
    return Overlay(frame, name)


def _value(column: str, text: str, where: str) -> str | float:
    """What a cell of a column says; ValueError where it is impossible."""
    if column in _NAMES and text not in _NAMES[column]:
        known = ", ".join(map(repr, _NAMES[column]))
        raise ValueError(f"published must have one of {known} in column {column}, got {text!r} in {where}")
    if column in _NAMES or column == "target":
        return text
    if text in _NO_STRENGTH and column == "strength":
        return 0.0
    try:
        number = float(text) if text else math.nan
    except ValueError:
        raise ValueError(f"published must have numbers in column {column}, got {text!r} in {where}") from None
    if column in _COUNTS and not (number.is_integer() and number >= 1.0):
        wanted = "whole numbers of at least 1"
    elif column in _ERRORS and not (0.0 < number < math.inf or math.isnan(number)):
        wanted = "positive numbers, or NaN,"
    elif column == "strength" and not 0.0 <= number < math.inf:
        wanted = "finite numbers that are not negative"
    else:
        return int(number) if column in _COUNTS else number
    raise ValueError(f"published must have {wanted} in column {column}, got {text!r} in {where}")

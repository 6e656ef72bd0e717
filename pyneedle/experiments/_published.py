"""Published results: the numbers that the paper prints, and files of other results to draw beside one's own."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
_NUMERIC = ("strength", "d", "n_samples", "train_mse", "validation_mse", "test_mse")


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
        Where it is no CSV file, a column is missing, or holds something else than numbers.
    """
    import pandas as pd

    name = Path(path).name
    try:
        frame = pd.read_csv(path, keep_default_na=False)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"published must be a CSV file, got {name!r}: {error}") from None
    needed = [column for column in COLUMNS if column not in ("repeat", "n_parameters")]
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise ValueError(
            f"published must have the columns {', '.join(needed)}, got {name!r} without {', '.join(missing)}"
        )
    for column in _NUMERIC:
        # A run without a penalty may leave its strength empty.
        values = frame[column].replace({"": 0.0, "none": 0.0}) if column == "strength" else frame[column]
        try:
            frame[column] = pd.to_numeric(values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"published must have numbers in column {column}, got {name!r}: {error}") from None
    for split in ("train", "test"):
        frame[f"{split}_mse_original"] = frame[f"{split}_mse"] * frame["d"] ** 2
    return Overlay(frame, name)

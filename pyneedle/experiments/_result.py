"""What an experiment leaves."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyneedle.experiments._experiment import Comparison, Means
from pyneedle.experiments._slopes import PowerLaw

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Result:
    """What `reproduce` returns.

    Attributes
    ----------
    name, title, preset : str
        Of the experiment, and the scale: the name of a preset, or "custom".
    frame : DataFrame
        The numbers that the figure shows.
    fits : dict of str to PowerLaw
        Fitted lines, by curve: `slope` with its standard `error`.
    comparisons : list of Comparison
        The lines of the table: value, standard error, published value, what of the protocol differs.
    notes : list of str
        What a reader of the table must know.
    means : Means or None
        The numbers of the figure's points, where it has curves.
    files : list of Path
        That were written: PNG, SVG, CSV of the runs, CSV of the table, Markdown of picture and table.
    store : Path
        Where the runs are.
    """

    name: str
    title: str
    preset: str
    frame: "pd.DataFrame"
    fits: dict[str, PowerLaw]
    comparisons: list[Comparison]
    notes: list[str]
    means: Means | None
    files: list[Path]
    store: Path

"""The table that an experiment ends with: published value, this run's value, same or different protocol."""

import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from pyneedle.experiments._experiment import Comparison

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from pyneedle.experiments._reproduce import Result


def comparison_frame(comparisons: Sequence[Comparison]) -> "pd.DataFrame":
    """The lines as a DataFrame."""
    import pandas as pd

    columns = [f.name for f in fields(Comparison)]
    return pd.DataFrame.from_records([asdict(line) for line in comparisons], columns=columns)


def print_result(result: "Result", console: "Console") -> None:
    """Print the table, the notes and the names of the files."""
    from rich.table import Table

    table = Table(title=f"{result.name}: {result.title} (preset {result.preset})", title_justify="left")
    table.add_column("quantity")
    table.add_column("published", justify="right")
    table.add_column("this run", justify="right", no_wrap=True)
    table.add_column("protocol: this run (paper)")
    for line in result.comparisons:
        published = "–" if line.published is None else f"{line.published:.3f}\n{line.source}"  # noqa: RUF001
        table.add_row(line.quantity, published, value_text(line), line.protocol)
    console.print(table)
    for note in result.notes:
        console.print(note)
    console.print("wrote " + ", ".join(str(path) for path in result.files), soft_wrap=True)


def value_text(line: Comparison) -> str:
    """A value with its standard error."""
    if line.value is None:
        return "–"  # noqa: RUF001
    if math.isnan(line.value):
        return "too few points"
    if line.value >= 100.0:
        return f"{line.value:.0f}"
    return f"{line.value:.3f}" + ("" if math.isnan(line.error) else f" ± {line.error:.3f}")

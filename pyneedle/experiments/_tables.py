"""The table that an experiment ends with: published value, this run's value, same or different protocol."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from pyneedle.experiments._experiment import Comparison

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from pyneedle.experiments._result import Result

_NOTHING = "–"  # noqa: RUF001
# Below this an error or a share has more digits than three behind the point.
_SMALL = 0.01
_SAME, _DIFFERENT = "same", "different"
_COLUMNS = ("quantity", "published", "this run", "protocol")


@dataclass(frozen=True)
class Table:
    """The lines of a table as text.

    Attributes
    ----------
    protocol : str
        What all lines that have a protocol differ in from the paper's; empty where that is nothing.
    rows : list of tuple of str
        Quantity, published value, this run's value, protocol.
    """

    protocol: str
    rows: list[tuple[str, str, str, str]]


def make_table(comparisons: Sequence[Comparison]) -> Table:
    """What the lines' protocols share stands once, above them."""
    protocols = [line.protocol for line in comparisons if not isinstance(line.protocol, str)]
    common = [part for part in protocols[0] if all(part in other for other in protocols)] if protocols else []
    rows = [
        (line.quantity, _published(line), value_text(line), _protocol(line.protocol, common)) for line in comparisons
    ]
    return Table(f"Protocol of this run (of the paper): {'; '.join(common)}." if common else "", rows)


def comparison_frame(comparisons: Sequence[Comparison]) -> "pd.DataFrame":
    """The lines as a DataFrame, each with all of its protocol."""
    import pandas as pd

    columns = [f.name for f in fields(Comparison)]
    records = [{**asdict(line), "protocol": _whole(line.protocol)} for line in comparisons]
    return pd.DataFrame.from_records(records, columns=columns)


def markdown(result: "Result") -> str:
    """The picture, the table, the notes and the means, as a piece of a Markdown document."""
    table = make_table(result.comparisons)
    picture = next(path.name for path in result.files if path.suffix == ".png")
    lines = [f"### {result.name}: {result.title}", f"![{result.title}]({picture})", f"Preset `{result.preset}`."]
    lines[-1] += f" {table.protocol}" * bool(table.protocol)
    lines.append(_grid([_COLUMNS, ("---", "---:", "---:", "---"), *table.rows]))
    lines += result.notes
    if result.means is not None:
        frame = result.means.frame
        rows = [[_mean_text(value) for value in row] for row in frame.itertuples(index=False)]
        lines += [result.means.caption, _grid([list(frame.columns), ["---:"] * len(frame.columns), *rows])]
    return "\n\n".join(lines) + "\n"


def _grid(rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown: names of columns, their alignment, and the rows."""
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows)


def _mean_text(value: float) -> str:
    if math.isnan(value):
        return _NOTHING
    if isinstance(value, int):
        return str(value)
    return f"{value:.2e}".replace("e-0", "e-") if abs(value) < _SMALL else f"{value:.3g}"


def print_result(result: "Result", console: "Console") -> None:
    """Print the table, the notes and the names of the files.

    Parameters
    ----------
    result : Result
        Of `reproduce`.
    console : rich.console.Console
        Where it is printed.
    """
    from rich import box
    from rich.table import Table as Printed
    from rich.text import Text

    def say(text: str, soft_wrap: bool = False) -> None:
        # As it is: names of files may have square brackets.
        console.print(text, markup=False, emoji=False, soft_wrap=soft_wrap)

    table = make_table(result.comparisons)
    say(f"{result.name}: {result.title} (preset {result.preset})")
    if table.protocol:
        say(table.protocol)
    printed = Printed(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in _COLUMNS:
        right = name in ("published", "this run")
        printed.add_column(name, justify="right" if right else "left", no_wrap=name == "this run")
    for row in table.rows:
        printed.add_row(*map(Text, row))
    console.print(printed)
    for note in result.notes:
        say(note)
    say("wrote " + ", ".join(str(path) for path in result.files), soft_wrap=True)


def value_text(line: Comparison) -> str:
    """A value with its standard error."""
    if line.value is None:
        return _NOTHING
    if math.isnan(line.value):
        return "too few points"
    if line.value >= 10.0 and math.isnan(line.error):
        return f"{line.value:.{0 if line.value >= 100.0 else 1}f}"
    if abs(line.value) < _SMALL and math.isnan(line.error):
        return f"{line.value:.2g}".replace("e-0", "e-")
    return f"{line.value:.3f}" + ("" if math.isnan(line.error) else f" ± {line.error:.3f}")


def _published(line: Comparison) -> str:
    return _NOTHING if line.published is None else f"{line.published:.3f} ({line.source})"


def _protocol(protocol: tuple[str, ...] | str, common: Sequence[str]) -> str:
    """Same or different, and what is not said above the table."""
    if isinstance(protocol, str):
        return protocol
    own = [part for part in protocol if part not in common]
    if own:
        return f"{_DIFFERENT}: {'; '.join(own)}"
    return _DIFFERENT if protocol else _SAME


def _whole(protocol: tuple[str, ...] | str) -> str:
    return protocol if isinstance(protocol, str) else "; ".join(protocol) or _SAME

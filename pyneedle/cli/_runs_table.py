"""The table of the runs of a store: what tells them apart, and what came out, as far as there is room."""

from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from pyneedle.cli._console import ANY_WIDTH
from pyneedle.sweep._data_file import short_hash
from pyneedle.sweep._groups import groups_of

if TYPE_CHECKING:
    import pandas as pd

_FIRST = ("network", "target", "data", "data_sha256", "d", "n_samples", "penalty", "strength")
_LAST = ("repeat", "status")
_RESULTS = ("test_mse_original", "path_norm", "best_epoch", "seconds")
# Always there, however narrow the terminal.
_NEEDED = ("network", "d", "test_mse_original")
_MOST_ROWS = 50


def print_runs(frame: "pd.DataFrame", console: Console) -> None:
    """Print the first runs of a frame, and below what is not shown."""
    shown = frame.head(_MOST_ROWS)
    wanted = _columns(frame)
    columns = list(wanted)
    anything = console.options.update(width=ANY_WIDTH)
    for name in _least_important(wanted, frame):
        if console.measure(_table(shown[columns]), options=anything).maximum <= console.width:
            break
        columns.remove(name)
    console.print(_table(shown[columns]))
    counts = ", ".join(f"{count} {status}" for status, count in frame["status"].value_counts().items())
    notes = [f"{len(frame)} runs ({counts})"]
    if len(frame) > len(shown):
        notes.append(f"the first {len(shown)} are shown, --csv writes all")
    if left_out := [name for name in wanted if name not in columns]:
        notes.append(f"without {', '.join(left_out)} for want of room, --csv writes all columns")
    console.print("; ".join(notes), soft_wrap=True)


def _columns(frame: "pd.DataFrame") -> list[str]:
    """Every setting that varies, but for what follows from others, and the results that do."""
    settings = groups_of(frame, "", "")
    own = [name for name in settings if name not in _FIRST]
    ordered = [*_FIRST, *own, *_LAST, *_RESULTS]
    varying = {*settings, *(name for name in (*_LAST, *_RESULTS) if frame[name].nunique(dropna=False) > 1)}
    return [name for name in ordered if name in varying or name in ("network", "d", "status")]


def _least_important(columns: list[str], frame: "pd.DataFrame") -> list[str]:
    """What may be left out, beginning with what is missed least."""
    # Where the status does not vary, the line below the table says it; the kind of a penalty may tell its strength.
    first = list(reversed(_RESULTS))
    first += ["status"] * (frame["status"].nunique() == 1)
    first += ["strength"] * bool((frame.groupby("penalty")["strength"].nunique() <= 1).all())
    rest = [name for name in reversed(columns) if name not in first]
    return [name for name in (*first, *rest) if name in columns and name not in _NEEDED]


def _table(frame: "pd.DataFrame") -> Table:
    """Text to the left, numbers to the right."""
    from pandas.api.types import is_numeric_dtype

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in frame.columns:
        table.add_column(name, justify="right" if is_numeric_dtype(frame[name]) else "left", no_wrap=True)
    for row in frame.itertuples(index=False):
        table.add_row(*map(_text, frame.columns, row))
    return table


def _text(column: str, value: Any) -> str:
    if column in ("data", "data_sha256") and not isinstance(value, str):
        return "-"  # drawn data
    if column == "data_sha256":
        return short_hash(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)

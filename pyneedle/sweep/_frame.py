"""Results as a pandas DataFrame, CSV and Parquet."""

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pyneedle import _files
from pyneedle.sweep import _schema
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._store import Store

if TYPE_CHECKING:
    import pandas as pd

_DERIVED = ("train_mse", "validation_mse", "test_mse")
_HIDDEN = "content"


def frame_columns() -> list[str]:
    """The columns of the result frame, in order; the cell's hash is the last one."""
    columns: list[str] = []
    for name in _schema.COLUMNS:
        if name == "path_norm":
            columns += [f"{error}_original" for error in reversed(_DERIVED)]
        if name != _HIDDEN:
            columns.append(name)
    return columns


def make_frame(rows: Iterable[dict[str, Any]]) -> "pd.DataFrame":
    """A row a run; errors in the original scale are d^2 times the scaled ones."""
    import pandas as pd

    frame = pd.DataFrame.from_records(list(rows), columns=list(_schema.COLUMNS))
    for name, kind in _schema.COLUMNS.items():
        if kind.startswith("REAL"):
            frame[name] = frame[name].astype("float64")
        elif kind.startswith("INTEGER"):
            frame[name] = frame[name].astype("int64")
    frame["shuffle"] = frame["shuffle"].astype(bool)
    for error in _DERIVED:
        frame[f"{error}_original"] = frame[error] * frame["d"] ** 2
    return frame[frame_columns()]


def read_frame(store: Store, cells: Sequence[Cell] | None = None) -> "pd.DataFrame":
    """All runs of a store, or those of some cells in their order; runs that are not there have no row."""
    rows = store.rows()
    if cells is None:
        rows.sort(key=_natural_order)
    else:
        known = {row["cell"]: row for row in rows}
        rows = [known[cell.id] for cell in cells if cell.id in known]
    return make_frame(rows)


def read_results(path: str | os.PathLike[str]) -> "pd.DataFrame":
    """The runs of a store as a pandas.DataFrame, a row a run; also while a sweep writes to it.

    Raises
    ------
    StoreError
        Where there is no store, or it can't be read.
    """
    with Store(path) as store:
        return read_frame(store)


def write_csv(frame: "pd.DataFrame", path: str | os.PathLike[str]) -> None:
    """Write a frame as CSV, whole or not at all; numbers are exact."""
    with _files.replacing(path) as file:
        frame.to_csv(file, index=False, encoding="utf-8")


def write_parquet(frame: "pd.DataFrame", path: str | os.PathLike[str]) -> None:
    """Write a frame as Parquet, whole or not at all.

    Raises
    ------
    ImportError
        Where pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401, ICN001
    except ImportError:
        raise ImportError('Parquet needs pyarrow: pip install "pyneedle[parquet]"') from None
    with _files.replacing(path) as file:
        frame.to_parquet(file, index=False, engine="pyarrow")


def _natural_order(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("target", "penalty", "strength", "network", "d", "n_samples", "alpha", "epochs", "repeat", "cell")
    return tuple(row[name] for name in names)

"""Results as a pandas DataFrame, CSV and Parquet."""

import os
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyneedle import _files
from pyneedle.sweep import _schema
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._store import Store

if TYPE_CHECKING:
    import pandas as pd

_DERIVED = ("train_mse", "validation_mse", "test_mse")
# Columns of the store that are columns of the frame; the cell's hash is the last one.
_SHOWN = [name for name in _schema.COLUMNS if name != "content"]
# Of own data: the file's name, and the hash by which files of one name are told apart.
_OWN_DATA = ("data", "data_sha256")
_NATURAL_ORDER = ("target", "penalty", "strength", "network", "d", "n_samples", "alpha", "epochs", "repeat", "cell")


def frame_columns() -> list[str]:
    """The columns of the result frame, in order; the cell's hash is the last one."""
    columns: list[str] = []
    for name in _SHOWN:
        if name == "path_norm":
            columns += [f"{error}_original" for error in reversed(_DERIVED)]
        columns.append(name)
        if name == "data_seed":
            columns += _OWN_DATA
    return columns


def make_frame(rows: Sequence[tuple[Any, ...]]) -> "pd.DataFrame":
    """A row a run, of `_SHOWN` and `_OWN_DATA`; errors in the original scale are d^2 times the scaled ones."""
    import pandas as pd

    frame = pd.DataFrame.from_records(rows, columns=[*_SHOWN, *_OWN_DATA])
    kinds = {"REAL": "float64", "INTEGER": "int64"}
    types = {name: kinds[kind] for name in _SHOWN if (kind := _schema.COLUMNS[name].split()[0]) in kinds}
    frame = frame.astype({**types, "shuffle": bool})
    for error in _DERIVED:
        frame[f"{error}_original"] = frame[error] * frame["d"] ** 2
    return frame[frame_columns()]


def read_frame(store: Store, cells: Sequence[Cell] | None = None) -> "pd.DataFrame":
    """All runs of a store, or those of some cells in their order; runs that are not there have no row."""
    rows = store.rows(_SHOWN)
    if cells is None:
        rows.sort(key=itemgetter(*map(_SHOWN.index, _NATURAL_ORDER)))
    else:
        known = {row[-1]: row for row in rows}
        rows = [known[cell.id] for cell in cells if cell.id in known]
    own = _own_data(store)
    return make_frame([(*row, *own.get(row[-1], (None, None))) for row in rows])


def _own_data(store: Store) -> dict[str, tuple[str, str]]:
    """The values of `_OWN_DATA`, by the hash of the cell."""
    found = store.own_data()
    names = {sha256: Path(path).name for sha256, path in store.data_files().items()} if found else {}
    return {cell: (names[sha256], sha256) for cell, sha256 in found.items()}


def read_results(path: str | os.PathLike[str]) -> "pd.DataFrame":
    """Read the runs of a store; also while a sweep writes to it.

    Parameters
    ----------
    path : path-like
        The store.

    Returns
    -------
    pandas.DataFrame
        A row a run, with the columns that `Sweep.run` returns.

    Raises
    ------
    StoreError
        Where there is no store, or it can't be read.
    """
    with Store(path) as store:
        return read_frame(store)


def write_csv(frame: "pd.DataFrame", path: str | os.PathLike[str]) -> None:
    """Write a frame as CSV, whole or not at all; numbers are exact.

    Parameters
    ----------
    frame : DataFrame
        The results.
    path : path-like
        The file; an existing one is replaced.

    Raises
    ------
    OSError
        Where it can't be written.
    """
    with _files.replacing(path) as file:
        frame.to_csv(file, index=False, encoding="utf-8")


def write_parquet(frame: "pd.DataFrame", path: str | os.PathLike[str]) -> None:
    """Write a frame as Parquet, whole or not at all.

    Parameters
    ----------
    frame : DataFrame
        The results.
    path : path-like
        The file; an existing one is replaced.

    Raises
    ------
    OSError
        Where it can't be written.
    ImportError
        Where pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401, ICN001
    except ImportError:
        raise ImportError('Parquet needs pyarrow: pip install "pyneedle[parquet]"') from None
    with _files.replacing(path) as file:
        frame.to_parquet(file, index=False, engine="pyarrow")

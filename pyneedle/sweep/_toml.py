"""Sweeps as TOML: settings at the top hold for all grids, each [[grid]] adds its own; lists and ranges span a grid."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from pyneedle import _checks
from pyneedle._optimizers import Adam
from pyneedle.sweep._cell import OPTIMIZER_KEYS
from pyneedle.sweep._data_file import DataFile
from pyneedle.sweep._grid import KEYS, MOST_CELLS, Axes, check_keys, make_axes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_RANGE_KEYS = ("from", "to", "step")
# TOML has no way to write an Adam: its settings stand on their own.
_FILE_KEYS = tuple(key for key in KEYS if key != "optimizer")


def read_grids(text: str, name: str, folder: Path) -> list[Axes]:
    """The axes of each grid of a TOML text.

    Parameters
    ----------
    text : str
        The content of the file.
    name : str
        Of the file, for messages.
    folder : Path
        That paths in the file are relative to.

    Raises
    ------
    ValueError
        Where it is no TOML, a key is unknown, or a value has the wrong form; the message names the grid.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name} is not valid TOML: {error}") from None
    grids = document.pop("grid", None)
    if grids is None:
        return [_axes(document, name, folder)]
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        raise ValueError(f"{name}: grid must be one or more [[grid]] tables, got {grids!r}")
    check_keys(document, _FILE_KEYS, f"{name}: ")
    return [_axes({**document, **grid}, grid_name(name, i, len(grids)), folder) for i, grid in enumerate(grids)]


def grid_name(name: str, index: int, count: int) -> str:
    """How messages call a grid."""
    return name if count == 1 else f"{name}, grid {index + 1}"


def _axes(table: Mapping[str, Any], where: str, folder: Path) -> Axes:
    check_keys(table, _FILE_KEYS, f"{where}: ")
    try:
        settings = {key: _spread(key, value) for key, value in table.items()}
        if "data" in settings:
            settings["data"] = _located(settings["data"], folder)
        return make_axes(settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def _located(data: Any, folder: Path) -> Any:
    if isinstance(data, list):
        return [_located(item, folder) for item in data]
    return folder / data if isinstance(data, str) else data


def _spread(key: str, value: Any) -> Any:
    """Ranges {from, to, step} as lists, also inside a list; everything else as it is."""
    if isinstance(value, list):
        spread = []
        for item in value:
            values = _spread(key, item)
            spread.extend(values if isinstance(item, dict) and isinstance(values, list) else [values])
        return spread
    if not isinstance(value, dict) or key == "penalty":
        return value
    check_keys(value, _RANGE_KEYS, f"{key} has an ")
    for end in ("from", "to"):
        if end not in value:
            raise ValueError(f"{key} must have both ends as in {{ from = 4, to = 60, step = 4 }}, got no {end!r}")
    for part in ("from", "to", "step"):
        if isinstance(value.get(part), float):
            raise TypeError(f"{key}'s {part} must be an integer, as ranges are of integers, got {value[part]!r}")
    first = _checks.integer(f"{key}'s from", value["from"], minimum=0)
    last = _checks.integer(f"{key}'s to", value["to"], minimum=0)
    if first > last:
        raise ValueError(f"{key}'s from must not be above its to, got {first} and {last}")
    values = range(first, last + 1, _checks.integer(f"{key}'s step", value.get("step", 1)))
    if len(values) > MOST_CELLS:
        raise ValueError(f"{key} must have at most {MOST_CELLS:,} values, got {len(values):,}")
    return list(values)


def write_grids(grids: Iterable[Axes]) -> str:
    """The TOML text that `read_grids` reads as these grids."""
    return tomli_w.dumps({"grid": [_table(axes) for grid in grids for axes in _one_optimizer(grid)]})


def _one_optimizer(axes: Axes) -> list[Axes]:
    """A grid of several Adams as grids of one: their settings may not be all combinations."""
    return [{**axes, "optimizer": [adam]} for adam in axes["optimizer"]] if "optimizer" in axes else [axes]


def _table(axes: Axes) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, values in axes.items():
        if key == "optimizer":
            (adam,) = values
            table |= {name: value for name, value in asdict(adam).items() if value != getattr(Adam(), name)}
        else:
            plain = [_plain(key, value) for value in values]
            table[key] = plain[0] if len(plain) == 1 else plain
    return table


def _plain(key: str, value: Any) -> Any:
    if key == "penalty":
        return "none" if value is None else f"{value.kind}:{value.strength!r}"
    if isinstance(value, DataFile):
        return value.path
    if key in OPTIMIZER_KEYS and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value.item() if hasattr(value, "item") else value

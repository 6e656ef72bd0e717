"""Grids: every setting of a cell may be given as several values; the cells are all combinations."""

import difflib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pyneedle import _penalties
from pyneedle._optimizers import Adam
from pyneedle._penalties import L1, L2, PathNorm, Penalty
from pyneedle.sweep._cell import OPTIMIZER_KEYS, Cell
from pyneedle.sweep._data_file import DRAWING, read_data

Axes = dict[str, list[Any]]

CELL_KEYS = tuple(f.name for f in fields(Cell))
# "optimizer" takes whole Adams; the settings may be given on their own instead.
KEYS = (*CELL_KEYS, *OPTIMIZER_KEYS)
# Of a grid. Each takes some kilobytes, and the memory of the machine should not be what says that a range is too long.
MOST_CELLS = 5_000_000


def check_keys(given: Iterable[object], known: Sequence[str], what: str = "") -> None:
    """ValueError that names the first unknown key and those that it may have meant."""
    for key in given:
        if key in known:
            continue
        close = difflib.get_close_matches(str(key), known, n=3)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else f"; known are {', '.join(known)}"
        raise ValueError(f"{what}unknown key {key!r}{hint}")


def make_axes(settings: Mapping[str, object]) -> Axes:
    """The values of each setting, checked for their form; TypeError, ValueError where it is wrong.

    Files of own data are read here.
    """
    check_keys(settings, KEYS)
    for key in ("network",) if "data" in settings else ("network", "d"):
        if key not in settings:
            raise TypeError(f"{key} must be given: a value, or several values for a grid")
    for key, reason in DRAWING.items():
        if key in settings and "data" in settings:
            raise TypeError(f"{key} must not be given beside data, {reason}")
    for key in OPTIMIZER_KEYS:
        if key in settings and "optimizer" in settings:
            raise TypeError(f"{key} must not be given beside optimizer, which has a {key} of its own")
    axes = {key: _values(key, value) for key, value in settings.items()}
    if "data" in axes:
        axes["data"] = [read_data(value) for value in axes["data"]]
    if "penalty" in axes:
        axes["penalty"] = [penalty for value in axes["penalty"] for penalty in _expand_penalty(value)]
    _check_count(axes)
    return axes


def _check_count(axes: Axes) -> None:
    count = math.prod(map(len, axes.values()))
    if count > MOST_CELLS:
        listed = " x ".join(f"{len(values):,} of {key}" for key, values in axes.items() if len(values) > 1)
        raise ValueError(f"a grid must have at most {MOST_CELLS:,} cells, got {count:,}: {listed}")


def axes_of(cell: Cell) -> Axes:
    """The grid of one cell; what does not apply to its data is left out."""
    without = ("data",) if cell.data is None else DRAWING
    return {key: [getattr(cell, key)] for key in CELL_KEYS if key not in without}


def expand(axes: Mapping[str, Sequence[Any]]) -> Iterator[Cell]:
    """The cells of a grid; the last axis varies fastest."""
    for values in itertools.product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        adam = {key: settings.pop(key) for key in OPTIMIZER_KEYS if key in settings}
        if adam:
            settings["optimizer"] = Adam(**adam)
        yield Cell(**settings)


def _values(key: str, value: object) -> list[Any]:
    """The values of an axis: those of an iterable, or the one that is given."""
    if value is None or isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        return [value]
    values = list(itertools.islice(value, MOST_CELLS + 1))
    if len(values) > MOST_CELLS:
        raise ValueError(f"{key} must have at most {MOST_CELLS:,} values, got more")
    if not values:
        raise ValueError(f"{key} must have at least one value, got {value!r}")
    return values


def _expand_penalty(value: object) -> list[Penalty | None]:
    """What None, a penalty, "none", "kind:strength" or {"kind": ..., "strength": ...} stands for."""
    if value is None or isinstance(value, (L1, L2, PathNorm)):
        return [value]
    if isinstance(value, str):
        return [_penalties.parse(value)]
    if isinstance(value, Mapping):
        check_keys(value, ("kind", "strength"), "penalty has an ")
        kind = value.get("kind")
        if kind == "none" and "strength" not in value:
            return [None]
        if not isinstance(kind, str) or kind not in _penalties.BY_KIND:
            raise ValueError(f"penalty's kind must be one of 'none', 'l1', 'l2', 'path-norm', got {kind!r}")
        if "strength" not in value:
            raise ValueError(f"penalty's strength must be given for kind {kind!r}")
        if isinstance(value["strength"], Mapping):
            raise TypeError(
                f"penalty's strength must be a number or a list of them, as ranges are of integers, got "
                f"{value['strength']!r}"
            )
        return [_penalties.BY_KIND[kind](strength) for strength in _values("penalty's strength", value["strength"])]
    raise TypeError(f"penalty must be None, L1, L2, PathNorm or a text such as 'l1:1e-8', got {value!r}")

"""The values of a run's row in the store, and arrays as they lie there."""

import json
import zlib
from datetime import datetime, timezone
from operator import attrgetter
from typing import Any

import numpy as np

from pyneedle._checks import Array
from pyneedle.sweep import _schema
from pyneedle.sweep._outcome import Outcome

# Where the columns come from: attributes of an outcome by a path. What is not listed has the name of the column.
_PATHS = {
    **{
        name: f"cell.{name}"
        for name in (
            "network", "target", "d", "alpha", "n_samples", "strength", "repeat", "epochs", "batch_size", "device",
            "hidden_layers", "activation", "block_in", "sort", "data_seed", "shuffle", "init", "dtype",
        )
    },
    **{
        name: f"cell.optimizer.{name}"
        for name in (
            "learning_rate", "beta1", "beta2", "epsilon", "decay", "weight_decay", "epsilon_placement",
        )
    },
    **{name: f"machine.{name}" for name in ("processor", "pyneedle", "numpy", "python")},
    "machine": "machine.name",
    "penalty": "cell.penalty_kind",
    "kernel_asked": "cell.kernel",
    "content": "cell.canonical",
    "cell": "cell.id",
}  # fmt: skip
_TIME_COLUMN = "finished_at"
_COLUMNS = list(_schema.COLUMNS)
_TIME_AT = _COLUMNS.index(_TIME_COLUMN)
# One call for all the columns on either side of the time.
_BEFORE, _AFTER = (
    attrgetter(*(_PATHS.get(name, name) for name in names)) for names in (_COLUMNS[:_TIME_AT], _COLUMNS[_TIME_AT + 1 :])
)

# The fastest level for counts of units; the digits of losses and parameters are noise, which is only framed. See Store.
_COMPRESSED, _FRAMED = 1, 0


def row(outcome: Outcome) -> tuple[Any, ...]:
    """The row of a run, in the order of the columns: the cell's hash comes last."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return (*_BEFORE(outcome), now, *_AFTER(outcome))


def packed(array: Array) -> tuple[str, str, bytes]:
    """dtype, shape and data of an array for the store."""
    level = _COMPRESSED if array.dtype.kind == "i" else _FRAMED
    return array.dtype.str, str(list(array.shape)), zlib.compress(array.tobytes(), level)


def unpacked(dtype: str, shape: str, data: bytes) -> Array:
    """The array that was packed."""
    return np.frombuffer(zlib.decompress(data), dtype).reshape(json.loads(shape))

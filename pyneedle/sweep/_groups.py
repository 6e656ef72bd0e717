"""Which columns of the results tell runs apart."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# Columns that describe a run; those of them that vary tell the lines apart unless told otherwise.
_DESCRIPTION = (
    "target", "data", "data_sha256", "network", "penalty", "strength", "d", "n_samples", "alpha", "hidden_layers",
    "activation", "block_in", "epochs", "batch_size", "sort", "data_seed", "learning_rate", "beta1", "beta2", "epsilon",
    "decay", "weight_decay", "epsilon_placement", "shuffle", "init", "dtype", "kernel_asked", "device",
)  # fmt: skip
# What follows from another column's variation and would only lengthen the labels.
_FOLLOWS = {"batch_size": "n_samples", "data_sha256": "data"}


def groups_of(frame: "pd.DataFrame", x: str, y: str) -> list[str]:
    """The columns that tell runs apart, other than the axes and the repeat."""
    varying = [name for name in _DESCRIPTION if name not in (x, y) and frame[name].nunique(dropna=False) > 1]
    return [name for name in varying if not _implied(frame, name, [x, *varying])]


def merged_columns(frame: "pd.DataFrame", x: str, y: str, groups: Sequence[str]) -> list[str]:
    """The columns that tell runs apart which have the same x and are in the same group."""
    together = frame.groupby([x, *(name for name in groups if name != x)], dropna=False)
    others = [name for name in groups_of(frame, x, y) if name not in groups]
    return [name for name in others if (together[name].nunique(dropna=False) > 1).any()]


def _implied(frame: "pd.DataFrame", name: str, others: Sequence[str]) -> bool:
    by = _FOLLOWS.get(name)
    return by in others and bool((frame.groupby(by, dropna=False)[name].nunique(dropna=False) <= 1).all())

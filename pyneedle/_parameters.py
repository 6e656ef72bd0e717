"""Parameters as a dictionary of arrays for people, and as one flat vector for the native module."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pyneedle import _checks
from pyneedle._checks import Array, dense, float_dtype, shape_text
from pyneedle._dlpack import describe

Shapes = Mapping[str, tuple[int, ...]]
Parameters = dict[str, Array]


def unflatten(shapes: Shapes, flat: Array) -> Parameters:
    """Views of the flat vector (parameter_count,), one per tensor, in storage order."""
    views: Parameters = {}
    offset = 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        views[name] = flat[offset : offset + size].reshape(shape)
        offset += size
    return views


def check_keys(shapes: Shapes, p: object, name: str = "p") -> Mapping[str, Any]:
    """Check that this is a dictionary with the names of the parameters; returns it."""
    if not isinstance(p, Mapping):
        raise TypeError(f"{name} must be a dict of arrays with the keys {list(shapes)}, got {type(p).__name__}")
    missing = [key for key in shapes if key not in p]
    unknown = [key for key in p if key not in shapes]
    if missing or unknown:
        raise ValueError(
            f"{name} must have exactly the keys {list(shapes)}, got {list(p)}"
            + (f": missing {missing}" if missing else "")
            + (f"{';' if missing else ':'} unknown {unknown}" if unknown else "")
        )
    return p


def check(shapes: Shapes, p: object, name: str = "p") -> np.dtype[Any]:
    """Check names, shapes and dtype of a dictionary of parameters; returns the dtype that all its arrays have."""
    arrays = check_keys(shapes, p, name)
    common: tuple[str, np.dtype[Any]] | None = None
    for key, shape in shapes.items():
        value = arrays[key]
        label = _checks.label(name, key)
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{label} must be a numpy array, got {describe(value)}")
        if value.shape != shape:
            raise ValueError(f"{label} must have shape {shape_text(shape)}, got {shape_text(value.shape)}")
        try:
            float_dtype(label, value.dtype)
        except ValueError:
            raise TypeError(f"{label} must be float32 or float64, got {value.dtype}") from None
        if common is None:
            common = (key, value.dtype)
        elif value.dtype != common[1]:
            raise TypeError(
                f"the arrays of {name} must have one dtype, got {common[1]} for {common[0]!r} "
                f"and {value.dtype} for {key!r}"
            )
    assert common is not None
    return common[1]


def shared_flat(shapes: Shapes, p: Mapping[str, Array]) -> Array | None:
    """The flat vector that the arrays of `p` are views of, in storage order; None where they are not.

    `p` has been checked. Dictionaries that pyneedle returns are such views, so that nothing is copied.
    """
    base: Array | None = None
    address = 0
    count = sum(map(math.prod, shapes.values()))
    for key in shapes:
        value = p[key]
        if base is None:
            owner = value.base
            if not isinstance(owner, np.ndarray) or owner.shape != (count,) or owner.dtype != value.dtype:
                return None
            if not (owner.flags.c_contiguous and owner.flags.aligned):
                return None
            base = owner
            address = base.__array_interface__["data"][0]
        if value.base is not base or not value.flags.c_contiguous:
            return None
        if value.__array_interface__["data"][0] != address:
            return None
        address += value.nbytes
    return base


def flatten(shapes: Shapes, p: Mapping[str, Array]) -> Array:
    """The flat vector (parameter_count,) of checked parameters: the one they are views of, or else a copy."""
    flat = shared_flat(shapes, p)
    if flat is not None:
        return flat
    if len(shapes) == 1:
        return dense(next(p[key] for key in shapes)).reshape(-1)
    return np.concatenate([p[key].reshape(-1) for key in shapes])

"""Checks of arguments at the boundary; every error is one sentence with the name, what was wanted and what was got."""

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pyneedle import _dlpack, _machine

Array = NDArray[Any]

LARGEST_COUNT = 2**31 - 1
_MOST_THREADS = 1024
_SMALL_BYTES = 1 << 28
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
_DTYPE_NAMES = {dtype: dtype.name for dtype in _DTYPES}


def integer(name: str, value: object, minimum: int = 1, maximum: int = LARGEST_COUNT) -> int:
    """`value` as an int; TypeError for bools, floats and strings, ValueError outside [minimum, maximum]."""
    if type(value) is int and minimum <= value <= maximum:  # nearly always: a sweep makes many checks
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r} ({type(value).__name__})")
    number = int(value)
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {number}")
    if number > maximum:
        raise ValueError(f"{name} must be at most {maximum}, got {number}")
    return number


def seed(value: object) -> int:
    """A seed: an integer that fits 64 bits without a sign."""
    return integer("seed", value, minimum=0, maximum=2**64 - 1)


def real(name: str, value: object) -> float:
    """`value` as a float; TypeError for what is no real number. The range is for the caller to check."""
    if type(value) is float:
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a real number, got {value!r} ({type(value).__name__})")
    return float(value)


def flag(name: str, value: object) -> bool:
    """`value` as a bool; TypeError for anything else, so that a misplaced argument is not taken as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r} ({type(value).__name__})")
    return bool(value)


def choice(name: str, value: object, choices: Collection[str], hint: str = "") -> str:
    """`value`, one of `choices`; `hint` ends the message where it is none."""
    if isinstance(value, str) and value in choices:
        return value
    message = f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}{hint and f'; {hint}'}"
    raise ValueError(message) if isinstance(value, str) else TypeError(message)


def float_dtype(name: str, value: DTypeLike) -> np.dtype[Any]:
    """float32 or float64 in this machine's byte order."""
    for known in _DTYPES:
        if value is known:
            return known
    wanted = "must be float32 or float64, got"  # printing a dtype takes longer than all checks of a call
    # None would silently mean float64 to numpy.
    if value is None:
        raise TypeError(f"{name} {wanted} {value!r}")
    try:
        dtype = np.dtype(value)
    except TypeError:
        raise TypeError(f"{name} {wanted} {value!r}") from None
    if dtype not in _DTYPES:
        raise ValueError(f"{name} {wanted} {value!r}")
    # Not `dtype`, which may be an equal one (from a pickle), or float32 of another name.
    return _DTYPES[_DTYPES.index(dtype)]


def dtype_name(dtype: np.dtype[Any]) -> str:
    """The name of float32 or float64, which numpy puts together anew each time it is asked."""
    return _DTYPE_NAMES[dtype]


def threads(value: int | None) -> int:
    """The number of threads: what was asked for, or as many as this process may run on."""
    if value is not None:
        return integer("threads", value, maximum=_MOST_THREADS)
    return min(_machine.cores(), _MOST_THREADS)


def memory(count: int, dtype: np.dtype[Any], what: str) -> None:
    """MemoryError where `count` numbers do not fit into memory.

    Linux hands out more than there is, and ends the process when it is used; so the question is asked before.
    """
    needed = count * dtype.itemsize
    if needed < _SMALL_BYTES:
        return
    available = _machine.available_memory()
    if available is not None and needed > available:
        raise MemoryError(f"{what} needs {needed / 1e9:.3g} GB of memory, {available / 1e9:.3g} GB are available")


def array(name: str, value: object, like: str = "") -> Array:
    """`value` as numpy takes it; ValueError where it is ragged or no array at all, TypeError where it is on a GPU.

    `like` names in that message what is on the CPU, too.
    """
    if _dlpack.on_gpu(value):
        raise TypeError(f"{name} must be on the CPU{like and f' like {like}'}, got {_dlpack.describe(value)}")
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers: {error}") from error


def dense(values: Array) -> Array:
    """The same numbers as a plain, aligned, C-contiguous array: itself, or a copy where it is none."""
    return np.require(values, requirements=("C_CONTIGUOUS", "ALIGNED", "ENSUREARRAY"))


def finite(name: str, values: Array) -> None:
    """ValueError that says where the first NaN or infinity of `values` is."""
    good = np.isfinite(values)
    if good.all():
        return
    where = np.unravel_index(int(np.argmin(good)), values.shape)
    at = ", ".join(str(int(i)) for i in where)
    raise ValueError(f"{name} must be finite, got {values[where]} at index [{at}]")


def label(name: str, key: str) -> str:
    """How users write the array `key` of an argument; the empty key stands for a single array."""
    return f"{name}[{key!r}]" if key else name


def shape_text(shape: Iterable[int]) -> str:
    """A shape as Python writes a tuple."""
    return str(tuple(int(n) for n in shape))


def inputs(x: object, d: int, dtype: np.dtype[Any], name: str = "x") -> Array:
    """The rows of a batch: x (n, d), n >= 1, of the parameters' dtype, finite; dense."""
    rows = array(name, x, like="p")
    if rows.ndim != 2 or rows.shape[1] != d:
        raise ValueError(f"{name} must have shape (n, {d}) to match the network's d={d}, got {shape_text(rows.shape)}")
    if rows.shape[0] == 0:
        raise ValueError(f"{name} must have at least one row, got shape {shape_text(rows.shape)}")
    if rows.dtype != dtype:
        raise TypeError(f"{name} must have the parameters' dtype {dtype}, got {rows.dtype}")
    finite(name, rows)
    return dense(rows)


def targets(y: object, rows: int, dtype: np.dtype[Any], name: str = "y") -> Array:
    """The targets of a batch: y (rows,) of the parameters' dtype, finite; dense."""
    values = array(name, y, like="p")
    if values.shape != (rows,):
        raise ValueError(f"{name} must have shape ({rows},) to match the rows of x, got {shape_text(values.shape)}")
    if values.dtype != dtype:
        raise TypeError(f"{name} must have the parameters' dtype {dtype}, got {values.dtype}")
    finite(name, values)
    return dense(values)

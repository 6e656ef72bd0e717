"""Data sets: uniform points on [-1, 1]^d with a separable target, or own arrays, split as the authors' program does."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from pyneedle import _checks, _dlpack, _native
from pyneedle._checks import Array

TargetName = Literal["square", "quartic", "cosine"]
Sort = Literal["abs", "value", "none"]

# (train, validation, test) of the paper.
PAPER_SPLIT = (0.64, 0.16, 0.20)
# Rows that are drawn, sorted and evaluated together, to bound the working memory.
_CHUNK = 1 << 16
# Shares such as 0.2 are not binary fractions: 0.2 * 15 must count as 3.
_SLACK = 1e-6
# The data sets that were made here, to whose numbers nobody else has a writable view, and whether they were checked:
# runs share them, and reading all numbers anew takes a twentieth of what a sweep spends on a tiny run beside training.
_CHECKED: "WeakKeyDictionary[Dataset, bool]" = WeakKeyDictionary()


def _square(t: Array) -> Array:
    return np.square(t)


def _quartic(t: Array) -> Array:
    return np.square(np.square(t))


_TARGETS: dict[str, Callable[[Array], Array]] = {"square": _square, "quartic": _quartic, "cosine": np.cos}
TARGET_NAMES = tuple(_TARGETS)


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a data set, read-only.

    Attributes
    ----------
    x : ndarray, shape (n, d)
        Inputs; a copy where the array given is not C-contiguous.
    y : ndarray, shape (n,)
        Scaled targets: the target in its original scale, divided by d.

    Raises
    ------
    TypeError
        Where x or y is no NumPy array.
    """

    x: Array
    y: Array

    def __post_init__(self) -> None:
        """Make the arrays dense; what they hold is checked where they are used."""
        for name in ("x", "y"):
            value = getattr(self, name)
            if not isinstance(value, np.ndarray):
                raise TypeError(f"{name} must be a numpy array, got {_dlpack.describe(value)}")
            object.__setattr__(self, name, _checks.dense(value))

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.x.shape[0])

    def __repr__(self) -> str:
        """Shapes, not numbers."""
        return f"Split(x={self.x.dtype}{list(self.x.shape)}, y={self.y.dtype}{list(self.y.shape)})"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows for training, validation and test; made by `make_dataset` or `Dataset.from_arrays`.

    Attributes
    ----------
    train, validation, test : Split
        In the order of the rows: test first, then train, then validation.
    d : int
        Number of inputs.
    target : str
        Name of the target.
    n_samples : int
        Rows in all three splits.
    seed : int or None
        Of the random numbers; None for own arrays.
    sort : {"abs", "value", "none"}
        How the inputs of each row were sorted.
    dtype : dtype
        Of all arrays.
    """

    train: Split = field(repr=False)
    validation: Split = field(repr=False)
    test: Split = field(repr=False)
    d: int
    target: str
    n_samples: int
    seed: int | None
    sort: Sort
    dtype: np.dtype[Any]

    @property
    def description(self) -> dict[str, Any]:
        """What the rows are, without them: the arguments by which `make_dataset` draws them again.

        It does so where `target` is one that it knows by name. Own arrays have seed None, and a function of your own
        has only its name here.
        """
        return {
            "target": self.target,
            "d": self.d,
            "n_samples": self.n_samples,
            "seed": self.seed,
            "sort": self.sort,
            "dtype": self.dtype.name,
        }

    @classmethod
    def from_arrays(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        split: tuple[float, float, float] = PAPER_SPLIT,
        dtype: DTypeLike = "float32",
        target: str = "arrays",
    ) -> "Dataset":
        """Make a data set of own arrays, which are copied.

        Parameters
        ----------
        x : array_like, shape (n, d)
            Inputs, real and finite, kept as they are (not sorted).
        y : array_like, shape (n,)
            Targets in the original scale, real and finite; the data set holds y / d.
        split : tuple of three floats
            Shares of (train, validation, test), positive, adding up to 1. Whatever the shares are, the first rows are
            the test rows, then come the training rows, then the validation rows.
        dtype : {"float32", "float64"}
            Of the data set; the arrays are converted.
        target : str
            A name for the target, for tables.

        Returns
        -------
        Dataset
            With seed None and sort "none".

        Raises
        ------
        TypeError, ValueError
            Where shapes do not fit, numbers are complex, NaN or infinite (also after the conversion), or a split would
            be empty.
        """
        kind = _checks.float_dtype("dtype", dtype)
        rows, values = checked_arrays(x, y, split)
        n, d = rows.shape
        counts = split_counts(n, split)
        if not isinstance(target, str):
            raise TypeError(f"target must be a name for the target, got {target!r}")
        # A value beyond float32 is reported just below.
        with np.errstate(over="ignore", under="ignore"):
            x_copy = np.array(rows, kind, order="C")
            y_copy = (np.asarray(values, np.float64) / d).astype(kind)
        _checks.finite(f"x as {kind}", x_copy)
        _checks.finite(f"y as {kind}", y_copy)
        return _assemble(x_copy, y_copy, counts, target, None, "none")


def check(dataset: object) -> Dataset:
    """`dataset`, whose splits may have been made by hand; TypeError, ValueError where they are not what it says."""
    if not isinstance(dataset, Dataset):
        raise TypeError(f"dataset must be a Dataset, got {type(dataset).__name__}")
    if _CHECKED.get(dataset) and _is_locked(dataset):
        return dataset
    for name in ("train", "validation", "test"):
        split = getattr(dataset, name)
        if not isinstance(split, Split):
            raise TypeError(f"dataset.{name} must be a Split, got {type(split).__name__}")
        _check_split(f"dataset.{name}", split, dataset.d, dataset.dtype)
    if dataset in _CHECKED:
        _CHECKED[dataset] = True
    return dataset


def _is_locked(dataset: Dataset) -> bool:
    """Whether the arrays of a data set that was made here are still read-only, as views and as what they view."""
    arrays = [array for split in (dataset.train, dataset.validation, dataset.test) for array in (split.x, split.y)]
    return not any(
        array.flags.writeable or not isinstance(array.base, np.ndarray) or array.base.flags.writeable
        for array in arrays
    )


def _check_split(name: str, split: Split, d: int, dtype: np.dtype[Any]) -> None:
    x, y = split.x, split.y
    if x.ndim != 2 or x.shape[1] != d or x.shape[0] == 0:
        raise ValueError(f"{name}.x must have shape (n, {d}) with n at least 1, got {_checks.shape_text(x.shape)}")
    if y.shape != x.shape[:1]:
        raise ValueError(
            f"{name}.y must have shape ({x.shape[0]},) to match the rows of x, got {_checks.shape_text(y.shape)}"
        )
    for part, values in (("x", x), ("y", y)):
        if values.dtype != dtype:
            raise TypeError(f"{name}.{part} must have the data set's dtype {dtype}, got {values.dtype}")
        # NaN is the least and the largest number of an array that holds one; this takes no memory.
        if not (np.isfinite(values.min()) and np.isfinite(values.max())):
            _checks.finite(f"{name}.{part}", values)


def checked_arrays(x: ArrayLike, y: ArrayLike, split: tuple[float, float, float] = PAPER_SPLIT) -> tuple[Array, Array]:
    """Return x (n, d) and y (n,): real and finite, with rows for every split; TypeError, ValueError else."""
    rows, values = _real_array("x", x), _real_array("y", y)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"x must have shape (n, d) with d at least 1, got {_checks.shape_text(rows.shape)}")
    n, d = rows.shape
    if values.shape != (n,):
        raise ValueError(f"y must have shape ({n},) to match the rows of x, got {_checks.shape_text(values.shape)}")
    _checks.integer("d", d)
    _checks.integer("the number of rows", n)
    split_counts(n, split, "the number of rows of x")
    _checks.finite("x", rows)
    _checks.finite("y", values)
    return rows, values


def _real_array(name: str, value: ArrayLike) -> Array:
    array = _checks.array(name, value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array


def split_counts(n: int, split: tuple[float, float, float], what: str = "n_samples") -> tuple[int, int, int]:
    """(train, validation, test) rows of n rows; ValueError where one would be empty, saying the smallest n."""
    try:
        train, validation, test = (_checks.real("each share of split", share) for share in split)
    except (TypeError, ValueError) as error:
        raise TypeError(f"split must be three real numbers (train, validation, test), got {split!r}") from error
    if not (min(train, validation, test) > 0.0 and abs(train + validation + test - 1.0) < _SLACK):
        raise ValueError(f"split must be three positive shares that add up to 1, got {split!r}")

    def counts(rows: int) -> tuple[int, int, int]:
        n_test, n_train = math.floor(test * rows + _SLACK), math.floor(train * rows + _SLACK)
        return n_train, rows - n_train - n_test, n_test

    if min(counts(n)) >= 1:
        return counts(n)
    smallest = max(2, math.ceil((1.0 - _SLACK) / min(train, test)))
    while min(counts(smallest)) < 1:
        smallest += 1
    raise ValueError(f"{what} must be at least {smallest}, so that no split is empty, got {n}")


@functools.lru_cache(maxsize=1024)
def paper_counts(n: int) -> tuple[int, int, int]:
    """(train, validation, test) rows of n rows, an int, by the paper's shares; ValueError where one would be empty."""
    return split_counts(n, PAPER_SPLIT)


def _assemble(x: Array, y: Array, counts: tuple[int, int, int], target: str, seed: int | None, sort: Sort) -> Dataset:
    n_train, _, n_test = counts
    x.setflags(write=False)
    y.setflags(write=False)
    first, last = n_test, n_test + n_train
    dataset = Dataset(
        train=Split(x[first:last], y[first:last]),
        validation=Split(x[last:], y[last:]),
        test=Split(x[:first], y[:first]),
        d=x.shape[1],
        target=target,
        n_samples=x.shape[0],
        seed=seed,
        sort=sort,
        dtype=x.dtype,
    )
    _CHECKED[dataset] = False
    return dataset


def sorted_rows(x: Array, sort: Sort) -> Array:
    """The inputs of each row, sorted; x itself for "none"."""
    if sort == "abs":
        return np.take_along_axis(x, np.argsort(np.abs(x), axis=1, kind="stable"), axis=1)
    if sort == "value":
        return np.sort(x, axis=1)
    return x


def _evaluate(g: Callable[[Array], Array], x: Array, name: str) -> Array:
    """sum_i g(x_i) / d of each row (n,), float64."""
    try:
        values = np.asarray(g(x))
    except (TypeError, ValueError) as error:
        raise type(error)(f"target {name} could not be applied to an array of shape {x.shape}: {error}") from error
    if values.shape != x.shape or values.dtype.kind not in "iuf":
        raise ValueError(
            f"target {name} must map a float64 array of shape {_checks.shape_text(x.shape)} to real numbers of the "
            f"same shape, got {values.dtype} of shape {_checks.shape_text(values.shape)}"
        )
    _checks.finite(f"target {name}", values)
    return np.asarray(values.sum(axis=1, dtype=np.float64) / x.shape[1])


def make_dataset(
    target: TargetName | Callable[[Array], Array],
    d: int,
    n_samples: int,
    seed: int = 0,
    sort: Sort = "abs",
    dtype: DTypeLike = "float32",
) -> Dataset:
    """Draw points uniform on [-1, 1]^d with the separable target sum_i g(x_i), scaled by 1/d.

    The first 20% of the rows are the test split, the next 64% the training split, the last 16% the validation split.
    The rows of a smaller data set are the first rows of a larger one with the same d, seed, sort and dtype.

    Parameters
    ----------
    target : {"square", "quartic", "cosine"} or callable
        g(t) = t^2, t^4 or cos t; or a function that applies a g of your own to every element of a float64 array. It is
        called with some rows at a time, shape (rows, d).
    d : int
        Number of inputs, >= 1.
    n_samples : int
        Rows of all three splits together, >= 5.
    seed : int
        0 <= seed < 2^64. The same seed gives the same numbers on every machine.
    sort : {"abs", "value", "none"}
        Sort the inputs of each row by absolute value ("abs", as the paper does to give GN and LCN the symmetry under
        permutations; signs stay), by value, or not at all.
    dtype : {"float32", "float64"}
        Of the arrays. Targets are computed in float64 from the inputs as they are stored.

    Returns
    -------
    Dataset
        Its arrays are read-only.

    Raises
    ------
    TypeError, ValueError
        Where an argument is out of its range, or the callable returns another shape, NaN or infinity.
    """
    if callable(target):
        g, name = target, str(getattr(target, "__name__", type(target).__name__))
    elif isinstance(target, str) and target in _TARGETS:
        g, name = _TARGETS[target], target
    else:
        message = f"target must be one of {', '.join(map(repr, _TARGETS))} or a callable, got {target!r}"
        raise ValueError(message) if isinstance(target, str) else TypeError(message)
    d = _checks.integer("d", d)
    n_samples = _checks.integer("n_samples", n_samples)
    counts = paper_counts(n_samples)
    seed = _checks.seed(seed)
    _checks.choice("sort", sort, ("abs", "value", "none"))
    kind = _checks.float_dtype("dtype", dtype)

    _checks.memory(n_samples * (d + 1), kind, f"a data set of {n_samples} rows with d={d}")
    x = np.empty((n_samples, d), kind)
    y = np.empty(n_samples, kind)
    for first in range(0, n_samples, _CHUNK):
        part = slice(first, min(first + _CHUNK, n_samples))
        rows = part.stop - first
        # Element (row n, coordinate i) is draw n * d + i of the stream, however many are drawn.
        u = _native.uniform(seed, "data", 0, first * d, rows * d, _checks.dtype_name(kind))
        x[part] = sorted_rows((2 * u - 1).reshape(rows, d), sort)
        with np.errstate(over="ignore"):
            y[part] = _evaluate(g, x[part].astype(np.float64), repr(name))
    _checks.finite(f"target {name!r} as {kind}", y)
    return _assemble(x, y, counts, name, seed, sort)

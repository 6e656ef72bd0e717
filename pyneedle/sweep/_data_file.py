"""Own data: an .npz file of arrays x and y, known by what is in it and not by its name."""

import hashlib
import os
import socket
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyneedle import _checks, _datasets
from pyneedle._checks import Array
from pyneedle._datasets import Dataset, Sort

if TYPE_CHECKING:
    from typing_extensions import Self

# What tables call the target of own data.
OWN_TARGET = "data"
# Settings of drawn data, which say nothing about own ones, and why.
DRAWING = {"target": "whose y is the target", "data_seed": "which are not drawn"}

_WANTED = "data must be an .npz file with arrays x (n, d) and y (n,), got"
_NAMES = ("x", "y")
# Stands before the numbers that are hashed. It may never change: cells are known by the hash.
_HASHED = "pyneedle data 1"
# Numbers that are converted at a time for the hash.
_CHUNK = 1 << 18
_SHOWN_DIGITS = 12


class _RefusedError(Exception):
    """A file that can't be used; the message says why."""


def short_hash(sha256: str) -> str:
    """As much of a hash as tells data apart for people."""
    return sha256[:_SHOWN_DIGITS]


@dataclass(frozen=True)
class DataFile:
    """An .npz file of own data as it was when it was read; equal where the numbers are, wherever the file lies.

    Attributes
    ----------
    path : str
        Absolute. It counts neither for equality nor for the hash of a cell.
    sha256 : str
        64 hexadecimal digits: the SHA-256 of the shapes and of all numbers of x and y as float64.
    d : int
        Number of inputs: columns of x.
    n_samples : int
        Rows of x.
    largest : float
        The largest absolute value among x and y / d.
    """

    path: str = field(compare=False)
    sha256: str
    d: int
    n_samples: int
    largest: float = field(repr=False)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Self":
        """Read and check a file, as `numpy.savez` writes it.

        Parameters
        ----------
        path : path-like
            An .npz file with the arrays x (n, d) and y (n,), y in the original scale: real and finite, of any dtype.
            Other arrays in it are ignored.

        Returns
        -------
        DataFile
            Without the arrays, which are read again for each run.

        Raises
        ------
        TypeError
            Where `path` is no path.
        ValueError
            Where the file is missing, is no .npz file, lacks an array, or `Dataset.from_arrays` would not take them.
        """
        if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
            raise TypeError(
                f"data must be the path of an .npz file or a DataFile, got {path!r} ({type(path).__name__})"
            )
        # Not resolved: a link may be meant to point elsewhere one day.
        where = os.path.abspath(path)  # noqa: PTH100
        try:
            x, y = _arrays(where)
        except _RefusedError as error:
            raise ValueError(f"{_WANTED} {where!r}: {error}") from None
        n, d = x.shape
        return cls(where, _digest(x, y), d, n, max(_largest(x), _largest(y) / d))

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return Path(self.path).name

    def check_dtype(self, dtype: str) -> None:
        """Find out whether the numbers fit a dtype.

        Parameters
        ----------
        dtype : {"float32", "float64"}
            To which they are to be rounded.

        Raises
        ------
        ValueError
            Where one is too large for it.
        """
        with np.errstate(over="ignore"):
            fits = np.isfinite(np.dtype(dtype).type(self.largest))
        if not fits:
            raise ValueError(
                f"data must fit dtype {dtype}, got {self.path!r} with numbers up to {self.largest:.3g} in x or y / d"
            )

    def make_dataset(self, n_samples: int, sort: Sort, dtype: str) -> Dataset:
        """Read the first rows, from the file as it is now.

        Parameters
        ----------
        n_samples : int
            How many, at most all.
        sort : {"abs", "value", "none"}
            How the inputs of each row are sorted.
        dtype : {"float32", "float64"}
            Of the data set.

        Returns
        -------
        Dataset
            In the paper's split.

        Raises
        ------
        RuntimeError
            Where the file can't be read any more, or holds other numbers than it did.
        """
        x, y = self._unchanged()
        x, y = x[:n_samples], y[:n_samples]
        # As float64, which holds the absolute value of every integer.
        rows = x if sort == "none" else _datasets.sorted_rows(np.asarray(x, np.float64), sort)
        return replace(Dataset.from_arrays(rows, y, dtype=dtype, target=OWN_TARGET), sort=sort)

    def _unchanged(self) -> tuple[Array, Array]:
        try:
            x, y = _arrays(self.path)
        except _RefusedError as error:
            raise RuntimeError(
                f"data {self.path!r} can't be read any more on {socket.gethostname()}: {error}"
            ) from None
        found = _digest(x, y)
        if found != self.sha256:
            raise RuntimeError(
                f"data {self.path!r} has changed since the sweep was made: its SHA-256 was "
                f"{short_hash(self.sha256)}, is {short_hash(found)}; make the sweep anew to train on it"
            )
        return x, y


def _arrays(path: str) -> tuple[Array, Array]:
    """Return x and y of a file, checked; what is wider than float64 is rounded to it, since that is what is hashed."""
    try:
        x, y = (_rounded(array) for array in _load(path))
        return _datasets.checked_arrays(x, y)
    except OSError as error:
        raise _RefusedError(error.strerror or str(error)) from None
    except (TypeError, ValueError) as error:
        raise _RefusedError(str(error)) from None


def _load(path: str) -> list[Array]:
    with Path(path).open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise _RefusedError("it is no .npz file")
        stream.seek(0)
        try:
            with np.load(stream, allow_pickle=False) as file:
                return [_member(file, name) for name in _NAMES]
        except (_RefusedError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - a damaged archive is found in many ways
            raise _RefusedError(f"it is damaged: {error}") from None


def _member(file: Any, name: str) -> Array:
    if name not in file.files:
        raise _RefusedError(f"it has no array {name}, only {', '.join(file.files) or 'nothing'}")
    size = sum(file.zip.getinfo(member).file_size for member in file.zip.namelist() if member in (name, f"{name}.npy"))
    _checks.memory(size, np.dtype(np.uint8), f"array {name} of an .npz file")
    try:
        array = file[name]
    except ValueError as error:
        # numpy advises to load pickles, which may run any program.
        why = "it holds Python objects" if "allow_pickle" in str(error) else error
        raise _RefusedError(f"{name} can't be read: {why}") from None
    if not isinstance(array, np.ndarray):
        raise _RefusedError(f"{name} is no array")
    return array


def _rounded(array: Array) -> Array:
    if array.dtype.kind not in "iuf" or array.dtype.itemsize <= np.dtype(np.float32).itemsize:
        return array
    with np.errstate(over="ignore"):  # an infinity is found by the checks
        return array.astype(np.float64, copy=False)


def _digest(x: Array, y: Array) -> str:
    n, d = x.shape
    digest = hashlib.sha256(f"{_HASHED}, {n} rows, d={d}\n".encode())
    for array, width in ((x, d), (y, 1)):
        rows = max(1, _CHUNK // width)
        for first in range(0, n, rows):
            # Rows one after another, little-endian, whatever the array's order and dtype.
            digest.update(array[first : first + rows].astype("<f8").tobytes())
    return digest.hexdigest()


def _largest(array: Array) -> float:
    return max(float(array.max()), -float(array.min()))


def read_data(value: Any) -> DataFile:
    """The file that a setting `data` names, read; TypeError, ValueError as by `DataFile.read`."""
    return value if isinstance(value, DataFile) else DataFile.read(value)

"""The result of a training run."""

import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from pyneedle import _checks, _files, _networks, _parameters, _penalties
from pyneedle._checks import Array
from pyneedle._datasets import Dataset, Split
from pyneedle._networks import Network
from pyneedle._optimizers import Adam
from pyneedle._parameters import Parameters
from pyneedle._penalties import Penalty
from pyneedle._state import TrainingState

Status = Literal["completed", "diverged", "interrupted"]

_FORMAT = "pyneedle fit"
_VERSION = 1
# Names of the history, and the dimensions of each.
HISTORY = {"train_loss": 1, "validation_loss": 1, "dead_units": 2, "on_units": 2, "mixed_units": 2}
_NUMBERS = ("train_mse", "validation_mse", "test_mse", "path_norm")
_VALUES = ("best_epoch", "status", "seconds", "kernel", "isa", "device", "threads", "epochs", "batch_size", "seed")


@dataclass(frozen=True, eq=False)
class Fit:
    """A trained network: parameters, history, errors, and how it was trained. `train` makes it.

    The errors are mean squared errors of the scaled target, of `parameters`; in the original scale they are d^2 times
    as large. They and the path norm are computed when first asked for.

    Attributes
    ----------
    network : LocalNetwork, LocallyConnectedNetwork or GlobalNetwork
        What was trained.
    parameters : dict of str to ndarray
        Those with the lowest validation error; the initial ones where no epoch ended with a finite one.
    last_parameters : dict of str to ndarray
        Those at the end.
    best_epoch : int
        The epoch, from 0, after which `parameters` were taken; -1 where there was none.
    status : {"completed", "diverged", "interrupted"}
        "diverged": a loss became NaN or infinite, and the run ended there.
    history : dict of str to ndarray
        Of the finished epochs. "train_loss" (mean over the epoch's batches, each before its update, no penalty) and
        "validation_loss" (epochs,), scaled mean squared errors; "dead_units", "on_units" and "mixed_units" (epochs,
        hidden layers), how many units are inactive on all validation rows, active on all, or either.
    seconds : float
        Time of the training loop.
    kernel, isa, device : str
        What ran: the kernel, its instruction-set level and the device.
    threads : int
        How many the run had.
    epochs, batch_size, optimizer, penalty, seed, shuffle
        As asked for; `shuffle` is None in a fit from a file that does not have it.
    data : dict or None
        `Dataset.description` of the data set: target, d, n_samples, seed, sort and dtype. None in a fit from a file
        that does not have it.
    dataset : Dataset or None
        The data set; None in a fit from a file.
    state : TrainingState or None
        Of a completed run that was asked to keep it.
    """

    network: Network
    parameters: Parameters = field(repr=False)
    last_parameters: Parameters = field(repr=False)
    best_epoch: int
    status: Status
    history: dict[str, Array] = field(repr=False)
    seconds: float
    kernel: str
    isa: str
    device: str
    threads: int
    epochs: int
    batch_size: int
    optimizer: Adam
    penalty: Penalty | None
    seed: int
    shuffle: bool | None = None
    data: dict[str, Any] | None = None
    dataset: Dataset | None = field(default=None, repr=False)
    state: TrainingState | None = field(default=None, repr=False)
    _numbers: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the parameters, and of the arithmetic of the training."""
        return self.parameters["w1"].dtype

    @property
    def train_mse(self) -> float:
        """Mean squared error of the scaled target over the training rows."""
        return self._mse("train")

    @property
    def validation_mse(self) -> float:
        """Mean squared error of the scaled target over the validation rows."""
        return self._mse("validation")

    @property
    def test_mse(self) -> float:
        """Mean squared error of the scaled target over the test rows."""
        return self._mse("test")

    @property
    def train_mse_original(self) -> float:
        """`train_mse` in the original scale: times d^2."""
        return self.train_mse * self.network.d**2

    @property
    def validation_mse_original(self) -> float:
        """`validation_mse` in the original scale: times d^2."""
        return self.validation_mse * self.network.d**2

    @property
    def test_mse_original(self) -> float:
        """`test_mse` in the original scale: times d^2."""
        return self.test_mse * self.network.d**2

    @property
    def path_norm(self) -> float:
        """Path norm of `parameters` (equation 22 of the paper, with its factor 1/d)."""
        if "path_norm" not in self._numbers:
            self._numbers["path_norm"] = _networks.path_norm(self.network, self.parameters)
        return self._numbers["path_norm"]

    def predict(self, x: ArrayLike, threads: int | None = None) -> Array:
        """Evaluate the network with `parameters`.

        Parameters
        ----------
        x : array_like, shape (n, d)
            Rows, n >= 1, finite; converted to the fit's dtype.
        threads : int, optional
            Default: as many as this process may run on.

        Returns
        -------
        ndarray, shape (n,)
            Predictions of the scaled target, of the fit's dtype.

        Raises
        ------
        TypeError, ValueError
            Where `x` has another shape, is empty, or holds complex numbers, NaN or infinity.
        """
        array = _checks.array("x", x)
        if array.dtype.kind not in "iuf":
            raise TypeError(f"x must hold real numbers, got dtype {array.dtype}")
        with np.errstate(over="ignore", under="ignore"):
            array = array.astype(self.dtype, copy=False)
        rows = _checks.inputs(array, self.network.d, self.dtype)
        return self.network.forward(self.parameters, rows, threads=threads)

    def compute_errors(self, threads: int | None = None) -> None:
        """Compute all errors and the path norm now, together, which costs less than one by one when asked for.

        Parameters
        ----------
        threads : int, optional
            Default: as many as this process may run on. The results do not depend on it.

        Raises
        ------
        ValueError
            Where the fit has no data set.
        """
        self._compute(("train", "validation", "test"), threads)

    def _mse(self, name: str) -> float:
        if f"{name}_mse" not in self._numbers:
            self._compute((name,), None)
        return self._numbers[f"{name}_mse"]

    def _compute(self, names: Sequence[str], threads: int | None) -> None:
        if self.dataset is None:
            raise ValueError(f"{names[0]}_mse is not known: the fit has no data set")
        splits: list[Split] = [getattr(self.dataset, name) for name in names]
        errors, norm = _networks.errors(self.network, self.parameters, [(s.x, s.y) for s in splits], threads)
        # Parameters of a diverged run may overflow; an error is then infinite or NaN, which is the answer.
        self._numbers.update({f"{name}_mse": error for name, error in zip(names, errors, strict=True)})
        self._numbers["path_norm"] = norm

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything but the data set, which is described, to one file, whole or not at all.

        The format is numpy's .npz. Initial parameters that were given, and the state, are not in it.

        Parameters
        ----------
        path : path-like
            The file; an existing one is replaced. Nothing is appended to the name.

        Raises
        ------
        OSError
            Where the file can't be written.
        """
        network = self.network
        record: dict[str, Any] = {
            "format": _FORMAT,
            "version": _VERSION,
            "network": {"name": network.name, **asdict(network)},
            "optimizer": asdict(self.optimizer),
            "penalty": None if self.penalty is None else {"kind": self.penalty.kind, "strength": self.penalty.strength},
            **{name: getattr(self, name) for name in _VALUES},
            "shuffle": self.shuffle,
            "data": self.data,
            # repr-exact in JSON; NaN and infinity as json writes and reads them.
            "numbers": {name: getattr(self, name) for name in _NUMBERS},
        }
        shapes = network.parameter_shapes
        arrays: dict[str, Any] = {
            "parameters": _parameters.flatten(shapes, self.parameters),
            "last_parameters": _parameters.flatten(shapes, self.last_parameters),
            **{f"history_{name}": self.history[name] for name in HISTORY},
        }
        with _files.replacing(path) as file:
            np.savez(file, record=np.array(json.dumps(record)), **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Fit":
        """Read a fit that `save` wrote: all its numbers, without the data set.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        Fit
            With `dataset` None.

        Raises
        ------
        OSError
            Where the file can't be read.
        ValueError
            Where it is not a fit, is damaged, or was written by a newer version of pyneedle.
        """
        name = os.fspath(path)
        with Path(path).open("rb") as file:
            if not zipfile.is_zipfile(file):  # which np.load would take for a pickle
                raise ValueError(f"{name!r} is not a fit that pyneedle saved, or it is damaged: it is no .npz file")
            file.seek(0)
            try:
                with np.load(file, allow_pickle=False) as archive:
                    contents = {key: archive[key] for key in archive.files}
                record = json.loads(str(contents["record"][()]))
                known = isinstance(record, dict) and record.get("format") == _FORMAT
            except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, TypeError, AttributeError) as error:
                # numpy advises to load pickles, which may run any program.
                why = "it holds Python objects" if "allow_pickle" in str(error) else error
                raise ValueError(f"{name!r} is not a fit that pyneedle saved, or it is damaged: {why}") from error
        if not known:
            raise ValueError(f"{name!r} is not a fit that pyneedle saved")
        if record.get("version") != _VERSION:
            raise ValueError(
                f"{name!r} was written by a newer pyneedle: it has version {record.get('version')!r} of the format, "
                f"this one reads version {_VERSION}"
            )
        try:
            return cls._from_record(record, contents)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{name!r} is damaged: {error!r}") from error

    @classmethod
    def _from_record(cls, record: Mapping[str, Any], contents: Mapping[str, Array]) -> "Fit":
        description = dict(record["network"])
        network = _networks.BY_NAME[description.pop("name")](**description)
        shapes, count = network.parameter_shapes, network.parameter_count
        layers = network.hidden_layers
        dtype = _checks.float_dtype("the dtype of the parameters", contents["parameters"].dtype)
        for key in ("parameters", "last_parameters"):
            _expect(key, contents[key], (count,), dtype)
        finished = contents["history_train_loss"].size
        history = {}
        for key, ndim in HISTORY.items():
            history[key] = contents[f"history_{key}"]
            _expect(key, history[key], (finished, layers)[:ndim], np.dtype(np.float64 if ndim == 1 else np.int64))
        penalty = record["penalty"]
        return cls(
            network=network,
            parameters=_parameters.unflatten(shapes, contents["parameters"]),
            last_parameters=_parameters.unflatten(shapes, contents["last_parameters"]),
            history=history,
            optimizer=Adam(**record["optimizer"]),
            penalty=None if penalty is None else _penalties.BY_KIND[penalty["kind"]](penalty["strength"]),
            dataset=None,
            _numbers={key: float(record["numbers"][key]) for key in _NUMBERS},
            **{key: record[key] for key in _VALUES},
            # A file of this version may lack these two.
            shuffle=record.get("shuffle"),
            data=record.get("data"),
        )


def _expect(name: str, array: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"{name} must be {dtype} of shape {_checks.shape_text(shape)}, got {array.dtype} of shape "
            f"{_checks.shape_text(array.shape)}"
        )

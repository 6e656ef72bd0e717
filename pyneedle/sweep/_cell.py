"""A cell: the immutable description of one training, with a hash of its content."""

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from pyneedle import _checks, _datasets, _device, _networks
from pyneedle._datasets import Dataset, Sort
from pyneedle._device import Device
from pyneedle._networks import Activation, Network, NetworkName, Scheme
from pyneedle._optimizers import Adam
from pyneedle._penalties import BY_KIND, L1, L2, PathNorm, Penalty
from pyneedle._training import Run, batch_size
from pyneedle.sweep._data_file import DRAWING, OWN_TARGET, DataFile

NETWORK_NAMES = ("GN", "LCN", "LN")
OPTIMIZER_KEYS = tuple(f.name for f in fields(Adam))

# Stands in the hashed content. A field that is added to Cell later must be left out of the content where it has its
# default, so that the cells of older stores keep their hashes.
_CONTENT_VERSION = 1
# SQLite's integers have a sign.
_LARGEST_SEED = 2**63 - 1
_HASH_DIGITS = 32
_ADAM = Adam()
# What is not given of these follows from the data: drawn ones have defaults, own ones say it themselves.
_BY_DATA: Any = ...
_DRAWN: dict[str, object] = {"target": "square", "n_samples": 100_000, "sort": "abs", "data_seed": 0}
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_SettingsT = TypeVar("_SettingsT", bound=Adam | L1 | L2 | PathNorm)
_KERNELS = ("auto", "direct", "piecewise_linear", "active", "reference", *_device.tf32_kernels(["direct", "active"]))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training, described by everything that determines its result; equal cells have equal hashes.

    Parameters
    ----------
    network : {"GN", "LCN", "LN"}
        Global, locally connected or local.
    d : int
        Number of inputs. Default: that of own data; it must be given where data are drawn.
    target : {"square", "quartic", "cosine"}
        g of the target sum_i g(x_i). Default: "square". With own data it is "data" and can't be chosen.
    data : DataFile, optional
        Own data instead of drawn ones. The hash covers the numbers in the file, not where it lies.
    alpha : int
        Nodes per input in each hidden layer.
    hidden_layers : {1, 2}
        Of each block.
    activation : {"relu", "tanh", "sigmoid"}
        Of the hidden units.
    block_in : int
        Inputs per block of an LN or LCN; 1 for a GN.
    n_samples : int
        Rows of the data set, all three splits together. Default: 100,000, or all rows of own data, of which fewer
        are the first ones.
    sort : {"abs", "value", "none"}
        How the inputs of each row are sorted. Default: "abs" where data are drawn; "none", as they are, for own data.
    data_seed : int
        Of drawn data, 0 <= seed < 2^63. Default: 0.
    batch : "ratio" or int
        Rows of a step: the paper's share of the samples, or a number of rows.
    penalty : L1, L2, PathNorm or None
        Added to the loss.
    optimizer : Adam
        Its settings.
    epochs : int
        >= 1.
    repeat : int
        Seed of the initial parameters and of the shuffling, 0 <= seed < 2^63.
    shuffle : bool
        Reorder the training rows in every epoch.
    init : {"paper", "glorot"}
        How initial parameters are drawn (see `LocalNetwork.init`).
    kernel : str
        "auto" or a kernel of the network; on a GPU also "direct_tf32" and "active_tf32" for a GN.
    dtype : {"float32", "float64"}
        Of data and arithmetic.
    device : {"cpu", "cuda"}
        Where it runs.

    Raises
    ------
    TypeError, ValueError
        Where a value is out of its range or does not fit the others.
    """

    network: NetworkName
    d: int = _BY_DATA
    target: str = _BY_DATA
    data: DataFile | None = None
    alpha: int = 50
    hidden_layers: int = 2
    activation: Activation = "relu"
    block_in: int = 1
    n_samples: int = _BY_DATA
    sort: Sort = _BY_DATA
    data_seed: int = _BY_DATA
    batch: str | int = "ratio"
    penalty: Penalty | None = None
    optimizer: Adam = _ADAM
    epochs: int = 1000
    repeat: int = 0
    shuffle: bool = True
    init: Scheme = "paper"
    kernel: str = "auto"
    dtype: str = "float32"
    device: Device = "cpu"

    def __post_init__(self) -> None:
        """Check everything before anything runs; numpy's integers become Python's."""
        _checks.choice("network", self.network, NETWORK_NAMES)
        self._fill_in()
        for name in ("d", "alpha", "hidden_layers", "block_in", "n_samples", "epochs"):
            object.__setattr__(self, name, _checks.integer(name, getattr(self, name)))
        for name in ("data_seed", "repeat"):
            seed = _checks.integer(name, getattr(self, name), minimum=0, maximum=_LARGEST_SEED)
            object.__setattr__(self, name, seed)
        _checks.choice("activation", self.activation, ("relu", "tanh", "sigmoid"))
        _checks.choice("sort", self.sort, ("abs", "value", "none"))
        _checks.choice("init", self.init, ("paper", "glorot"))
        _checks.choice("kernel", self.kernel, _KERNELS)
        _device.device_named(self.device)
        object.__setattr__(self, "dtype", _checks.dtype_name(_checks.float_dtype("dtype", self.dtype)))
        object.__setattr__(self, "shuffle", _checks.flag("shuffle", self.shuffle))
        if not isinstance(self.optimizer, Adam):
            raise TypeError(f"optimizer must be an Adam, got {self.optimizer!r}")
        if self.penalty is not None and not isinstance(self.penalty, (L1, L2, PathNorm)):
            raise TypeError(f"penalty must be None, L1, L2 or PathNorm, got {self.penalty!r}")
        object.__setattr__(self, "optimizer", _with_positive_zeros(self.optimizer))
        if self.penalty is not None:
            object.__setattr__(self, "penalty", _with_positive_zeros(self.penalty))
        if self.network == "GN" and self.block_in != 1:
            raise ValueError(f"block_in must be 1 for a GN, which is one block, got {self.block_in}")
        self._check_data()
        self._check_network()
        self._check_batch()

    def _fill_in(self) -> None:
        data = self.data
        if data is None:
            known = _DRAWN
            if self.d is _BY_DATA:
                raise TypeError("d must be given where there are no own data that have one")
        elif isinstance(data, DataFile):
            known = {**_DRAWN, "target": OWN_TARGET, "d": data.d, "n_samples": data.n_samples, "sort": "none"}
        else:
            raise TypeError(f"data must be a DataFile, as DataFile.read(path) returns it, got {data!r}")
        for name, value in known.items():
            if getattr(self, name) is _BY_DATA:
                object.__setattr__(self, name, value)

    def _check_data(self) -> None:
        data = self.data
        if data is None:
            _checks.choice("target", self.target, _datasets.TARGET_NAMES)
            return
        if self.target != OWN_TARGET:
            raise ValueError(f"target must not be given beside data, {DRAWING['target']}, got {self.target!r}")
        if self.data_seed != 0:
            raise ValueError(f"data_seed must not be given beside data, {DRAWING['data_seed']}, got {self.data_seed}")
        if self.d != data.d:
            raise ValueError(f"d must be {data.d}, the columns of x in {data.path!r}, or be left out, got {self.d}")
        if self.n_samples > data.n_samples:
            raise ValueError(
                f"n_samples must be at most {data.n_samples}, the rows of {data.path!r}, got {self.n_samples}"
            )
        data.check_dtype(self.dtype)

    def _check_network(self) -> None:
        network = self.make_network()
        names = ["auto", *_networks.kernels(network)]
        where = ""
        if self.device == "cuda":
            # This machine need not be the one with the GPU: what that one lacks is found when the cell is trained.
            names.remove("reference")
            if network.blocks == 1 and self.dtype == "float32":
                names += _device.tf32_kernels(names[1:])
            where = f" on device 'cuda' in {self.dtype}"
        # "active" and "piecewise_linear" may be kernels that this build does not have.
        if self.kernel not in names:
            listed = ", ".join(map(repr, sorted(names)))
            hint = _device.cpu_hint(self.kernel) if self.device == "cpu" else ""
            raise ValueError(
                f"kernel must be one that this {self.network} has{where} ({listed}), got {self.kernel!r}"
                f"{hint and f'; {hint}'}"
            )

    def _check_batch(self) -> None:
        rows = self.train_rows
        if isinstance(self.batch, str):
            if self.batch != "ratio":
                raise ValueError(f"batch must be 'ratio' or a number of rows, got {self.batch!r}")
            return
        size = _checks.integer("batch", self.batch)
        if size > rows:
            raise ValueError(
                f"batch must be at most the {rows} training rows of n_samples={self.n_samples}, got {size}"
            )
        object.__setattr__(self, "batch", size)

    @functools.cached_property
    def batch_size(self) -> int:
        """Rows of a step."""
        if isinstance(self.batch, int):
            return self.batch
        return min(batch_size(self.n_samples), self.train_rows)

    @property
    def train_rows(self) -> int:
        """Rows of the training split."""
        return _datasets.paper_counts(self.n_samples)[0]

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * -(-self.train_rows // self.batch_size)

    @property
    def penalty_kind(self) -> str:
        """One of "none", "l1", "l2", "path-norm"."""
        return "none" if self.penalty is None else self.penalty.kind

    @property
    def strength(self) -> float:
        """Of the penalty; 0 without one."""
        return 0.0 if self.penalty is None else self.penalty.strength

    @property
    def content(self) -> dict[str, Any]:
        """Everything that determines the result, in plain Python; what the hash is taken over.

        The batch is the number of rows, so that "ratio" and the number that it stands for are one cell. Own data are
        the SHA-256 of their numbers; without any there is no such entry.
        """
        own = vars(self)
        plain = {name: own[name] for name in _FIELDS}
        if self.data is None:
            del plain["data"]
        else:
            plain["data"] = self.data.sha256
        plain["batch"] = self.batch_size
        plain["penalty"] = None if self.penalty is None else [self.penalty.kind, self.penalty.strength]
        plain["optimizer"] = dict(vars(self.optimizer))
        return {"version": _CONTENT_VERSION, **plain}

    @classmethod
    def from_content(cls, content: Mapping[str, Any], data: DataFile | None = None) -> "Cell":
        """The cell whose `content` this is.

        Parameters
        ----------
        content : mapping
            Of this version.
        data : DataFile, optional
            The own data of the cell, where it has any: the content knows their numbers by a hash, but not where they
            are. `Store.data_files` says where they were when a run was stored.

        Returns
        -------
        Cell
            With the hash of the cell whose content it is.

        Raises
        ------
        TypeError, ValueError
            Where it is no content of a cell, or not with these data.
        """
        values = dict(content)
        wanted = values.pop("data", None)
        found = None if data is None else data.sha256
        if found != wanted:
            raise ValueError(f"data must be those of the content, with SHA-256 {wanted}, got {found}")
        version = values.pop("version", None)
        if version != _CONTENT_VERSION:
            raise ValueError(f"content must have version {_CONTENT_VERSION}, got {version!r}")
        penalty = values.pop("penalty", None)
        optimizer = Adam(**values.pop("optimizer"))
        cost = None if penalty is None else BY_KIND[penalty[0]](penalty[1])
        return cls(penalty=cost, optimizer=optimizer, data=data, **values)

    @functools.cached_property
    def canonical(self) -> str:
        """The canonical JSON of `content`: one text for equal cells."""
        return _CANONICAL.encode(self.content)

    @functools.cached_property
    def id(self) -> str:
        """The hash: 32 hexadecimal digits of the SHA-256 of the canonical JSON of `content`."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:_HASH_DIGITS]

    @property
    def label(self) -> str:
        """A short name for people: what most sweeps vary."""
        source = self.target if self.data is None else self.data.name
        parts = [self.network, f"d={self.d}", source, f"N={self.n_samples}"]
        if self.penalty is not None:
            parts.append(f"{self.penalty.kind} {self.penalty.strength:g}")
        return ", ".join([*parts, f"repeat {self.repeat}"])

    def make_network(self) -> Network:
        """Make the network that is trained.

        Returns
        -------
        LocalNetwork, LocallyConnectedNetwork or GlobalNetwork
            One object for equal cells.
        """
        return _make_network(self.network, self.d, self.alpha, self.hidden_layers, self.activation, self.block_in)

    def make_dataset(self) -> Dataset:
        """Draw the data, or read them.

        Returns
        -------
        Dataset
            Of the cell's dtype.

        Raises
        ------
        RuntimeError
            Where the file of own data can't be read any more, or holds other numbers than it did.
        """
        if self.data is not None:
            return self.data.make_dataset(self.n_samples, self.sort, self.dtype)
        # The name was checked; make_dataset checks it again.
        target: Any = self.target
        return _datasets.make_dataset(target, self.d, self.n_samples, self.data_seed, self.sort, self.dtype)

    def make_run(self, dataset: Dataset) -> Run:
        """Make the training, for `train_ensemble`.

        Parameters
        ----------
        dataset : Dataset
            That of `make_dataset`; cells with the same data may share it.

        Returns
        -------
        Run
            With the cell's settings.

        Raises
        ------
        RuntimeError
            Where this machine does not have the device.
        """
        network = self.make_network()
        # Without initial parameters the run draws the paper's itself, when it starts.
        initial = None if self.init == "paper" else network.init(self.repeat, self.init, self.dtype)
        return Run(
            network=network,
            dataset=dataset,
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            penalty=self.penalty,
            seed=self.repeat,
            initial=initial,
            kernel=self.kernel,
            device=self.device,
            shuffle=self.shuffle,
        )


_FIELDS = tuple(f.name for f in fields(Cell))


def _with_positive_zeros(settings: _SettingsT) -> _SettingsT:
    """The same with 0.0 for -0.0, which is equal, but another text in the content of a cell."""
    zeros: dict[str, Any] = {name: 0.0 for name, value in vars(settings).items() if value == 0.0}
    if all(math.copysign(1.0, getattr(settings, name)) > 0.0 for name in zeros):
        return settings
    return replace(settings, **zeros)


@functools.lru_cache(maxsize=1024)
def _make_network(
    name: NetworkName, d: int, alpha: int, hidden_layers: int, activation: Activation, block_in: int
) -> Network:
    more = {} if name == "GN" else {"block_in": block_in}
    return _networks.BY_NAME[name](d, alpha, hidden_layers, activation, **more)

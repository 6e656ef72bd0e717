"""Sweeps: sets of cells, and running them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypedDict, TypeVar

from pyneedle import _checks, _native
from pyneedle._datasets import Sort, TargetName
from pyneedle._device import Device
from pyneedle._networks import Activation, NetworkName, Scheme
from pyneedle._optimizers import Adam, EpsilonPlacement
from pyneedle._penalties import Penalty
from pyneedle.sweep import _toml
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._data_file import DataFile
from pyneedle.sweep._driver import EXECUTORS, ExecutorName, Settings, check_available, drive, missing_cells
from pyneedle.sweep._estimate import Estimate, estimate
from pyneedle.sweep._frame import read_frame
from pyneedle.sweep._grid import Axes, axes_of, expand, make_axes
from pyneedle.sweep._outcome import Keep
from pyneedle.sweep._schema import is_store
from pyneedle.sweep._store import Store

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self, Unpack

_T = TypeVar("_T")
_Axis: TypeAlias = _T | Iterable[_T]


class _RequiredSettings(TypedDict):
    network: _Axis[NetworkName]


class SweepSettings(_RequiredSettings, total=False):
    """The arguments of `Sweep`."""

    d: _Axis[int]
    target: _Axis[TargetName]
    data: _Axis[str | os.PathLike[str] | DataFile]
    alpha: _Axis[int]
    hidden_layers: _Axis[int]
    activation: _Axis[Activation]
    block_in: _Axis[int]
    n_samples: _Axis[int]
    sort: _Axis[Sort]
    data_seed: _Axis[int]
    batch: _Axis[str | int]
    penalty: _Axis[Penalty | str | None]
    optimizer: _Axis[Adam]
    learning_rate: _Axis[float]
    beta1: _Axis[float]
    beta2: _Axis[float]
    epsilon: _Axis[float]
    decay: _Axis[float]
    weight_decay: _Axis[float]
    epsilon_placement: _Axis[EpsilonPlacement]
    epochs: _Axis[int]
    repeat: _Axis[int]
    shuffle: _Axis[bool]
    init: _Axis[Scheme]
    kernel: _Axis[str]
    dtype: _Axis[str]
    device: _Axis[Device]


class Sweep:
    """Many trainings: all combinations of the given settings, each of which may be one value or several.

    The arguments are the fields of `pyneedle.sweep.Cell`, with its defaults. Two sweeps are added with +.

    Parameters
    ----------
    network : {"GN", "LCN", "LN"} or several
        Global, locally connected, local.
    d : int or several
        Number of inputs; may be left out with own data.
    data : path-like, DataFile, or several
        Your own data instead of a target: .npz files with arrays x (n, d) and y (n,), y in the original scale, as for
        `Dataset.from_arrays`. They are read here, and again when a run is trained, which fails where the numbers have
        changed since. A run is known by the numbers, wherever their file lies. The columns stay as they are unless
        `sort` is given.
    n_samples : int or several
        Rows of the data set, all three splits together; of own data the first ones, by default all.
    batch : "ratio", int, or several
        Rows of a step.
    penalty : L1, L2, PathNorm, None, or several
        Also as a text such as "l1:1e-8" or "none".
    repeat : int or several
        Seeds of the initial parameters and the shuffling.
    optimizer : Adam or several
        Or its settings on their own: learning_rate, beta1, beta2, epsilon, decay, weight_decay, epsilon_placement.
    target, alpha, hidden_layers, activation, block_in, sort, data_seed, epochs, shuffle, init, kernel, dtype, device
        As in `Cell`, one or several.

    Attributes
    ----------
    cells : tuple of Cell
        Each once, in the order of the arguments; the last argument varies fastest.

    Raises
    ------
    TypeError, ValueError
        Where an argument is unknown, or a value is impossible.
    """

    cells: tuple[Cell, ...]

    def __init__(self, **settings: "Unpack[SweepSettings]") -> None:
        self._set([make_axes(settings)])

    @classmethod
    def from_cells(cls, cells: Iterable[Cell]) -> "Self":
        """The sweep of these cells, each once.

        Parameters
        ----------
        cells : iterable of Cell
            In any order, which the sweep keeps.

        Returns
        -------
        Sweep
            Of the cells without their repetitions.

        Raises
        ------
        TypeError
            Where one is no `Cell`.
        """
        grids: list[Axes] = []
        for i, cell in enumerate(cells):
            if not isinstance(cell, Cell):
                raise TypeError(f"cells[{i}] must be a Cell, got {type(cell).__name__}")
            grids.append(axes_of(cell))
        return cls._from_grids(grids)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> "Self":
        """Read a sweep from a TOML file.

        Settings at the top hold for every [[grid]], and each [[grid]] adds its own; a file without any is one grid. A
        list, or a range { from = 4, to = 60, step = 4 } with both ends, spans a grid. A penalty is "none", "l1:1e-8"
        and the like, or { kind = "l1", strength = [1e-7, 1e-8] }. Paths of own data are relative to the file's folder.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        Sweep
            Of all its grids, in their order.

        Raises
        ------
        OSError
            Where the file can't be read.
        ValueError
            Where it is no TOML, a key is unknown, or a value is impossible; the message names the grid and the key.
        """
        name = Path(path).name
        try:
            text = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name} is not valid TOML: {error}") from None
        return cls._from_grids(_toml.read_grids(text, name, Path(path).parent), name)

    def to_toml(self) -> str:
        """Write the sweep as `from_toml` reads it.

        Returns
        -------
        str
            The text of a TOML file.
        """
        return _toml.write_grids(self._grids)

    def run(
        self,
        path: str | os.PathLike[str],
        executor: ExecutorName = "local",
        progress: bool = True,
        threads: int | None = None,
        history: bool = True,
        parameters: bool = False,
        checkpoint_seconds: float = 60.0,
    ) -> "pd.DataFrame":
        """Train the cells whose results the store does not have, and return all results.

        Each run is stored as soon as it is done; a program that was killed goes on from there when it is started again.
        A run that ended with an error is stored as failed, and tried again the next time. Where a finished run is made
        again for arrays that it lacks and that fails, its result stays, with a RuntimeWarning.

        Parameters
        ----------
        path : path-like
            The store, a SQLite file; made where there is none. One program at a time can write to it.
        executor : {"local", "ray"}
            This machine (threads, or its GPU), or a Ray cluster: the one that this process is connected to or that
            RAY_ADDRESS names, else one on this machine. The results are the same. Own data must be where the workers
            see them by the same path: a run whose worker does not fails, and says on which machine.
        progress : bool
            Show bars on standard error, where that is a terminal.
        threads : int, optional
            To use on this machine. Default: as many as this process may run on.
        history : bool
            Also store losses and counts of units of every epoch; `pyneedle.sweep.Store.arrays` reads them.
        parameters : bool
            Also store the best parameters. Finished runs that lack what is asked for are run again, and keep
            what they had.
        checkpoint_seconds : float
            About how often a long run is put down in a file beside the store, from which it goes on bitwise when the
            program was killed; infinity for never. The file is removed when the run is stored. One that is damaged, or
            was computed by another version, level or processor, is not used, with a RuntimeWarning. A Ray worker puts
            runs down where it sees the folder of the store; where it does not, a RuntimeWarning says so, and a run
            whose worker is lost starts anew.

        Returns
        -------
        pandas.DataFrame
            A row a run, in the order of `cells`. A run that failed has status "failed" and NaN for numbers. An
            exception in a run is recorded at once and not tried again until the next call, since runs are
            deterministic; on Ray, runs whose worker is lost are tried up to three times in all.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C, within about a second; what was finished is stored.
        StoreError
            Where the store is in use by another process, is no store, or can't be read or written.
        ImportError
            Where the executor is not installed.
        RuntimeError
            Where this machine, or every node of the cluster, lacks a cell's device.
        """
        _checks.choice("executor", executor, EXECUTORS)
        keep = Keep(_checks.flag("history", history), _checks.flag("parameters", parameters))
        interval = _checks.real("checkpoint_seconds", checkpoint_seconds)
        if not interval > 0.0:
            raise ValueError(f"checkpoint_seconds must be above 0, got {checkpoint_seconds}")
        settings = Settings(executor, _checks.flag("progress", progress), _checks.threads(threads), keep, interval)
        _native.active_level()  # an impossible PYNEEDLE_ISA should be known before a file is made
        if self.cells and not is_store(Path(path)):
            check_available(executor, {cell.device for cell in self.cells})  # and so should what this machine lacks
        with Store(path, write=True) as store:
            drive(self.cells, store, settings)
            return read_frame(store, self.cells)

    def estimate(
        self,
        path: str | os.PathLike[str] | None = None,
        threads: int | None = None,
        history: bool = True,
        parameters: bool = False,
    ) -> Estimate:
        """What `run` would take, from a few steps of each shape; nothing is stored.

        Parameters
        ----------
        path : path-like, optional
            The store; without one, or where there is none, all cells are to be done.
        threads, history, parameters
            As for `run`.

        Returns
        -------
        Estimate
            Of time and memory.

        Raises
        ------
        StoreError
            Where the file is no store, or can't be read.
        """
        keep = Keep(_checks.flag("history", history), _checks.flag("parameters", parameters))
        count = _checks.threads(threads)
        missing, failed = list(self.cells), 0
        if path is not None and is_store(Path(path)):
            with Store(path) as store:
                missing = missing_cells(self.cells, store, keep)
                errors = store.failed()
                failed = sum(cell.id in errors for cell in missing)
        return estimate(self.cells, missing, failed, count)

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.cells)

    def __add__(self, other: "Sweep") -> "Sweep":
        """The cells of both, each once."""
        if not isinstance(other, Sweep):
            return NotImplemented
        return Sweep._from_grids(self._grids + other._grids)

    def __repr__(self) -> str:
        """The number of cells."""
        return f"Sweep({len(self.cells)} cells)"

    def _set(self, grids: list[Axes], name: str | None = None) -> None:
        self._grids = grids
        cells: dict[str, Cell] = {}
        for i, axes in enumerate(grids):
            try:
                cells |= {cell.id: cell for cell in expand(axes) if cell.id not in cells}
            except (TypeError, ValueError) as error:
                if name is None:
                    raise
                raise ValueError(f"{_toml.grid_name(name, i, len(grids))}: {error}") from None
        self.cells = tuple(cells.values())

    @classmethod
    def _from_grids(cls, grids: list[Axes], name: str | None = None) -> "Self":
        sweep = cls.__new__(cls)
        sweep._set(grids, name)
        return sweep

"""Training: one run, or many at once; the whole loop is native."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from pyneedle import (
    _blas,
    _checks,
    _datasets,
    _device,
    _gpu_training,
    _native,
    _networks,
    _optimizers,
    _parameters,
    _penalties,
)
from pyneedle._checks import Array
from pyneedle._datasets import Dataset
from pyneedle._device import Device
from pyneedle._fit import HISTORY, Fit
from pyneedle._native import Progress
from pyneedle._networks import Network
from pyneedle._optimizers import Adam
from pyneedle._penalties import Penalty
from pyneedle._state import TrainingState

_Report = Callable[[list[Progress]], object]


def batch_size(n_samples: int) -> int:
    """The paper's "ratio" batch: int(0.8 * n_samples) // 100 rows, at least 1, so that an epoch has 80 steps.

    Parameters
    ----------
    n_samples : int
        Rows of the data set, all three splits together.

    Returns
    -------
    int
        Rows of a step.

    Raises
    ------
    TypeError, ValueError
        Where `n_samples` is no integer, or below 1.
    """
    # 4n // 5 is int(0.8 n) without the rounding of 0.8.
    return max(1, 4 * _checks.integer("n_samples", n_samples) // 5 // 100)


def check_device(device: Device) -> None:
    """RuntimeError where this machine or this build does not have the device; says what is missing."""
    _device.device_named(device)
    _device.check(device)


@dataclass(frozen=True, eq=False)
class Run:
    """One training run: the arguments of `train`, checked, for `train_ensemble`.

    Parameters
    ----------
    network : LocalNetwork, LocallyConnectedNetwork or GlobalNetwork
        What to train.
    dataset : Dataset
        With the network's d. Its dtype is that of the training.
    epochs : int
        >= 1.
    batch_size : int, optional
        Rows of a step, at most the training rows; the last batch of an epoch may be smaller. Default: the paper's
        "ratio", int(0.8 * n_samples) // 100.
    optimizer : Adam
        Its settings.
    penalty : L1, L2 or PathNorm, optional
        Added to the loss.
    seed : int
        0 <= seed < 2^64, of the shuffling and of the initial parameters.
    initial : dict of str to ndarray, optional
        Initial parameters, of the data set's dtype; they are not changed. Default: `network.init(seed, "paper",
        dtype)`.
    kernel : str
        "auto" or one of `network.kernels`. On a GPU: "auto", "piecewise_linear" and "direct" for LN and LCN, "active"
        and "direct" for GN, as far as they take the network; "direct_tf32" and "active_tf32" let the products of a GN
        round their factors to TF32.
    device : {"cpu", "cuda"}
        The processor, or the first GPU that CUDA_VISIBLE_DEVICES leaves.
    shuffle : bool
        Reorder the training rows in every epoch.
    resume : TrainingState, optional
        Go on from here, with the arguments that the run had, up to `epochs` in all: the result is bitwise that of the
        run without a stop.
    keep_state : bool
        Keep the state at the end, for `resume`; it holds four vectors of the parameters' size.

    Raises
    ------
    TypeError, ValueError
        Where an argument is out of its range, or does not fit the others.
    RuntimeError
        Where the device is not available; the message says what is missing.
    ImportError
        Where a dense network finds no BLAS for its device.
    """

    network: Network
    dataset: Dataset
    epochs: int = 1000
    batch_size: int | None = None
    optimizer: Adam = field(default_factory=Adam)
    penalty: Penalty | None = None
    seed: int = 0
    initial: Mapping[str, Array] | None = field(default=None, repr=False)
    kernel: str = "auto"
    device: Device = "cpu"
    shuffle: bool = True
    resume: TrainingState | None = field(default=None, repr=False)
    keep_state: bool = False

    def __post_init__(self) -> None:
        """Check everything before hours are spent."""
        _networks.check(self.network)
        _datasets.check(self.dataset)
        if self.dataset.d != self.network.d:
            raise ValueError(f"dataset must have the network's d={self.network.d}, got d={self.dataset.d}")
        rows = len(self.dataset.train)
        object.__setattr__(self, "epochs", _checks.integer("epochs", self.epochs))
        if self.batch_size is None:
            object.__setattr__(self, "batch_size", min(batch_size(self.dataset.n_samples), rows))
        else:
            size = _checks.integer("batch_size", self.batch_size)
            if size > rows:
                raise ValueError(f"batch_size must be at most the {rows} training rows, got {size}")
            object.__setattr__(self, "batch_size", size)
        if not isinstance(self.optimizer, Adam):
            raise TypeError(f"optimizer must be an Adam, got {type(self.optimizer).__name__}")
        _optimizers.check_epsilon(self.optimizer, self.dataset.dtype)
        _penalties.check(self.penalty)
        object.__setattr__(self, "seed", _checks.seed(self.seed))
        if self.initial is not None:
            self._check_initial(self.initial)
        _device.device_named(self.device)
        self._check_kernel()
        object.__setattr__(self, "shuffle", _checks.flag("shuffle", self.shuffle))
        object.__setattr__(self, "keep_state", _checks.flag("keep_state", self.keep_state))
        if self.resume is not None:
            self._check_resume(self.resume)

    def _check_kernel(self) -> None:
        if self.device == "cpu":
            _networks.check_kernel(self.network, self.kernel)
            return
        self.network._layout.check_kernel(self.kernel, self.dataset.dtype.name)

    def _check_initial(self, initial: Mapping[str, Array]) -> None:
        dtype = _parameters.check(self.network.parameter_shapes, initial, "initial")
        if dtype != self.dataset.dtype:
            raise TypeError(f"initial must have the data set's dtype {self.dataset.dtype}, got {dtype}")
        for name, value in initial.items():
            _checks.finite(f"initial[{name!r}]", value)

    def _check_resume(self, state: TrainingState) -> None:
        if not isinstance(state, TrainingState):
            raise TypeError(f"resume must be a TrainingState, got {type(state).__name__}")
        if self.initial is not None:
            raise ValueError("initial must be None where resume is given, which has parameters of its own")
        if state.epochs > self.epochs:
            raise ValueError(f"epochs must be at least the {state.epochs} that resume has finished, got {self.epochs}")
        count = self.network.parameter_count
        for name in ("parameters", "m", "v", "best"):
            value = getattr(state, name)
            if value.shape != (count,):
                raise ValueError(f"resume.{name} must have shape ({count},), got {_checks.shape_text(value.shape)}")
            if value.dtype != self.dataset.dtype:
                raise TypeError(f"resume.{name} must have the data set's dtype {self.dataset.dtype}, got {value.dtype}")

    @property
    def rows_per_step(self) -> int:
        """`batch_size`, with its default put in."""
        assert self.batch_size is not None  # since it was checked
        return self.batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch; the last may have fewer rows."""
        return -(-len(self.dataset.train) // self.rows_per_step)


def train(
    network: Network,
    dataset: Dataset,
    epochs: int = 1000,
    batch_size: int | None = None,
    optimizer: Adam | None = None,
    penalty: Penalty | None = None,
    seed: int = 0,
    initial: Mapping[str, Array] | None = None,
    kernel: str = "auto",
    device: Device = "cpu",
    threads: int | None = None,
    progress: bool | Callable[[Progress], object] = False,
    shuffle: bool = True,
    resume: TrainingState | None = None,
    keep_state: bool = False,
) -> Fit:
    """Train a network by Adam on the mean squared error of the scaled target, and keep the best parameters.

    After each epoch the validation error is computed; the parameters with the lowest one are the result ("early
    stopping" in the paper). Ctrl-C ends the run within a second: the fit then has status "interrupted" and what was
    reached.

    Parameters
    ----------
    network, dataset, epochs, batch_size, penalty, seed, initial, kernel, device, shuffle, resume, keep_state
        As for `Run`.
    optimizer : Adam, optional
        Default: `Adam()`, the paper's settings.
    threads : int, optional
        Default: as many as this process may run on. The result does not depend on it.
    progress : bool or callable
        True shows a bar on standard error where that is a terminal. A callable is given a snapshot of the run a few
        times a second; an exception that it raises ends the run and is passed on.

    Returns
    -------
    Fit
        Parameters, history, errors. A run whose loss became NaN or infinite has status "diverged".

    Raises
    ------
    TypeError, ValueError, RuntimeError, ImportError
        As for `Run`.
    MemoryError
        Where the run does not fit into the GPU's free memory.
    """
    run = Run(
        network=network,
        dataset=dataset,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=Adam() if optimizer is None else optimizer,
        penalty=penalty,
        seed=seed,
        initial=initial,
        kernel=kernel,
        device=device,
        shuffle=shuffle,
        resume=resume,
        keep_state=keep_state,
    )
    if callable(progress):
        return train_ensemble([run], threads, lambda snapshots: progress(snapshots[0]))[0]
    return train_ensemble([run], threads, progress)[0]


def train_ensemble(runs: Iterable[Run], threads: int | None = None, progress: bool | _Report = True) -> list[Fit]:
    """Train many runs at once: on the CPU one thread each, `threads` of them at a time; on a GPU side by side.

    Each result is bitwise that of the run alone. A run that diverges leaves the others alone. On a GPU, runs that agree
    in network, dtype, batch size, rows and kernel share the chip, as many as its free memory holds; other ones follow
    them.

    Parameters
    ----------
    runs : iterable of Run
        They may differ in everything but the dtype of their data sets.
    threads : int, optional
        Default: as many as this process may run on. A single run gets all of them.
    progress : bool or callable
        True shows a bar on standard error where that is a terminal. A callable is given a list with a snapshot of every
        run a few times a second; an exception that it raises ends the runs and is passed on.

    Returns
    -------
    list of Fit
        In the order of the runs; empty for no runs.

    Raises
    ------
    TypeError, ValueError
        Where an argument is out of its range.
    MemoryError
        Where a run does not fit into the GPU's free memory.
    """
    try:
        iterator = iter(runs)
    except TypeError:
        raise TypeError(f"runs must be an iterable of Run, got {type(runs).__name__}") from None
    members = list(iterator)
    for i, run in enumerate(members):
        if not isinstance(run, Run):
            raise TypeError(f"runs[{i}] must be a Run, got {type(run).__name__}")
    count = _checks.threads(threads)
    if not callable(progress):
        progress = _checks.flag("progress", progress)
    if not members:
        return []
    jobs = [_job(run) for run in members]
    with make_reporter(members, progress) as report:
        if all(run.device == "cpu" for run in members):
            results = _native.train(jobs, count, report)
        else:
            results = _train_on_both(members, jobs, count, report)
    used = count if len(members) == 1 and members[0].device == "cpu" else 1
    return [_fit(run, result, used) for run, result in zip(members, results, strict=True)]


def _train_on_both(
    runs: list[Run], jobs: list[_native.Job], threads: int, report: _Report | None
) -> "list[_native.Result]":
    """First the runs on the GPU, then those on the CPU."""
    gpu = [i for i, run in enumerate(runs) if run.device == "cuda"]
    cpu = [i for i, run in enumerate(runs) if run.device == "cpu"]
    snapshots: list[Progress] = [_gpu_training.WAITING] * len(runs)
    found: list[_native.Result | None] = [None] * len(runs)

    def train_part(indices: list[int], train: Callable[[_Report | None], "Sequence[_native.Result | None]"]) -> bool:
        """Whether all of them came to their end."""
        for i, result in zip(indices, train(_gpu_training.relay(report, snapshots, indices)), strict=True):
            found[i] = result
        ended = [found[i] for i in indices]
        return all(result is not None and result["status"] != "interrupted" for result in ended)

    members = [_member(runs[i], jobs[i]) for i in gpu]
    if train_part(gpu, lambda relay: _gpu_training.train(members, relay)) and cpu:
        train_part(cpu, lambda relay: _native.train([jobs[i] for i in cpu], threads, relay))
    return [_not_begun(run) if result is None else result for run, result in zip(runs, found, strict=True)]


def _member(run: Run, job: _native.Job) -> _gpu_training.Member:
    data = run.dataset
    kernel, tf32 = _device.split_kernel(run.kernel)
    shape = _gpu_training.Shape(
        run.network, data.dtype.name, run.rows_per_step, len(data.train), len(data.validation), kernel, tf32
    )
    return _gpu_training.Member(job, shape, id(data))


def _not_begun(run: Run) -> "_native.Result":
    """The result of a run that others' interruption kept from starting."""
    start = _start(run)
    layers = run.network.hidden_layers
    counts = np.zeros((0, layers), np.int64)
    return {
        "parameters": start.copy() if run.resume is None else run.resume.best.copy(),
        "last_parameters": start.copy(),
        "best_epoch": -1 if run.resume is None else run.resume.best_epoch,
        "status": "interrupted",
        "train_loss": np.zeros(0),
        "validation_loss": np.zeros(0),
        "dead_units": counts,
        "on_units": counts.copy(),
        "mixed_units": counts.copy(),
        "seconds": 0.0,
        "kernel": run.kernel,
        "isa": "",
        "state": None,
    }


def make_reporter(runs: list[Run], progress: bool | _Report) -> AbstractContextManager[_Report | None]:
    """What snapshots of these runs are given to: the callable, a bar where there should be one, or None."""
    if callable(progress):
        return nullcontext(progress)
    if not progress:
        return nullcontext(None)
    # Not at the top: `import pyneedle` must not import rich.
    from pyneedle._progress import ProgressBar

    return ProgressBar([(run.epochs, run.steps_per_epoch) for run in runs])


def _job(run: Run) -> _native.Job:
    network, data = run.network, run.dataset
    if network.blocks == 1:  # a job asks the CPU's kernels whether they take it, whatever the device
        _blas.ensure_loaded()
    return _native.Job(
        _networks.native(network),
        _start(run),
        data.train.x,
        data.train.y,
        data.validation.x,
        data.validation.y,
        run.epochs,
        run.rows_per_step,
        _optimizers.native(run.optimizer),
        _penalties.native(run.penalty),
        run.seed,
        _device.split_kernel(run.kernel)[0],
        run.shuffle,
        _resumption(run.resume),
        run.keep_state,
    )


def _start(run: Run) -> Array:
    if run.resume is not None:
        return _checks.dense(run.resume.parameters)
    if run.initial is None:
        return _networks.initial(run.network, run.seed, "paper", run.dataset.dtype)
    return _parameters.flatten(_networks.shapes(run.network), run.initial)


def _resumption(state: TrainingState | None) -> _native.Resumption | None:
    if state is None:
        return None
    return _native.Resumption(
        _checks.dense(state.m),
        _checks.dense(state.v),
        _checks.dense(state.best),
        state.epochs,
        state.steps,
        state.best_epoch,
        state.best_validation_loss,
    )


def _fit(run: Run, result: "_native.Result", threads: int) -> Fit:
    history: dict[str, Array] = {name: result[name] for name in HISTORY}  # type: ignore[literal-required]
    seconds = result["seconds"]
    if run.resume is not None:
        history = {name: np.concatenate([run.resume.history[name], history[name]]) for name in history}
        seconds += run.resume.seconds
    shapes = _networks.shapes(run.network)
    return Fit(
        network=run.network,
        parameters=_parameters.unflatten(shapes, result["parameters"]),
        last_parameters=_parameters.unflatten(shapes, result["last_parameters"]),
        best_epoch=result["best_epoch"],
        status=result["status"],
        history=history,
        seconds=seconds,
        kernel=result["kernel"],
        isa=result["isa"],
        device=run.device,
        threads=threads,
        epochs=run.epochs,
        batch_size=run.rows_per_step,
        optimizer=run.optimizer,
        penalty=run.penalty,
        seed=run.seed,
        shuffle=run.shuffle,
        data=run.dataset.description,
        dataset=run.dataset,
        state=_state(result, history, seconds),
    )


def _state(result: "_native.Result", history: dict[str, Array], seconds: float) -> TrainingState | None:
    # Only a run that ended with a finished epoch stands between two of them.
    native = result["state"]
    if native is None or result["status"] != "completed":
        return None
    return TrainingState(
        parameters=result["last_parameters"],
        m=native["m"],
        v=native["v"],
        best=result["parameters"],
        epochs=native["epochs"],
        steps=native["steps"],
        best_epoch=result["best_epoch"],
        best_validation_loss=native["best_validation_loss"],
        history=history,
        seconds=seconds,
    )

"""The native module. Parameters travel as one flat vector per network (w1 | b1 | w2 | b2 | w3, each in C order)."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, final, type_check_only

import numpy as np
from numpy.typing import NDArray

_Array: TypeAlias = NDArray[Any]

__version__: str
most_piecewise_alpha: int

@final
class Network:
    """A stack of equal blocks; LN has shared=True, GN has block_in == inputs."""

    def __init__(
        self, inputs: int, block_in: int, width: int, shared: bool, hidden_layers: int, activation: str
    ) -> None: ...
    @property
    def parameter_count(self) -> int: ...
    @property
    def kernels(self) -> list[str]: ...
    def kernel_bytes(self, kernel: str, dtype: str, rows: int, threads: int) -> int:
        """Memory of a kernel beside the parameters and their gradient, from above; `rows` of a batch."""

@final
class Adam:
    def __init__(
        self,
        learning_rate: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        decay: float,
        weight_decay: float,
        epsilon_placement: Literal["uncorrected", "corrected"],
    ) -> None: ...

@final
class Penalty:
    def __init__(self, kind: Literal["none", "l1", "l2", "path-norm"], strength: float) -> None: ...

@final
class Resumption:
    """Where a job goes on; its `initial` are then the parameters reached. Arrays (parameter_count,)."""

    def __init__(
        self,
        m: _Array,
        v: _Array,
        best: _Array,  # best parameters
        epochs: int,  # finished
        steps: int,
        best_epoch: int,
        best_validation_loss: float,
    ) -> None: ...

@final
class Job:
    """One training run; arrays are kept alive, not copied. All arrays have one dtype."""

    def __init__(
        self,
        network: Network,
        initial: _Array,  # (parameter_count,)
        train_x: _Array,  # (n, d) C-contiguous
        train_y: _Array,  # (n,) scaled target
        validation_x: _Array,
        validation_y: _Array,
        epochs: int,
        batch_size: int,
        adam: Adam,
        penalty: Penalty,
        seed: int,
        kernel: str,
        shuffle: bool,
        resume: Resumption | None = None,
        keep_state: bool = False,
    ) -> None: ...

@final
class Progress:
    @property
    def steps(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def train_loss(self) -> float: ...  # of the last finished epoch
    @property
    def validation_loss(self) -> float: ...
    @property
    def best_validation_loss(self) -> float: ...
    @property
    def started(self) -> bool: ...
    @property
    def finished(self) -> bool: ...

@type_check_only  # a dict
class State(TypedDict):
    m: _Array
    v: _Array
    epochs: int  # finished, in all
    steps: int
    best_validation_loss: float

@type_check_only  # a dict
class Result(TypedDict):
    parameters: _Array  # best validation loss
    last_parameters: _Array
    best_epoch: int  # -1: none
    status: Literal["completed", "diverged", "interrupted"]
    train_loss: NDArray[np.float64]  # (finished epochs,)
    validation_loss: NDArray[np.float64]
    dead_units: NDArray[np.int64]  # (finished epochs, hidden layers)
    on_units: NDArray[np.int64]
    mixed_units: NDArray[np.int64]
    seconds: float
    kernel: str
    isa: str
    state: State | None  # where the job asks for it

# Runs the jobs. One job gets all the threads; of several, each gets one thread, `threads` at a time.
# report is called with a snapshot of every job about every `interval` seconds, with the GIL; an exception that it
# raises stops the jobs and is passed on. Ctrl-C (in the main thread) stops the jobs, whose results say "interrupted".
def train(
    jobs: list[Job], threads: int, report: Callable[[list[Progress]], object] | None = None, interval: float = 0.25
) -> list[Result]: ...

# (prediction (n,), kernel that ran)
def forward(
    network: Network, parameters: _Array, x: _Array, kernel: str = "auto", threads: int = 1
) -> tuple[_Array, str]: ...

# (mean squared error + penalty, flat gradient, kernel that ran)
def loss_and_gradient(
    network: Network,
    parameters: _Array,
    x: _Array,
    y: _Array,
    penalty: Penalty,
    kernel: str = "auto",
    threads: int = 1,
) -> tuple[float, _Array, str]: ...

# The mean squared error of each (x (n, d), y (n,)), by the kernel that "auto" stands for
def mean_squared_errors(
    network: Network, parameters: _Array, sets: Sequence[tuple[_Array, _Array]], threads: int = 1
) -> list[float]: ...
def path_norm(network: Network, parameters: _Array) -> float: ...

# One Adam step in place on flat arrays; t = 1 at the first step. With a network, penalty and weight decay apply to its
# weights only; without one, to all of the array, and the path norm is an error.
def adam_step(
    network: Network | None,
    parameters: _Array,
    gradient: _Array,
    m: _Array,
    v: _Array,
    t: int,
    adam: Adam,
    penalty: Penalty,
    threads: int = 1,
) -> None: ...

# Glorot uniform weights, fans times `field`; biases 0
def initial_parameters(network: Network, seed: int, field: int, dtype: str) -> _Array: ...

# Draws first .. first+count-1 of a stream of the counter-based generator, uniform on [0, 1).
def uniform(
    seed: int, purpose: Literal["data", "initialization"], member: int, first: int, count: int, dtype: str
) -> _Array: ...
def epoch_order(seed: int, epoch: int, rows: int) -> NDArray[np.uint32]: ...

# Path of the OpenBLAS library; called once, by pyneedle._blas, before the first dense kernel.
def load_blas(path: str) -> None: ...
def blas_info() -> str: ...
def compiled_levels() -> list[str]: ...
def supported_levels() -> list[str]: ...

# The level that runs here: the best supported one, or PYNEEDLE_ISA. ValueError where that names none that can run.
def active_level() -> str: ...

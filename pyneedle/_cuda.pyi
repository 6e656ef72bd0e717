"""The GPU module: absent where the package was built without a CUDA compiler. Classes other than its own are _native's.

Addresses are plain integers: of device memory, and of a CUDA stream (0: the default one).
"""

from collections.abc import Callable
from typing import final

from pyneedle import _native

__version__: str

@final
class DeviceInfo:
    """A GPU."""

    @property
    def index(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def compute_capability(self) -> tuple[int, int]: ...
    @property
    def total_bytes(self) -> int: ...
    @property
    def free_bytes(self) -> int: ...

# Of the CUDA runtime inside the module: "13.0".
def runtime_version() -> str: ...

# "" where a device can be used; else what is missing: "no NVIDIA driver: ...", "no GPU: ...".
def unavailable() -> str: ...

# RuntimeError where no device can be used.
def device_count() -> int: ...

# Takes memory for a context on this device and no other. ValueError where there is none of this number, RuntimeError
# where it can't be used.
def device(index: int) -> DeviceInfo: ...

# What threads of a block that work together get wrong, on known sums: "total, 256 threads, shared memory"; [] on a
# device that works.
def team_faults(device: int) -> list[str]: ...

# Best first; "auto" is the first. Empty: this network has no kernel on the GPU.
def kernels(network: _native.Network) -> list[str]: ...

# Trains the jobs side by side, with results as _native.train's, "isa" being the device's ("sm_90"). ValueError where
# they differ in network, dtype, kernel, batch_size or numbers of rows, or where a kernel is not there on the GPU.
def train(
    jobs: list[_native.Job],
    device: int = 0,
    tf32: bool = False,
    report: Callable[[list[_native.Progress]], object] | None = None,
    interval: float = 0.25,
) -> list[_native.Result]: ...

# Device memory that a run needs: (bytes of each member, bytes of data, which members may share).
def run_bytes(
    network: _native.Network, dtype: str, batch_size: int, train_rows: int, validation_rows: int
) -> tuple[int, int]: ...

# Path of the libcublasLt to use, or its name for the loader; called once, before the first dense kernel.
def load_cublas(path: str) -> None: ...

# On addresses of device memory, queued on `stream`. `tensors`: w1, b1, w2, b2, w3, in the order of the parameters.
def forward(
    network: _native.Network,
    dtype: str,
    tensors: list[int],
    x: int,
    rows: int,
    prediction: int,
    kernel: str,
    tf32: bool,
    device: int,
    stream: int,
) -> str: ...
def loss_and_gradient(
    network: _native.Network,
    dtype: str,
    tensors: list[int],
    x: int,
    y: int,
    rows: int,
    gradients: list[int],
    penalty: _native.Penalty,
    kernel: str,
    tf32: bool,
    device: int,
    stream: int,
) -> tuple[float, str]: ...
def path_norm(network: _native.Network, dtype: str, tensors: list[int], device: int, stream: int) -> float: ...

# Step t, from 1, in place. Without a network each list has one array, of `count` numbers.
def adam_step(
    network: _native.Network | None,
    dtype: str,
    count: int,
    tensors: list[int],
    gradients: list[int],
    m: list[int],
    v: list[int],
    t: int,
    adam: _native.Adam,
    penalty: _native.Penalty,
    device: int,
    stream: int,
) -> None: ...

# Returns when the work that is queued on the stream is done.
def synchronize(device: int, stream: int) -> None: ...

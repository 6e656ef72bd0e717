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
def devices() -> list[DeviceInfo]: ...

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

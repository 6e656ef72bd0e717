"""The devices that there are: which kernels run where, and what is missing where one can't be used."""

import importlib
import threading
from typing import TYPE_CHECKING, Literal, cast

from pyneedle import _checks, _cublas, _native

if TYPE_CHECKING:
    from pyneedle._cuda import DeviceInfo

Device = Literal["cpu", "cuda"]
DEVICES: tuple[Device, ...] = ("cpu", "cuda")
# Of the devices that CUDA_VISIBLE_DEVICES leaves, the one that trains.
INDEX = 0

_MODULE = "pyneedle._cuda"
# A kernel of this ending lets the products of a dense network round their factors to TF32.
_TF32 = "_tf32"
_lock = threading.Lock()
_usable: list[str] = []
_cublas_path: list[str] = []


def device_named(value: object) -> Device:
    """`value`, the name of a device; TypeError or ValueError where it is none."""
    hint = "CUDA_VISIBLE_DEVICES chooses among several GPUs"
    wanted = isinstance(value, str) and value.lower().startswith(("cuda", "gpu"))
    return cast("Device", _checks.choice("device", value, DEVICES, hint if wanted else ""))


def built() -> str:
    """The CUDA version of this build's module; empty where there is none that can be loaded."""
    try:
        return str(importlib.import_module(_MODULE).runtime_version())
    except ImportError:
        return ""


def unavailable() -> str:
    """What is missing for device "cuda"; empty where nothing is."""
    if _usable:
        return ""
    try:
        cuda = importlib.import_module(_MODULE)
    except ModuleNotFoundError as error:
        if error.name != _MODULE:
            return f"the CUDA module of pyneedle cannot be loaded: {error}"
        return (
            "this build of pyneedle has no CUDA module; one is built where nvcc of CUDA 12.8 or later is found "
            "(PYNEEDLE_CUDA=on insists)"
        )
    except ImportError as error:
        return f"the CUDA module of pyneedle cannot be loaded: {error}"
    reason: str = cuda.unavailable()
    if not reason:
        _usable.append(_MODULE)
    return reason


def check(device: Device) -> None:
    """RuntimeError where this machine or this build does not have the device; says what is missing."""
    if device == "cuda" and (reason := unavailable()):
        raise RuntimeError(f"device 'cuda' is not available: {reason}")


def info() -> "DeviceInfo":
    """The GPU that trains, asked anew for its free memory, and no other GPU; RuntimeError where there is none."""
    check("cuda")
    from pyneedle import _cuda

    return _cuda.device(INDEX)


def ensure_cublas() -> str:
    """Load cuBLAS into the CUDA module, once per process; returns its path.

    Raises
    ------
    RuntimeError
        Where there is no GPU.
    ImportError
        Where there is no cuBLAS.
    """
    check("cuda")
    from pyneedle import _cuda

    with _lock:
        if not _cublas_path:
            path = _cublas.find(_cuda.runtime_version())
            _cuda.load_cublas(path)
            _cublas_path.append(path)
        return _cublas_path[0]


def tf32_kernels(kernels: list[str]) -> list[str]:
    """The names by which kernels of a dense network are asked to use TF32."""
    return [kernel + _TF32 for kernel in kernels]


def split_kernel(kernel: str) -> tuple[str, bool]:
    """The kernel's own name, and whether it is to use TF32."""
    return kernel.removesuffix(_TF32), kernel.endswith(_TF32)


def cpu_hint(kernel: object) -> str:
    """What ends the message that the CPU has no such kernel."""
    return "TF32 needs device 'cuda'" if isinstance(kernel, str) and split_kernel(kernel)[1] else ""


def ran(kernel: str, tf32: bool) -> str:
    """The name of a kernel that ran, as users ask for it."""
    return kernel + _TF32 if tf32 else kernel


def kernels(network: _native.Network, dense: bool) -> list[str]:
    """Names of the kernels of a network on the GPU; `dense`: one block that sees all inputs, whose products are cuBLAS.

    Raises
    ------
    RuntimeError
        Where there is no GPU.
    """
    check("cuda")
    from pyneedle import _cuda

    names = list(_cuda.kernels(network))
    return names + tf32_kernels(names) if dense else names


def check_kernel(network: _native.Network, dense: bool, label: str, kernel: str, dtype: str) -> None:
    """ValueError where the GPU has no such kernel for the network, or not for the dtype; loads what it needs.

    Parameters
    ----------
    network, dense
        As for `kernels`.
    label : str
        How messages call the network.
    kernel : str
        "auto" or a name.
    dtype : str
        Of the parameters.

    Raises
    ------
    TypeError, ValueError, RuntimeError, ImportError
        Also where there is no GPU, or no cuBLAS for a dense network.
    """
    if not isinstance(kernel, str):
        raise TypeError(f"kernel must be a text, got {kernel!r}")
    there = kernels(network, dense)
    if not there:
        raise ValueError(f"network must be one that device 'cuda' has a kernel for, got {label}")
    if kernel not in ("auto", *there):
        listed = ", ".join(map(repr, ("auto", *there)))
        raise ValueError(f"kernel must be one of {listed} for {label} on device 'cuda', got {kernel!r}")
    if split_kernel(kernel)[1] and dtype != "float32":
        raise ValueError(f"kernel must be one without TF32 for {dtype}, got {kernel!r}")
    if dense:
        ensure_cublas()

"""What `pyneedle doctor` says about GPUs."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

import pyneedle as pn
from pyneedle import _device, _networks
from pyneedle._networks import Network

if TYPE_CHECKING:
    from rich.table import Table

# Largest relative difference of a loss after a few steps to that of the reference on the CPU.
_TOLERANCE = {"float32": 1e-3, "float64": 1e-8}
_EPOCHS = 2


def system() -> tuple[list[tuple[str, str]], bool]:
    """Lines of the report, and whether nothing is wrong with them; a machine without a GPU is no fault."""
    reason = _device.unavailable()
    if reason:
        version = _device.built()
        there = f" (module built, CUDA {version})" if version else ""
        return [("CUDA", f"not available{there}: {reason}")], True
    from pyneedle import _cuda

    good = True
    try:
        cublas = _device.ensure_cublas()
    except (ImportError, OSError, RuntimeError) as error:
        good, cublas = False, f"error: {error}"
    lines = [("CUDA", f"runtime {_cuda.runtime_version()}")]
    for index in range(_cuda.device_count()):
        chosen = index == _device.INDEX
        try:
            gpu = _cuda.device(index)
        except (MemoryError, RuntimeError) as error:  # another program may have it for itself
            good, line = good and not chosen, f"error: {error}"
        else:
            major, minor = gpu.compute_capability
            memory = f"{gpu.free_bytes / 1e9:.1f} of {gpu.total_bytes / 1e9:.1f} GB free"
            line = f"{gpu.name}, sm_{major}{minor}, {memory}"
        lines.append((f"GPU {index}{' (chosen)' if chosen else ''}", line))
    blocks, blocks_good = _thread_blocks()
    return [*lines, ("thread blocks", blocks), ("cuBLAS", cublas)], good and blocks_good


def _thread_blocks() -> tuple[str, bool]:
    """Whether threads get sums and scans right that they form together: every kernel of the GPU rests on them."""
    from pyneedle import _cuda

    try:
        faults = _cuda.team_faults(_device.INDEX)
    except (MemoryError, RuntimeError) as error:
        return f"error: {error}", False
    return "FAILED: " + "; ".join(faults) if faults else "sums, scans and barriers are right", not faults


def self_check(table: "Table", networks: Iterable[Network], activation: str) -> bool:
    """Compare short trainings on the GPU with the reference; a row for each kernel and precision."""
    if _device.unavailable():
        return True
    good = True
    by_kernel: dict[tuple[str, str], list[Network]] = {}
    for network in networks:
        for kernel in _device.kernels(_networks.native(network), dense=False):
            by_kernel.setdefault((network.name, kernel), []).append(network)
    for (name, kernel), same in by_kernel.items():
        for dtype, tolerance in _TOLERANCE.items():
            try:
                error = max(_difference(network, kernel, dtype) for network in same)
                fine, shown = error <= tolerance, f"{error:.1e}"
            except (ImportError, MemoryError, OSError, RuntimeError, ValueError) as problem:
                fine, shown = False, str(problem)
            good = good and fine
            table.add_row(f"{name}, GPU", kernel, dtype, activation, shown, "ok" if fine else "FAILED")
    return good


def _difference(network: Network, kernel: str, dtype: str) -> float:
    """Largest relative error of the losses of a short training."""
    generator = np.random.Generator(np.random.PCG64(2))
    x = generator.uniform(-1.0, 1.0, (100, network.d))
    data = pn.Dataset.from_arrays(x, (x * x).sum(axis=1), dtype=dtype)
    # Not the initial parameters: their zero biases put every kink of the network at x = 0.
    p = {key: generator.uniform(-0.7, 0.7, shape).astype(dtype) for key, shape in network.parameter_shapes.items()}

    def losses(device: _device.Device, kernel: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        fit = pn.train(
            network, data, _EPOCHS, 17, pn.Adam(0.001), pn.L2(1e-3), initial=p, kernel=kernel, device=device, threads=1
        )
        return np.concatenate([fit.history["train_loss"], fit.history["validation_loss"]])

    wanted = losses("cpu", "reference")
    return float(np.abs(losses("cuda", kernel) / wanted - 1.0).max())

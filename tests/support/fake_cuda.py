"""A module like pyneedle._cuda whose GPU is this machine's memory and processor, for tests of what surrounds it.

Its arrays say through DLPack that they are on a CUDA device; the numbers are NumPy's. It computes through _native.
"""

import contextlib
import sys
import types
import weakref
from dataclasses import dataclass, field

import numpy as np

from pyneedle import _blas, _device, _dlpack, _native

GIGABYTE = 10**9


@dataclass(frozen=True)
class Info:
    """Like `_cuda.DeviceInfo`."""

    free_bytes: int
    index: int = 0
    name: str = "Fake H100"
    compute_capability: tuple[int, int] = (9, 0)
    total_bytes: int = 80 * GIGABYTE


@dataclass
class FakeCuda:
    """What the module computes with, and what it was asked."""

    missing: str = ""
    name: str = "Fake H100"
    free_bytes: int = 70 * GIGABYTE
    others: list[Info | Exception] = field(default_factory=list)  # GPUs beside the one that trains
    devices_asked: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # of its thread blocks
    bytes_each: int = 0
    bytes_of_data: int = 0
    most_jobs: int = 10**9  # more raise MemoryError, as where another program takes memory
    supported: bool = True
    trained: list[tuple[int, bool]] = field(default_factory=list)  # number of jobs, tf32
    streams: list[int] = field(default_factory=list)
    kernels_asked: list[tuple[str, bool]] = field(default_factory=list)
    synchronized: int = 0
    cublas: list[str] = field(default_factory=list)
    __version__: str = _native.__version__

    def runtime_version(self):
        return "13.0"

    def unavailable(self):
        return self.missing

    def device_count(self):
        return 1 + len(self.others)

    def device(self, index):
        self.devices_asked.append(index)
        if index == 0:
            return Info(self.free_bytes, name=self.name)
        other = self.others[index - 1]
        if isinstance(other, Exception):
            raise other
        return other

    def team_faults(self, device):
        assert device == 0
        return self.faults

    def load_cublas(self, path):
        self.cublas.append(path)

    def kernels(self, network):
        return [name for name in network.kernels if name != "reference"] if self.supported else []

    def run_bytes(self, network, dtype, batch_size, train_rows, validation_rows):
        if not self.supported:
            raise ValueError("no kernel for this network")
        return self.bytes_each, self.bytes_of_data

    def train(self, jobs, device=0, tf32=False, report=None, interval=0.25):
        assert device == 0
        if len(jobs) > self.most_jobs:
            raise MemoryError("out of memory on the device")
        self.trained.append((len(jobs), tf32))
        results = _native.train(list(jobs), 1, report, interval)
        for result in results:
            result["isa"] = "sm_90"
        return results

    def forward(self, network, dtype, tensors, x, rows, prediction, kernel, tf32, device, stream):
        self._asked(kernel, tf32, device, stream)
        flat = np.concatenate([read(address).reshape(-1) for address in tensors])
        assert flat.dtype == dtype
        values, ran = _native.forward(network, flat, read(x), kernel, 1)
        assert len(values) == rows
        read(prediction)[...] = values
        return ran

    def loss_and_gradient(self, network, dtype, tensors, x, y, rows, gradients, penalty, kernel, tf32, device, stream):
        self._asked(kernel, tf32, device, stream)
        flat = np.concatenate([read(address).reshape(-1) for address in tensors])
        loss, gradient, ran = _native.loss_and_gradient(network, flat, read(x), read(y), penalty, kernel, 1)
        assert len(read(y)) == rows
        write(gradients, gradient)
        return loss, ran

    def path_norm(self, network, dtype, tensors, device, stream):
        self.streams.append(stream)
        return _native.path_norm(network, np.concatenate([read(address).reshape(-1) for address in tensors]))

    def adam_step(self, network, dtype, count, tensors, gradients, m, v, t, adam, penalty, device, stream):
        self.streams.append(stream)
        p, g, m_flat, v_flat = (
            np.concatenate([read(a).reshape(-1) for a in group]) for group in (tensors, gradients, m, v)
        )
        assert p.size == count
        _native.adam_step(network, p, g, m_flat, v_flat, t, adam, penalty, 1)
        for addresses, flat in ((tensors, p), (m, m_flat), (v, v_flat)):
            write(addresses, flat)

    def synchronize(self, device, stream):
        self.synchronized += 1

    def _asked(self, kernel, tf32, device, stream):
        assert device == 0
        self.kernels_asked.append((kernel, tf32))
        self.streams.append(stream)


def install(monkeypatch, **settings):
    """Put a fake module in the place of `pyneedle._cuda`; returns it."""
    import pyneedle

    _blas.ensure_loaded()  # what stands in for cuBLAS
    fake = FakeCuda(**settings)
    module = types.ModuleType("pyneedle._cuda")
    for name in dir(fake):
        if not name.startswith("_") or name == "__version__":
            setattr(module, name, getattr(fake, name))
    monkeypatch.setitem(sys.modules, "pyneedle._cuda", module)
    monkeypatch.setattr(pyneedle, "_cuda", module, raising=False)
    monkeypatch.setattr(_device, "_usable", [])
    monkeypatch.setattr(_device, "_cublas_path", ["libcublasLt.so.13"])
    return fake


def without_cuda(monkeypatch):
    """A build that has no CUDA module, whatever this one has."""
    monkeypatch.setattr(_device, "_usable", [])
    monkeypatch.setattr(_device, "_MODULE", "pyneedle._no_such_module")


_arrays = weakref.WeakValueDictionary()


class DeviceArray:
    """An array of a library that has a namespace of the array API and no stream of its own that is known."""

    def __init__(self, host, index=0):
        self.host, self.index = host, index
        self.device = f"gpu:{index}"
        _arrays[host.__array_interface__["data"][0]] = self

    @property
    def shape(self):
        return self.host.shape

    @property
    def dtype(self):
        return self.host.dtype

    def __dlpack_device__(self):
        return _dlpack._CUDA, self.index

    def __dlpack__(self, stream=None):
        type(self).seen.append(stream)
        if stream == 0:
            raise ValueError("stream 0 is ambiguous")
        capsule = self.host.__dlpack__()
        tensor = _dlpack._Tensor.from_address(_dlpack._get_pointer(capsule, b"dltensor"))
        tensor.device.kind, tensor.device.index = self.__dlpack_device__()
        return capsule

    def __array_namespace__(self):
        return types.SimpleNamespace(
            empty=lambda shape, dtype, device: type(self)(np.full(shape, np.nan, dtype)),
            zeros=lambda shape, dtype, device: type(self)(np.zeros(shape, dtype)),
        )

    seen: list = []  # noqa: RUF012 - streams asked for


def read(address):
    """The numbers of the array that begins there."""
    return _arrays[address].host


def write(addresses, flat):
    """Write a flat vector into arrays, one after another."""
    offset = 0
    for address in addresses:
        host = read(address)
        host[...] = flat[offset : offset + host.size].reshape(host.shape)
        offset += host.size
    assert offset == flat.size


def of_library(name):
    """A class of arrays that belongs to a module of that name."""
    return type("ndarray", (DeviceArray,), {"__module__": f"{name}._core", "seen": []})


def cupy_module(kind, stream):
    """As much of CuPy as is used, with its current stream."""
    module = types.ModuleType("cupy")
    module.cuda = types.SimpleNamespace(
        Device=lambda index: contextlib.nullcontext(),
        get_current_stream=lambda: types.SimpleNamespace(ptr=stream),
    )
    module.empty = lambda shape, dtype: kind(np.full(shape, np.nan, dtype))
    module.zeros = lambda shape, dtype: kind(np.zeros(shape, dtype))
    return module


def torch_module(kind, stream):
    """As much of PyTorch as is used, with its current stream."""
    module = types.ModuleType("torch")
    module.cuda = types.SimpleNamespace(current_stream=lambda device: types.SimpleNamespace(cuda_stream=stream))
    module.empty = lambda shape, dtype, device: kind(np.full(shape, np.nan, dtype))
    module.zeros = lambda shape, dtype, device: kind(np.zeros(shape, dtype))
    return module

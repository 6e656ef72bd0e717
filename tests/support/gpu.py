"""Arrays of the libraries that a GPU test may use: to the GPU and back."""

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from support import fake_cuda

LIBRARIES = ("torch", "cupy")  # best first


@dataclass(frozen=True)
class Library:
    """How arrays of a library are made from NumPy's, and turned back."""

    name: str
    module: Any
    _put: Callable[[Any], Any]
    _get: Callable[[Any], Any]

    def put(self, values):
        """A copy on the GPU of an array, or of a dict of arrays."""
        if isinstance(values, dict):
            return {key: self.put(value) for key, value in values.items()}
        return self._put(np.array(values, order="C"))

    def get(self, values):
        """The same numbers in NumPy's arrays."""
        return {key: self._get(v) for key, v in values.items()} if isinstance(values, dict) else self._get(values)


def chosen(name):
    """The libraries to try: all of them, or the one of that name."""
    if name and name not in LIBRARIES:
        raise ValueError(f"PYNEEDLE_TEST_ARRAYS must be one of {', '.join(LIBRARIES)}, got {name!r}")
    return (name,) if name else LIBRARIES


def library(name):
    """The library of that name; skips where it is not installed or sees no GPU."""
    module = load(name)
    if name == "cupy":
        return Library(name, module, module.asarray, module.asnumpy)
    if name == "torch":
        if not module.cuda.is_available():
            pytest.skip("this PyTorch sees no GPU")
        return Library(name, module, lambda a: module.from_numpy(a).cuda(), lambda t: t.cpu().numpy())
    devices = [device for device in module.devices() if device.platform != "cpu"]
    if not devices:
        pytest.skip("this JAX sees no GPU")
    return Library(name, module, lambda a: module.device_put(a, devices[0]), np.asarray)


def load(name):
    """A library, without its warnings; skips where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError as error:
            pytest.skip(f"needs {name}: {error}")


def made_up_library(name, monkeypatch):
    """The same for the made-up GPU."""
    kind = fake_cuda.of_library(name)
    makers = {"cupy": fake_cuda.cupy_module, "torch": fake_cuda.torch_module}
    module = makers[name](kind, 0)
    monkeypatch.setitem(__import__("sys").modules, name, module)
    return Library(name, module, kind, lambda array: array.host.copy())

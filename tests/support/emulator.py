"""The GPU module built for the emulated GPU of tests/emulator, in the place of the one for real ones."""

import ctypes
import importlib.util
import sys
from functools import cache
from pathlib import Path

from pyneedle import _device


@cache
def _load(folder):
    """The module, with its cuBLAS; once a process, because an extension module can't be loaded anew."""
    path = next(folder.glob("_cuda.*.so"), None)
    if path is None:
        raise FileNotFoundError(
            f"PYNEEDLE_TEST_GPU must be the folder of a module _cuda for the emulated GPU, got {folder}"
        )
    spec = importlib.util.spec_from_file_location("pyneedle._cuda", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.load_cublas(str(folder / "libemulated_cublaslt.so"))
    return module


class Memory:
    """What the emulated runtime counts of the GPU's memory."""

    def __init__(self, folder):
        library = ctypes.CDLL(str(Path(folder) / "libemulated_cudart.so"))
        self._allocations, self._most_bytes = library.emulator_allocations, library.emulator_most_bytes
        self._allocations.restype = self._most_bytes.restype = ctypes.c_int64

    def use_of(self, body):
        """How often memory is taken while the body runs, and the most bytes in use, beside those in use after it."""
        before = self._allocations()
        self._most_bytes()
        body()
        return self._allocations() - before, self._most_bytes()


def install(monkeypatch, folder):
    """Put the module of a build folder in the place of `pyneedle._cuda`."""
    import pyneedle

    module = _load(Path(folder))
    monkeypatch.setitem(sys.modules, "pyneedle._cuda", module)
    monkeypatch.setattr(pyneedle, "_cuda", module, raising=False)
    monkeypatch.setattr(_device, "_usable", [])
    monkeypatch.setattr(_device, "_cublas_path", ["libemulated_cublaslt.so"])

"""The GPU module built for the emulated GPU of tests/emulator, in the place of the one for real ones."""

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


def install(monkeypatch, folder):
    """Put the module of a build folder in the place of `pyneedle._cuda`."""
    import pyneedle

    module = _load(Path(folder))
    monkeypatch.setitem(sys.modules, "pyneedle._cuda", module)
    monkeypatch.setattr(pyneedle, "_cuda", module, raising=False)
    monkeypatch.setattr(_device, "_usable", [])
    monkeypatch.setattr(_device, "_cublas_path", ["libemulated_cublaslt.so"])

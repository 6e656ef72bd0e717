"""Where cuBLAS comes from: the nvidia-cublas package, the CUDA toolkit, or wherever the loader finds it."""

import os
from collections.abc import Iterator
from pathlib import Path

_TOOLKIT = "/usr/local/cuda"
_TOOLKIT_FOLDERS = ("lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib")


def find(runtime_version: str) -> str:
    """Path of the libcublasLt that fits a CUDA runtime such as "13.0", or its bare name where the loader knows it.

    Raises
    ------
    ImportError
        Where there is none of that major version.
    """
    major = runtime_version.partition(".")[0]
    name = f"libcublasLt.so.{major}"
    for folder in (*_packages(major), *_toolkits()):
        if (folder / name).is_file():
            return str(folder / name)
    # Not at the top: `import pyneedle` must not pay for what only a dense network on a GPU needs.
    import ctypes

    try:
        ctypes.CDLL(name)
    except OSError:
        package, command = _package(major)
        raise ImportError(
            f"a dense network (GN) on a GPU needs cuBLAS {major} ({name}), which was found neither in the package "
            f"{package}, nor in a CUDA toolkit (CUDA_HOME, {_TOOLKIT}), nor by the loader; `{command}` brings it"
        ) from None
    return name


def _package(major: str) -> tuple[str, str]:
    """The package of that major version, and the command that installs it."""
    if major == "12":
        return "nvidia-cublas-cu12", "pip install nvidia-cublas-cu12"  # the extra "cuda" is for CUDA 13
    return "nvidia-cublas", 'pip install "pyneedle[cuda]"'


def _packages(major: str) -> Iterator[Path]:
    """Folders of libraries of the installed nvidia packages: one for all since CUDA 13, before one for each."""
    import importlib.util

    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield Path(folder, f"cu{major}", "lib")
        yield Path(folder, "cublas", "lib")


def _toolkits() -> Iterator[Path]:
    for root in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), _TOOLKIT):
        if root:
            yield from (Path(root, folder) for folder in _TOOLKIT_FOLDERS)

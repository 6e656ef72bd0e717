"""Where cuBLAS is looked for, and what is said where there is none."""

import ctypes
import importlib.util
import types

import pytest

from pyneedle import _cublas

NAME = "libcublasLt.so.13"


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine without any; returns a folder for some."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(_cublas, "_TOOLKIT", str(tmp_path / "none"))
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def refuse(name):
    raise OSError(f"{name}: cannot open shared object file")


def put(folder, *parts):
    path = folder.joinpath(*parts, NAME)
    path.parent.mkdir(parents=True)
    path.touch()
    return str(path)


def test_none(nowhere):
    with pytest.raises(ImportError, match=r"needs cuBLAS 13 \(libcublasLt.so.13\).*pip install \"pyneedle\[cuda\]\""):
        _cublas.find("13.0")
    with pytest.raises(
        ImportError, match=r"package nvidia-cublas-cu12, nor .*`pip install nvidia-cublas-cu12` brings it"
    ):
        _cublas.find("12.9")


@pytest.mark.parametrize("layout", [("cu13", "lib"), ("cublas", "lib")])
def test_the_package(nowhere, monkeypatch, layout):
    spec = types.SimpleNamespace(submodule_search_locations=[str(nowhere / "nvidia")])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "nvidia" else None)
    path = put(nowhere, "nvidia", *layout)
    assert _cublas.find("13.0") == path
    with pytest.raises(ImportError, match="cuBLAS 12"):  # of another major version
        _cublas.find("12.8")


@pytest.mark.parametrize("variable", ["CUDA_HOME", "CUDA_PATH"])
def test_a_toolkit(nowhere, monkeypatch, variable):
    path = put(nowhere, "toolkit", "lib64")
    monkeypatch.setenv(variable, str(nowhere / "toolkit"))
    assert _cublas.find("13.1") == path


def test_the_loader(nowhere, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: None)
    assert _cublas.find("13.0") == NAME

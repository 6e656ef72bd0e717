"""Tests that need a GPU skip where there is none. PYNEEDLE_TEST_GPU names another to run on: the folder with a build of
tests/emulator, whose GPU runs the very kernels on the processor; or made-up, which is NumPy and the CPU's kernels
underneath, so that it is known that what the tests ask for makes sense.
"""

import os

import pytest
from support import emulator, fake_cuda, gpu

from pyneedle import _device

GPU = os.environ.get("PYNEEDLE_TEST_GPU", "")
ARRAYS_MADE_UP = GPU != ""  # of NumPy, with DLPack's word that they are on a GPU


@pytest.fixture(autouse=True)
def cuda(monkeypatch):
    """The module of the GPU."""
    if GPU == "made-up":
        fake_cuda.install(monkeypatch)
    elif GPU:
        emulator.install(monkeypatch, GPU)
    elif reason := _device.unavailable():
        pytest.skip(f"needs a GPU: {reason}")
    from pyneedle import _cuda

    return _cuda


@pytest.fixture(params=gpu.LIBRARIES)
def library(request, monkeypatch, cuda):
    """Arrays on the GPU, of each library."""
    return gpu.made_up_library(request.param, monkeypatch) if ARRAYS_MADE_UP else gpu.library(request.param)


@pytest.fixture
def any_library(monkeypatch, cuda):
    """Arrays on the GPU, of the first library that there is, or of the one that PYNEEDLE_TEST_ARRAYS names."""
    names = gpu.chosen(os.environ.get("PYNEEDLE_TEST_ARRAYS", ""))
    if ARRAYS_MADE_UP:
        return gpu.made_up_library(names[0], monkeypatch)
    for name in names:
        try:
            return gpu.library(name)
        except pytest.skip.Exception:
            continue
    pytest.skip(f"needs one of {', '.join(names)}")


@pytest.fixture
def real_arrays():
    """For tests of what arrays of NumPy do not show."""
    if ARRAYS_MADE_UP:
        pytest.skip("made-up arrays have no streams, no views and no memory of a GPU")


@pytest.fixture
def real_kernels():
    """For tests of what the kernels of the CPU do not show."""
    if GPU == "made-up":
        pytest.skip("the made-up GPU has no memory and no cuBLAS of its own")


@pytest.fixture
def counted_memory(cuda):
    """The GPU's memory, by the byte."""
    if GPU in ("", "made-up"):
        pytest.skip("only an emulated GPU counts every byte, and belongs to the test alone")
    return emulator.Memory(GPU)


@pytest.fixture
def order_of_threads(monkeypatch):
    """Sets in which order threads go between barriers, and blocks: forward or backward."""
    if GPU in ("", "made-up"):
        pytest.skip("only an emulated GPU lets its threads go in an order that is wished for")
    return lambda order: monkeypatch.setenv("EMULATOR_ORDER", order)


@pytest.fixture
def fast_gpu():
    """For trainings that are minutes of an emulated GPU."""
    if GPU not in ("", "made-up"):
        pytest.skip("too long for an emulated GPU")

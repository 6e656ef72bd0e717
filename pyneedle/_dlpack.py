"""Arrays of other libraries on a GPU, borrowed through the DLPack protocol: addresses, without copies.

https://dmlc.github.io/dlpack/latest/python_spec.html
"""

import ctypes
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np

_CUDA, _CUDA_MANAGED = 2, 13  # kDLCUDA, kDLCUDAManaged
_FLOAT = 2  # kDLFloat
# In the protocol 0 is no stream, for it could be either default stream; 1 is the legacy one.
_LEGACY_STREAM = 1
_DTYPES = {32: "float32", 64: "float64"}


class DeviceArray(Protocol):
    """An array of any library that speaks DLPack."""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __dlpack_device__(self) -> tuple[Any, Any]: ...


A = TypeVar("A", bound=DeviceArray)


class _Device(ctypes.Structure):
    _fields_: ClassVar = [("kind", ctypes.c_int32), ("index", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_: ClassVar = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_: ClassVar = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_get_pointer.restype = ctypes.c_void_p


def on_gpu(value: object) -> bool:
    """Whether this is an array on a CUDA device."""
    if isinstance(value, np.ndarray) or not hasattr(type(value), "__dlpack_device__"):
        return False
    kind, _ = value.__dlpack_device__()  # type: ignore[attr-defined]
    return int(kind) in (_CUDA, _CUDA_MANAGED)


def any_on_gpu(p: object) -> bool:
    """Whether this is an array on a CUDA device, or a dict with one."""
    if isinstance(p, np.ndarray):
        return False
    return any(map(on_gpu, p.values())) if isinstance(p, Mapping) else on_gpu(p)


@dataclass(frozen=True)
class _Library:
    """What must be asked of the library that an array is of: its stream, and new arrays."""

    stream: int  # address; 0 is the legacy default stream
    empty: Callable[[tuple[int, ...]], Any]
    zeros: Callable[[tuple[int, ...]], Any]
    waits: bool  # on its own for what is queued on the stream
    writable: bool = True


def _library_name(array: object) -> str:
    return type(array).__module__.partition(".")[0]


def _library(array: Any, index: int) -> _Library:
    name = _library_name(array)
    if name == "cupy":
        cupy: Any = sys.modules["cupy"]
        with cupy.cuda.Device(index):
            stream = int(cupy.cuda.get_current_stream().ptr)

        def make(kind: str, shape: tuple[int, ...]) -> Any:
            with cupy.cuda.Device(index):
                return getattr(cupy, kind)(shape, array.dtype)

        return _Library(stream, lambda shape: make("empty", shape), lambda shape: make("zeros", shape), True)
    if name == "torch":
        torch: Any = sys.modules["torch"]
        options = {"dtype": array.dtype, "device": array.device}
        return _Library(
            int(torch.cuda.current_stream(array.device).cuda_stream),
            lambda shape: torch.empty(shape, **options),
            lambda shape: torch.zeros(shape, **options),
            True,
        )

    def by_standard(kind: str, shape: tuple[int, ...]) -> Any:
        if not hasattr(array, "__array_namespace__"):
            raise TypeError(f"a {describe(array)} for the result can't be made: the type has no __array_namespace__")
        return getattr(array.__array_namespace__(), kind)(shape, dtype=array.dtype, device=array.device)

    # A new array of JAX is nobody's else yet; those that users hold may not be changed.
    return _Library(
        0,
        lambda shape: by_standard("empty", shape),
        lambda shape: by_standard("zeros", shape),
        waits=False,
        writable=name not in ("jax", "jaxlib"),
    )


class Borrowed(NamedTuple):
    """Where an array's numbers are, and its shape."""

    address: int
    shape: tuple[int, ...]


@dataclass(eq=False)
class Loan:
    """Arrays of one call, all on the device of the first and of its dtype, read and written on its library's stream.

    Parameters
    ----------
    name : str
        Of the first array, for messages.
    first : array
        On a GPU; of its library are the arrays that are made.
    """

    name: str
    first: Any
    device: int = field(init=False)
    dtype: str = field(init=False, default="")
    _library: _Library = field(init=False)
    _foreign: bool = field(init=False, default=False)  # an array of another library has been lent, too
    _capsules: list[Any] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Ask the library for its stream."""
        if not on_gpu(self.first):
            raise TypeError(f"{self.name} must be on the GPU like the others, got {type(self.first).__name__}")
        self.device = int(self.first.__dlpack_device__()[1])
        self._library = _library(self.first, self.device)

    @property
    def stream(self) -> int:
        """Address of the stream that the work is queued on; 0 for the legacy default one."""
        return 0 if self._library.stream == _LEGACY_STREAM else self._library.stream

    @property
    def waits(self) -> bool:
        """Whether the libraries themselves wait for what is queued on that stream."""
        return self._library.waits and not self._foreign

    def empty(self, shape: tuple[int, ...]) -> Any:
        """A new array of that library, on that device and of that dtype."""
        return self._library.empty(shape)

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """As `empty`, of zeros."""
        return self._library.zeros(shape)

    def address(self, name: str, value: Any, shape: tuple[int, ...] | None = None, changed: bool = False) -> int:
        """Where an array's numbers are, as `borrow` finds out."""
        return self.borrow(name, value, shape, changed).address

    def borrow(self, name: str, value: Any, shape: tuple[int, ...] | None = None, changed: bool = False) -> "Borrowed":
        """Where an array's numbers are, and its shape; it stays borrowed as long as this object lives.

        Raises
        ------
        TypeError, ValueError
            Where it is no array on that device, of another dtype or shape, not C-contiguous, or is to be changed and
            can't be.
        """
        if not on_gpu(value):
            raise TypeError(f"{name} must be on the GPU like {self.name}, got {describe(value)}")
        if changed and not self._library.writable:
            raise TypeError(f"{name} must be an array that can be changed in place, got {describe(value)}")
        try:
            capsule = value.__dlpack__(stream=self._library.stream or _LEGACY_STREAM)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise TypeError(f"{name} can't be borrowed through DLPack: {error}") from error
        self._capsules.append(capsule)
        # It may reuse the memory, or read what is written, on a stream that knows nothing of this one.
        self._foreign = self._foreign or _library_name(value) != _library_name(self.first)
        # The capsule's own destructor gives the array back: its name stays "dltensor".
        tensor = _Tensor.from_address(_get_pointer(capsule, b"dltensor"))
        found = tuple(int(tensor.shape[i]) for i in range(tensor.ndim))
        self._check(name, tensor, found, shape)
        return Borrowed(int(tensor.data or 0) + int(tensor.byte_offset), found)

    def _check(self, name: str, tensor: _Tensor, shape: tuple[int, ...], wanted: tuple[int, ...] | None) -> None:
        if wanted is not None and shape != wanted:
            raise ValueError(f"{name} must have shape {wanted}, got {shape}")
        kind = tensor.dtype
        dtype = _DTYPES.get(kind.bits) if kind.code == _FLOAT and kind.lanes == 1 else None
        if dtype is None:
            raise TypeError(f"{name} must be float32 or float64, got DLPack type {kind.code} of {kind.bits} bits")
        if self.dtype and dtype != self.dtype:
            raise TypeError(f"{name} must have the dtype {self.dtype} of {self.name}, got {dtype}")
        self.dtype = dtype
        if tensor.device.index != self.device:
            raise ValueError(f"{name} must be on GPU {self.device} like {self.name}, got GPU {tensor.device.index}")
        if tensor.strides:
            strides = tuple(tensor.strides[i] for i in range(tensor.ndim))
            if not _contiguous(shape, strides):
                raise ValueError(f"{name} must be C-contiguous on the GPU, got strides {strides} for shape {shape}")


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    if 0 in shape:
        return True
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length > 1 and stride != expected:
            return False
        expected *= length
    return True


def describe(value: object) -> str:
    """The type of a value, with its library."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]} {kind.__name__}"

"""What networks and Adam compute on arrays that are on a GPU: queued on the arrays' stream, without copies."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyneedle import _checks, _device, _native, _parameters, _spans
from pyneedle._dlpack import Loan
from pyneedle._parameters import Shapes
from pyneedle._spans import Span

GpuArrays = Mapping[str, Any]


@dataclass(frozen=True)
class Layout:
    """What must be known of a network: its native form, the shapes of its parameters, and how messages call it."""

    network: _native.Network
    shapes: Shapes
    d: int
    dense: bool
    label: str

    def check_kernel(self, kernel: str, dtype: str) -> tuple[str, bool]:
        """The kernel's own name and whether it uses TF32; an error where the GPU does not have it."""
        _device.check_kernel(self.network, self.dense, self.label, kernel, dtype)
        return _device.split_kernel(kernel)


def forward(layout: Layout, p: GpuArrays, x: Any, kernel: str) -> Any:
    """f(x), an array (n,) of the kind of the parameters."""
    loan, tensors = _borrow(layout.shapes, p, "p")
    from pyneedle import _cuda  # where there is none, the check of the device has said so

    rows, inputs = _rows(layout, loan, x)
    name, tf32 = layout.check_kernel(kernel, loan.dtype)
    prediction = loan.empty((rows,))
    out = loan.address("the prediction", prediction)
    _cuda.forward(layout.network, loan.dtype, tensors, inputs, rows, out, name, tf32, loan.device, loan.stream)
    _finish(loan)
    return prediction


def loss_and_gradient(
    layout: Layout, p: GpuArrays, x: Any, y: Any, penalty: _native.Penalty, kernel: str
) -> tuple[float, dict[str, Any]]:
    """Loss with penalty, and its gradient, a dict of arrays of the kind of the parameters."""
    loan, tensors = _borrow(layout.shapes, p, "p")
    from pyneedle import _cuda  # where there is none, the check of the device has said so

    rows, inputs = _rows(layout, loan, x)
    targets = loan.address("y", y, (rows,))
    name, tf32 = layout.check_kernel(kernel, loan.dtype)
    gradient = {key: loan.empty(shape) for key, shape in layout.shapes.items()}
    out = [loan.address(f"the gradient of {key}", value) for key, value in gradient.items()]
    loss, _ = _cuda.loss_and_gradient(
        layout.network, loan.dtype, tensors, inputs, targets, rows, out, penalty, name, tf32, loan.device, loan.stream
    )
    _finish(loan)
    return loss, gradient


def path_norm(layout: Layout, p: GpuArrays) -> float:
    """The path norm."""
    loan, tensors = _borrow(layout.shapes, p, "p")
    from pyneedle import _cuda  # where there is none, the check of the device has said so

    return _cuda.path_norm(layout.network, loan.dtype, tensors, loan.device, loan.stream)


def zeros_like(p: Any) -> Any:
    """Zeros like an array, or a dict of arrays."""
    if not isinstance(p, Mapping):
        return _zeros("p", p)
    return {key: _zeros(_checks.label("p", key), value) for key, value in p.items()}


def adam_step(
    layout: Layout | None,
    arrays: Mapping[str, Any],
    t: int,
    settings: _native.Adam,
    penalty: _native.Penalty,
    check_dtype: Callable[[np.dtype[Any]], None],
) -> None:
    """Make step t in place.

    Parameters
    ----------
    layout : Layout, optional
        Of the network, so that penalty and decay apply to weights only.
    arrays : dict
        "p", "g", "state.m" and "state.v": arrays, or dicts of arrays.
    t, settings, penalty
        Of the step, from 1.
    check_dtype
        Raises where the settings do not go with the parameters' dtype.

    Raises
    ------
    TypeError, ValueError
        For arrays that can't be borrowed, or of which one that is changed shares memory with another; "g" may be "p".
    """
    given = {name: value if isinstance(value, Mapping) else {"": value} for name, value in arrays.items()}
    shapes = _shapes(given["p"]) if layout is None else layout.shapes
    loan, parameters = _borrow(shapes, given["p"], "p", changed=True)
    from pyneedle import _cuda  # where there is none, the check of the device has said so

    others = {
        name: _addresses(loan, shapes, value, name, changed=name != "g") for name, value in given.items() if name != "p"
    }
    columns = [parameters, others["g"], others["state.m"], others["state.v"]]
    check_dtype(np.dtype(loan.dtype))
    _check_apart(shapes, {"p": parameters, **others}, np.dtype(loan.dtype).itemsize)
    sizes = [math.prod(shape) for shape in shapes.values()]
    # Without a network every array is a step of its own.
    groups = [slice(None)] if layout is not None else [slice(i, i + 1) for i in range(len(sizes))]
    for group in groups:
        count = sum(sizes[group])
        if count:
            tensors, gradient, m, v = (column[group] for column in columns)
            handle = None if layout is None else layout.network
            _cuda.adam_step(
                handle, loan.dtype, count, tensors, gradient, m, v, t, settings, penalty, loan.device, loan.stream
            )
    _finish(loan)


def _finish(loan: Loan) -> None:
    """Wait for the work where the arrays' library would not."""
    if not loan.waits:
        from pyneedle import _cuda

        _cuda.synchronize(loan.device, loan.stream)


def _borrow(shapes: Shapes, p: object, name: str, changed: bool = False) -> tuple[Loan, list[int]]:
    """The addresses of parameters in storage order, and the loan that further arrays join."""
    _device.check("cuda")
    arrays = _parameters.check_keys(shapes, p, name)
    key = next(iter(shapes))
    loan = Loan(_checks.label(name, key), arrays[key])
    return loan, _addresses(loan, shapes, arrays, name, changed)


def _addresses(loan: Loan, shapes: Shapes, p: object, name: str, changed: bool) -> list[int]:
    arrays = _parameters.check_keys(shapes, p, name)
    return [loan.address(_checks.label(name, key), arrays[key], shape, changed) for key, shape in shapes.items()]


def _check_apart(shapes: Shapes, addresses: Mapping[str, list[int]], itemsize: int) -> None:
    """ValueError where an array that is changed shares memory with another one; g's may be p's of the same key."""
    spans = []
    for name, firsts in addresses.items():
        for (key, shape), first, parameter in zip(shapes.items(), firsts, addresses["p"], strict=True):
            size = math.prod(shape) * itemsize
            if size and not (name == "g" and first == parameter):
                spans.append(Span(first, first + size, name != "g", name, key))
    if pair := _spans.meeting(spans):
        raise _spans.error(*pair)


def _rows(layout: Layout, loan: Loan, x: Any) -> tuple[int, int]:
    """Number of rows of x (n, d) and its address."""
    address, shape = loan.borrow("x", x)
    if len(shape) != 2 or shape[1] != layout.d:
        raise ValueError(
            f"x must have shape (n, {layout.d}) to match the network's d={layout.d}, got {_checks.shape_text(shape)}"
        )
    if shape[0] == 0:
        raise ValueError(f"x must have at least one row, got shape {_checks.shape_text(shape)}")
    return shape[0], address


def _zeros(name: str, value: Any) -> Any:
    loan = Loan(name, value)
    return loan.zeros(loan.borrow(name, value).shape)


def _shapes(p: Mapping[str, Any]) -> Shapes:
    return {key: _shape(_checks.label("p", key), value) for key, value in p.items()}


def _shape(name: str, value: Any) -> tuple[int, ...]:
    if hasattr(value, "shape"):
        return tuple(int(n) for n in value.shape)
    return Loan(name, value).borrow(name, value).shape

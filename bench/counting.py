"""Operations and bytes of each kernel, in one table.

B rows, d inputs, a nodes per input, H = d a, P parameters; a multiplication and an addition count as two operations.
Bytes are the least that must move between memory and the core when nothing stays in cache from step to step: data and
parameters once in, gradient or parameters once out. Activations that a kernel is meant to keep in cache count nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from pyneedle.benchmark import Problem

Count = Callable[[Problem, int], float]  # of a problem and its number of parameters
# Of a parameter in a step of Adam: p, m and v are read and written, the gradient is read (kernels.md section 4).
ADAM_BYTES = 7 * 4


@dataclass(frozen=True)
class Counts:
    """Formulas of one kernel, and the same in words."""

    operations: Count
    bytes: Count
    words: str


def _points(p: Problem) -> float:
    return float(p.batch * p.d)


def _h(p: Problem) -> float:
    return float(p.d * p.alpha)


def _tables(p: Problem) -> float:
    return 1.0 if p.network == "LN" else float(p.d)


def _adam_operations(parameters: int) -> float:
    return 12.0 * parameters


def _adam_bytes(parameters: int) -> float:
    return float(ADAM_BYTES * parameters)


def _direct_step(p: Problem, n: int) -> float:
    return _points(p) * (6.0 * p.alpha**2 + 14.0 * p.alpha) + _adam_operations(n)


def _piecewise_step(p: Problem, n: int) -> float:
    a = float(p.alpha)
    return _points(p) * 6.0 + _tables(p) * (4.0 * a * a + 10.0 * a + a * math.log2(max(a, 2.0))) + _adam_operations(n)


def _dense_step(p: Problem, n: int) -> float:
    return p.batch * (6.0 * _h(p) ** 2 + 4.0 * p.d * _h(p) + 10.0 * _h(p)) + _adam_operations(n)


def _block_bytes(p: Problem, n: int) -> float:
    return 4.0 * (_points(p) + p.batch) + _adam_bytes(n)


def _piecewise_bytes(p: Problem, n: int) -> float:
    return 8.0 * _points(p) + 4.0 * p.batch + _adam_bytes(n)


def _dense_bytes(p: Problem, n: int) -> float:
    # H1 and H2 and their deltas are too large for the cache: written once, read once; W2 is read by two products more.
    return 4.0 * (_points(p) + 8.0 * p.batch * _h(p) + 2.0 * n) + _adam_bytes(n)


def _forward_operations(p: Problem, _: int) -> float:
    if p.network == "GN":
        return p.batch * (2.0 * _h(p) ** 2 + 2.0 * p.d * _h(p) + 4.0 * _h(p))
    return _points(p) * (2.0 * p.alpha**2 + 6.0 * p.alpha)


def _piecewise_forward(p: Problem, _: int) -> float:
    a = float(p.alpha)
    return 2.0 * _points(p) + _tables(p) * (2.0 * a * a + 6.0 * a + a * math.log2(max(a, 2.0)))


def _forward_bytes(p: Problem, n: int) -> float:
    return 4.0 * (_points(p) + p.batch + n)


STEP: dict[tuple[str, str], Counts] = {
    ("block", "direct"): Counts(_direct_step, _block_bytes, "B d (6 a^2 + 14 a) + Adam; 4 (B d + B) + Adam"),
    ("block", "piecewise_linear"): Counts(
        _piecewise_step,
        _piecewise_bytes,
        "6 B d + tables (4 a^2 + 10 a + a log2 a) + Adam, one table for LN, d for LCN; 8 B d + 4 B + Adam",
    ),
    ("dense", "direct"): Counts(
        _dense_step, _dense_bytes, "B (6 H^2 + 4 d H + 10 H) + Adam; 4 (B d + 8 B H + 2 P) + Adam"
    ),
    ("dense", "active"): Counts(
        _dense_step, _dense_bytes, "as the dense step: what it spares shows as a share above that of direct"
    ),
}
FORWARD = Counts(
    _forward_operations, _forward_bytes, "B d (2 a^2 + 6 a), dense B (2 H^2 + 2 d H + 4 H); 4 (B d + B + P)"
)
PIECEWISE_FORWARD = Counts(
    _piecewise_forward,
    _forward_bytes,
    "2 B d + tables (2 a^2 + 6 a + a log2 a), one table for LN, d for LCN; 4 (B d + B + P)",
)
ADAM = Counts(
    lambda _, n: _adam_operations(n),
    lambda _, n: _adam_bytes(n),
    "12 P; 28 P: parameter and both moments read and written, gradient read",
)


def of_step(network: str, kernel: str) -> Counts | None:
    """The formulas of a training step; None for a kernel that has none here."""
    return STEP.get(("dense" if network == "GN" else "block", kernel))


def of_forward(kernel: str) -> Counts:
    """The formulas of a forward pass; what a kernel spares of the dense products counts as done."""
    return PIECEWISE_FORWARD if kernel == "piecewise_linear" else FORWARD

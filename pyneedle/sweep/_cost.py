"""What a run needs: memory by counting, time from the speeds of runs of the same shape, guessed before the first."""

from typing import TypeAlias

import numpy as np

from pyneedle import _networks
from pyneedle.sweep._cell import Cell

Shape: TypeAlias = tuple[object, ...]

# Deliberately slow guesses, until the first run of a shape is measured: they only order the runs.
_GUESSED_FLOPS = 20e9
_GUESSED_STEP_SECONDS = 20e-6
# The measured speeds of a shape are averaged over its runs, the newest with this weight.
_NEWEST = 0.5

# Vectors of the parameters' size: parameters, best ones, two moments, gradient; a kernel's rows of W2; initial ones;
# best, last and moments as results, and the four of the state that a segment goes on from. The peak of a GN's resident
# memory (d = 40) was 9.1 such vectors in one piece, and 13.1 (direct) to 15.0 (active) with checkpoints, a batch's
# scratch included.
_ARRAYS_PER_PARAMETER = 15
# A kernel has room for so many rows where the errors are computed, however small the batch was.
_LEAST_ROWS = 1024
# Per epoch and layer: losses and counts, twice while they are handed over.
_BYTES_PER_EPOCH = 128
# Per row and input, room for what a run keeps beside the data.
_BYTES_PER_POINT = 4
_FIXED_BYTES = 8 << 20
# Of own data all rows are read at first, as float64 at most.
_BYTES_PER_NUMBER_READ = 8


def shape_of(cell: Cell) -> Shape:
    """What the time of a step depends on; runs that agree in it can be one ensemble."""
    return (
        cell.network,
        cell.d,
        cell.alpha,
        cell.hidden_layers,
        cell.activation,
        cell.block_in,
        cell.batch_size,
        cell.penalty_kind,
        cell.dtype,
        cell.kernel,
        cell.device,
    )


def dataset_bytes(cell: Cell) -> int:
    """Memory of the data set of a cell."""
    return cell.n_samples * (cell.d + 1) * np.dtype(cell.dtype).itemsize


def run_bytes(cell: Cell) -> int:
    """Memory of a run beside its data set, estimated from above."""
    network = cell.make_network()
    item = np.dtype(cell.dtype).itemsize
    parameters = network.parameter_count * _ARRAYS_PER_PARAMETER * item
    rows = max(cell.batch_size, _LEAST_ROWS)
    kernel = _networks.native(network).kernel_bytes(cell.kernel, cell.dtype, rows, 1)
    points = cell.n_samples * (cell.d * _BYTES_PER_POINT + 16)
    file = 0 if cell.data is None else cell.data.n_samples * (cell.d + 1) * _BYTES_PER_NUMBER_READ
    return _FIXED_BYTES + parameters + kernel + points + file + cell.epochs * _BYTES_PER_EPOCH


def step_flops(cell: Cell) -> float:
    """Operations of a step by the textbook."""
    network = cell.make_network()
    weights = network.width * (network.inputs_per_block + 1) + (cell.hidden_layers - 1) * network.width**2
    return 6.0 * weights * network.blocks * cell.batch_size + 20.0 * network.parameter_count


class Speeds:
    """Seconds per step of each shape, learnt from finished runs."""

    def __init__(self) -> None:
        self._measured: dict[Shape, float] = {}
        self._watching: list[set[Shape]] = []

    def learn(self, cell: Cell, seconds: float, steps: int) -> None:
        """Take in a run of `steps` steps on one thread."""
        if steps < 1 or not seconds > 0.0:
            return
        shape, speed = shape_of(cell), seconds / steps
        before = self._measured.get(shape, speed)
        self._measured[shape] = before + _NEWEST * (speed - before)
        for learnt in self._watching:
            learnt.add(shape)

    def watch(self) -> set[Shape]:
        """A set that the shapes are added to whose speeds are learnt from now on; whoever asked for it empties it."""
        learnt: set[Shape] = set()
        self._watching.append(learnt)
        return learnt

    def known(self, cell: Cell) -> bool:
        """Whether a run of this shape was measured."""
        return shape_of(cell) in self._measured

    def seconds(self, cell: Cell) -> float:
        """Time of the whole run on one thread."""
        return cell.steps * self.step_seconds(cell)

    def step_seconds(self, cell: Cell) -> float:
        """Time of a step on one thread."""
        measured = self._measured.get(shape_of(cell))
        if measured is not None:
            return measured
        return _GUESSED_STEP_SECONDS + step_flops(cell) / _GUESSED_FLOPS

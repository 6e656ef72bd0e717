"""What a sweep will take: time from a few steps of each shape, memory from counting."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyneedle._device import DEVICES
from pyneedle._training import check_device, train_ensemble
from pyneedle.sweep import _gpu, _memory
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._cost import Shape, Speeds, dataset_bytes, run_bytes, shape_of
from pyneedle.sweep._data import data_key

_STEPS = 4
# A shape whose few steps took less is run for about this long, since the clock and the start would count too much.
_LEAST_SECONDS = 0.05
_TRAIN_SHARE = 0.64
# Of these the time of drawing is measured.
_DRAWN_ROWS = 2000


@dataclass(frozen=True)
class ShapeEstimate:
    """Runs of one shape.

    Attributes
    ----------
    example : Cell
        One of them.
    runs : int
        How many.
    step_seconds, seconds : float
        Of a step of one of them, on one thread, or as its share of a GPU; of all of them.
    run_bytes : int
        Memory of one of them, where it is trained.
    side_by_side : int
        That a GPU trains at a time; 1 on the processor.
    gpu_bytes, host_bytes : int
        Memory of these on the GPU, with their data, and what they take beside it; 0 on the processor.
    """

    example: Cell
    runs: int
    step_seconds: float
    seconds: float
    run_bytes: int
    side_by_side: int = 1
    gpu_bytes: int = 0
    host_bytes: int = 0


@dataclass(frozen=True)
class Estimate:
    """What a sweep will take on this machine.

    Attributes
    ----------
    cells, finished, failed : int
        In the sweep; of these in the store; of the rest, how many failed the last time.
    threads : int
        That the time is for, where a run is not on the GPU.
    seconds : float
        From start to end, with the drawing of data and what a run takes beside its steps. Trainings whose speed
        changes on the way (a GN whose units die) may be faster.
    bytes : int
        Memory of the machine in use at a time.
    available_bytes : int
        Memory that may be used; runs wait for one another where it is short.
    shapes : tuple of ShapeEstimate
        What was measured, the longest first.
    gpu_bytes, gpu_available_bytes : int
        The same of the GPU's memory, for the largest of the shapes; 0 where no run is on a GPU.
    """

    cells: int
    finished: int
    failed: int
    threads: int
    seconds: float
    bytes: int
    available_bytes: int
    shapes: tuple[ShapeEstimate, ...]
    gpu_bytes: int = 0
    gpu_available_bytes: int = 0


@dataclass(frozen=True)
class Aside:
    """What a run of a shape takes beside its steps: seconds to start and to end it, and to make a row of its data."""

    run_seconds: float
    row_seconds: float


def measure(cell: Cell, speeds: Speeds, members: int = 1) -> Aside:
    """Learn the speed of a cell's shape from a few of its steps, on one thread; on a GPU, of so many side by side."""
    rows = min(cell.n_samples, max(5, math.ceil((_STEPS * cell.batch_size + 1) / _TRAIN_SHARE)))
    sample = replace(cell, n_samples=rows, batch=cell.batch_size, epochs=1)
    dataset = sample.make_dataset()
    beside = math.inf
    for _ in range(2):
        runs = [replace(sample, repeat=seed).make_run(dataset) for seed in range(members)]
        began = time.perf_counter()
        fit, *_ = train_ensemble(runs, 1, progress=False)
        beside = min(beside, time.perf_counter() - began - fit.seconds)
        if fit.status == "interrupted":
            raise KeyboardInterrupt
        if fit.seconds >= _LEAST_SECONDS or sample.epochs > 1:
            break
        sample = replace(sample, epochs=max(1, min(cell.epochs, round(_LEAST_SECONDS / max(fit.seconds, 1e-6)))))
    steps_per_epoch = sample.steps // sample.epochs
    speeds.learn(cell, fit.seconds / members, len(fit.history["train_loss"]) * steps_per_epoch)
    return Aside(max(0.0, beside) / members, _row_seconds(cell))


def _row_seconds(cell: Cell) -> float:
    # Own data are read whole, however few rows are used.
    rows = min(cell.n_samples, _DRAWN_ROWS) if cell.data is None else cell.n_samples
    began = time.perf_counter()
    replace(cell, n_samples=rows, batch="ratio").make_dataset()
    return (time.perf_counter() - began) / rows


def estimate(cells: Sequence[Cell], missing: Sequence[Cell], failed: int, threads: int) -> Estimate:
    """Measure each shape of the missing cells and add up.

    Parameters
    ----------
    cells, missing : sequence of Cell
        All of the sweep, and those that are to be trained.
    failed : int
        Of the missing ones, those that failed the last time.
    threads : int
        That will train.
    """
    for device in sorted({cell.device for cell in missing}):
        check_device(device)
    speeds = Speeds()
    asides: dict[Shape, Aside] = {}
    shapes: dict[object, list[Cell]] = {}
    for cell in missing:
        shapes.setdefault((*shape_of(cell), cell.n_samples, cell.epochs), []).append(cell)
    lines = []
    for same in shapes.values():
        example = same[0]
        members = _gpu.side_by_side(same) if example.device == "cuda" else 1
        if shape_of(example) not in asides:
            asides[shape_of(example)] = measure(example, speeds, members)
        lines.append(_line(same, speeds, members))
    lines.sort(key=lambda line: line.seconds, reverse=True)
    longest = max((line.seconds / line.runs for line in lines), default=0.0)  # on a GPU, its share
    total, on_gpu = (sum(line.seconds for line in lines if line.example.device == device) for device in DEVICES)
    drawn = {data_key(cell): asides[shape_of(cell)].row_seconds * cell.n_samples for cell in missing}
    # What the interpreter does it does for one run at a time.
    beside = sum(asides[shape_of(line.example)].run_seconds * line.runs for line in lines)
    return Estimate(
        cells=len(cells),
        finished=len(cells) - len(missing),
        failed=failed,
        threads=threads,
        seconds=max(longest, total / threads, on_gpu) + sum(drawn.values()) / threads + beside,
        bytes=_peak([cell for cell in missing if cell.device == "cpu"], threads)
        + max((line.host_bytes for line in lines), default=0),
        available_bytes=_memory.available(),
        shapes=tuple(lines),
        gpu_bytes=max((line.gpu_bytes for line in lines), default=0),
        gpu_available_bytes=_gpu.available_bytes() if any(line.gpu_bytes for line in lines) else 0,
    )


def _line(same: Sequence[Cell], speeds: Speeds, members: int) -> ShapeEstimate:
    """What cells of one shape take, whose speed is known."""
    example = same[0]
    step_seconds, seconds = speeds.step_seconds(example), speeds.seconds(example) * len(same)
    if example.device == "cpu":
        return ShapeEstimate(example, len(same), step_seconds, seconds, run_bytes(example))
    (one, _), (gpu, host) = _gpu.group_bytes(same[:1]), _gpu.group_bytes(same[:members])
    return ShapeEstimate(example, len(same), step_seconds, seconds, one, members, gpu, host)


def _peak(cells: Sequence[Cell], threads: int) -> int:
    """Memory of the largest runs side by side, with their data."""
    largest = sorted(cells, key=lambda cell: run_bytes(cell) + dataset_bytes(cell), reverse=True)[:threads]
    data = {data_key(cell): dataset_bytes(cell) for cell in largest}
    return sum(map(run_bytes, largest)) + sum(data.values())

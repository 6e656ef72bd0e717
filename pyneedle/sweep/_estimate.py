"""What a sweep will take: time from a few steps of each shape, memory from counting."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyneedle._training import check_device
from pyneedle.sweep import _gpu, _memory
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._cost import Shape, dataset_bytes, run_bytes, shape_of
from pyneedle.sweep._data import data_key
from pyneedle.sweep._makespan import Runs, makespan
from pyneedle.sweep._measure import Measured, measure


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
        Of a step of one of them, on one thread, or as its share of a GPU, the mean over a run; of all of them.
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
        From start to end, with the drawing of data and what a run takes beside its steps. A GN gets faster as its units
        die: its later steps are measured after a hundred first ones.
    bytes : int
        Memory of the machine in use at a time.
    available_bytes : int
        Memory that may be used; runs wait for one another where it is short.
    shapes : tuple of ShapeEstimate
        What was measured, the longest first.
    gpu_bytes, gpu_available_bytes : int
        The same of the GPU's memory, for the largest of the shapes; 0 where no run is on a GPU.
    may_be_less : bool
        Whether steps of a GN may get faster than was measured: on a GPU, and where the first ones took too long.
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
    may_be_less: bool = False


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
    known: dict[Shape, Measured] = {}
    shapes: dict[object, list[Cell]] = {}
    for cell in missing:
        shapes.setdefault((*shape_of(cell), cell.n_samples, cell.epochs), []).append(cell)
    lines = []
    for same in shapes.values():
        example = same[0]
        members = _gpu.side_by_side(same) if example.device == "cuda" else 1
        if shape_of(example) not in known:
            known[shape_of(example)] = measure(example, threads, members)
        lines.append(_line(same, known[shape_of(example)], members))
    lines.sort(key=lambda line: line.seconds, reverse=True)
    on_cpu = [
        Runs(line.runs, line.seconds / line.runs, known[shape_of(line.example)].speedup)
        for line in lines
        if line.example.device == "cpu"
    ]
    on_gpu = sum(line.seconds for line in lines if line.example.device == "cuda")
    drawn = {data_key(cell): known[shape_of(cell)].row_seconds * cell.n_samples for cell in missing}
    # What the interpreter does it does for one run at a time.
    beside = sum(known[shape_of(line.example)].run_seconds * line.runs for line in lines)
    return Estimate(
        cells=len(cells),
        finished=len(cells) - len(missing),
        failed=failed,
        threads=threads,
        seconds=max(makespan(on_cpu, threads), on_gpu) + sum(drawn.values()) / threads + beside,
        bytes=_peak([cell for cell in missing if cell.device == "cpu"], threads)
        + max((line.host_bytes for line in lines), default=0),
        available_bytes=_memory.available(),
        shapes=tuple(lines),
        gpu_bytes=max((line.gpu_bytes for line in lines), default=0),
        gpu_available_bytes=_gpu.available_bytes() if any(line.gpu_bytes for line in lines) else 0,
        may_be_less=any(measured.may_be_less for measured in known.values()),
    )


def _line(same: Sequence[Cell], measured: Measured, members: int) -> ShapeEstimate:
    """What cells of one shape take, whose speed is known."""
    example = same[0]
    each = measured.seconds(example)
    step_seconds, seconds = each / example.steps, each * len(same)
    if example.device == "cpu":
        return ShapeEstimate(example, len(same), step_seconds, seconds, run_bytes(example))
    (one, _), (gpu, host) = _gpu.group_bytes(same[:1]), _gpu.group_bytes(same[:members])
    return ShapeEstimate(example, len(same), step_seconds, seconds, one, members, gpu, host)


def _peak(cells: Sequence[Cell], threads: int) -> int:
    """Memory of the largest runs side by side, with their data."""
    largest = sorted(cells, key=lambda cell: run_bytes(cell) + dataset_bytes(cell), reverse=True)[:threads]
    data = {data_key(cell): dataset_bytes(cell) for cell in largest}
    return sum(map(run_bytes, largest)) + sum(data.values())

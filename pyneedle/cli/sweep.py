"""`pyneedle sweep`."""

from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

import pyneedle as pn
from pyneedle import _checks, _native
from pyneedle.cli._console import plain, print_table
from pyneedle.cli._errors import bad_usage, fail, failures
from pyneedle.sweep import Estimate, Store
from pyneedle.sweep._outcome import Keep

# Errors of failed runs that are printed; the store has them all.
_SHOWN_ERRORS = 5
_SHOWN_SHAPES = 20
_NO_ARRAYS = "failed when it was trained again for arrays that its result lacks, which stays as it was"


class ExecutorChoice(str, Enum):
    """Where runs are trained."""

    local = "local"
    ray = "ray"


def sweep(
    file: Annotated[Path, typer.Argument(help="The sweep (TOML): settings, lists and ranges of them, [\\[grid]]s.")],
    store: Annotated[
        Path | None, typer.Option(help="The results (SQLite).", show_default="the sweep's name with .sqlite")
    ] = None,
    executor: Annotated[ExecutorChoice, typer.Option(help="This machine (threads, or its GPU), or a Ray cluster.")] = (
        ExecutorChoice.local
    ),
    threads: Annotated[
        int | None, typer.Option(help="Threads to use on this machine.", show_default="as many as there are cores")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what there is to do and an estimate of time and memory.")
    ] = False,
    history: Annotated[bool, typer.Option(help="Store the losses of every epoch.")] = True,
    parameters: Annotated[bool, typer.Option(help="Store the best parameters.")] = False,
    checkpoint_seconds: Annotated[
        float, typer.Option(help="About how often a long run is put down, to go on from there; inf for never.")
    ] = 60.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Train everything that a file describes and the store does not have yet.

    A sweep that was killed goes on when it is started again. The exit status is 1 where a run failed or the sweep was
    interrupted.
    """
    with bad_usage(), failures(f"cannot read {str(file)!r}"):
        _native.active_level()  # an impossible PYNEEDLE_ISA
        plan = pn.Sweep.from_toml(file)
        _checks.threads(threads)
        if not checkpoint_seconds > 0.0:
            raise ValueError(f"checkpoint_seconds must be above 0, got {checkpoint_seconds}")
    path = file.with_suffix(".sqlite") if store is None else store
    if dry_run:
        with failures("the estimate failed"):
            print_estimate(plan.estimate(path, threads, history, parameters))
        return
    try:
        with failures("the sweep failed"):
            frame = plan.run(path, executor.value, not quiet, threads, history, parameters, checkpoint_seconds)
            with Store(path) as results:
                there = results.finished(Keep(history, parameters))
    except KeyboardInterrupt:
        raise fail(f"the sweep was interrupted; what was finished is in {str(path)!r}") from None
    failed = frame[~frame["cell"].isin(there)]  # also those that have a result and failed for further arrays
    if not quiet:
        counts = ", ".join(f"{count} {status}" for status, count in frame["status"].value_counts().items())
        typer.echo(f"{len(frame)} runs in {path}: {counts}")
    if len(failed):
        for row in failed.head(_SHOWN_ERRORS).fillna({"error": _NO_ARRAYS}).itertuples():
            typer.echo(f"{row.network}, d={row.d}, repeat {row.repeat}: {row.error}", err=True)
        raise fail(
            f"{len(failed)} of {len(frame)} runs failed; they will be tried again when the sweep is started again"
        )


def print_estimate(estimate: Estimate) -> None:
    """Print how many cells there are to do, and what they will take."""
    console = plain(soft_wrap=True)
    missing = estimate.cells - estimate.finished
    console.print(f"{estimate.cells} cells, {estimate.finished} of them there, {missing} to do", end="")
    console.print(f" ({estimate.failed} failed before)" if estimate.failed else "")
    if not missing:
        return
    devices = {shape.example.device for shape in estimate.shapes}
    threads = f"{estimate.threads} {'thread' if estimate.threads == 1 else 'threads'}"
    where = [name for device, name in (("cpu", threads), ("cuda", "the GPU")) if device in devices]
    less = ", may be less: dense networks get faster after their first epochs" if estimate.may_be_less else ""
    console.print(f"time    about {_time(estimate.seconds)} on {' and '.join(where)}{less}")
    console.print(f"memory  {_size(estimate.bytes)} of {_size(estimate.available_bytes)} that may be used")
    if "cuda" in devices:
        most = max(shape.side_by_side for shape in estimate.shapes)
        console.print(
            f"GPU     {_size(estimate.gpu_bytes)} of {_size(estimate.gpu_available_bytes)} that may be used, "
            f"up to {most} {'run' if most == 1 else 'runs'} side by side"
        )
    measured = [name for device, name in (("cpu", "on one thread"), ("cuda", "on the GPU")) if device in devices]
    table = Table(
        title=f"Measured {' and '.join(measured)}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        pad_edge=False,
    )
    for name in ("network", "d", "alpha", "batch", "penalty", "runs", "ms a step", "total", "memory"):
        table.add_column(name, justify="left" if name in ("network", "penalty") else "right", no_wrap=True)
    for shape in estimate.shapes[:_SHOWN_SHAPES]:
        cell = shape.example
        table.add_row(
            cell.network, str(cell.d), str(cell.alpha), str(cell.batch_size), cell.penalty_kind, str(shape.runs),
            f"{1e3 * shape.step_seconds:.3g}", _time(shape.seconds), _size(shape.run_bytes),
        )  # fmt: skip
    print_table(table)
    if len(estimate.shapes) > _SHOWN_SHAPES:
        console.print(f"and {len(estimate.shapes) - _SHOWN_SHAPES} shorter ones")


def _time(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else str(timedelta(seconds=round(seconds)))


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"

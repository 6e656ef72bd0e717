"""`pyneedle bench`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from pyneedle import _files
from pyneedle.cli._console import plain, print_table
from pyneedle.cli._errors import bad_usage, fail, failures

if TYPE_CHECKING:
    from pyneedle.benchmark import QuickResult

# `quick` needs time to warm every side up.
_LEAST_SECONDS = 10.0


def bench(
    seconds: Annotated[float, typer.Option(help="About how long it may take.")] = 120.0,
    output: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """Time training steps against the frameworks installed here (PyTorch, JAX, NumPy), in turns.

    Every side is first checked to compute the same. A ratio of 20 means: 20 of pyneedle's steps in the time of one.
    """
    if not _LEAST_SECONDS <= seconds < float("inf"):
        raise fail(f"--seconds must be at least {_LEAST_SECONDS:g} and finite, got {seconds:g}", 2)
    if output is not None:
        with failures(f"--json: cannot write {str(output)!r}"):
            _files.check_writable(output)
    # Not at the top: other commands need no framework.
    from pyneedle.benchmark import DisagreementError, quick

    errors = plain(stderr=True)
    with failures("the comparison failed"), bad_usage():
        try:
            result = quick(seconds, say=lambda line: errors.print(line, style="dim"))
        except DisagreementError as error:
            raise fail(f"the sides do not compute the same, so nothing was timed: {error}") from None
    _print(result)
    if output is not None:
        record = asdict(result)
        with failures(f"--json: cannot write {str(output)!r}"), _files.replacing(output) as file:
            file.write(json.dumps(record, indent=1).encode())


def _print(result: "QuickResult") -> None:
    from pyneedle.benchmark import skipped_lines

    console = plain()
    title = "median time of a training step (alpha = 50, B = 800) / pyneedle's, which is given in ms"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("network", "kernel", "ms", "against", "ratio", "range"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("ms", "ratio", "range") else "left")
    for row in result.rows:
        for peer, ratio in sorted(row.ratios.items(), key=lambda item: item[1].median):
            ours, rounds = f"{1e3 * row.seconds['pyneedle']:.3g}", f"{_short(ratio.low)} to {_short(ratio.high)}"
            table.add_row(f"{row.network} d={row.d}", row.kernel, ours, peer, f"{_short(ratio.median)}x", rounds)
    print_table(table)
    for line in result.warnings:
        console.print(f"WARNING: {line}")
    for line in (*skipped_lines(result.rows), *(f"{case} left out: no time left" for case in result.left_out)):
        console.print(line)
    for key, value in result.machine.items():
        console.print(f"{key}: {value}", style="dim")


def _short(ratio: float) -> str:
    return f"{ratio:.3g}" if ratio < 1000 else f"{ratio:,.0f}"

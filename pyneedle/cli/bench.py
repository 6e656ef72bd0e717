"""`pyneedle bench`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from pyneedle import _files
from pyneedle.cli._console import print_table
from pyneedle.cli._errors import bad_usage, fail, failures

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
    from pyneedle.benchmark import DisagreementError, quick, skipped_lines

    errors = Console(stderr=True, highlight=False)
    with failures("the comparison failed"), bad_usage():
        try:
            result = quick(seconds, say=lambda line: errors.print(line, style="dim"))
        except DisagreementError as error:
            raise fail(f"the sides do not compute the same, so nothing was timed: {error}") from None
    console = Console(highlight=False)
    table = Table(title="median time of a training step / pyneedle's", box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("network", "kernel", "against", "ratio", "range"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("ratio", "range") else "left")
    for row in result.rows:
        for peer, ratio in sorted(row.ratios.items(), key=lambda item: item[1].median):
            table.add_row(row.label, row.kernel, peer, f"{ratio.median:.3g}x", f"{ratio.low:.3g} to {ratio.high:.3g}")
    print_table(table)
    for line in (*skipped_lines(result.rows), *(f"{case} left out: no time left" for case in result.left_out)):
        console.print(line)
    for key, value in result.machine.items():
        console.print(f"{key}: {value}", style="dim")
    if output is not None:
        record = {"machine": result.machine, "rows": [asdict(row) for row in result.rows], "left_out": result.left_out}
        with failures(f"--json: cannot write {str(output)!r}"), _files.replacing(output) as file:
            file.write(json.dumps(record, indent=1).encode())

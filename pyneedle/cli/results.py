"""`pyneedle results` and `pyneedle plot`."""

from pathlib import Path
from typing import Annotated

import typer

from pyneedle import _files
from pyneedle.cli._console import table_console
from pyneedle.cli._errors import BAD_USAGE, bad_usage, fail, failures
from pyneedle.cli._runs_table import print_runs
from pyneedle.sweep import read_results, write_csv, write_parquet

_STANDARD_OUTPUT = Path("/dev/stdout")
Store = Annotated[Path, typer.Argument(help="The results of a sweep (SQLite).")]


def results(
    store: Store,
    csv: Annotated[
        Path | None, typer.Option(help="Write all columns of all runs to this file; - is standard output.")
    ] = None,
    parquet: Annotated[Path | None, typer.Option(help="The same, as Parquet.")] = None,
) -> None:
    """Print the runs of a store, or write them to a file; also while a sweep writes to it."""
    with failures("the results can't be read"):
        frame = read_results(store)
    outputs = [
        (option, _STANDARD_OUTPUT if str(path) == "-" else path, write)
        for option, path, write in (("--csv", csv, write_csv), ("--parquet", parquet, write_parquet))
        if path is not None
    ]
    for option, path, _ in outputs:
        with failures(f"{option}: cannot write {str(path)!r}"):
            _files.check_writable(path)
    for option, path, write in outputs:
        with failures(f"{option}: could not write {str(path)!r}"):
            write(frame, path)
        # Not into what may be standard output.
        typer.echo(f"{len(frame)} runs written to {path}", err=_files.is_stream(path))
    if outputs:
        return
    if not len(frame):
        typer.echo("no runs yet")
        return
    print_runs(frame, table_console())


def plot(
    store: Store,
    x: Annotated[str, typer.Option("--x", help="The column of the abscissa, such as d or n_samples.")],
    y: Annotated[str, typer.Option("--y", help="The column of the ordinate.")] = "test_mse_original",
    group: Annotated[
        list[str] | None,
        typer.Option(help="A column that tells lines apart; may be given again.", show_default="all that vary"),
    ] = None,
    log_x: Annotated[bool, typer.Option("--log-x", help="Logarithmic abscissa.")] = False,
    log_y: Annotated[bool, typer.Option("--log-y", help="Logarithmic ordinate.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="The picture (.png, .pdf, .svg).", show_default="the store's name with .png")
    ] = None,
) -> None:
    """Draw one column against another: repeats as points, their geometric mean as a line, bars of their spread."""
    from pyneedle import _plots
    from pyneedle.sweep import _plot

    path = Path(f"{store.parent / store.stem}.png") if out is None else out
    if path.suffix.lower().removeprefix(".") not in _plots.formats():
        raise fail(
            f"--out must end in one of {', '.join('.' + name for name in _plots.formats())}, got {str(path)!r}",
            BAD_USAGE,
        )
    with failures("the results can't be read"):
        frame = read_results(store)
    if not (frame["status"] != "failed").any():
        raise fail(f"the store has no finished runs: {str(store)!r}")
    with failures(f"--out: cannot write {str(path)!r}"):
        _files.check_writable(path)
    with bad_usage():
        figure = _plot.draw(frame, x, y, group, log_x, log_y)
        notes = _plot.notes(frame, x, y, group, log_x, log_y)
    with failures(f"--out: could not write {str(path)!r}"):
        _plots.save(figure, path)
    for note in notes:
        typer.echo(f"Note: {note}", err=True)
    typer.echo(f"wrote {path}")

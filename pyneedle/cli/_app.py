"""The application: its commands and the options of `pyneedle` itself."""

import warnings
from typing import Annotated

import typer

import pyneedle
from pyneedle.cli.bench import bench
from pyneedle.cli.doctor import doctor
from pyneedle.cli.reproduce import reproduce
from pyneedle.cli.results import plot, results
from pyneedle.cli.sweep import sweep
from pyneedle.cli.train import train

app = typer.Typer(
    name="pyneedle",
    help="Train very many small structured regression networks: local (LN), locally connected (LCN), dense (GN).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(train)
app.command()(sweep)
app.command()(reproduce)
app.command()(results)
app.command()(plot)
app.command()(doctor)
app.command()(bench)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pyneedle {pyneedle.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _format_warning(message: Warning | str, *_: object, **__: object) -> str:
    """One sentence for whoever runs a command, to whom the line of code that it comes from says nothing."""
    return f"Warning: {message}\n"


def main() -> None:
    """Run the command that the arguments name; exit status 0, 1 on failure, 2 on bad usage."""
    warnings.formatwarning = _format_warning
    app(prog_name="pyneedle")

"""Standard output of the commands: on a terminal as wide as that, in a file or a pipe as wide as it takes."""

from rich.console import Console
from rich.table import Table

_PROSE_WIDTH = 120  # of cells that may wrap, where the output is no terminal
_ANY_WIDTH = 10_000


def console() -> Console:
    """For tables with cells of prose, which wrap."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_PROSE_WIDTH)


def print_table(table: Table) -> None:
    """Print a table of numbers, which no pipe may cut off."""
    terminal = Console(highlight=False)
    (terminal if terminal.is_terminal else Console(highlight=False, width=_ANY_WIDTH)).print(table)

"""Standard output of the commands: on a terminal as wide as that, in a file or a pipe as wide as it takes.

Texts are printed as they are: names may have square brackets, which are no markup.
"""

from typing import Any

from rich.console import Console
from rich.table import Table

_PROSE_WIDTH = 120  # of cells that may wrap, where the output is no terminal
ANY_WIDTH = 10_000


def plain(**options: Any) -> Console:
    """A console with these options of rich that takes nothing in a text for markup."""
    return Console(highlight=False, markup=False, emoji=False, **options)


def console() -> Console:
    """For tables with cells of prose, which wrap."""
    terminal = plain()
    return terminal if terminal.is_terminal else plain(width=_PROSE_WIDTH)


def table_console() -> Console:
    """For tables of numbers, which no pipe may cut off."""
    terminal = plain()
    return terminal if terminal.is_terminal else plain(width=ANY_WIDTH)


def print_table(table: Table) -> None:
    """Print a table of numbers."""
    table_console().print(table)

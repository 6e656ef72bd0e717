"""How commands end when something is wrong: one sentence on standard error, and a status."""

import contextlib
import re
from collections.abc import Iterator

import typer

FAILURE = 1
BAD_USAGE = 2


def fail(message: str, status: int = FAILURE) -> typer.Exit:
    """Print the message; raise what is returned."""
    typer.echo(f"Error: {message}", err=True)
    return typer.Exit(status)


@contextlib.contextmanager
def bad_usage(**options: str) -> Iterator[None]:
    """Report a ValueError or TypeError of the library as bad usage, naming the option instead of the argument.

    Parameters
    ----------
    **options : str
        What to put for an argument that begins the message, alone or as one of several ("d and alpha must"); an
        argument `n_samples` that is not listed is taken for the option --n-samples where the message goes on with
        "must".
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        message = str(error)
        match = re.match(r"([a-z]\w*(?: and [a-z]\w*)*) must\b", message)
        if match:
            arguments = match[1].split(" and ")
            named = [options.get(argument, "--" + argument.replace("_", "-")) for argument in arguments]
            message = " and ".join(named) + message[match.end(1) :]
        raise fail(message, BAD_USAGE) from None


@contextlib.contextmanager
def failures(what: str) -> Iterator[None]:
    """Report an error of the system as a failure of `what`."""
    try:
        yield
    except OSError as error:
        name = error.filename if error.strerror else None
        named = "" if name is None or str(name) in what else f": {str(name)!r}"
        raise fail(f"{what}: {error.strerror or error}{named}") from None
    except MemoryError as error:
        raise fail(f"{what}: out of memory: {error}" if str(error) else f"{what}: out of memory") from None
    except (ImportError, RuntimeError) as error:
        if isinstance(error, typer.Exit):
            raise
        raise fail(f"{what}: {error}") from None

"""The command line; `main` is what the program `pyneedle` calls."""

from pyneedle.cli._app import app, main

__all__ = ["app", "main"]

"""Errors of the store."""


class StoreError(RuntimeError):
    """A store that can't be opened, read or written; the message says why and what state the file is in."""

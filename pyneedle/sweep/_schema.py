"""The tables of a store, and how a file is known to be one."""

import contextlib
import os
import re
import sqlite3
import struct
from pathlib import Path

from pyneedle.sweep._errors import StoreError

APPLICATION_ID = int.from_bytes(b"pnDL", "big")
SCHEMA_VERSION = 1

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
# Big-endian: https://www.sqlite.org/fileformat.html, section 1.3
_USER_VERSION_AT, _APPLICATION_ID_AT = 60, 68
# Files that SQLite keeps beside its own while that is open.
_COMPANIONS = ("", "-wal", "-shm", "-journal")

# Columns of the table of runs, in the order of the result frame; the cell comes last there.
COLUMNS = {
    "network": "TEXT NOT NULL",
    "target": "TEXT NOT NULL",
    "d": "INTEGER NOT NULL",
    "alpha": "INTEGER NOT NULL",
    "n_samples": "INTEGER NOT NULL",
    "penalty": "TEXT NOT NULL",
    "strength": "REAL NOT NULL",
    "repeat": "INTEGER NOT NULL",
    "epochs": "INTEGER NOT NULL",
    "batch_size": "INTEGER NOT NULL",
    "train_mse": "REAL",  # NULL stands for NaN, here and below: SQLite has none
    "validation_mse": "REAL",
    "test_mse": "REAL",
    "path_norm": "REAL",
    "best_epoch": "INTEGER NOT NULL",
    "status": "TEXT NOT NULL CHECK (status IN ('completed', 'diverged', 'failed'))",
    "seconds": "REAL",
    "kernel": "TEXT NOT NULL",
    "device": "TEXT NOT NULL",
    "epochs_finished": "INTEGER NOT NULL",
    "error": "TEXT",
    "hidden_layers": "INTEGER NOT NULL",
    "activation": "TEXT NOT NULL",
    "block_in": "INTEGER NOT NULL",
    "sort": "TEXT NOT NULL",
    "data_seed": "INTEGER NOT NULL",
    "learning_rate": "REAL NOT NULL",
    "beta1": "REAL NOT NULL",
    "beta2": "REAL NOT NULL",
    "epsilon": "REAL NOT NULL",
    "decay": "REAL NOT NULL",
    "weight_decay": "REAL NOT NULL",
    "epsilon_placement": "TEXT NOT NULL",
    "shuffle": "INTEGER NOT NULL",
    "init": "TEXT NOT NULL",
    "dtype": "TEXT NOT NULL",
    "kernel_asked": "TEXT NOT NULL",
    "isa": "TEXT NOT NULL",
    "threads": "INTEGER NOT NULL",
    "machine": "TEXT NOT NULL",
    "processor": "TEXT NOT NULL",
    "pyneedle": "TEXT NOT NULL",
    "numpy": "TEXT NOT NULL",
    "python": "TEXT NOT NULL",
    "finished_at": "TEXT NOT NULL",  # UTC, ISO 8601
    "content": "TEXT NOT NULL",  # JSON, what the hash is taken over
    "cell": "TEXT NOT NULL PRIMARY KEY",
}

_SCHEMA = f"""
CREATE TABLE runs ({", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())}) STRICT;
CREATE TABLE arrays (
  cell TEXT NOT NULL REFERENCES runs (cell) ON DELETE CASCADE,
  name TEXT NOT NULL,
  dtype TEXT NOT NULL,
  shape TEXT NOT NULL, -- JSON
  data BLOB NOT NULL, -- zlib, C order
  PRIMARY KEY (cell, name)
) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""

# Where own data were when a run of theirs was stored last. Made with the first such run: stores without own data, and
# those of versions that knew none, have no such table.
DATA_FILES = """
CREATE TABLE IF NOT EXISTS data_files (
  sha256 TEXT NOT NULL PRIMARY KEY, -- as in the content of a cell
  path TEXT NOT NULL
) STRICT
"""


def create(path: Path) -> None:
    """Make an empty store at `path`, where there is no file or an empty one; it appears whole or not at all.

    Raises
    ------
    StoreError
        Where the file can't be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.executescript(_SCHEMA)
            # Kept in the file: whoever opens it later uses the write-ahead log.
            connection.execute("PRAGMA journal_mode = WAL")
        # The caller has the lock, and saw that nothing is there.
        temporary.replace(path)
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StoreError(f"cannot make the store {str(path)!r}: {reason or error}") from None
    finally:
        for suffix in _COMPANIONS:
            with contextlib.suppress(OSError):
                temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)


def remove_unfinished(path: Path) -> None:
    """Remove the stores that killed programs were making at `path`.

    Only for the holder of the store's lock, under which alone they are made.
    """
    suffixes = "|".join(map(re.escape, _COMPANIONS))
    unfinished = re.compile(rf"\.{re.escape(path.name)}\.[0-9]+\.tmp({suffixes})")
    with contextlib.suppress(OSError):  # they are in nobody's way
        for file in path.parent.iterdir():
            if unfinished.fullmatch(file.name):
                file.unlink(missing_ok=True)


def is_store(path: Path) -> bool:
    """Whether a store is at `path`: False where there is no file, or an empty one.

    Reads the first bytes only, so that a file of another program is not touched.

    Raises
    ------
    StoreError
        Where there is something else, or a store of a newer version of pyneedle.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        if path.parent.is_dir():
            return False
        raise StoreError(f"cannot make {str(path)!r}: its folder does not exist") from None
    except OSError as error:
        raise StoreError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    if not header:
        return False
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise StoreError(f"{str(path)!r} is not a store of pyneedle: it is no SQLite file; it was left as it is")
    (application,) = struct.unpack_from(">I", header, _APPLICATION_ID_AT)
    (version,) = struct.unpack_from(">I", header, _USER_VERSION_AT)
    if application != APPLICATION_ID:
        raise StoreError(f"{str(path)!r} is not a store of pyneedle, but another program's; it was left as it is")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{str(path)!r} was written by a newer pyneedle: its schema has version {version}, this pyneedle knows "
            f"{SCHEMA_VERSION}; it was left as it is"
        )
    return True

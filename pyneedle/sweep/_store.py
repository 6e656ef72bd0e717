"""The store: one SQLite file with a row a run, written by one process at a time, readable by any number."""

import contextlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyneedle._checks import Array
from pyneedle.sweep import _schema
from pyneedle.sweep._errors import StoreError
from pyneedle.sweep._lock import StoreLock
from pyneedle.sweep._outcome import HISTORY, PARAMETERS, Keep, Outcome

if TYPE_CHECKING:
    from typing_extensions import Self

# Committed rows survive the death of the process at once, and that of the machine after at most this long.
_SYNC_SECONDS = 5.0
# Losses and counts shrink to a third at the fastest level; parameters hardly at any.
_COMPRESSION = 1
_BUSY_SECONDS = 30.0


class Store:
    """A file of finished runs; a context manager.

    A run is in it completely or not at all: its row and its arrays are one transaction.

    Parameters
    ----------
    path : path-like
        The file; made where there is none.
    write : bool
        Open it as the one writer. Without, it is only read, beside a writer if there is one.

    Raises
    ------
    StoreError
        Where another process writes to it, it is no store or that of a newer version, or it can't be opened.
    """

    def __init__(self, path: str | os.PathLike[str], write: bool = False) -> None:
        self.path = Path(path).resolve()
        self._lock: StoreLock | None = None
        exists = _schema.is_store(self.path)
        if not exists and not write:
            what = "is empty" if self.path.exists() else "does not exist"
            raise StoreError(f"{str(self.path)!r} {what}: there are no results to read")
        if write:
            self._lock = StoreLock(self.path)
        try:
            # Once more under the lock: another process may have made it meanwhile.
            if write and not _schema.is_store(self.path):
                _schema.create(self.path)
            self._connection = self._connect(write)
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise
        self._last_sync = time.monotonic()

    def __enter__(self) -> "Self":
        """The store itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Put the log into the file and let go of it; a second call does nothing."""
        try:
            self._connection.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    @property
    def holder(self) -> str:
        """What the lock of this store says about its holder; empty for a reader."""
        return "" if self._lock is None else self._lock.holder

    def finished(self, keep: Keep | None = None) -> set[str]:
        """Hashes of the cells whose runs are there, completed or diverged, with the arrays that are asked for."""
        query = "SELECT cell FROM runs WHERE status != 'failed'"
        wanted = [HISTORY[0]] * (keep is not None and keep.history) + [PARAMETERS] * (
            keep is not None and keep.parameters
        )
        for _ in wanted:
            query += " AND EXISTS (SELECT 1 FROM arrays WHERE arrays.cell = runs.cell AND arrays.name = ?)"
        with self._reading():
            return {cell for (cell,) in self._connection.execute(query, wanted)}

    def failed(self) -> dict[str, str]:
        """The errors of the cells whose runs failed, by hash."""
        with self._reading():
            return dict(self._connection.execute("SELECT cell, error FROM runs WHERE status = 'failed'"))

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Store runs, all in one transaction; one that is there is replaced.

        Raises
        ------
        StoreError
            Where it can't be written; nothing of these runs is then stored, what was there before is.
        """
        rows = [(_row(outcome), outcome.arrays) for outcome in outcomes]
        if not rows:
            return
        names = ", ".join(_schema.COLUMNS)
        marks = ", ".join("?" * len(_schema.COLUMNS))
        with self._writing():
            for row, arrays in rows:
                self._connection.execute("DELETE FROM runs WHERE cell = ?", (row["cell"],))
                self._connection.execute(
                    f"INSERT INTO runs ({names}) VALUES ({marks})",  # noqa: S608 - our own column names
                    [row[name] for name in _schema.COLUMNS],
                )
                self._connection.executemany(
                    "INSERT INTO arrays (cell, name, dtype, shape, data) VALUES (?, ?, ?, ?, ?)",
                    [(row["cell"], name, *_packed(array)) for name, array in arrays.items()],
                )

    def sync(self) -> None:
        """Return when what was stored survives the death of the machine, too.

        Raises
        ------
        StoreError
            Where it can't be written.
        """
        self._last_sync = -_SYNC_SECONDS
        with self._writing():
            pass

    def rows(self) -> list[dict[str, Any]]:
        """All runs, in the order of their hashes."""
        with self._reading():
            cursor = self._connection.execute("SELECT * FROM runs ORDER BY cell")
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def arrays(self, cell: str) -> dict[str, Array]:
        """The arrays that are kept of a cell, by name; empty where none is."""
        with self._reading():
            stored = self._connection.execute("SELECT name, dtype, shape, data FROM arrays WHERE cell = ?", (cell,))
            return {name: _unpacked(*packed) for name, *packed in stored}

    def _connect(self, write: bool) -> sqlite3.Connection:
        if write:
            return self._opened("mode=rw", write)
        try:
            # Not mode=ro, which would leave its log and its shared memory lying about.
            return self._opened("mode=rw", write)
        except StoreError:
            # Beside a file in a folder that can't be written SQLite finds no shared memory. With no log left over
            # the file is complete by itself.
            if self._log_size() == 0:
                return self._opened("mode=ro&immutable=1", write)
            raise

    def _opened(self, options: str, write: bool) -> sqlite3.Connection:
        connection = None
        try:
            connection = sqlite3.connect(
                f"{self.path.as_uri()}?{options}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
            )
            connection.execute("PRAGMA foreign_keys = ON")
            # Fsync at checkpoints only; see _SYNC_SECONDS.
            connection.execute("PRAGMA synchronous = NORMAL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone()
            if not write:
                connection.execute("PRAGMA query_only = ON")
            else:
                # Finds out now whether the file can be written.
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(f"PRAGMA user_version = {version}")
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise StoreError(f"cannot open {str(self.path)!r}: {error}") from None
        return connection

    def _log_size(self) -> int:
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        except OSError:
            return 0

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"cannot read {str(self.path)!r}: {error}") from None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
            self._sync()
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            raise StoreError(
                f"cannot write to {str(self.path)!r}: {error}; the runs that were stored before are intact"
            ) from None

    def _sync(self) -> None:
        now = time.monotonic()
        if now - self._last_sync < _SYNC_SECONDS:
            return
        self._last_sync = now
        # Fsyncs the log before it copies anything into the file.
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _row(outcome: Outcome) -> dict[str, Any]:
    cell = outcome.cell
    # Not asdict: it copies recursively, which is a tenth of what storing a run costs.
    machine = dict(vars(outcome.machine))
    return {
        **{
            name: getattr(cell, name)
            for name in (
                "network", "target", "d", "alpha", "n_samples", "strength", "repeat", "epochs", "batch_size", "device",
                "hidden_layers", "activation", "block_in", "sort", "data_seed", "shuffle", "init", "dtype",
            )
        },
        **vars(cell.optimizer),
        **{
            name: getattr(outcome, name)
            for name in (
                "train_mse", "validation_mse", "test_mse", "path_norm", "best_epoch", "status", "seconds", "kernel",
                "epochs_finished", "error", "isa", "threads",
            )
        },
        "machine": machine.pop("name"),
        **machine,
        "penalty": cell.penalty_kind,
        "kernel_asked": cell.kernel,
        "finished_at": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "content": json.dumps(cell.content, sort_keys=True),
        "cell": cell.id,
    }  # fmt: skip


def _packed(array: Array) -> tuple[str, str, bytes]:
    return array.dtype.str, json.dumps(array.shape), zlib.compress(np.ascontiguousarray(array).tobytes(), _COMPRESSION)


def _unpacked(dtype: str, shape: str, data: bytes) -> Array:
    return np.frombuffer(zlib.decompress(data), dtype).reshape(json.loads(shape))

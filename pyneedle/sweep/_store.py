"""The store: one SQLite file with a row a run, written by one process at a time, readable by any number."""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyneedle._checks import Array
from pyneedle.sweep import _rows, _schema
from pyneedle.sweep._data_file import OWN_TARGET
from pyneedle.sweep._errors import StoreError
from pyneedle.sweep._lock import StoreLock
from pyneedle.sweep._outcome import HISTORY, PARAMETERS, Keep, Outcome

if TYPE_CHECKING:
    from typing_extensions import Self

# Committed rows survive the death of the process at once, and that of the machine after at most this long.
_SYNC_SECONDS = 5.0
_BUSY_SECONDS = 30.0
_INSERT_RUN = (
    f"INSERT INTO runs ({', '.join(_schema.COLUMNS)}) "  # noqa: S608 - our own column names
    f"VALUES ({', '.join('?' * len(_schema.COLUMNS))})"
)
_INSERT_DATA_FILE = "INSERT OR REPLACE INTO data_files (sha256, path) VALUES (?, ?)"
_INSERT_ARRAY = "INSERT INTO arrays (cell, name, dtype, shape, data) VALUES (?, ?, ?, ?, ?)"


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

    Notes
    -----
    Arrays are kept as zlib streams. Counts of units, which change rarely, are compressed (level 1): to 4% over 100
    epochs, 1% over 1,000. Losses and parameters are not (level 0), because their digits are noise: level 1 makes those
    of 100 epochs no smaller and those of 1,000 by 7%, and no higher level more. Stores of 2,000 runs of an LN came out
    at the same size with it, 4.3 kB (100 epochs) and 22 kB (1,000) a run, and storing a run took 0.33 ms instead of
    0.18 ms, and 0.78 ms instead of 0.34 ms.
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
            if write:
                _schema.remove_unfinished(self.path)
                # Once more under the lock: another process may have made it meanwhile.
                if not _schema.is_store(self.path):
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
        """Find the cells whose runs are there, completed or diverged.

        Parameters
        ----------
        keep : Keep, optional
            Only those that have these arrays, too.

        Returns
        -------
        set of str
            Their hashes.
        """
        query = "SELECT cell FROM runs WHERE status != 'failed'"
        wanted = [HISTORY[0]] * (keep is not None and keep.history) + [PARAMETERS] * (
            keep is not None and keep.parameters
        )
        for _ in wanted:
            query += " AND EXISTS (SELECT 1 FROM arrays WHERE arrays.cell = runs.cell AND arrays.name = ?)"
        with self._reading():
            return {cell for (cell,) in self._connection.execute(query, wanted)}

    def kept(self) -> dict[str, Keep]:
        """Find out which arrays are there.

        Returns
        -------
        dict of str to Keep
            By the hash of the cell; without those that have none.
        """
        query = "SELECT cell, MAX(name = ?), MAX(name = ?) FROM arrays GROUP BY cell"
        with self._reading():
            found = self._connection.execute(query, (HISTORY[0], PARAMETERS))
            return {cell: Keep(bool(history), bool(parameters)) for cell, history, parameters in found}

    def failed(self) -> dict[str, str]:
        """Find the cells whose runs failed.

        Returns
        -------
        dict of str to str
            Their errors, by the hash of the cell.
        """
        with self._reading():
            return dict(self._connection.execute("SELECT cell, error FROM runs WHERE status = 'failed'"))

    def add(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Store runs, all in one transaction; one that is there is replaced, but no result by a failure.

        Parameters
        ----------
        outcomes : iterable of Outcome
            Of different cells.

        Returns
        -------
        list of Outcome
            The failed ones that were left out, because there is a result of their cell.

        Raises
        ------
        StoreError
            Where it can't be written; nothing of these runs is then stored, what was there before is.
        """
        rows, arrays, left_out = [], [], []
        files: dict[str, str] = {}
        for outcome in outcomes:
            cell = outcome.cell.id
            if outcome.status == "failed" and self._has_result(cell):
                left_out.append(outcome)
                continue
            rows.append(_rows.row(outcome))
            arrays += [(cell, name, *_rows.packed(array)) for name, array in outcome.arrays.items()]
            if (data := outcome.cell.data) is not None:
                files[data.sha256] = data.path
        if rows:
            with self._writing():
                if files:
                    self._connection.execute(_schema.DATA_FILES)
                    self._connection.executemany(_INSERT_DATA_FILE, files.items())
                self._connection.executemany("DELETE FROM runs WHERE cell = ?", [row[-1:] for row in rows])
                self._connection.executemany(_INSERT_RUN, rows)
                self._connection.executemany(_INSERT_ARRAY, arrays)
        return left_out

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

    def rows(self, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """Read some columns of all runs.

        Parameters
        ----------
        columns : sequence of str
            Names of columns.

        Returns
        -------
        list of tuple
            A row a run, in the order of the hashes.
        """
        with self._reading():
            query = f"SELECT {', '.join(columns)} FROM runs ORDER BY cell"  # noqa: S608 - our own column names
            return self._connection.execute(query).fetchall()

    def own_data(self) -> dict[str, str]:
        """Find the cells with own data.

        Returns
        -------
        dict of str to str
            The SHA-256 of the data, by the hash of the cell.
        """
        with self._reading():
            query = "SELECT cell, content FROM runs WHERE target = ?"
            found = self._connection.execute(query, (OWN_TARGET,))
            return {cell: json.loads(content)["data"] for cell, content in found}

    def data_files(self) -> dict[str, str]:
        """Find out where own data were when a run of theirs was stored last.

        Returns
        -------
        dict of str to str
            Paths, by the SHA-256 of the data.
        """
        with self._reading():
            query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'data_files'"
            if self._connection.execute(query).fetchone() is None:
                return {}
            return dict(self._connection.execute("SELECT sha256, path FROM data_files"))

    def arrays(self, cell: str) -> dict[str, Array]:
        """Read the arrays that are kept of a cell.

        Parameters
        ----------
        cell : str
            Its hash.

        Returns
        -------
        dict of str to ndarray
            By name: those of `Fit.history`, and "parameters", the best ones as a flat vector; empty where none is kept.
        """
        with self._reading():
            stored = self._connection.execute("SELECT name, dtype, shape, data FROM arrays WHERE cell = ?", (cell,))
            return {name: _rows.unpacked(*packed) for name, *packed in stored}

    def _has_result(self, cell: str) -> bool:
        with self._reading():
            query = "SELECT 1 FROM runs WHERE cell = ? AND status != 'failed'"
            return self._connection.execute(query, (cell,)).fetchone() is not None

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
        except BaseException as error:
            # Also on Ctrl-C: the next transaction could not begin in this one.
            with contextlib.suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            if not isinstance(error, sqlite3.Error):
                raise
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

"""The lock that makes one process at a time the writer of a store."""

import fcntl
import os
import socket
from pathlib import Path

from pyneedle.sweep._errors import StoreError

_CONTENDED = (BlockingIOError, PermissionError)


class StoreLock:
    """An exclusive lock on a file beside the store; the system drops it when the process ends, however it ends.

    Not a lock on the store itself: closing a second descriptor of that file would drop SQLite's own locks.

    Parameters
    ----------
    store : Path
        The store, an absolute path without links.

    Raises
    ------
    StoreError
        Where another process, or another part of this one, has the lock, or the file can't be made or written.
    """

    def __init__(self, store: Path) -> None:
        self._path = store.with_name(store.name + ".lock")
        while True:
            descriptor = self._open(store)
            # Its holder removes the file before letting go; a lock on a removed file locks nothing.
            if self._is_current(descriptor):
                break
            os.close(descriptor)
        self._descriptor: int | None = descriptor
        self.holder = f"process {os.getpid()} on {socket.gethostname()}"
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, self.holder.encode())
        except BaseException as error:
            self.release()
            if not isinstance(error, OSError):
                raise
            raise _refused(store, error) from None

    def release(self) -> None:
        """Let go; a second call does nothing."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            self._path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def _open(self, store: Path) -> int:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _refused(store, error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except _CONTENDED:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise StoreError(f"{str(store)!r} is in use by {holder or 'another process'}") from None
        except OSError as error:
            os.close(descriptor)
            raise StoreError(f"cannot lock {str(store)!r}: {error.strerror or error}") from None
        return descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False


def _refused(store: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot write beside {str(store)!r}: {error.strerror or error}")

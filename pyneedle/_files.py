"""Files that appear whole or not at all."""

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# How databases begin, and the logs that belong to them: https://www.sqlite.org/fileformat.html, sections 1.3 and 4.1
_DATABASES = (b"SQLite format 3\0", b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
# Names of what this process has open, be it a file.
_OPEN_FILES = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")
_TEMPORARY = ".tmp"


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` once the block ends without an exception.

    It is written beside `path`, or what that links to, so that the replacement is one step of the file system; on an
    exception it is removed and `path` stays as it was. Pipes, devices and names of open files such as /dev/stdout have
    no place that another file could take: these are written to.

    Raises
    ------
    OSError
        Where it can't be written, or is a SQLite database such as a store, whose runs are not to be lost.
    """
    if is_stream(path):
        with Path(path).open("ab") as stream:
            yield stream
        return
    target, temporary = _places(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        _name(error, path)
        raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """OSError where `replacing(path)` could not write."""
    if is_stream(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return
    _, probe = _places(path)
    try:
        with probe.open("xb"):
            pass
        probe.unlink()
    except OSError as error:
        _name(error, path)
        raise


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether this is a pipe, a device or a name of an open file."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - of whatever is a path
    except OSError:  # whoever opens it will say why
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or os.path.abspath(path).startswith(_OPEN_FILES)  # noqa: PTH100


def _places(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The file to be replaced, behind all links, and the one that is written first."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a directory", str(path))
    with contextlib.suppress(FileNotFoundError), target.open("rb") as file:
        if file.read(16).startswith(_DATABASES):
            raise FileExistsError(errno.EEXIST, "it is a SQLite database, and was left as it is", str(path))
    return target, target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}{_TEMPORARY}")


def _name(error: BaseException, path: str | os.PathLike[str]) -> None:
    """Let an error say what was asked for instead of the file that is written first."""
    if isinstance(error, OSError) and str(error.filename).endswith(_TEMPORARY):
        error.filename = str(path)


def _sync_folder(folder: Path) -> None:
    """The new name must survive a failure of the machine, too."""
    # Some file systems have no such thing; the file itself is whole in any case.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

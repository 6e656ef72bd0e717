"""Files that are replaced, and what is never replaced."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pyneedle import _files


def put(path, data):
    with _files.replacing(path) as file:
        file.write(data)


def test_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a"
    put(path, b"one")

    def fail():
        with _files.replacing(path) as file:
            file.write(b"two")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_link_is_followed(tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "file").write_bytes(b"old")
    for name, target in (("first", "there/file"), ("second", "first"), ("dangling", "there/new")):
        (tmp_path / name).symlink_to(target)
        _files.check_writable(tmp_path / name)
        put(tmp_path / name, name.encode())
        assert (tmp_path / name).is_symlink()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"file": b"second", "new": b"dangling"}


def test_a_pipe_is_written_to(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        _files.check_writable(path)
        put(path, b"through it")
        assert os.read(reader, 100) == b"through it"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_device_stays_one():
    """A terminal of its own: where replacing goes wrong, no device of the machine is lost."""
    ours, theirs = os.openpty()
    try:
        path = Path(os.ttyname(theirs))
        _files.check_writable(path)
        put(path, b"shown")
        assert os.read(ours, 100) == b"shown"
        assert stat.S_ISCHR(path.stat().st_mode)
    finally:
        os.close(ours)
        os.close(theirs)


def test_an_open_file_is_added_to(tmp_path):
    """Not by the name /dev/stdout: where replacing goes wrong, root would lose that link."""
    code = """
from pyneedle import _files
print("before", flush=True)
with _files.replacing("/proc/self/fd/1") as file:
    file.write(b"between\\n")
"""
    with (tmp_path / "a").open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True, cwd=tmp_path)
    assert (tmp_path / "a").read_bytes() == b"before\nbetween\n"


def test_folders_and_databases_are_not_replaced(tmp_path):
    (tmp_path / "a.sqlite").write_bytes(b"SQLite format 3\0" + bytes(84))
    for path, message in ((tmp_path / "a.sqlite", "it is a SQLite database"), (tmp_path, "it is a directory")):
        with pytest.raises(OSError, match=message):
            put(path, b"")
        with pytest.raises(OSError, match=message):
            _files.check_writable(path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.sqlite"]


def test_errors_name_what_was_asked_for(tmp_path):
    path = tmp_path / "no" / "a"
    for attempt in (lambda: put(path, b""), lambda: _files.check_writable(path)):
        with pytest.raises(FileNotFoundError) as caught:
            attempt()
        assert str(caught.value) == f"[Errno 2] No such file or directory: {str(path)!r}"

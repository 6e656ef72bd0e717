"""Checkpoints: files beside the store that hold where a long run stands, until its row is stored."""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np

from pyneedle import _device, _files, _native
from pyneedle._checks import Array
from pyneedle._state import TrainingState
from pyneedle.sweep._outcome import HISTORY, this_machine

if TYPE_CHECKING:
    from pyneedle._device import Device

_MAGIC = b"pyneedle checkpoint\n"
_VERSION = 1
_SUFFIX = ".checkpoint"
_DIGEST_BYTES = 32
_VECTORS = ("parameters", "m", "v", "best")
_NUMBERS = ("epochs", "steps", "best_epoch", "best_validation_loss", "seconds")
# A header is a few hundred bytes; what claims more is damaged, and must not be read into memory.
_MOST_HEADER_BYTES = 1 << 20


class _RefusedError(Exception):
    """A file that the run can't go on from; the message says why."""


class Described(Protocol):
    """A training that is known by the hash of all that determines it: a cell, or what goes on from one."""

    @property
    def id(self) -> str:
        """The hash."""
        ...

    @property
    def device(self) -> "Device":
        """Where it runs."""
        ...


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoint files beside a store, one for each long run in flight.

    A file holds: a line that names the format, the SHA-256 of all that follows, the length of the header, the header
    (JSON: version, cell, what computed it, numbers, shapes of the arrays), the arrays.

    Parameters
    ----------
    store : Path
        The store, an absolute path without links.
    seconds : float
        About how often a run is put down.
    holder : str
        What the store's lock says, by which a worker elsewhere knows that it sees the same folder.
    """

    store: Path
    seconds: float
    holder: str = ""

    def path(self, cell: Described) -> Path:
        """Where the run of a cell is put down."""
        return Path(self._name(cell))

    def _name(self, cell: Described) -> str:
        return f"{self.store}.{cell.id}{_SUFFIX}"

    def exists(self, cell: Described) -> bool:
        """Whether the run of a cell was put down."""
        # Asked for each run that ends: a Path takes ten times as long.
        return os.path.exists(self._name(cell))  # noqa: PTH110

    def save(self, cell: Described, state: TrainingState) -> bool:
        """Put a run down, whole or not at all, also if the machine stops; warns and returns False where it can't be."""
        try:
            with _files.replacing(self.path(cell)) as file:
                _write(file, cell, state)
        except OSError as error:
            # The run itself is well; it only loses more if it is killed.
            warnings.warn(
                f"cannot write the checkpoint {str(self.path(cell))!r}: {error.strerror or error}; the run goes on",
                RuntimeWarning,
                stacklevel=2,
            )
            return False
        return True

    def load(self, cell: Described) -> TrainingState | None:
        """Where the run of a cell stands; None where it was not put down, and with a warning where the file is bad."""
        path = self.path(cell)
        try:
            with path.open("rb") as file:
                return _read(file, cell)
        except FileNotFoundError:
            return None
        except (OSError, _RefusedError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            warnings.warn(
                f"the checkpoint {str(path)!r} is not used: {reason}; the run starts anew",
                RuntimeWarning,
                stacklevel=2,
            )
            return None

    def remove(self, cell: Described) -> None:
        """Remove the file of a cell, if there is one."""
        _remove(self.path(cell))

    def clean(self, finished: Iterable[str]) -> None:
        """Remove what killed programs left: files of cells that are stored by now, and half-written ones.

        Only for the holder of the store's lock.

        Parameters
        ----------
        finished : iterable of str
            Hashes of the cells that are stored and will not be trained again.
        """
        stored = set(finished)
        whole = re.compile(re.escape(self.store.name) + r"\.([0-9a-f]+)" + re.escape(_SUFFIX))
        half = re.compile(r"\." + whole.pattern + r"\..*\.tmp")
        for path in self.store.parent.iterdir():
            match = whole.fullmatch(path.name)
            if half.fullmatch(path.name) or (match and match[1] in stored):
                _remove(path)

    def reachable(self) -> bool:
        """Whether this process sees the folder of the store: the driver's lock lies there."""
        try:
            return self.store.with_name(self.store.name + ".lock").read_text() == self.holder
        except (OSError, UnicodeDecodeError):  # a folder of another machine
            return False


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(f"cannot remove {str(path)!r}: {error.strerror or error}", RuntimeWarning, stacklevel=3)


def _producer(cell: Described) -> dict[str, str]:
    """What the bits of a result depend on beside the cell: a run is not continued by another."""
    machine = this_machine()
    if cell.device == "cuda":
        gpu = _device.info()
        return {"pyneedle": machine.pyneedle, "isa": "sm_{}{}".format(*gpu.compute_capability), "processor": gpu.name}
    return {"pyneedle": machine.pyneedle, "isa": _native.active_level(), "processor": machine.processor}


def _write(file: BinaryIO, cell: Described, state: TrainingState) -> None:
    arrays = {name: np.ascontiguousarray(value) for name, value in _arrays(state)}
    header = json.dumps(
        {
            "version": _VERSION,
            "cell": cell.id,
            "producer": _producer(cell),
            **{name: getattr(state, name) for name in _NUMBERS},
            "arrays": {name: [value.dtype.str, list(value.shape)] for name, value in arrays.items()},
        }
    ).encode()
    # Bytes without a copy: numpy's arrays are buffers, which its annotations do not say for Python below 3.12.
    parts: list[Any] = [len(header).to_bytes(8, "little"), header]
    parts += [value.reshape(-1).view(np.uint8) for value in arrays.values()]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    file.write(_MAGIC + digest.digest())
    for part in parts:
        file.write(part)


def _arrays(state: TrainingState) -> Iterator[tuple[str, Array]]:
    for name in _VECTORS:
        yield name, getattr(state, name)
    yield from state.history.items()


def _read(file: BinaryIO, cell: Described) -> TrainingState:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise _RefusedError("it is not a checkpoint of pyneedle")
    wanted = file.read(_DIGEST_BYTES)
    header_size = file.read(8)
    size = int.from_bytes(header_size, "little")
    left = os.fstat(file.fileno()).st_size - file.tell()
    if size > min(left, _MOST_HEADER_BYTES):
        raise _RefusedError("it is damaged")
    text = file.read(size)
    body = file.read()
    digest = hashlib.sha256(header_size)
    digest.update(text)
    digest.update(body)
    if digest.digest() != wanted:
        raise _RefusedError("it is damaged: its checksum is wrong")
    # Whole as it was written: what is wrong from here on was written by another program or another version.
    header: dict[str, Any] = json.loads(text)
    if header.get("version") != _VERSION:
        raise _RefusedError(f"it has version {header.get('version')!r} of the format, this pyneedle reads {_VERSION}")
    if header["cell"] != cell.id:
        raise _RefusedError(f"it is that of another run ({header['cell']})")
    for name, mine in _producer(cell).items():
        theirs = header["producer"].get(name)
        if theirs != mine:
            raise _RefusedError(f"it was computed with {name} {theirs!r}, this is {mine!r}")
    arrays: dict[str, Array] = {}
    offset = 0
    for name, (dtype, shape) in header["arrays"].items():
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(body, dtype, count, offset).reshape(shape)
        offset += arrays[name].nbytes
    values: dict[str, Any] = {name: arrays[name] for name in _VECTORS} | {name: header[name] for name in _NUMBERS}
    return TrainingState(**values, history={name: arrays[name] for name in HISTORY})

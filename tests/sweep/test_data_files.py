"""Files of own data: what their hash is taken over, and which are refused."""

import hashlib
import io

import numpy as np
import pytest
from support.own_data import ROWS, D, arrays, own, write
from support.sweeps import tiny

from pyneedle.sweep import DataFile


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "measured.npz", *arrays())


def test_the_hash_is_that_of_the_numbers(file):
    x, y = arrays()
    data = DataFile.read(file)
    numbers = x.astype("<f8").tobytes() + y.astype("<f8").tobytes()
    assert data.sha256 == hashlib.sha256(b"pyneedle data 1, 200 rows, d=3\n" + numbers).hexdigest()
    assert (data.name, data.path, data.d, data.n_samples) == ("measured.npz", str(file), D, ROWS)
    assert own(file).cells[0].content["data"] == data.sha256


def test_the_hash_is_that_of_every_version(tmp_path):
    # Stores outlive versions: these may never change. Those of cells without own data are in test_cells.py.
    file = write(tmp_path / "a.npz", np.arange(30.0).reshape(10, 3), np.arange(10))
    assert DataFile.read(file).sha256 == SHA256
    assert own(file).cells[0].id == CELL
    assert "data" not in tiny().cells[0].content


SHA256 = "f0fdf1994dc2b2deae15ab98094428c80b60bda2cbff81563ff513a32a37132b"
CELL = "6e33eb15c5abb4ea6c9c19103618ab39"


def test_a_large_file_is_hashed_in_parts(tmp_path):
    x, y = arrays(rows=300_000, d=2)
    numbers = x.tobytes() + y.tobytes()
    data = DataFile.read(write(tmp_path / "a.npz", x, y))
    assert data.sha256 == hashlib.sha256(b"pyneedle data 1, 300000 rows, d=2\n" + numbers).hexdigest()


FORMS = {
    "double": lambda x, y: (x.astype(np.float64), y.astype(np.float64)),
    "half": lambda x, y: (x.astype(np.float16), y),
    "integers": lambda x, y: (x.astype(np.int64), y.astype(np.uint8)),
    "big-endian": lambda x, y: (x.astype(">f8"), y.astype(">i2")),
    "columns": lambda x, y: (np.asfortranarray(x), y),
    "extended": lambda x, y: (x.astype(np.longdouble), y.astype(np.longdouble)),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_numbers_are_one_cell(form, tmp_path):
    x, y = np.arange(60, dtype=np.float32).reshape(20, 3) % 7, np.arange(20, dtype=np.float32)
    plain = own(write(tmp_path / "a.npz", x, y)).cells
    other = own(write(tmp_path / "b.npz", *FORMS[form](x, y)), n_samples=20, d=3, sort="none").cells
    assert [cell.id for cell in plain] == [cell.id for cell in other]
    a, b = (cells[0].make_dataset() for cells in (plain, other))
    assert np.array_equal(a.train.x, b.train.x)
    assert np.array_equal(a.train.y, b.train.y)


X, Y = arrays()
BAD_FILES = {
    "No such file or directory": lambda path: None,
    "Is a directory": lambda path: path.mkdir(),
    "it is no .npz file": lambda path: path.write_bytes(b"x,y\n1,2\n"),
    "it is no .npz": lambda path: path.touch(),
    "it is no .npz f": lambda path: path.write_bytes(single(X)),
    "it has no array y, only x, z": lambda path: np.savez(path, x=X, z=Y),
    "it has no array x, only nothing": np.savez,
    "it is damaged: ": lambda path: path.write_bytes(damaged(path)),
    "x must have shape (n, d) with d at least 1, got (200,)": lambda path: write(path, Y, Y),
    "x must have shape (n, d) with d at least 1, got (200, 0)": lambda path: write(path, X[:, :0], Y),
    "y must have shape (200,) to match the rows of x, got (200, 1)": lambda path: write(path, X, Y[:, None]),
    "y must have shape (200,) to match the rows of x, got (199,)": lambda path: write(path, X, Y[1:]),
    "x must hold real numbers, got dtype complex128": lambda path: write(path, X + 1j, Y),
    "y must hold real numbers, got dtype bool": lambda path: write(path, X, Y > 0),
    "y must hold real numbers, got dtype <U": lambda path: write(path, X, Y.astype(str)),
    "x can't be read: it holds Python objects": lambda path: write(path, X.astype(object), Y),
    "x must be finite, got nan at index [3, 1]": lambda path: write(path, with_value(X, (3, 1), np.nan), Y),
    "y must be finite, got -inf at index [5]": lambda path: write(path, X, with_value(Y, 5, -np.inf)),
    "the number of rows of x must be at least 5": lambda path: write(path, X[:4], Y[:4]),
    "the number of rows must be at least 1, got 0": lambda path: write(path, X[:0], Y[:0]),
}


def with_value(array, index, value):
    changed = array.copy()
    changed[index] = value
    return changed


def single(array):
    """What numpy.save writes."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def damaged(path):
    whole = bytearray(write(path, X, Y).read_bytes())
    whole[2000:2100] = bytes(100)
    return bytes(whole)


@pytest.mark.parametrize("reason", BAD_FILES)
def test_bad_files(reason, tmp_path):
    path = tmp_path / "bad.npz"
    BAD_FILES[reason](path)
    with pytest.raises(ValueError, match=r"bad\.npz") as caught:
        own([path])
    message = str(caught.value)
    assert message.startswith(f"data must be an .npz file with arrays x (n, d) and y (n,), got {str(path)!r}: {reason}")


def test_numbers_beyond_float32(tmp_path):
    x, y = arrays()
    for name, values in (("x.npz", (with_value(x, (7, 1), -1e39), y)), ("y.npz", (x, with_value(y, 7, 4e39)))):
        file = write(tmp_path / name, *values)
        with pytest.raises(
            ValueError, match=rf"data must fit dtype float32, got '.*{name}' with numbers up to 1[.\d]*e\+39"
        ):
            own(file)
        assert np.isfinite(own(file, dtype="float64").cells[0].make_dataset().train.y).all()

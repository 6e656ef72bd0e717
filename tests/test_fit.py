"""Fits: prediction, numbers, files."""

import json
import math
import os
import zipfile

import numpy as np
import pytest

import pyneedle as pn


@pytest.fixture(scope="module")
def fit():
    ds = pn.make_dataset("square", d=3, n_samples=300)
    return pn.train(pn.LocallyConnectedNetwork(3, 5), ds, epochs=4, penalty=pn.PathNorm(1e-5), seed=7)


NUMBERS = (
    "train_mse",
    "validation_mse",
    "test_mse",
    "train_mse_original",
    "validation_mse_original",
    "test_mse_original",
    "path_norm",
)
FIELDS = (
    "network",
    "best_epoch",
    "status",
    "seconds",
    "kernel",
    "isa",
    "device",
    "threads",
    "epochs",
    "batch_size",
    "optimizer",
    "penalty",
    "seed",
    "shuffle",
    "data",
    "dtype",
)


def test_predict_converts(fit):
    x = np.random.default_rng(0).uniform(-1, 1, (9, 3))
    wanted = fit.network.forward(fit.parameters, x.astype(np.float32))
    for given in (x, x.astype(np.float32), x.tolist(), np.asfortranarray(x)):
        assert np.array_equal(fit.predict(given), wanted)
    assert fit.predict(x).dtype == np.float32
    assert fit.predict(np.zeros((2, 3), int)).shape == (2,)


def test_errors_are_those_of_the_predictions():
    ds = pn.make_dataset("square", d=3, n_samples=5000)
    for network in (pn.LocalNetwork(3, 5), pn.LocalNetwork(3, 5, 1, "tanh"), pn.GlobalNetwork(3, 5)):
        fit, again = (pn.train(network, ds, epochs=1) for _ in range(2))
        again.compute_errors(threads=1)  # together, and one by one when asked for: the same bits
        for name in ("train", "validation", "test"):
            rows = getattr(ds, name)
            wanted = np.mean((fit.predict(rows.x).astype(np.float64) - rows.y) ** 2)
            assert math.isclose(getattr(fit, f"{name}_mse"), wanted, rel_tol=1e-12)
            assert getattr(again, f"{name}_mse") == getattr(fit, f"{name}_mse")
        assert again.path_norm == fit.path_norm == pn.path_norm(network, fit.parameters)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((2, 4)), ValueError, r"x must have shape \(n, 3\).*got \(2, 4\)"),
        (np.zeros(3), ValueError, "shape"),
        (np.zeros((0, 3)), ValueError, "at least one row"),
        ([[0, math.nan, 0]], ValueError, r"x must be finite, got nan at index \[0, 1\]"),
        (np.full((1, 3), 1e300), ValueError, "finite"),
        (np.zeros((2, 3), complex), TypeError, "real"),
        ("abc", TypeError, "real"),
    ],
)
def test_predict_refuses(fit, x, error, message):
    with pytest.raises(error, match=message):
        fit.predict(x)


@pytest.mark.parametrize("penalty", [None, pn.L1(1e-3)])
@pytest.mark.parametrize("network", [pn.LocalNetwork(4, 3, 1, "tanh", 2), pn.GlobalNetwork(4, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_file_keeps_everything(tmp_path, network, penalty, dtype):
    ds = pn.make_dataset("quartic", d=4, n_samples=100, dtype=dtype)
    fit = pn.train(network, ds, epochs=3, penalty=penalty, optimizer=pn.Adam(decay=0.1, epsilon_placement="corrected"))
    path = tmp_path / "a fit without a suffix"
    fit.save(path)
    assert list(tmp_path.iterdir()) == [path]
    loaded = pn.Fit.load(str(path))
    for name in (*NUMBERS, *FIELDS):
        assert getattr(loaded, name) == getattr(fit, name), name
    assert loaded.dataset is None
    for key in fit.history:
        assert np.array_equal(loaded.history[key], fit.history[key])
    for name, shape in network.parameter_shapes.items():
        assert loaded.parameters[name].shape == shape
        assert np.array_equal(loaded.parameters[name], fit.parameters[name])
        assert np.array_equal(loaded.last_parameters[name], fit.last_parameters[name])
    assert np.array_equal(loaded.predict(ds.test.x), fit.predict(ds.test.x))
    loaded.save(tmp_path / "again.npz")
    assert pn.Fit.load(tmp_path / "again.npz").test_mse == fit.test_mse


def test_a_run_can_be_repeated_from_its_file(tmp_path):
    ds = pn.make_dataset("cosine", d=3, n_samples=150, seed=11, sort="value", dtype="float64")
    fit = pn.train(pn.LocalNetwork(3, 5), ds, epochs=3, batch_size=10, penalty=pn.L1(1e-4), seed=5, shuffle=False)
    fit.save(tmp_path / "fit.npz")
    old = pn.Fit.load(tmp_path / "fit.npz")
    assert old.data == {"target": "cosine", "d": 3, "n_samples": 150, "seed": 11, "sort": "value", "dtype": "float64"}
    again = pn.train(
        old.network, pn.make_dataset(**old.data), old.epochs, old.batch_size, old.optimizer, old.penalty, old.seed,
        kernel=old.kernel, shuffle=old.shuffle,
    )  # fmt: skip
    assert all(np.array_equal(again.parameters[name], value) for name, value in old.parameters.items())
    assert again.test_mse == old.test_mse


def test_own_arrays_are_described_without_a_seed(tmp_path):
    x = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    ds = pn.Dataset.from_arrays(x, x.sum(axis=1), target="sums")
    pn.train(pn.LocalNetwork(2, 3), ds, epochs=1).save(tmp_path / "fit.npz")
    data = pn.Fit.load(tmp_path / "fit.npz").data
    assert data == {"target": "sums", "d": 2, "n_samples": 50, "seed": None, "sort": "none", "dtype": "float32"}


def test_a_file_without_a_description_of_the_data_can_be_read(tmp_path, fit):
    good = tmp_path / "good.npz"
    fit.save(good)
    record = json.loads(str(np.load(good)["record"]))
    del record["data"], record["shuffle"]
    loaded = pn.Fit.load(rewritten(good, tmp_path / "old.npz", record=np.array(json.dumps(record))))
    assert (loaded.data, loaded.shuffle) == (None, None)
    assert loaded.test_mse == fit.test_mse
    loaded.save(tmp_path / "again.npz")
    assert pn.Fit.load(tmp_path / "again.npz").data is None


def test_a_diverged_fit_can_be_kept(tmp_path):
    ds = pn.make_dataset("square", d=2, n_samples=100)
    fit = pn.train(pn.LocalNetwork(2, 4), ds, epochs=9, optimizer=pn.Adam(learning_rate=1e38))
    assert fit.status == "diverged"
    fit.save(tmp_path / "fit.npz")
    loaded = pn.Fit.load(tmp_path / "fit.npz")
    assert loaded.status == "diverged"
    assert np.array_equal(loaded.history["train_loss"], fit.history["train_loss"], equal_nan=True)
    assert math.isclose(loaded.test_mse, fit.test_mse) or not math.isfinite(fit.test_mse)


def test_files_are_replaced_whole(tmp_path, fit):
    path = tmp_path / "fit.npz"
    path.write_bytes(b"old")
    fit.save(path)
    assert pn.Fit.load(path).seed == 7
    assert (path.stat().st_mode & 0o777) == (0o666 & ~_umask())
    with pytest.raises(OSError, match="missing"):
        fit.save(tmp_path / "missing" / "fit.npz")
    with pytest.raises(IsADirectoryError):
        fit.save(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def rewritten(source, target, **changes):
    """The file with some of its members changed; None removes one."""
    with np.load(source) as archive:
        contents = dict(archive)
    contents.update(changes)
    np.savez(target, **{key: value for key, value in contents.items() if value is not None})
    return target


def test_damaged_and_foreign_files(tmp_path, fit):
    good = tmp_path / "good.npz"
    fit.save(good)
    record = json.loads(str(np.load(good)["record"]))
    data = good.read_bytes()
    flipped = bytearray(data)
    flipped[data.find(b"parameters.npy") + 200] ^= 0xFF
    array = tmp_path / "array.npy"
    np.save(array, np.zeros(3))
    pickled = tmp_path / "object.npz"
    np.savez(pickled, record=np.array([{}], dtype=object))
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("record", "hello")
    cases = {
        "empty": b"",
        "text": b"hello, world\n" * 9,
        "cut": data[: len(data) // 2],
        "flipped": bytes(flipped),
        "array": array.read_bytes(),
        "object": pickled.read_bytes(),
        "zip": (tmp_path / "text.npz").read_bytes(),
    }
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=name) as raised:
            pn.Fit.load(path)
        assert "allow_pickle" not in str(raised.value)
    out = tmp_path / "changed.npz"

    def changed(**more):
        return np.array(json.dumps({**record, **more}))

    for changes in (
        {"record": None},
        {"record": np.array("[]")},
        {"record": np.array("{")},
        {"record": changed(format="other")},
        {"record": changed(network={"name": "LN", "d": -1})},
        {"record": changed(network={"name": "XN", "d": 1})},
        {"record": changed(optimizer={"speed": 3})},
        {"parameters": None},
        {"parameters": np.zeros(3, np.float32)},
        {"parameters": np.zeros(fit.network.parameter_count, complex)},
        {"history_dead_units": np.zeros((9, 9), int)},
        {"history_train_loss": np.array(0.0)},
    ):
        with pytest.raises(ValueError, match=r"changed\.npz"):
            pn.Fit.load(rewritten(good, out, **changes))
    with pytest.raises(ValueError, match="newer"):
        pn.Fit.load(rewritten(good, out, record=changed(version=2)))
    with pytest.raises(FileNotFoundError):
        pn.Fit.load(tmp_path / "nothing.npz")

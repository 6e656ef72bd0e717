"""Data sets: the protocol's points, targets, order and split."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyneedle as pn
from pyneedle import _datasets


def rows(dataset):
    """All rows in the order in which they were drawn: test, train, validation."""
    parts = (dataset.test, dataset.train, dataset.validation)
    return np.concatenate([s.x for s in parts]), np.concatenate([s.y for s in parts])


def test_shapes_and_fields():
    ds = pn.make_dataset("square", d=20, n_samples=1000, seed=3)
    assert (len(ds.train), len(ds.validation), len(ds.test)) == (640, 160, 200)
    assert ds.train.x.shape == (640, 20)
    assert ds.train.y.shape == (640,)
    assert (ds.d, ds.target, ds.n_samples, ds.seed, ds.sort, ds.dtype) == (20, "square", 1000, 3, "abs", np.float32)
    for split in (ds.train, ds.validation, ds.test):
        assert split.x.dtype == split.y.dtype == np.float32
        assert split.x.flags.c_contiguous
        assert not split.x.flags.writeable
        assert not split.y.flags.writeable
    assert "array" not in repr(ds)


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 300), st.integers(0, 300), st.integers(1, 5), st.sampled_from(["float32", "float64"]))
def test_a_smaller_data_set_is_a_prefix_of_a_larger_one(n, more, d, dtype):
    small, large = (rows(pn.make_dataset("cosine", d, k, seed=7, dtype=dtype)) for k in (n, n + more))
    assert np.array_equal(small[0], large[0][:n])
    assert np.array_equal(small[1], large[1][:n])


def test_prefix_beyond_one_chunk_of_rows():
    small, large = (rows(pn.make_dataset("square", 3, k))[0] for k in (65_536, 65_536 + 1001))
    assert np.array_equal(small, large[:65_536])
    assert len(np.unique(large, axis=0)) == len(large)


@pytest.mark.parametrize(
    ("target", "g"),
    [("square", lambda t: t**2), ("quartic", lambda t: t**4), ("cosine", np.cos), (np.exp, np.exp)],
)
def test_targets_are_scaled_sums(target, g):
    x, y = rows(pn.make_dataset(target, 6, 500, dtype="float64"))
    assert np.allclose(y, g(x).sum(axis=1) / 6, rtol=1e-14)
    x, y = rows(pn.make_dataset(target, 6, 500))
    # Computed from the stored inputs in float64, rounded once.
    assert np.abs(y - g(x.astype(np.float64)).sum(axis=1) / 6).max() <= np.spacing(np.abs(y).max())


def test_points_are_uniform():
    x, _ = rows(pn.make_dataset("square", 8, 20_000, sort="none", dtype="float64"))
    assert -1.0 <= x.min() < -0.999
    assert 0.999 < x.max() < 1.0
    assert np.allclose(x.mean(axis=0), 0.0, atol=0.02)
    assert np.allclose(x.var(axis=0), 1 / 3, atol=0.01)
    assert np.abs(np.corrcoef(x.T) - np.eye(8)).max() < 0.03


def test_sorting():
    plain, _ = rows(pn.make_dataset("square", 9, 300, sort="none"))
    by_abs, y = rows(pn.make_dataset("square", 9, 300, sort="abs"))
    by_value, _ = rows(pn.make_dataset("square", 9, 300, sort="value"))
    assert (np.diff(np.abs(by_abs), axis=1) >= 0).all()
    assert (by_abs < 0).any(axis=1).sum() > 290
    assert (np.diff(by_value, axis=1) >= 0).all()
    for ordered in (by_abs, by_value):
        assert np.array_equal(np.sort(plain, axis=1), np.sort(ordered, axis=1))
    assert not np.array_equal(plain, by_abs)
    assert np.allclose(y, (plain.astype(np.float64) ** 2).sum(axis=1) / 9, rtol=1e-6)


def test_seeds_differ():
    one, two = (rows(pn.make_dataset("square", 3, 100, seed=s))[0] for s in (0, 1))
    assert not np.array_equal(one, two)


@settings(deadline=None)
@given(st.integers(5, 400))
def test_split_covers_the_rows_once(n):
    ds = pn.make_dataset("square", 1, n)
    assert len(ds.train) + len(ds.validation) + len(ds.test) == n
    assert len(ds.test) == n // 5
    assert len(ds.train) == 64 * n // 100


def test_callable_gets_plain_arrays_and_names_the_target():
    seen = []

    def cube(t):
        seen.append((t.shape, t.dtype))
        return t**3

    ds = pn.make_dataset(cube, 2, 50)
    assert seen == [((50, 2), np.float64)]
    assert ds.target == "cube"


@pytest.mark.parametrize(
    "g", [lambda t: t.sum(axis=1), lambda t: np.full(t.shape, np.nan), lambda t: t.astype(str), lambda _: 1.0]
)
def test_callables_that_are_no_elementwise_function(g):
    with pytest.raises(ValueError, match="target"):
        pn.make_dataset(g, 3, 50)


def test_a_target_that_overflows_float32_is_an_error():
    with pytest.raises(ValueError, match="finite"):
        pn.make_dataset(lambda t: 1e300 * t, 3, 50)
    assert np.isfinite(pn.make_dataset(lambda t: 1e300 * t, 3, 50, dtype="float64").train.y).all()


def test_own_arrays():
    x = np.arange(60.0).reshape(20, 3)
    y = np.arange(20.0)
    ds = pn.Dataset.from_arrays(x, y, split=(0.5, 0.2, 0.3))
    assert np.array_equal(ds.test.x, x[:6])
    assert np.array_equal(ds.train.x, x[6:16])
    assert np.array_equal(ds.validation.x, x[16:])
    assert np.array_equal(ds.train.y, (y[6:16] / 3).astype(np.float32))
    assert (ds.d, ds.n_samples, ds.seed, ds.sort, ds.dtype) == (3, 20, None, "none", np.float32)
    x[:] = -1
    assert ds.test.x[0, 1] == 1
    assert x.flags.writeable
    default = pn.Dataset.from_arrays(x.tolist(), y.astype(int), dtype="float64")
    assert (len(default.train), len(default.validation), len(default.test)) == (12, 4, 4)
    assert default.dtype == np.float64


def test_the_smallest_data_set():
    ds = pn.make_dataset("square", 2, 5)
    assert (len(ds.train), len(ds.validation), len(ds.test)) == (3, 1, 1)
    with pytest.raises(ValueError, match="n_samples must be at least 5"):
        pn.make_dataset("square", 2, 4)
    with pytest.raises(ValueError, match="at least 100"):
        pn.Dataset.from_arrays(np.zeros((99, 1)), np.zeros(99), split=(0.5, 0.49, 0.01))
    ds = pn.Dataset.from_arrays(np.zeros((100, 1)), np.zeros(100), split=(0.5, 0.49, 0.01))
    assert (len(ds.train), len(ds.validation), len(ds.test)) == (50, 49, 1)


def test_numbers_that_were_changed_are_found():
    """A data set whose numbers were found good is read again as soon as one of its arrays can be written to."""
    net = pn.LocalNetwork(3, alpha=4)
    made = pn.make_dataset("square", 3, 100)
    for dataset in (
        made,
        dataclasses.replace(made, sort="none"),
        pn.Dataset.from_arrays(np.ones((50, 3)), np.ones(50)),
    ):
        pn.train(net, dataset, epochs=1)
        x = dataset.validation.x
        x.base.setflags(write=True)
        x.setflags(write=True)
        before = x[2, 1]
        x[2, 1] = np.nan
        with pytest.raises(ValueError, match=r"dataset\.validation\.x must be finite, got nan at index \[2, 1\]"):
            pn.train(net, dataset, epochs=1)
        x[2, 1] = before
        for array in (x.base, x):
            array.setflags(write=False)
        pn.train(net, dataset, epochs=1)


def test_the_numbers_of_a_made_data_set_are_read_once(monkeypatch):
    read = []
    check = _datasets._check_split
    monkeypatch.setattr(_datasets, "_check_split", lambda name, *args: read.append(name) or check(name, *args))
    dataset = pn.make_dataset("square", 3, 100)
    splits = ["dataset.train", "dataset.validation", "dataset.test"]
    for _ in range(3):
        _datasets.check(dataset)
    assert read == splits
    by_hand = dataclasses.replace(dataset, train=pn.Split(np.ones((5, 3), np.float32), np.ones(5, np.float32)))
    for _ in range(3):
        _datasets.check(by_hand)
    assert read == 4 * splits

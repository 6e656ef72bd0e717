"""Trainings with the active-unit kernel, which keeps what it knows of parameters between steps, against direct ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import dense
from support.dense import (
    PENALTIES,
    check_float64,
    data,
    flat,
    initial,
    largest_error,
    mixed_units,
    network,
    rows_off_kinks,
    split,
    train,
)

from pyneedle import _native

LEVELS = _native.supported_levels()


@pytest.fixture(autouse=True, scope="module")
def _blas() -> None:
    dense.load_blas()


def worst_difference(active, direct, d, width):
    """Of two runs' losses, parameters and moments; what is counted must be equal."""
    assert active["status"] == direct["status"]
    for counts in ("dead_units", "on_units", "mixed_units"):
        np.testing.assert_array_equal(active[counts], direct[counts])
    losses = [np.abs(active[name] / direct[name] - 1).max() for name in ("train_loss", "validation_loss")]
    pairs = [(run["last_parameters"], run["state"]["m"], run["state"]["v"]) for run in (active, direct)]
    return max(*losses, *(largest_error(a, b, d, width) for a, b in zip(*pairs, strict=True)))


def segments(d, width, start, x, y, batch, penalty, steps):
    """A training cut into pieces of so many steps, each by either kernel from where the active one has arrived."""
    runs = {"active": None}
    p = start
    for epoch, first in enumerate(range(0, len(x), steps * batch), 1):
        rows = slice(first, first + steps * batch)
        before = runs["active"]
        runs = {
            kernel: train(
                d, width, p, x[rows], y[rows], epoch, batch, penalty, kernel, threads=2, shuffle=False, resume=before
            )
            for kernel in ("active", "direct")
        }
        p = runs["active"]["last_parameters"]
        yield runs["active"], runs["direct"]


def alternating_orthants(d, batch, steps):
    """Rows whose coordinates are all positive for so many steps, then all negative, and so on: units that are dead in
    one orthant are woken in the other.
    """
    rng = np.random.default_rng(3)
    x = np.concatenate(
        [sign * rng.uniform(0, 1, (n * batch, d)) for sign, n in zip(itertools.cycle((1, -1)), steps, strict=False)]
    )
    x = np.ascontiguousarray(np.take_along_axis(x, np.argsort(np.abs(x), axis=1), axis=1))
    return x, (x**2).mean(axis=1)


# Steps between two comparisons. Penalties with kinks of their own, where a weight is 0, let rounding grow: that of two
# levels of the direct kernel as much as that of two kernels, under the path norm from 1e-13 after 100 steps to 1e-9
# after 800.
APART = {"none": 1400, "l1": 200, "l2": 1400, "path-norm": 100}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("alpha", [12, 25])
@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: p[0])
def test_long_training_is_direct_training(penalty, alpha, level, monkeypatch):
    """1,400 steps, in which rows of W2 come to rest and are woken. They differed by at most 1.1e-11, without a penalty
    by 6e-13.
    """
    monkeypatch.setenv("PYNEEDLE_ISA", level)
    d, width, batch = 4, 4 * alpha, 20
    x, y = alternating_orthants(d, batch, (600, 100, 600, 100))
    start = flat(initial(d, width, np.random.default_rng(alpha)), "float64")
    for active, direct in segments(d, width, start, x, y, batch, penalty, APART[penalty[0]]):
        assert active["isa"] == level
        assert worst_difference(active, direct, d, width) < 1e-10
    if penalty[0] != "none":
        return  # under a penalty no row rests
    w2 = []
    for rows in (590 * batch, 600 * batch, 610 * batch):
        run = train(d, width, start, x[:rows], y[:rows], 1, batch, penalty, "active", shuffle=False)
        w2.append(split(run["last_parameters"], d, width)["w2"])
    rest, woken = (w2[0] == w2[1]).all(axis=1), (w2[1] != w2[2]).any(axis=1)
    assert np.count_nonzero(rest & woken) > 10


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: p[0])
def test_training_is_direct_training(penalty):
    """Through the collapse, at d = 8 with the protocol's alpha."""
    d, width = 8, 400
    x, y = data(d, 6400, "float64")
    start = flat(initial(d, width, np.random.default_rng(0)), "float64")
    active, direct = (train(d, width, start, x, y, 4, 400, penalty, kernel) for kernel in ("active", "direct"))
    assert worst_difference(active, direct, d, width) < 1e-10
    assert active["mixed_units"][-1, 1] < width / 2  # it has collapsed, or this test would show little


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [PENALTIES[0], PENALTIES[3]], ids=lambda p: p[0])
def test_gradients_along_a_long_training(penalty):
    """The protocol's network at d = 20: gradients after 10, 60, 160 and 310 steps, then ten steps by either kernel."""
    d, width, batch = 20, 1000, 100
    x, y = data(d, 15000, "float64")
    start = flat(initial(d, width, np.random.default_rng(0)), "float64")
    net, strength = network(d, width), _native.Penalty(*penalty)
    before = mixed_units(split(start, d, width), x[:2000])
    run, p = None, start
    for epoch, steps in enumerate((10, 50, 100, 150), 1):
        rows = slice(0, steps * batch)
        run = train(d, width, p, x[rows], y[rows], epoch, batch, penalty, "active", threads=2, resume=run)
        p = run["last_parameters"]
        off = rows_off_kinks(split(p, d, width), x[:200], 1e-11)
        assert len(off) > 190
        check_float64(net, p, x[off], y[off], strength, "direct", width)
        check_float64(net, p, x[off[:40]], y[off[:40]], strength, "reference", width)
        rows = slice(0, 10 * batch)
        pair = [
            train(d, width, p, x[rows], y[rows], epoch + 1, batch, penalty, kernel, threads=2, resume=run)
            for kernel in ("active", "direct")
        ]
        assert worst_difference(*pair, d, width) < 1e-10
    assert run["mixed_units"][-1, 1] < before / 2


def test_bitwise_the_same_for_any_number_of_threads():
    d, width = 8, 400
    x, y = data(d, 3200, "float32")
    start = flat(initial(d, width, np.random.default_rng(0)), "float32")
    one, three = (train(d, width, start, x, y, 3, 300, ("none", 0.0), "active", threads=t) for t in (1, 3))
    np.testing.assert_array_equal(one["last_parameters"], three["last_parameters"])
    np.testing.assert_array_equal(one["parameters"], three["parameters"])


# Penalty, learning rate, steps an epoch. At large rates a training amplifies rounding from step to step, so that only
# short ones can be compared.
SHORT = st.tuples(st.sampled_from(PENALTIES), st.floats(1e-3, 0.3), st.sampled_from([5, 30]))
LONG = st.tuples(st.sampled_from([PENALTIES[0], PENALTIES[2]]), st.floats(1e-3, 0.03), st.sampled_from([100, 700]))


@settings(max_examples=300, deadline=None)
@given(
    d=st.integers(2, 6),
    alpha=st.integers(2, 20),
    schedule=st.one_of(SHORT, SHORT, SHORT, LONG),
    batch=st.sampled_from([1, 3, 10, 50]),
    epochs=st.integers(1, 3),
    level=st.sampled_from(LEVELS),
    seed=st.integers(0, 2**31),
)
def test_tiny_trainings_are_direct_trainings(d, alpha, schedule, batch, epochs, level, seed):
    """What is kept between steps, rows' bounds, envelopes, rests, is never used when it is out of date.

    Of 3,000 such trainings those of a learning rate up to 0.1 differed by at most 8e-12, the others by 2e-9.
    """
    penalty, rate, steps = schedule
    width = d * alpha
    x, y = data(d, batch * steps, "float64", seed)
    start = flat(initial(d, width, np.random.default_rng(seed)), "float64")
    with pytest.MonkeyPatch.context() as context:
        context.setenv("PYNEEDLE_ISA", level)
        active, direct = (
            train(d, width, start, x, y, epochs, batch, penalty, kernel, rate=rate) for kernel in ("active", "direct")
        )
    assert worst_difference(active, direct, d, width) < (1e-9 if rate <= 0.1 else 1e-6)

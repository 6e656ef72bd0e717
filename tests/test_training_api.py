"""train, train_ensemble and Run: what goes in, what comes out, how a run ends."""

import math
import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest

import pyneedle as pn

NETWORKS = (pn.LocalNetwork, pn.LocallyConnectedNetwork, pn.GlobalNetwork)


@pytest.fixture(scope="module")
def ds():
    return pn.make_dataset("square", d=3, n_samples=500, seed=1)


def mse(network, p, split):
    return float(np.mean((network.forward(p, split.x).astype(float) - split.y.astype(float)) ** 2))


def same(one, two):
    return (
        one.best_epoch == two.best_epoch
        and all(np.array_equal(one.parameters[k], two.parameters[k]) for k in one.parameters)
        and all(np.array_equal(one.last_parameters[k], two.last_parameters[k]) for k in one.parameters)
        and all(np.array_equal(one.history[k], two.history[k]) for k in one.history)
    )


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("hidden_layers", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run(kind, hidden_layers, dtype):
    data = pn.make_dataset("square", 3, 500, seed=1, dtype=dtype)
    network = kind(3, 10, hidden_layers)
    fit = pn.train(network, data, epochs=12)
    assert fit.status == "completed"
    assert fit.dtype == dtype
    assert (fit.epochs, fit.batch_size, fit.seed, fit.device, fit.penalty) == (12, 4, 0, "cpu", None)
    assert fit.kernel in network.kernels
    assert fit.isa in ("scalar", "avx2", "avx512")
    assert fit.seconds > 0
    for key in ("train_loss", "validation_loss"):
        assert fit.history[key].shape == (12,)
        assert np.isfinite(fit.history[key]).all()
    units = sum(fit.history[key] for key in ("dead_units", "on_units", "mixed_units"))
    count = network.width * (network.blocks if kind is pn.LocallyConnectedNetwork else 1)
    assert units.tolist() == [[count] * hidden_layers] * 12
    assert fit.history["validation_loss"][-1] < 0.2 * fit.history["validation_loss"][0]
    assert fit.best_epoch == int(np.argmin(fit.history["validation_loss"]))
    assert math.isclose(fit.validation_mse, fit.history["validation_loss"][fit.best_epoch], rel_tol=1e-4)
    assert math.isclose(
        mse(network, fit.last_parameters, data.validation), fit.history["validation_loss"][-1], rel_tol=1e-4
    )
    assert math.isclose(fit.train_mse, mse(network, fit.parameters, data.train), rel_tol=1e-12)
    assert math.isclose(fit.test_mse, mse(network, fit.parameters, data.test), rel_tol=1e-12)
    assert math.isclose(fit.test_mse_original, 9 * fit.test_mse, rel_tol=1e-12)
    assert math.isclose(fit.path_norm, pn.path_norm(network, fit.parameters), rel_tol=1e-12)
    assert list(fit.parameters) == list(network.parameter_shapes)


def test_batch_rule():
    assert [pn.batch_size(n) for n in (5, 124, 125, 250, 1000, 100_000)] == [1, 1, 1, 2, 8, 800]
    assert pn.Run(pn.LocalNetwork(2), pn.make_dataset("square", 2, 1000)).batch_size == 8
    assert pn.Run(pn.LocalNetwork(2), pn.make_dataset("square", 2, 1000)).steps_per_epoch == 80
    uneven = pn.Dataset.from_arrays(np.zeros((1000, 1)), np.zeros(1000), split=(0.004, 0.006, 0.99))
    assert pn.Run(pn.LocalNetwork(1), uneven).batch_size == 4


def test_the_first_training_loss_is_that_of_the_initial_parameters(ds):
    network = pn.LocalNetwork(3, 6)
    fit = pn.train(network, ds, epochs=1, batch_size=len(ds.train), seed=4)
    loss, _ = network.loss_and_grad(network.init(4), ds.train.x, ds.train.y)
    assert math.isclose(fit.history["train_loss"][0], loss, rel_tol=1e-5)


def test_penalties_train_but_do_not_enter_the_history(ds):
    network = pn.LocalNetwork(3, 6)
    size = len(ds.train)
    plain = pn.train(network, ds, epochs=2, batch_size=size)
    for penalty in (pn.L1(0.01), pn.L2(0.01), pn.PathNorm(0.01)):
        fit = pn.train(network, ds, epochs=2, batch_size=size, penalty=penalty)
        assert math.isclose(fit.history["train_loss"][0], plain.history["train_loss"][0], rel_tol=1e-6)
        assert fit.history["train_loss"][1] != plain.history["train_loss"][1]


def test_initial_parameters_are_used_and_left_alone(ds):
    network = pn.LocallyConnectedNetwork(3, 6)
    p = network.init(9, "glorot")
    before = {name: value.copy() for name, value in p.items()}
    fit = pn.train(network, ds, epochs=2, initial=p)
    assert all(np.array_equal(p[name], before[name]) for name in p)
    copies = {name: np.asfortranarray(value) for name, value in reversed(before.items())}
    assert same(fit, pn.train(network, ds, epochs=2, initial=copies))
    assert not same(fit, pn.train(network, ds, epochs=2))
    assert same(
        pn.train(network, ds, epochs=2, seed=5), pn.train(network, ds, epochs=2, seed=5, initial=network.init(5))
    )


def test_seeds_shuffle(ds):
    network = pn.LocalNetwork(3, 6)
    p = network.init(0)
    one, two = (pn.train(network, ds, epochs=2, seed=s, initial=p) for s in (0, 1))
    assert not same(one, two)
    one, two = (pn.train(network, ds, epochs=2, seed=s, initial=p, shuffle=False) for s in (0, 1))
    assert same(one, two)


@pytest.mark.parametrize("kind", NETWORKS)
def test_threads_do_not_change_a_bit(ds, kind):
    one, two = (pn.train(kind(3, 9), ds, epochs=3, threads=t, batch_size=100) for t in (1, 2))
    assert (one.threads, two.threads) == (1, 2)
    assert same(one, two)


def test_an_ensemble_is_its_runs_one_by_one(ds):
    other = pn.make_dataset("cosine", d=2, n_samples=200, dtype="float64")
    runs = [pn.Run(kind(3, 5), ds, epochs=3, seed=s, penalty=pn.L1(1e-4)) for kind in NETWORKS for s in (0, 1)]
    runs.append(pn.Run(pn.LocalNetwork(2, 4), other, epochs=2, optimizer=pn.Adam(learning_rate=0.02)))
    fits = pn.train_ensemble(runs, threads=2, progress=False)
    assert [fit.network for fit in fits] == [run.network for run in runs]
    assert all(fit.threads == 1 for fit in fits)
    for run, fit in zip(runs, fits, strict=True):
        alone = pn.train(
            run.network, run.dataset, run.epochs, optimizer=run.optimizer, penalty=run.penalty, seed=run.seed
        )
        assert same(fit, alone)
    assert pn.train_ensemble([], progress=False) == []
    assert len(pn.train_ensemble((run for run in runs[:1]), progress=False)) == 1


def test_divergence_stops_one_run_and_leaves_the_others(ds):
    network = pn.LocalNetwork(3, 6, activation="relu")
    wild = pn.Run(network, ds, epochs=50, optimizer=pn.Adam(learning_rate=1e30))
    tame = pn.Run(network, ds, epochs=5)
    diverged, fine = pn.train_ensemble([wild, tame], progress=False)
    assert diverged.status == "diverged"
    assert len(diverged.history["train_loss"]) < 50
    assert not np.isfinite(diverged.history["train_loss"][-1] + diverged.history["validation_loss"][-1])
    assert all(np.isfinite(value).all() for value in diverged.parameters.values())
    assert fine.status == "completed"
    assert same(fine, pn.train(network, ds, epochs=5))


def test_divergence_in_the_first_epoch_keeps_the_initial_parameters(ds):
    network = pn.LocalNetwork(3, 6)
    fit = pn.train(network, ds, epochs=5, optimizer=pn.Adam(learning_rate=1e38), seed=2)
    assert fit.status == "diverged"
    if fit.best_epoch == -1:
        assert all(np.array_equal(fit.parameters[k], v) for k, v in network.init(2).items())
    assert isinstance(fit.test_mse, float)


def test_progress_reports_snapshots(ds):
    single, many = [], []
    pn.train(pn.LocalNetwork(3, 5), ds, epochs=3, progress=single.append)
    last = single[-1]
    assert (last.epochs, last.finished, last.started) == (3, True, True)
    assert last.steps == 3 * 80
    assert last.best_validation_loss <= last.validation_loss
    runs = [pn.Run(pn.LocalNetwork(3, 5), ds, epochs=2, seed=s) for s in range(3)]
    pn.train_ensemble(runs, threads=2, progress=many.append)
    assert [s.epochs for s in many[-1]] == [2, 2, 2]


def test_an_exception_of_the_callback_ends_the_run(ds):
    def fail(_):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        pn.train(pn.LocalNetwork(3, 5), ds, epochs=100_000, progress=fail)


def test_no_bar_without_a_terminal(ds, capfd):
    pn.train(pn.LocalNetwork(3, 5), ds, epochs=2, progress=True)
    out, err = capfd.readouterr()
    assert out == err == ""


def test_ctrl_c_returns_what_was_reached(ds):
    def press():
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    start = time.monotonic()
    fit = pn.train(pn.LocalNetwork(3, 50), ds, epochs=10_000_000)
    assert time.monotonic() - start < 3
    thread.join()
    assert fit.status == "interrupted"
    finished = len(fit.history["train_loss"])
    assert 0 < finished < 10_000_000
    assert fit.best_epoch == int(np.argmin(fit.history["validation_loss"]))
    assert math.isclose(fit.validation_mse, fit.history["validation_loss"].min(), rel_tol=1e-4)


def test_python_runs_on_while_a_run_trains(ds):
    fits = []
    thread = threading.Thread(target=lambda: fits.append(pn.train(pn.LocalNetwork(3, 50), ds, epochs=30, threads=1)))
    thread.start()
    turns = 0
    while thread.is_alive():
        turns += 1
        time.sleep(0.001)
    thread.join()
    assert turns > 3
    assert fits[0].status == "completed"


def test_runs_and_fits_pickle(ds):
    run = pn.Run(pn.LocalNetwork(3, 5), ds, epochs=2, penalty=pn.L2(0.1))
    copy = pickle.loads(pickle.dumps(run))
    assert (copy.network, copy.penalty, copy.optimizer) == (run.network, run.penalty, run.optimizer)
    fits = pn.train_ensemble([run, copy], progress=False)
    assert same(*fits)
    again = pickle.loads(pickle.dumps(fits[0]))
    assert same(again, fits[0])
    assert again.test_mse == fits[0].test_mse

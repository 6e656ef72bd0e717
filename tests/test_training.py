"""Trainings against the reference, against torch.optim.Adam, bitwise reproducible, stopped, diverged, no leaks."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from support import textbook
from support.cases import NETWORKS

import pyneedle as pn

PENALTIES = [None, pn.L1(1e-3), pn.L2(1e-3), pn.PathNorm(1e-3)]


def small(network, **kwargs):
    return network(d=3, alpha=5, **kwargs)


def data(d=3, n=500, dtype="float64"):
    return pn.make_dataset("square", d=d, n_samples=n, seed=7, dtype=dtype)


def same_bits(a, b):
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("layers", [1, 2])
def test_training_follows_the_reference(network, penalty, layers):
    """Three epochs of 22 steps in float64, partial last batches included: kernel, shuffle, Adam, penalty together."""
    net = small(network, hidden_layers=layers)
    optimizer = pn.Adam(decay=0.03, weight_decay=0.01)
    arguments = {"epochs": 3, "batch_size": 15, "penalty": penalty, "optimizer": optimizer, "seed": 5}
    truth = pn.train(net, data(), kernel="reference", **arguments)
    assert truth.kernel == "reference"
    for kernel in [k for k in net.kernels if k != "reference"]:
        fit = pn.train(net, data(), kernel=kernel, **arguments)
        assert fit.kernel == kernel
        assert textbook.relative_error(fit.last_parameters, truth.last_parameters) < 1e-9
        for name in ("train_loss", "validation_loss"):
            np.testing.assert_allclose(fit.history[name], truth.history[name], rtol=1e-9)
        for name in ("dead_units", "on_units", "mixed_units"):
            np.testing.assert_array_equal(fit.history[name], truth.history[name])
        assert fit.best_epoch == truth.best_epoch == np.argmin(truth.history["validation_loss"])


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("network", NETWORKS)
def test_training_follows_the_reference_with_smooth_activations(network, activation):
    net = small(network, activation=activation)
    fits = [pn.train(net, data(), epochs=2, batch_size=32, seed=1, kernel=k) for k in ("reference", "direct")]
    assert textbook.relative_error(fits[1].last_parameters, fits[0].last_parameters) < 1e-9
    assert (fits[1].history["mixed_units"] == fits[0].history["mixed_units"]).all()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_float32_training_stays_near_float64(network, penalty):
    """Ten steps: not the same digits, but errors of single precision only (Adam divides by the gradient's own size)."""
    net = small(network)
    fits = [
        pn.train(net, data(n=200, dtype=t), epochs=1, batch_size=13, penalty=penalty, initial=net.init(dtype=t))
        for t in ("float32", "float64")
    ]
    assert textbook.relative_error(fits[0].last_parameters, fits[1].last_parameters) < 1e-3


@pytest.mark.parametrize("placement", ["corrected", "uncorrected"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_a_thousand_steps_of_torch_adam(placement, dtype, weight_decay):
    """torch has the corrected placement; the other one is torch's with epsilon / sqrt(1 - beta2^t) at step t."""
    torch = pytest.importorskip("torch", reason='torch is not installed: pip install "pyneedle[bench]"')
    beta2 = 0.999
    rng = np.random.default_rng(0)
    start = rng.normal(size=301).astype(dtype)
    mine, weight = {"w": start.copy()}, torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = pn.Adam(
        learning_rate=1e-2, beta2=beta2, epsilon=1e-3, epsilon_placement=placement, weight_decay=weight_decay
    )
    state = optimizer.init_state(mine)
    peer = torch.optim.AdamW([weight], lr=1e-2, betas=(0.9, beta2), eps=1e-3, weight_decay=weight_decay)
    for t in range(1, 1001):
        if placement == "uncorrected":
            peer.param_groups[0]["eps"] = 1e-3 / np.sqrt(1 - beta2**t)
        noise = rng.normal(size=301).astype(dtype)
        optimizer.step(mine, {"w": np.sin(mine["w"]) + noise}, state)
        weight.grad = torch.sin(weight.detach()) + torch.from_numpy(noise)
        peer.step()
    tolerance = 2e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(mine["w"], weight.detach().numpy(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("kernel", ["auto", "direct"])
def test_bitwise_the_same_for_any_number_of_threads(network, penalty, kernel):
    """With batches of 16,000 points, which are more than one piece of work for every kernel."""
    net, ds = network(d=20, alpha=20), data(20, 3000, "float32")
    fits = [
        pn.train(net, ds, epochs=4, batch_size=800, penalty=penalty, seed=3, threads=threads, kernel=kernel)
        for threads in (1, 2, 3)
    ]
    assert all(same_bits(fit.last_parameters, fits[0].last_parameters) for fit in fits)
    assert all((fit.history["train_loss"] == fits[0].history["train_loss"]).all() for fit in fits)


def test_an_ensemble_is_its_runs_one_by_one():
    runs = [
        pn.Run(network(d=4, alpha=10), data(4, 1000, "float32"), epochs=5, seed=seed, penalty=penalty)
        for network, seed, penalty in itertools.product(NETWORKS, range(2), PENALTIES[::3])
    ]
    alone = [
        pn.train(run.network, run.dataset, epochs=5, seed=run.seed, penalty=run.penalty, threads=2) for run in runs
    ]
    for threads in (1, 2, 4):
        for fit, one in zip(pn.train_ensemble(runs, threads=threads, progress=False), alone, strict=True):
            assert same_bits(fit.last_parameters, one.last_parameters)
            assert same_bits(fit.parameters, one.parameters)
            assert (fit.history["validation_loss"] == one.history["validation_loss"]).all()


def test_a_diverged_run_keeps_what_was_best_and_leaves_its_neighbours_alone():
    net, ds = small(pn.GlobalNetwork), data()
    good = pn.Run(net, ds, epochs=20)
    bad = pn.Run(net, ds, epochs=20, optimizer=pn.Adam(learning_rate=1e200))
    fits = pn.train_ensemble([good, bad, good], threads=2, progress=False)
    assert [fit.status for fit in fits] == ["completed", "diverged", "completed"]
    assert len(fits[1].history["train_loss"]) < 20
    assert all(np.isfinite(a).all() for a in fits[1].parameters.values())
    assert same_bits(fits[0].parameters, fits[2].parameters)


def test_divergence_in_the_first_epoch_gives_the_initial_parameters_back():
    net, ds = small(pn.LocalNetwork), data()
    initial = net.init(seed=4, dtype="float64")
    fit = pn.train(net, ds, epochs=3, initial=initial, optimizer=pn.Adam(learning_rate=1e300))
    assert fit.status == "diverged"
    assert fit.best_epoch == -1
    assert same_bits(fit.parameters, initial)


SLOW_RUN = """
    import json, sys, time
    import pyneedle as pn
    net = pn.{network}(d={d}, alpha=50)
    ds = pn.make_dataset("square", d={d}, n_samples=20000)
    run = pn.Run(net, ds, epochs=100000, seed=1)
    print("ready", flush=True)
    if {ensemble}:
        fits = pn.train_ensemble([run] * 5, threads=2, progress=False)
    else:
        fits = [pn.train(net, ds, epochs=100000)]
    print(json.dumps([[f.status, len(f.history["train_loss"]), f.best_epoch] for f in fits]), flush=True)
"""


@pytest.mark.parametrize(
    ("network", "d", "ensemble"), [("LocalNetwork", 4, False), ("GlobalNetwork", 20, False), ("LocalNetwork", 20, True)]
)
def test_ctrl_c_stops_within_a_second(network, d, ensemble, tmp_path):
    import json

    program = textwrap.dedent(SLOW_RUN.format(network=network, d=d, ensemble=ensemble))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout.readline().strip() == "ready"
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        fits = json.loads(process.stdout.readline())
        elapsed = time.monotonic() - start
        assert process.wait(timeout=20) == 0
    assert elapsed < 1.0
    assert all(status == "interrupted" for status, _, _ in fits)
    for _, epochs, best in fits:
        assert -1 <= best < max(epochs, 1)


def test_an_exception_in_the_progress_callback_ends_the_run_and_arrives():
    def report(_):
        raise LookupError("from the callback")

    with pytest.raises(LookupError, match="from the callback"):
        pn.train(small(pn.LocalNetwork), data(n=5000), epochs=10**6, progress=report)


def test_memory_does_not_grow_with_epochs(tmp_path):
    """Resident size over 1,500 more epochs: only the history may grow, 9 numbers of 8 bytes an epoch."""
    program = textwrap.dedent("""
        import pyneedle as pn
        def resident():
            with open("/proc/self/statm") as f:
                return int(f.read().split()[1]) * 4096
        ds = pn.make_dataset("square", d=4, n_samples=400)
        nets = [pn.LocalNetwork(d=4, alpha=8), pn.LocallyConnectedNetwork(d=4, alpha=8), pn.GlobalNetwork(d=4, alpha=8)]
        def work(epochs):
            for net in nets:
                for penalty in (None, pn.PathNorm(1e-6)):
                    pn.train(net, ds, epochs=epochs, penalty=penalty, threads=2)
        work(50)
        before = resident()
        work(1500)
        print(resident() - before)
    """)
    if not os.path.exists("/proc/self/statm"):  # noqa: PTH110
        pytest.skip("needs /proc")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert int(done.stdout) < 2_000_000


def test_denormal_mode_of_the_caller_is_restored():
    tiny = np.float64(5e-324)
    pn.train(small(pn.LocalNetwork), data(), epochs=2)
    assert tiny * np.float64(1.0) == 5e-324
    assert tiny / np.float64(1.0) > 0


def test_training_loss_is_the_mean_over_batches():
    """Without learning: the mean over batches of each batch's mean, the last batch being smaller."""
    net, ds = small(pn.LocalNetwork), data()
    p = net.init(dtype="float64")
    fit = pn.train(net, ds, epochs=1, batch_size=100, shuffle=False, initial=p, optimizer=pn.Adam(learning_rate=1e-300))
    errors = np.square(net.forward(p, ds.train.x) - ds.train.y)
    expected = np.mean([errors[i : i + 100].mean() for i in range(0, len(errors), 100)])
    assert fit.history["train_loss"][0] == pytest.approx(expected, rel=1e-12)


def test_every_row_is_used_once_an_epoch_in_an_order_of_its_own():
    from pyneedle import _native

    orders = [_native.epoch_order(3, epoch, 1001) for epoch in range(4)]
    assert all((np.sort(order) == np.arange(1001)).all() for order in orders)
    assert len({order.tobytes() for order in orders}) == 4


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(network, penalty, dtype):
    net, ds = network(d=4, alpha=12), data(4, 1000, dtype)
    arguments = {"penalty": penalty, "seed": 2, "optimizer": pn.Adam(decay=0.001)}
    whole = pn.train(net, ds, epochs=9, **arguments)
    assert whole.state is None
    state = None
    for epochs in (1, 5, 9):
        fit = pn.train(net, ds, epochs=epochs, resume=state, keep_state=True, **arguments)
        state = fit.state
        assert state.epochs == epochs
        assert state.steps == epochs * 80
    assert same_bits(fit.parameters, whole.parameters)
    assert same_bits(fit.last_parameters, whole.last_parameters)
    assert fit.best_epoch == whole.best_epoch
    for name, values in whole.history.items():
        np.testing.assert_array_equal(fit.history[name], values)


def test_a_state_that_does_not_fit_is_refused():
    net, ds = small(pn.LocalNetwork), data()
    state = pn.train(net, ds, epochs=3, keep_state=True).state
    with pytest.raises(ValueError, match="epochs must be at least the 3"):
        pn.train(net, ds, epochs=2, resume=state)
    with pytest.raises(ValueError, match=r"resume.parameters must have shape"):
        pn.train(small(pn.GlobalNetwork), ds, epochs=5, resume=state)
    with pytest.raises(TypeError, match="data set's dtype float32"):
        pn.train(net, data(dtype="float32"), epochs=5, resume=state)
    with pytest.raises(ValueError, match="initial must be None"):
        pn.train(net, ds, epochs=5, resume=state, initial=net.init(dtype="float64"))

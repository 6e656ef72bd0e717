"""Whole trainings on the GPU: against the CPU, run to run, alone and side by side."""

import numpy as np
import pytest
from support.cases import NETWORKS
from support.sweeps import tiny

import pyneedle as pn
from pyneedle import _device, _gpu_training, _networks

DATA = {dtype: pn.make_dataset("square", 4, 1000, seed=1, dtype=dtype) for dtype in ("float32", "float64")}
SLOW = pn.Adam(learning_rate=1e-3)  # so that rounding does not grow much
PENALTIES = (None, pn.L1(1e-4), pn.L2(1e-4), pn.PathNorm(1e-3))


def kernels(net):
    return _device.kernels(_networks.native(net), dense=False)


def train(net, device, dtype="float64", **more):
    more = {"epochs": 4, "batch_size": 70, "optimizer": SLOW, "seed": 3, **more}
    return pn.train(net, DATA[dtype], device=device, **more)


def same(a, b):
    """Bitwise."""
    return all(np.array_equal(a.history[key], b.history[key], equal_nan=True) for key in a.history) and all(
        np.array_equal(getattr(a, name)[key], getattr(b, name)[key], equal_nan=True)
        for name in ("parameters", "last_parameters")
        for key in a.parameters
    )


def check_against_the_cpu(net, dtype, loss, parameters, **more):
    fits = [train(net, "cuda", dtype, kernel=kernel, **more) for kernel in kernels(net)]
    wanted = train(net, "cpu", dtype, kernel="reference", **more)
    assert [fit.kernel for fit in fits] == kernels(net)
    for fit in fits:
        assert (fit.device, fit.status, fit.isa[:3]) == ("cuda", "completed", "sm_")
        for key in ("train_loss", "validation_loss"):
            np.testing.assert_allclose(fit.history[key], wanted.history[key], rtol=loss)
        if dtype == "float64":
            assert fit.best_epoch == wanted.best_epoch
            for key in ("dead_units", "on_units", "mixed_units"):
                np.testing.assert_array_equal(fit.history[key], wanted.history[key])
        for key, value in wanted.last_parameters.items():
            np.testing.assert_allclose(fit.last_parameters[key], value, rtol=0, atol=parameters * np.abs(value).max())


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_against_the_cpu(network, layers, activation):
    net = network(4, 9, layers, activation)
    check_against_the_cpu(net, "float64", 1e-9, 1e-8)
    check_against_the_cpu(net, "float32", 1e-3, 3e-2)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("penalty", PENALTIES[1:])
def test_penalties(network, penalty):
    check_against_the_cpu(network(4, 9), "float64", 1e-9, 1e-8, penalty=penalty)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "more",
    [
        {"shuffle": False},
        {"batch_size": 640},  # one batch
        {"batch_size": 639},  # a last batch of one row
        {"batch_size": 1, "epochs": 1},
        {"optimizer": pn.Adam(1e-3, decay=0.03, weight_decay=0.01)},
        {"optimizer": pn.Adam(1e-3, epsilon_placement="corrected")},
        {"seed": 2**63 + 5},
    ],
    ids=str,
)
def test_settings(network, more):
    check_against_the_cpu(network(4, 9), "float64", 1e-8, 1e-7, **more)


@pytest.mark.parametrize("alpha", [1, 7, 8, 31, 32, 33, 50, 64, 100])
@pytest.mark.parametrize("network", NETWORKS)
def test_widths(network, alpha):
    check_against_the_cpu(network(4, alpha), "float64", 1e-8, 1e-7, epochs=2)


def test_one_block_that_sees_all(cuda):
    check_against_the_cpu(pn.LocalNetwork(4, 9, block_in=4), "float64", 1e-9, 1e-8)
    check_against_the_cpu(pn.LocallyConnectedNetwork(4, 9, block_in=2), "float64", 1e-9, 1e-8)


def test_the_quality_of_the_protocol(fast_gpu):
    """Learning rate 0.01, float32: not the same numbers, but as good a network."""
    for net, epochs in ((pn.LocalNetwork(4), 60), (pn.LocallyConnectedNetwork(4), 30), (pn.GlobalNetwork(4), 20)):
        data = pn.make_dataset("square", 4, 10_000)
        found, wanted = (
            np.median([fit.validation_mse for fit in pn.train_ensemble(runs, progress=False)])
            for runs in (
                [pn.Run(net, data, epochs, seed=seed, device=device) for seed in range(3)] for device in ("cuda", "cpu")
            )
        )
        assert found < 4 * wanted


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("network", NETWORKS)
def test_run_to_run(network, dtype):
    net = network(4, 50)
    for kernel in kernels(net):
        first = train(net, "cuda", dtype, kernel=kernel, optimizer=pn.Adam(), penalty=pn.PathNorm(1e-5))
        for _ in range(3):
            again = train(net, "cuda", dtype, kernel=kernel, optimizer=pn.Adam(), penalty=pn.PathNorm(1e-5))
            assert same(first, again)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("network", NETWORKS)
def test_any_order_of_threads_gives_the_same_bits(network, penalty, dtype, order_of_threads):
    """A barrier that is missing, or a sum in the order in which threads happen to come, would show here."""
    for layers, activation in ((2, "relu"), (1, "relu"), (2, "tanh")):
        net = network(4, 33, layers, activation)
        for kernel in kernels(net):
            fits = []
            for order in ("forward", "backward"):
                order_of_threads(order)
                fits.append(train(net, "cuda", dtype, kernel=kernel, optimizer=pn.Adam(), penalty=penalty, epochs=1))
            assert same(*fits), (net, kernel)


@pytest.mark.parametrize("network", NETWORKS)
def test_side_by_side_is_bitwise_alone(network):
    net, data = network(4, 20), DATA["float32"]
    other = pn.make_dataset("cosine", 4, 1000, seed=2)
    settings = [
        {"seed": 0},
        {"seed": 1, "penalty": pn.L1(1e-5), "epochs": 5},
        {"seed": 2, "penalty": pn.PathNorm(1e-5), "optimizer": pn.Adam(0.003)},
        {"seed": 3, "optimizer": pn.Adam(1e30)},  # diverges
        {"seed": 4, "dataset": other, "shuffle": False},
        {"seed": 5, "penalty": pn.L2(1e-4), "epochs": 1},
    ]
    runs = [
        pn.Run(**{"network": net, "dataset": data, "epochs": 3, "batch_size": 70, "device": "cuda", **one})
        for one in settings
    ]
    together = pn.train_ensemble(runs, progress=False)
    assert [fit.status for fit in together] == ["completed"] * 3 + ["diverged"] + ["completed"] * 2
    for run, fit in zip(runs, together, strict=True):
        (alone,) = pn.train_ensemble([run], progress=False)
        assert same(fit, alone)
        assert fit.status == alone.status
    backwards = pn.train_ensemble(runs[::-1], progress=False)[::-1]
    assert all(same(a, b) for a, b in zip(together, backwards, strict=True))


def test_many_members():
    net, data = pn.LocalNetwork(4, 10), DATA["float32"]
    runs = [pn.Run(net, data, 2, 70, seed=seed, device="cuda") for seed in range(300)]
    fits = pn.train_ensemble(runs, progress=False)
    for i in (0, 131, 132, 299):
        assert same(fits[i], pn.train_ensemble([runs[i]], progress=False)[0])


@pytest.mark.parametrize("network", NETWORKS)
def test_it_goes_on_bitwise(network):
    net = network(4, 20)
    more = {"penalty": pn.PathNorm(1e-5), "optimizer": pn.Adam()}
    whole = train(net, "cuda", "float32", epochs=6, **more)
    first = train(net, "cuda", "float32", epochs=2, keep_state=True, **more)
    assert same(train(net, "cuda", "float32", epochs=6, resume=first.state, **more), whole)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_diverging_run(network):
    fit = train(network(4, 9), "cuda", "float32", optimizer=pn.Adam(1e30), epochs=50)
    assert fit.status == "diverged"
    assert len(fit.history["train_loss"]) < 50


def test_progress_and_interruption():
    seen = []

    def report(snapshot):
        seen.append(snapshot.epochs)
        if snapshot.epochs > 3:
            raise KeyboardInterrupt

    fit = train(pn.LocalNetwork(4, 9), "cuda", "float32", epochs=10**7, progress=report)
    assert fit.status == "interrupted"
    assert seen == sorted(seen)
    assert len(fit.history["train_loss"]) >= 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_memory_is_taken_once_a_run_and_no_more_than_is_said(network, activation, dtype, cuda, counted_memory):
    net = network(4, 9, activation=activation)

    def train_three(epochs):
        runs = [
            pn.Run(net, DATA[dtype], epochs, 70, seed=seed, penalty=pn.PathNorm(1e-4), device="cuda")
            for seed in range(3)
        ]
        pn.train_ensemble(runs, progress=False)

    taken, most = counted_memory.use_of(lambda: train_three(1))
    assert counted_memory.use_of(lambda: train_three(3)) == (taken, most)
    each, shared = cuda.run_bytes(_networks.native(net), dtype, 70, 640, 160)
    assert most > each
    assert most <= 3 * each + shared + 4096 * taken  # it is taken by whole pages
    before = cuda.device(0).free_bytes
    train_three(1)
    assert cuda.device(0).free_bytes == before


def test_beyond_memory(real_kernels, monkeypatch):
    monkeypatch.setattr(_gpu_training, "_MEMORY_SHARE", 1e-6)
    with pytest.raises(MemoryError, match="of the GPU's memory"):
        train(pn.GlobalNetwork(4, 50), "cuda", "float32")


@pytest.mark.parametrize("network", ["LN", "LCN", "GN"])
def test_a_sweep_is_bitwise_the_runs(network, tmp_path):
    sweep = tiny(network=network, device="cuda", d=[2, 3], alpha=[4, 9], repeat=range(3), n_samples=500)
    frame = sweep.run(tmp_path / "a.sqlite", progress=False)
    assert set(frame["status"]) == {"completed"}
    for cell, validation, isa in zip(sweep.cells, frame["validation_mse"], frame["isa"], strict=True):
        (fit,) = pn.train_ensemble([cell.make_run(cell.make_dataset())], progress=False)
        assert fit.validation_mse == validation
        assert isa == fit.isa

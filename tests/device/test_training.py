"""Training with device="cuda", with a GPU that is this processor underneath: groups, memory, records, interruptions."""

import json
import subprocess
import sys

import numpy as np
import pytest
from support import fake_cuda
from support.fake_cuda import GIGABYTE

import pyneedle as pn
from pyneedle import _device, _gpu_training

NET = pn.LocalNetwork(3, 5)
DS = pn.make_dataset("square", 3, 200, seed=1)
SHORT = {"epochs": 3, "batch_size": 16}


@pytest.fixture
def cuda(monkeypatch):
    return fake_cuda.install(monkeypatch)


def runs(count, network=NET, dataset=DS, device="cuda", **more):
    return [pn.Run(network, dataset, seed=seed, device=device, **{**SHORT, **more}) for seed in range(count)]


def same(a, b):
    assert list(a.history) == list(b.history)
    return all(np.array_equal(a.history[key], b.history[key]) for key in a.history) and all(
        np.array_equal(getattr(a, name)[key], getattr(b, name)[key])
        for name in ("parameters", "last_parameters")
        for key in a.parameters
    )


def test_the_record_of_a_run(cuda):
    fit = pn.train(NET, DS, device="cuda", **SHORT)
    assert (fit.device, fit.isa, fit.threads, fit.status) == ("cuda", "sm_90", 1, "completed")
    assert same(fit, pn.train(NET, DS, **SHORT))
    assert cuda.trained == [(1, False)]
    assert fit.test_mse > 0.0


def test_no_other_gpu_is_asked(cuda):
    """A context costs hundreds of megabytes, and another program may have that GPU for itself."""
    cuda.others.append(RuntimeError("busy"))
    pn.train(NET, DS, device="cuda", **SHORT)
    assert set(cuda.devices_asked) == {_device.INDEX}


def test_saved_and_loaded_where_there_is_no_gpu(cuda, monkeypatch, tmp_path):
    fit = pn.train(NET, DS, device="cuda", **SHORT)
    fit.save(tmp_path / "fit.npz")
    cuda.missing = "no GPU"
    monkeypatch.setattr(_device, "_usable", [])
    loaded = pn.Fit.load(tmp_path / "fit.npz")
    assert loaded.device == "cuda"
    np.testing.assert_array_equal(loaded.predict(DS.test.x), fit.predict(DS.test.x))


def test_equal_shapes_are_trained_together_and_results_keep_their_order(cuda):
    lcn = pn.LocallyConnectedNetwork(3, 5)
    mixed = [run for pair in zip(runs(3), runs(3, lcn), strict=True) for run in pair]
    fits = pn.train_ensemble(mixed, progress=False)
    assert sorted(cuda.trained) == [(3, False), (3, False)]
    for run, fit in zip(mixed, fits, strict=True):
        assert fit.network == run.network
        assert fit.seed == run.seed
        alone = pn.train(run.network, DS, seed=run.seed, **SHORT)
        assert same(fit, alone)


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 15},
        {"kernel": "direct"},
        {"dataset": pn.make_dataset("square", 3, 210, seed=1)},
        {"dataset": pn.make_dataset("square", 3, 200, seed=1, dtype="float64")},
        {"network": pn.LocalNetwork(3, 6)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_different_shapes_are_not(cuda, change):
    pn.train_ensemble([*runs(1), *runs(1, **change)], progress=False)
    assert cuda.trained == [(1, False), (1, False)]


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 2}, {"penalty": pn.L1(1e-3)}, {"optimizer": pn.Adam(0.1)}, {"shuffle": False},
        {"dataset": pn.make_dataset("cosine", 3, 200, seed=2)},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_what_may_differ_within_an_ensemble(cuda, change):
    pn.train_ensemble([*runs(1), *runs(1, **change)], progress=False)
    assert cuda.trained == [(2, False)]


def test_as_many_at_a_time_as_fit(cuda):
    cuda.free_bytes, cuda.bytes_each, cuda.bytes_of_data = 10 * GIGABYTE, GIGABYTE, 5 * GIGABYTE
    fits = pn.train_ensemble(runs(10), progress=False)
    assert cuda.trained == [(4, False), (4, False), (2, False)]  # 5 + 4 of 9 GB: all share one data set
    assert [fit.seed for fit in fits] == list(range(10))
    cuda.trained.clear()
    other = pn.make_dataset("square", 3, 200, seed=2)
    cuda.bytes_of_data = 3 * GIGABYTE
    pn.train_ensemble([*runs(2), *runs(3, dataset=other)], progress=False)
    assert cuda.trained == [(3, False), (2, False)]


def test_no_more_side_by_side_than_a_launch_can_hold(cuda, monkeypatch):
    monkeypatch.setattr(_gpu_training, "_MOST_MEMBERS", 4)
    fits = pn.train_ensemble(runs(10), progress=False)
    assert [count for count, _ in cuda.trained] == [4, 4, 2]
    assert [fit.seed for fit in fits] == list(range(10))


def test_memory_that_another_program_took_meanwhile(cuda):
    cuda.most_jobs = 3
    assert len(pn.train_ensemble(runs(10), progress=False)) == 10
    assert [count for count, _ in cuda.trained] == [2, 2, 2, 2, 2]


def test_a_run_beyond_memory(cuda):
    cuda.bytes_each = 100 * GIGABYTE
    with pytest.raises(MemoryError, match="training this LN needs 100 GB of the GPU's memory, 63 GB may be used"):
        pn.train(NET, DS, device="cuda", **SHORT)
    cuda.bytes_each, cuda.most_jobs = 0, 0
    with pytest.raises(MemoryError, match="out of memory on the device"):
        pn.train(NET, DS, device="cuda", **SHORT)


def test_both_devices_in_one_ensemble(cuda):
    mixed = [*runs(2, device="cpu"), *runs(2)]
    seen = []
    fits = pn.train_ensemble(mixed, progress=lambda snapshots: seen.append([s.finished for s in snapshots]))
    assert [fit.device for fit in fits] == ["cpu", "cpu", "cuda", "cuda"]
    assert same(fits[0], fits[2])
    assert seen[-1] == [True] * 4
    assert all(len(finished) == 4 for finished in seen)


def test_a_run_goes_on_bitwise(cuda):
    whole = pn.train(NET, DS, device="cuda", epochs=6, batch_size=16)
    first = pn.train(NET, DS, device="cuda", epochs=2, batch_size=16, keep_state=True)
    assert same(pn.train(NET, DS, device="cuda", epochs=6, batch_size=16, resume=first.state), whole)


def test_interruption_leaves_every_run_a_result(cuda):
    class Interrupt:
        calls = 0

        def __call__(self, snapshots):
            self.calls += 1
            raise KeyboardInterrupt

    cuda.bytes_each, cuda.free_bytes = GIGABYTE, 2 * GIGABYTE + 300_000_000
    long = runs(5, epochs=10**6)
    resumed = pn.train(NET, DS, device="cuda", keep_state=True, **SHORT).state
    cuda.trained.clear()
    long[4] = pn.Run(NET, DS, epochs=10**6, batch_size=16, device="cuda", resume=resumed)
    fits = pn.train_ensemble(long, progress=Interrupt())
    assert [fit.status for fit in fits] == ["interrupted"] * 5
    assert cuda.trained == [(2, False)]
    initial = NET.init(2)
    np.testing.assert_array_equal(fits[2].parameters["w2"], initial["w2"])
    assert fits[2].best_epoch == -1
    assert len(fits[2].history["train_loss"]) == 0
    assert fits[2].history["dead_units"].shape == (0, 2)
    assert len(fits[4].history["train_loss"]) == 3
    assert fits[4].best_epoch == resumed.best_epoch


def test_an_error_of_the_report_is_passed_on(cuda):
    def report(snapshots):
        raise ArithmeticError("stop here")

    with pytest.raises(ArithmeticError, match="stop here"):
        pn.train(NET, DS, device="cuda", epochs=10**6, batch_size=16, progress=report)


def test_tf32_by_name(cuda):
    gn = pn.GlobalNetwork(3, 4)
    fit = pn.train(gn, DS, device="cuda", kernel="direct_tf32", **SHORT)
    assert cuda.trained == [(1, True)]
    assert fit.kernel == "direct_tf32"
    exact = pn.train(gn, DS, device="cuda", kernel="direct", **SHORT)
    assert cuda.trained[-1] == (1, False)
    assert exact.kernel == "direct"
    with pytest.raises(ValueError, match="'direct_tf32'"):
        pn.train(gn, DS, kernel="direct_tf32", **SHORT)  # on the CPU


def test_impossible_kernels(cuda):
    for network, kernel in ((NET, "reference"), (NET, "direct_tf32"), (pn.GlobalNetwork(3, 4), "piecewise_linear")):
        with pytest.raises(ValueError, match=f"kernel must be one of 'auto', .* on device 'cuda', got '{kernel}'"):
            pn.Run(network, DS, device="cuda", kernel=kernel)
    with pytest.raises(TypeError, match="kernel must be a text, got 3"):
        pn.Run(NET, DS, device="cuda", kernel=3)
    cuda.supported = False
    with pytest.raises(ValueError, match="network must be one that device 'cuda' has a kernel for, got LN"):
        pn.Run(NET, DS, device="cuda")


def test_what_is_missing_is_said(monkeypatch):
    fake_cuda.install(monkeypatch, missing="no GPU: the driver reports no device")
    for attempt in (lambda: pn.train(NET, DS, device="cuda"), _device.info, _device.ensure_cublas):
        with pytest.raises(RuntimeError, match="device 'cuda' is not available: no GPU: the driver reports no device"):
            attempt()


def test_a_build_without_the_module(monkeypatch):
    fake_cuda.without_cuda(monkeypatch)
    with pytest.raises(RuntimeError, match="device 'cuda' is not available: this build of pyneedle has no CUDA module"):
        pn.train(NET, DS, device="cuda")


def test_a_module_that_cannot_be_loaded(monkeypatch, tmp_path):
    (tmp_path / "broken_cuda.py").write_text("raise ImportError('libsomething.so: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_device, "_usable", [])
    monkeypatch.setattr(_device, "_MODULE", "broken_cuda")
    with pytest.raises(RuntimeError, match=r"cannot be loaded: libsomething\.so: cannot open"):
        pn.train(NET, DS, device="cuda")
    (tmp_path / "needs_more.py").write_text("import pyneedle_needs_this")
    monkeypatch.setattr(_device, "_MODULE", "needs_more")
    with pytest.raises(RuntimeError, match="cannot be loaded: No module named 'pyneedle_needs_this'"):
        pn.train(NET, DS, device="cuda")


def test_a_dense_network_needs_cublas_and_others_do_not(cuda, monkeypatch, tmp_path):
    monkeypatch.setattr(_device, "_cublas_path", [])
    pn.Run(NET, DS, device="cuda")
    assert cuda.cublas == []

    def nowhere(version):
        raise ImportError("a dense network (GN) on a GPU needs cuBLAS 13")

    monkeypatch.setattr(_device._cublas, "find", nowhere)
    with pytest.raises(ImportError, match="needs cuBLAS 13"):
        pn.Run(pn.GlobalNetwork(3, 4), DS, device="cuda")
    monkeypatch.setattr(_device._cublas, "find", lambda version: f"lib for {version}")
    for _ in range(2):
        pn.Run(pn.GlobalNetwork(3, 4), DS, device="cuda")
    assert cuda.cublas == ["lib for 13.0"]


def test_waiting_runs_look_like_running_ones():
    (snapshot,) = [_gpu_training.WAITING]
    seen = []
    pn.train(NET, DS, epochs=1, progress=seen.append)
    names = [name for name in dir(seen[-1]) if not name.startswith("_")]
    assert [name for name in dir(snapshot) if not name.startswith("_")] == names


def test_importing_pyneedle_does_not_load_the_gpu_module(tmp_path):
    code = "import sys, json, pyneedle; print(json.dumps([m for m in sys.modules if m.startswith('pyneedle._cuda')]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout) == []

"""Sweeps on a GPU, with a GPU that is this processor underneath: groups, memory, checkpoints, both devices at once."""

import threading
import time

import numpy as np
import pytest
from support import fake_cuda
from support.fake_cuda import GIGABYTE
from support.sweeps import tiny
from typer.testing import CliRunner

import pyneedle as pn
from pyneedle.cli import app
from pyneedle.sweep import Cell, Store, _gpu, _segments, read_results
from pyneedle.sweep._cost import Speeds
from pyneedle.sweep._gpu import Groups, blocks_of


@pytest.fixture
def cuda(monkeypatch):
    return fake_cuda.install(monkeypatch)


def numbers(frame):
    """What the device may not change here, where both compute the same."""
    return frame[["network", "d", "repeat", "train_mse", "validation_mse", "test_mse", "best_epoch", "status"]]


def test_the_results_are_those_of_the_runs(cuda, tmp_path):
    settings = {"network": ["LN", "LCN", "GN"], "repeat": range(5), "penalty": ["none", "l1:1e-6"]}
    frame = tiny(device="cuda", **settings).run(tmp_path / "gpu.sqlite")
    wanted = tiny(**settings).run(tmp_path / "cpu.sqlite")
    assert numbers(frame).equals(numbers(wanted))
    assert set(frame["device"]) == {"cuda"}
    assert set(frame["isa"]) == {"sm_90"}
    assert set(frame["cell"]).isdisjoint(wanted["cell"])
    assert [count for count, _ in cuda.trained] == [5] * 6


def test_both_devices_at_once(cuda, tmp_path):
    frame = tiny(device=["cpu", "cuda"], repeat=range(3)).run(tmp_path / "a.sqlite")
    assert frame["status"].tolist() == ["completed"] * 6
    assert [count for count, _ in cuda.trained] == [3]


def test_groups_fit_into_the_memory(cuda, tmp_path):
    cuda.free_bytes, cuda.bytes_each, cuda.bytes_of_data = 10 * GIGABYTE, 2 * GIGABYTE, GIGABYTE
    frame = tiny(device="cuda", repeat=range(7)).run(tmp_path / "a.sqlite")
    assert frame["status"].tolist() == ["completed"] * 7
    assert sorted(count for count, _ in cuda.trained) == [1, 3, 3]  # 1 + 3 * 2 of 8 GB


def test_a_run_beyond_memory_fails_and_the_others_go_on(cuda, tmp_path, monkeypatch):
    monkeypatch.setattr(fake_cuda.FakeCuda, "run_bytes", lambda self, network, *_: (network.parameter_count * 10**6, 0))
    cuda = fake_cuda.install(monkeypatch, free_bytes=GIGABYTE)
    frame = tiny(device="cuda", alpha=[4, 100], repeat=range(2)).run(tmp_path / "a.sqlite")
    assert frame.set_index(["alpha", "repeat"])["status"].tolist() == ["completed"] * 2 + ["failed"] * 2
    assert "GB of the GPU's memory" in frame["error"].iloc[-1]
    assert cuda.trained == [(2, False)]


def test_a_network_that_the_gpu_does_not_take_fails(cuda, tmp_path):
    cuda.supported = False
    frame = tiny(device="cuda", repeat=range(2)).run(tmp_path / "a.sqlite")
    assert frame["status"].tolist() == ["failed"] * 2
    assert "network must be one that device 'cuda' has a kernel for" in frame["error"].iloc[0]


def test_a_group_is_put_down_and_goes_on_bitwise(cuda, tmp_path, monkeypatch):
    monkeypatch.setattr(_segments, "_SAVING_SHARE", float("inf"))
    sweep = tiny(device="cuda", epochs=9, repeat=range(3), network=["LN", "GN"])
    whole = sweep.run(tmp_path / "a.sqlite", parameters=True, checkpoint_seconds=float("inf"))
    assert len(cuda.trained) == 2
    cut = sweep.run(tmp_path / "b.sqlite", parameters=True, checkpoint_seconds=1e-9)
    assert len(cuda.trained) > 10
    assert numbers(cut).equals(numbers(whole))
    with Store(tmp_path / "a.sqlite") as a, Store(tmp_path / "b.sqlite") as b:
        for cell in sweep.cells:
            one, other = a.arrays(cell.id), b.arrays(cell.id)
            assert all(np.array_equal(one[name], other[name]) for name in one)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.sqlite", "b.sqlite"]


def test_a_sweep_that_was_stopped_goes_on_from_its_checkpoints(cuda, tmp_path, monkeypatch):
    monkeypatch.setattr(_segments, "_SAVING_SHARE", float("inf"))
    sweep = tiny(device="cuda", epochs=8, repeat=range(2))
    save, seen = pn.sweep._checkpoint.Checkpoints.save, []

    def save_and_fail(self, cell, state):
        assert save(self, cell, state)
        seen.append(state.epochs)
        if len(seen) == 4:
            raise OSError("the machine stops")
        return True

    with monkeypatch.context() as patch:
        patch.setattr(pn.sweep._checkpoint.Checkpoints, "save", save_and_fail)
        patch.setattr(pn.sweep._work, "failure", lambda cell, error: (_ for _ in ()).throw(pn.sweep._work.Stopped))
        patch.setattr(_gpu.GpuExecutor, "poll", stop_after_a_while)
        with pytest.raises(KeyboardInterrupt):
            sweep.run(tmp_path / "a.sqlite", checkpoint_seconds=1e-9)
    starts = []
    train = _segments.train_ensemble
    monkeypatch.setattr(
        _segments, "train_ensemble", lambda runs, *args, **more: starts.append(runs) or train(runs, *args, **more)
    )
    frame = sweep.run(tmp_path / "a.sqlite", checkpoint_seconds=1e-9)
    assert all(run.resume is not None for run in starts[0])
    assert numbers(frame).equals(numbers(sweep.run(tmp_path / "b.sqlite", checkpoint_seconds=float("inf"))))


def stop_after_a_while(self, timeout):
    for worker in self._workers:
        worker.join(10)
    raise KeyboardInterrupt


def test_a_checkpoint_of_another_gpu_is_not_used(cuda, tmp_path, monkeypatch):
    (cell,) = tiny(device="cuda").cells
    run = cell.make_run(cell.make_dataset())
    (fit,) = pn.train_ensemble([pn.Run(run.network, run.dataset, 1, 8, device="cuda", keep_state=True)], progress=False)
    checkpoints = pn.sweep._checkpoint.Checkpoints(tmp_path / "a.sqlite", 1.0)
    assert checkpoints.save(cell, fit.state)
    assert checkpoints.load(cell) is not None
    fake_cuda.install(monkeypatch, name="Another GPU")
    with pytest.warns(RuntimeWarning, match="is not used"):
        assert checkpoints.load(cell) is None


def test_ctrl_c_stops_the_groups(cuda, tmp_path, monkeypatch):
    began = threading.Event()
    train = fake_cuda.FakeCuda.train

    def spy(self, *args, **more):
        began.set()
        return train(self, *args, **more)

    monkeypatch.setattr(fake_cuda.FakeCuda, "train", spy)
    fake_cuda.install(monkeypatch)

    def interrupted(self, timeout):
        assert began.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr(_gpu.GpuExecutor, "poll", lambda self, timeout: interrupted(self, timeout) if timeout else [])
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        tiny(device="cuda", epochs=10**7).run(tmp_path / "a.sqlite")
    assert time.monotonic() - start < 20
    assert len(read_results(tmp_path / "a.sqlite")) == 0


def test_an_estimate_counts_what_is_trained_side_by_side(cuda):
    estimate = tiny(device="cuda", repeat=range(6)).estimate()
    assert estimate.seconds > 0.0
    assert max(count for count, _ in cuda.trained) == 6
    (line,) = estimate.shapes
    assert line.side_by_side == 6


def test_an_estimate_counts_the_memory_of_the_gpu(monkeypatch):
    fake_cuda.install(monkeypatch, bytes_each=10**6, bytes_of_data=10**5)
    estimate = tiny(device="cuda", repeat=range(3)).estimate()
    assert estimate.shapes[0].run_bytes == 1_100_000
    assert estimate.gpu_bytes == estimate.shapes[0].gpu_bytes == 3_100_000  # they share their data
    assert estimate.gpu_available_bytes == 56 * 10**9
    assert 0 < estimate.bytes == estimate.shapes[0].host_bytes
    on_the_cpu = tiny(repeat=range(3)).estimate(threads=2)
    both = tiny(device=["cpu", "cuda"], repeat=range(3)).estimate(threads=2)
    assert (on_the_cpu.gpu_bytes, on_the_cpu.gpu_available_bytes) == (0, 0)
    assert both.bytes == on_the_cpu.bytes + estimate.bytes
    assert both.gpu_bytes == estimate.gpu_bytes


@pytest.mark.parametrize(
    ("devices", "lines"),
    [
        ('"cuda"', ["on the GPU", "GPU     31.0 MB of 56.00 GB that may be used, up to 3 runs side by side"]),
        ('["cpu", "cuda"]', ["on 2 threads and the GPU", "Measured on one thread and on the GPU", "up to 3 runs"]),
    ],
)
def test_a_dry_run_says_what_the_gpu_holds(monkeypatch, tmp_path, devices, lines):
    fake_cuda.install(monkeypatch, bytes_each=10**7, bytes_of_data=10**6)
    file = tmp_path / "sweep.toml"
    file.write_text(
        f'network = "LN"\nd = 2\nalpha = 3\nn_samples = 200\nepochs = 2\nrepeat = [0, 1, 2]\ndevice = {devices}\n'
    )
    result = CliRunner().invoke(app, ["sweep", str(file), "--dry-run", "--threads", "2"])
    assert result.exit_code == 0, result.output
    for line in lines:
        assert line in result.stdout
    assert ("threads" in result.stdout) == ("cpu" in devices)


@pytest.mark.parametrize(
    ("cell", "blocks"),
    [
        (Cell(network="LN", d=20), 1),
        (Cell(network="LCN", d=20), 20),
        (Cell(network="GN", d=20), 7 * 8),  # tiles of 128: 800 rows, 1000 units
        (Cell(network="GN", d=1, alpha=4, n_samples=100), 1),
        (Cell(network="LN", d=4, block_in=4), 7 * 2),
    ],
)
def test_blocks_that_a_run_keeps_busy(cell, blocks):
    assert blocks_of(cell) == blocks


def test_the_chip_is_filled_and_not_more(cuda):
    cells = tiny(device="cuda", repeat=range(1300)).cells
    groups = Groups(cells, Speeds(), 10**12, 10**12)
    first = groups.take()
    assert len(first) == 512
    taken = []
    waiter = threading.Thread(target=lambda: taken.append(groups.take()))
    waiter.start()
    waiter.join(0.2)
    assert waiter.is_alive()  # the chip is full
    groups.give_back(first)
    waiter.join(10)
    assert len(taken[0]) == 512
    groups.give_back(taken[0])
    assert len(groups.take()) == 1300 - 1024
    assert groups.take() is None


def test_small_shapes_fill_it_together(cuda):
    cells = tiny(device="cuda", d=range(1, 9), repeat=range(4)).cells
    groups = Groups(cells, Speeds(), 10**12, 10**12)
    found = [groups.take() for _ in range(8)]
    assert [len(group) for group in found] == [4] * 8
    assert [group[0].d for group in found] == list(range(8, 0, -1))  # the longest first
    assert groups.take() is None


def test_the_host_has_a_memory_too(cuda):
    cells = tiny(device="cuda", repeat=range(9)).cells
    each = _gpu.host_bytes(cells[0])
    groups = Groups(cells, Speeds(), 10**12, 4 * each + 100 * 3 * 4)
    assert len(groups.take()) == 4


def test_cells_name_kernels_of_the_gpu_anywhere():
    for kernel in ("auto", "direct", "active", "direct_tf32", "active_tf32"):
        assert Cell(network="GN", d=2, device="cuda", kernel=kernel).id
    for settings in (
        {"network": "GN", "kernel": "direct_tf32"},  # on the CPU
        {"network": "GN", "kernel": "direct_tf32", "device": "cuda", "dtype": "float64"},
        {"network": "LN", "kernel": "direct_tf32", "device": "cuda"},
        {"network": "GN", "kernel": "reference", "device": "cuda"},
    ):
        with pytest.raises(ValueError, match="kernel must be one that this"):
            Cell(d=2, **settings)


def test_tf32_in_a_sweep(cuda, tmp_path):
    frame = tiny(network="GN", device="cuda", kernel=["direct", "direct_tf32"]).run(tmp_path / "a.sqlite")
    assert sorted(cuda.trained) == [(1, False), (1, True)]
    assert frame["kernel"].tolist() == ["direct", "direct_tf32"]

"""The command line with --device cuda, with a GPU that is this processor underneath."""

import json
import sys
from dataclasses import replace

import pytest
from support import fake_cuda
from support.fake_cuda import GIGABYTE
from typer.testing import CliRunner

from pyneedle import _device, experiments
from pyneedle.cli import app
from pyneedle.experiments import _session
from pyneedle.sweep import Cell, read_results

SMALL = ["train", "--network", "GN", "--d", "2", "--alpha", "3", "--n-samples", "200", "--epochs", "2"]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def cuda(monkeypatch):
    return fake_cuda.install(monkeypatch)


def test_train(cuda):
    result = run(*SMALL, "--device", "cuda", "--json")
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert (record["device"], record["isa"]) == ("cuda", "sm_90")
    table = run(*SMALL, "--device", "cuda", "--kernel", "direct_tf32")
    assert "kernel direct_tf32, GPU (sm_90)" in table.stdout
    assert cuda.trained == [(1, False), (1, True)]


def test_train_without_a_gpu(monkeypatch):
    fake_cuda.without_cuda(monkeypatch)
    result = run(*SMALL, "--device", "cuda")
    assert result.exit_code == 1
    assert "device 'cuda' is not available: this build of pyneedle has no CUDA module" in result.stderr


def test_a_kernel_that_the_gpu_does_not_have(cuda):
    result = run(*SMALL, "--device", "cuda", "--kernel", "reference")
    assert result.exit_code == 2
    assert "--kernel must be one of 'auto', 'active', 'direct'" in result.stderr


def test_doctor(cuda):
    result = run("doctor")
    assert result.exit_code == 0
    for word in ("runtime 13.0", "GPU 0 (chosen)", "Fake H100, sm_90, 70.0 of 80.0 GB free", "cuBLAS", "LCN, GPU"):
        assert word in result.stdout
    assert "FAILED" not in result.stdout


def test_doctor_checks_thread_blocks(monkeypatch):
    fake_cuda.install(monkeypatch)
    assert "sums, scans and barriers are right" in run("doctor").stdout
    fake_cuda.install(monkeypatch, faults=["total, 32 threads, shared memory", "any, 64 threads, global memory"])
    result = run("doctor")
    assert result.exit_code == 1
    assert "FAILED: total, 32 threads, shared memory; any, 64" in " ".join(result.stdout.split())  # the table wraps
    assert result.stdout.index("FAILED: total") < result.stdout.index("kernels against the reference")


def test_doctor_with_other_gpus(monkeypatch):
    others = [
        fake_cuda.Info(GIGABYTE, 1, "Small A100", (8, 0)),
        RuntimeError("CUDA error while choosing the device: busy"),
    ]
    fake_cuda.install(monkeypatch, others=others)
    result = run("doctor")
    assert result.exit_code == 0
    for line in (
        "GPU 1 ",
        "Small A100, sm_80, 1.0 of 80.0 GB free",
        "GPU 2 ",
        "error: CUDA error while choosing the device",
    ):
        assert line in result.stdout


def test_doctor_where_the_chosen_gpu_is_busy(cuda, monkeypatch):
    def busy(index):
        raise MemoryError("CUDA error while choosing the device: out of memory")

    monkeypatch.setattr(sys.modules["pyneedle._cuda"], "device", busy)
    result = run("doctor")
    assert result.exit_code == 1
    assert "error: CUDA error while choosing the device: out of memory" in result.stdout


def test_doctor_finds_a_wrong_kernel(monkeypatch):
    train = fake_cuda.FakeCuda.train

    def off(self, *args, **more):
        results = train(self, *args, **more)
        for result in results:
            result["validation_loss"] *= 1.01
        return results

    monkeypatch.setattr(fake_cuda.FakeCuda, "train", off)
    fake_cuda.install(monkeypatch)
    result = run("doctor")
    assert result.exit_code == 1
    assert "FAILED" in result.stdout


def test_doctor_without_cublas(cuda, monkeypatch):
    monkeypatch.setattr(_device, "_cublas_path", [])

    def nowhere(version):
        raise ImportError("a dense network (GN) on a GPU needs cuBLAS 13")

    monkeypatch.setattr(_device._cublas, "find", nowhere)
    result = run("doctor")
    assert result.exit_code == 1
    assert "needs cuBLAS 13" in result.stdout


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("", "not available: this build of pyneedle has no CUDA module"),
        ("no NVIDIA driver: none", "not available (module built, CUDA 13.0): no NVIDIA driver: none"),
    ],
)
def test_doctor_without_a_gpu(monkeypatch, missing, said):
    if missing:
        fake_cuda.install(monkeypatch, missing=missing)
    else:
        fake_cuda.without_cuda(monkeypatch)
    result = run("doctor")
    assert result.exit_code == 0
    assert said in " ".join(result.stdout.split())  # the table wraps


@pytest.mark.parametrize("name", experiments.names())
def test_every_experiment_can_be_put_on_the_gpu(name):
    cells = experiments.plan([name], "quick", "cuda").cells
    assert cells
    assert {cell.device for cell in cells} == {"cuda"}
    assert [replace(cell, device="cpu") for cell in cells] == list(experiments.plan([name], "quick").cells)


@pytest.mark.parametrize("command", [SMALL, ["reproduce", "fig3a"], ["reproduce", "all", "--dry-run"]])
@pytest.mark.parametrize("device", ["gpu", "cuda:0"])
def test_a_gpu_by_another_name(command, device):
    result = run(*command, "--device", device)
    assert result.exit_code == 2
    hint = "CUDA_VISIBLE_DEVICES chooses among several GPUs"
    assert result.stderr.strip() == f"Error: --device must be one of 'cpu', 'cuda', got {device!r}; {hint}"


def test_tf32_on_the_cpu():
    result = run(*SMALL, "--kernel", "direct_tf32")
    assert result.exit_code == 2
    assert result.stderr.strip().endswith("got 'direct_tf32'; TF32 needs device 'cuda'")
    with pytest.raises(ValueError, match="got 'active_tf32'; TF32 needs device 'cuda'"):
        Cell(network="GN", d=4, kernel="active_tf32")


def test_an_unknown_device():
    with pytest.raises(ValueError, match="device must be one of 'cpu', 'cuda', got 'tpu'"):
        experiments.plan(["fig3a"], "quick", "tpu")


def test_reproduce_on_the_gpu(cuda, tmp_path):
    protocol = replace(
        experiments.EXPERIMENTS["fig3a"].protocols["quick"], d=(2, 3), gn_d=None, n_samples=(200,), epochs=2, repeats=2
    )
    protocol = replace(protocol, alpha=3)
    experiments.reproduce("fig3a", protocol, tmp_path, progress=False, device="cuda")
    frame = read_results(tmp_path / experiments.STORE_NAME)
    assert len(frame) == 2 * 3 * 2
    assert set(frame["device"]) == {"cuda"}
    assert sum(count for count, _ in cuda.trained) == len(frame)


def test_a_finished_reproduction_is_drawn_again_without_the_gpu(tmp_path):
    protocol = replace(
        experiments.EXPERIMENTS["fig5a"].protocols["quick"], d=(2, 3), gn_d=None, n_samples=(200,), epochs=2, alpha=3
    )
    with pytest.MonkeyPatch.context() as patch:
        fake_cuda.install(patch)
        first = experiments.reproduce("fig5a", protocol, tmp_path, progress=False, device="cuda")
    with pytest.MonkeyPatch.context() as patch:
        fake_cuda.without_cuda(patch)
        store = tmp_path / experiments.STORE_NAME
        again = experiments.reproduce("fig5a", protocol, tmp_path / "again", store, progress=False, device="cuda")
    assert again.fits == first.fits


def test_reproduce_estimates_and_refuses_without_a_gpu(monkeypatch, tmp_path):
    fake_cuda.without_cuda(monkeypatch)
    for more in ([], ["--dry-run"]):
        result = run("reproduce", "fig3a", "--device", "cuda", "--out", tmp_path / "out", *more)
        assert result.exit_code == 1
        assert "device 'cuda' is not available" in result.stderr
        assert not (tmp_path / "out").exists()


def test_continued_trainings_stay_on_their_device(cuda, tmp_path):
    protocol = replace(experiments.EXPERIMENTS["fig4"].protocols["quick"], d=(2,), n_samples=(200,), epochs=2, alpha=3)
    experiments.reproduce("fig4", protocol, tmp_path, progress=False, device="cuda")
    fits = [_session.Fit.load(path) for path in (tmp_path / "runs.fits").iterdir()]
    assert fits
    assert {fit.device for fit in fits} == {"cuda"}

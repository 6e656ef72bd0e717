"""The command line: options, output, exit status."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import pyneedle as pn
from pyneedle import _networks
from pyneedle.cli import app, doctor

SMALL = ["--network", "LN", "--d", "3", "--alpha", "5", "--n-samples", "200", "--epochs", "3"]


def run(*args):
    return CliRunner().invoke(app, [str(a) for a in args])


def train(*args):
    return run("train", *SMALL, *args)


def test_version_and_help():
    assert run("--version").output.strip() == f"pyneedle {pn.__version__}"
    result = run("--help")
    assert result.exit_code == 0
    assert "train" in result.output
    assert "doctor" in result.output
    result = run("train", "--help")
    assert result.exit_code == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", result.output)
    for option in ("--network", "--d", "--alpha", "--penalty", "--json", "--plot", "--save", "--n-samples"):
        assert option in plain


def test_the_table():
    result = train("--penalty", "path-norm:1e-5")
    assert result.exit_code == 0
    for word in ("completed", "LN, d = 3", "45 ", "kernel", "validation", "path norm", "dead / on / mixed", "steps/s"):
        assert word in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("network", ["LN", "LCN", "GN", "gn"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_json_is_one_object(network, dtype):
    result = train(
        "--network",
        network,
        "--json",
        "--seed",
        4,
        "--batch-size",
        7,
        "--penalty",
        "l1:1e-6",
        "--learning-rate",
        0.02,
        "--decay",
        0.1,
        "--dtype",
        dtype,
        "--target",
        "cosine",
        "--threads",
        1,
    )
    assert result.exit_code == 0
    assert result.stderr == ""
    record = json.loads(result.stdout)
    ds = pn.make_dataset("cosine", 3, 200, dtype=dtype)
    kind = _networks.BY_NAME[network.upper()]
    fit = pn.train(
        kind(3, 5),
        ds,
        epochs=3,
        batch_size=7,
        penalty=pn.L1(1e-6),
        seed=4,
        optimizer=pn.Adam(learning_rate=0.02, decay=0.1),
    )
    for name in (
        "status",
        "train_mse",
        "validation_mse",
        "test_mse",
        "test_mse_original",
        "path_norm",
        "best_epoch",
        "kernel",
        "isa",
        "batch_size",
        "seed",
        "epochs",
    ):
        assert record[name] == getattr(fit, name), name
    assert record["network"] == network.upper()
    assert record["penalty"] == "l1"
    assert record["strength"] == 1e-6
    assert record["parameters"] == fit.network.parameter_count
    assert record["dtype"] == dtype
    assert record["steps"] == 3 * 19
    assert record["dead_units"] == fit.history["dead_units"][fit.best_epoch].tolist()


def test_options_of_the_data():
    result = train("--json", "--sort", "none", "--data-seed", 5, "--activation", "tanh", "--hidden-layers", 1)
    record = json.loads(result.stdout)
    ds = pn.make_dataset("square", 3, 200, seed=5, sort="none")
    assert record["test_mse"] == pn.train(pn.LocalNetwork(3, 5, 1, "tanh"), ds, epochs=3).test_mse
    assert (record["sort"], record["data_seed"], record["shuffle"]) == ("none", 5, True)


def test_quiet_prints_nothing():
    result = train("--quiet")
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_files(tmp_path, suffix):
    fit, plot = tmp_path / "fit.npz", tmp_path / f"loss.{suffix}"
    result = train("--save", fit, "--plot", plot, "--json")
    assert result.exit_code == 0
    assert pn.Fit.load(fit).test_mse == json.loads(result.stdout)["test_mse"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fit.npz", f"loss.{suffix}"]
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    assert plot.read_bytes().startswith(start)


BAD_USAGE = {
    "--d must be at least 1, got 0": ["--d", "0"],
    "--alpha must be at least 1, got -1": ["--alpha", "-1"],
    "--d and --alpha must have a product of at most 2147483647, got 100000 and 90000": [
        "--network",
        "GN",
        "--d",
        "100000",
        "--alpha",
        "90000",
    ],
    "--hidden-layers must be at most 2, got 3": ["--hidden-layers", "3"],
    "--n-samples must be at least 5": ["--n-samples", "4"],
    "--epochs must be at least 1, got 0": ["--epochs", "0"],
    "--batch-size must be at most the 128 training rows, got 129": ["--batch-size", "129"],
    "--learning-rate must be positive": ["--learning-rate", "-0.1"],
    "--learning-rate must be positive and finite, got nan": ["--learning-rate", "nan"],
    "--decay must be finite and not negative": ["--decay", "-1"],
    "--penalty must be none, l1:STRENGTH": ["--penalty", "l1"],
    "--penalty must be none, l1:STRENGTH, l2": ["--penalty", "l3:1e-5"],
    "--penalty must be none, l1:STRENGTH, l2:": ["--penalty", "l1:much"],
    "--penalty's strength must be finite and not negative": ["--penalty", "l1:-1"],
    "--seed must be at least 0": ["--seed", "-1"],
    "--data-seed must be at least 0": ["--data-seed", "-1"],
    "--kernel must be one of 'auto'": ["--kernel", "fast"],
    "--threads must be at least 1": ["--threads", "0"],
    "--plot must end in one of": ["--plot", "loss.doc"],
}


@pytest.mark.parametrize("message", BAD_USAGE)
def test_bad_usage(message):
    result = train(*BAD_USAGE[message])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "args",
    [
        ["--d", "x"],
        ["--network", "XN"],
        ["--target", "cube"],
        ["--dtype", "float16"],
        ["--sort", "up"],
        ["--nothing"],
        ["--activation", "gelu"],
        ["--epochs", "1.5"],
    ],
)
def test_bad_usage_that_the_parser_finds(args):
    result = train(*args)
    assert result.exit_code == 2
    assert args[0] in re.sub(r"\x1b\[[0-9;]*m", "", result.stderr)
    assert "Traceback" not in result.output


def test_missing_options():
    assert run("train", "--d", "3").exit_code == 2
    assert run("train", "--network", "LN").exit_code == 2
    assert run("nothing").exit_code == 2


def test_outputs_are_checked_before_training(tmp_path):
    # So many epochs that the test would time out if the run began.
    for option, path in (
        ("--save", tmp_path / "no" / "fit.npz"),
        ("--plot", tmp_path / "no" / "a.png"),
        ("--save", tmp_path),
    ):
        result = train("--epochs", 100_000_000, option, path)
        assert result.exit_code == 1
        assert option in result.stderr
        assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_divergence_fails_with_valid_json(tmp_path):
    args = ("--learning-rate", "1e38", "--epochs", 9, "--save", tmp_path / "fit.npz", "--plot", tmp_path / "a.png")
    result = train(*args, "--json")
    assert result.exit_code == 1
    assert "diverged" in result.stderr

    def refuse(text):
        raise AssertionError(text)

    record = json.loads(result.stdout, parse_constant=refuse)
    assert record["status"] == "diverged"
    assert pn.Fit.load(tmp_path / "fit.npz").status == "diverged"
    assert (tmp_path / "a.png").exists()
    result = train(*args)
    assert result.exit_code == 1
    assert "diverged" in result.stdout


def test_without_a_best_epoch_the_numbers_are_of_the_initial_parameters():
    args = ("--network", "GN", "--learning-rate", "1e30")
    record = json.loads(train(*args, "--json").stdout)
    assert record["best_epoch"] == -1
    assert [record[f"{kind}_units"] for kind in ("dead", "on", "mixed")] == [None] * 3
    network = pn.GlobalNetwork(3, 5)
    assert record["path_norm"] == pn.path_norm(network, network.init(0))
    shown = train(*args).stdout
    assert "mean squared error, initial parameters" in shown
    assert "path norm, initial parameters" in shown
    assert "dead / on / mixed" not in shown
    assert "initial parameters" not in train().stdout


def test_a_network_beyond_memory_is_a_failure():
    result = train("--network", "GN", "--d", 16_000, "--alpha", 50)
    assert result.exit_code == 1
    assert "memory" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_bad_level_is_bad_usage(monkeypatch):
    monkeypatch.setenv("PYNEEDLE_ISA", "avx3")
    result = train()
    assert result.exit_code == 2
    assert "avx3" in result.stderr
    result = run("doctor")
    assert result.exit_code == 1
    assert "avx3" in result.stdout


def test_doctor():
    result = run("doctor")
    assert result.exit_code == 0
    for word in (
        pn.__version__,
        np.__version__,
        "level chosen",
        "BLAS",
        "OpenBLAS",
        "threads",
        "CUDA",
        "tanh",
        "GN",
        "Adam, path norm",
        "ok",
    ):
        assert word in result.stdout
    assert "FAILED" not in result.stdout


def test_doctor_checks_masked_products():
    """A GN has as many mixed units in the second layer as these products need, 24, and more."""
    network = doctor._networks("relu")[-1]
    p, x, _ = doctor._batch(network, "float64")
    h = np.maximum(x @ p["w1"].T + p["b1"], 0.0)
    active = (h @ p["w2"].T + p["b2"] > 0.0).mean(axis=0)
    assert "active" in network.kernels
    assert np.count_nonzero((active > 0.0) & (active < 1.0)) >= 40


def test_doctor_reports_a_wrong_step_of_adam(monkeypatch):
    right = pn.Adam.step

    def off(self, p, g, state, penalty=None, network=None, threads=None):
        right(self, p, g, state, pn.PathNorm(1.01 * penalty.strength), network, threads)

    monkeypatch.setattr(pn.Adam, "step", off)
    result = run("doctor")
    assert result.exit_code == 1
    assert result.stdout.count("FAILED") == 2


def test_doctor_reports_a_wrong_kernel(monkeypatch):
    wrong = pn.LocalNetwork.loss_and_grad

    def off(self, *args, **more):
        loss, g = wrong(self, *args, **more)
        if more.get("kernel") == "direct":
            g["w1"] = g["w1"] * 1.01
        return loss, g

    monkeypatch.setattr(pn.Network, "loss_and_grad", off)
    result = run("doctor")
    assert result.exit_code == 1
    assert "FAILED" in result.stdout


def test_as_a_program(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "pyneedle"]
    done = subprocess.run(
        [*command, "train", *SMALL, "--json"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout)["status"] == "completed"
    done = subprocess.run(
        [*command, "train", *SMALL, "--d", "0"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "Error: --d must be at least 1, got 0\n"


def test_interrupting_the_program(tmp_path):
    import signal
    import time

    command = [sys.executable, "-m", "pyneedle", "train", *SMALL, "--epochs", "100000000", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "interrupted" in err
    assert "Traceback" not in err
    record = json.loads(out)
    assert record["status"] == "interrupted"
    assert 0 < record["epochs_finished"] < 100_000_000

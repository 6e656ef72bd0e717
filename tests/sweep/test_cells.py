"""Cells, grids and their TOML."""

import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest
from support.sweeps import tiny

import pyneedle as pn
from pyneedle.sweep import Cell


def test_the_call_of_the_documentation():
    sweep = pn.Sweep(
        network=["GN", "LCN", "LN"],
        target="square",
        d=range(4, 61, 4),
        n_samples=100_000,
        repeat=range(4),
        penalty=[None],
        epochs=1000,
        batch="ratio",
    )
    assert len(sweep) == len(sweep.cells) == 3 * 15 * 4
    assert sweep.cells[0] == Cell(network="GN", d=4, n_samples=100_000, repeat=0, epochs=1000)
    assert [cell.repeat for cell in sweep.cells[:5]] == [0, 1, 2, 3, 0]
    assert {cell.batch_size for cell in sweep.cells} == {800}
    assert repr(sweep) == "Sweep(180 cells)"


def test_the_hash_is_that_of_every_process_and_version():
    # Stores outlive versions: these may never change.
    assert Cell(network="LN", d=4).id == LN_4
    cell = Cell(network="GN", d=20, penalty=pn.L1(1e-8), optimizer=pn.Adam(decay=0.03), batch=80, repeat=3)
    assert cell.id == GN_20
    code = "import pyneedle.sweep as s; print(s.Cell(network='LN', d=4).id)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == LN_4


LN_4 = "cf68526980bc7b1d6ddb6079b2a05caa"
GN_20 = "7c19bd575b73f8617f9d45f0f04d64eb"


def test_what_the_hash_depends_on():
    base = Cell(network="LCN", d=4, n_samples=1000)
    others = {
        "network": "LN",
        "d": 6,
        "target": "cosine",
        "alpha": 10,
        "hidden_layers": 1,
        "activation": "tanh",
        "block_in": 2,
        "n_samples": 2000,
        "sort": "none",
        "data_seed": 1,
        "batch": 80,
        "penalty": pn.L2(1e-7),
        "optimizer": pn.Adam(decay=0.03),
        "epochs": 10,
        "repeat": 1,
        "shuffle": False,
        "init": "glorot",
        "kernel": "direct",
        "dtype": "float64",
    }
    assert set(others) | {"device", "data"} == {field.name for field in dataclasses.fields(Cell)}
    hashes = {base.id} | {dataclasses.replace(base, **{name: value}).id for name, value in others.items()}
    assert len(hashes) == 1 + len(others)


def test_the_same_training_is_one_cell():
    ratio = Cell(network="LN", d=4, n_samples=1000)
    assert ratio.batch_size == 8
    assert dataclasses.replace(ratio, batch=8).id == ratio.id
    assert Cell(network="LN", d=np.int64(4), n_samples=np.int32(1000)).id == ratio.id
    assert Cell(network="LN", d=4, n_samples=1000, dtype=np.float32).id == ratio.id
    assert Cell.from_content(ratio.content).id == ratio.id
    assert dataclasses.replace(ratio, optimizer=pn.Adam(beta1=-0.0, decay=-0.0)).content["optimizer"] == {
        **ratio.content["optimizer"],
        "beta1": 0.0,
    }
    zeros = tiny(penalty=[pn.L1(-0.0), pn.L1(0.0)], decay=[-0.0, 0.0], beta2=[0.9, -0.0, 0.0])
    assert len(zeros) == 2
    assert all("-0.0" not in cell.canonical for cell in zeros.cells)
    assert pickle.loads(pickle.dumps(ratio)) == ratio
    sweep = tiny(d=[2, 2, 3], repeat=(0, 1, 1))
    assert len(sweep) == 4
    assert len(sweep + tiny(d=[3, 4])) == 5
    assert pn.Sweep.from_cells(sweep.cells).cells == sweep.cells


def test_axes():
    assert [cell.d for cell in tiny(d=np.array([2, 3])).cells] == [2, 3]
    assert [cell.d for cell in tiny(d=(n for n in (2, 3))).cells] == [2, 3]
    rates = tiny(learning_rate=[0.01, 0.02], decay=0.03)
    assert [cell.optimizer for cell in rates.cells] == [pn.Adam(0.01, decay=0.03), pn.Adam(0.02, decay=0.03)]
    assert tiny(optimizer=[pn.Adam(0.02)]).cells[0].optimizer == pn.Adam(0.02)
    penalties = tiny(penalty=[None, "none", "l1:1e-8", pn.L1(1e-8), {"kind": "l2", "strength": [1e-7, 1e-6]}])
    assert [cell.penalty for cell in penalties.cells] == [None, pn.L1(1e-8), pn.L2(1e-7), pn.L2(1e-6)]


MISTAKES = {
    "unknown key 'netwrok'; did you mean 'network'?": {"netwrok": "LN"},
    "unknown key 'leraning_rate'; did you mean 'learning_rate'?": {"leraning_rate": 0.1},
    "unknown key 'seed_of_it'; known are network, d,": {"seed_of_it": 0},
    "network must be one of 'GN', 'LCN', 'LN', got 'XN'": {"network": ["LN", "XN"]},
    "d must be at least 1, got 0": {"d": range(3)},
    "d must have at least one value, got []": {"d": []},
    "repeat must have at most 5,000,000 values, got more": {"repeat": range(10**30)},
    "a grid must have at most 5,000,000 cells, got 9,000,000: 3,000 of data_seed x 3,000 of repeat": {
        "data_seed": range(3000),
        "repeat": range(3000),
    },
    "d must be an integer, got 2.5 (float)": {"d": 2.5},
    "target must be one of 'square', 'quartic', 'cosine', got 'cube'": {"target": "cube"},
    "n_samples must be at least 5": {"n_samples": 4},
    "batch must be 'ratio' or a number of rows, got 'rato'": {"batch": "rato"},
    "batch must be at most the 64 training rows of n_samples=100, got 65": {"batch": [64, 65]},
    "penalty must be none, l1:STRENGTH": {"penalty": "l3:1e-5"},
    "penalty must be None, L1, L2, PathNorm or a text": {"penalty": 3},
    "penalty's kind must be one of": {"penalty": {"kind": "l3"}},
    "penalty's strength must be given for kind 'l1'": {"penalty": {"kind": "l1"}},
    "penalty has an unknown key 'strenght'; did you mean 'strength'?": {"penalty": {"kind": "l1", "strenght": 1}},
    "strength must be finite and not negative": {"penalty": "l1:-1"},
    "learning_rate must be positive": {"learning_rate": [0.1, -0.1]},
    "learning_rate must not be given beside optimizer": {"learning_rate": 0.1, "optimizer": pn.Adam()},
    "optimizer must be an Adam": {"optimizer": "adam"},
    "epochs must be at least 1, got 0": {"epochs": 0},
    "repeat must be at least 0, got -1": {"repeat": -1},
    "repeat must be at most 9223372036854775807": {"repeat": 2**63},
    "shuffle must be True or False, got 1": {"shuffle": 1},
    "block_in must be 1 for a GN": {"network": "GN", "block_in": 2},
    "block_in must divide d=3, got 2": {"d": 3, "block_in": 2},
    "kernel must be one of 'auto'": {"kernel": "fast"},
    "dtype must be float32 or float64": {"dtype": "float16"},
    "device must be one of 'cpu', 'cuda'": {"device": "tpu"},
    "init must be one of 'paper', 'glorot'": {"init": "zeros"},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_found_at_once(message):
    with pytest.raises((TypeError, ValueError)) as caught:
        tiny(**MISTAKES[message])
    assert message in str(caught.value)


def test_what_must_be_given():
    with pytest.raises(TypeError, match="network must be given"):
        pn.Sweep(d=4)
    with pytest.raises(TypeError, match="d must be given"):
        pn.Sweep(network="LN")
    with pytest.raises(TypeError, match=r"cells\[0\] must be a Cell, got int"):
        pn.Sweep.from_cells([1])


FILE = """
epochs = 5
n_samples = 200
penalty = ["none", "l1:1e-8"]

[[grid]]
network = ["LN", "LCN"]
d = { from = 4, to = 12, step = 4 }
repeat = [{ from = 0, to = 1 }, 5]

[[grid]]
network = "GN"
d = 2
epochs = 7
penalty = [{ kind = "l2", strength = [1e-7, 1e-6] }]
learning_rate = [1, 0.1]
"""


def write(tmp_path, text):
    path = tmp_path / "some.toml"
    path.write_text(text)
    return path


def test_reading_toml(tmp_path):
    sweep = pn.Sweep.from_toml(write(tmp_path, FILE))
    wanted = pn.Sweep(
        network=["LN", "LCN"], d=[4, 8, 12], repeat=[0, 1, 5], n_samples=200, epochs=5, penalty=[None, pn.L1(1e-8)]
    ) + pn.Sweep(
        network="GN", d=2, n_samples=200, epochs=7, penalty=[pn.L2(1e-7), pn.L2(1e-6)], learning_rate=[1.0, 0.1]
    )
    assert {cell.id for cell in sweep.cells} == {cell.id for cell in wanted.cells}
    assert len(sweep) == 36 + 4
    one = pn.Sweep.from_toml(write(tmp_path, 'network = "LN"\nd = [2, 3]\n'))
    assert len(one) == 2


def test_writing_toml(tmp_path):
    sweep = (
        pn.Sweep.from_toml(write(tmp_path, FILE))
        + tiny(d=np.arange(2, 5), learning_rate=np.float32(0.5), penalty=[None, pn.PathNorm(1 / 3)])
        + tiny(optimizer=[pn.Adam(0.1, decay=0.5), pn.Adam()], dtype="float64", shuffle=False)
    )
    assert pn.Sweep.from_toml(write(tmp_path, sweep.to_toml())).cells == sweep.cells
    again = pn.Sweep.from_cells(sweep.cells)
    assert pn.Sweep.from_toml(write(tmp_path, again.to_toml())).cells == sweep.cells


BAD_FILES = {
    "some.toml is not valid TOML": "network = LN",
    "some.toml: unknown key 'netwrok'; did you mean 'network'?": 'netwrok = "LN"\nd = 2\n[[grid]]\nd = 3\n',
    "some.toml, grid 2: unknown key 'repeats'; did you mean 'repeat'?": (
        'network = "LN"\n[[grid]]\nd = 2\n[[grid]]\nrepeats = 2\n'
    ),
    "some.toml, grid 2: d must be at least 1, got 0": 'network = "LN"\n[[grid]]\nd = 2\n[[grid]]\nd = 0\n',
    "some.toml: d must be at least 1": 'network = "LN"\nd = 0\n',
    "some.toml: network must be given": "d = 2\n",
    "some.toml: d has an unknown key 'stop'": 'network = "LN"\nd = { from = 1, stop = 5 }\n',
    "some.toml: d must have both ends as in { from = 4": 'network = "LN"\nd = { from = 1 }\n',
    "some.toml: d's step must be at least 1": 'network = "LN"\nd = { from = 1, to = 5, step = 0 }\n',
    "some.toml: d's from must not be above its to, got 8 and 4": 'network = "LN"\nd = { from = 8, to = 4 }\n',
    "some.toml: repeat must have at most 5,000,000 values, got 300,000,001": (
        'network = "LN"\nd = 2\nrepeat = { from = 0, to = 300_000_000 }\n'
    ),
    "some.toml: d must have at least one value": 'network = "LN"\nd = []\n',
    "some.toml: learning_rate's from must be an integer, as ranges are of integers, got 0.1": (
        'network = "LN"\nd = 2\nlearning_rate = { from = 0.1, to = 0.3 }\n'
    ),
    "some.toml: penalty's kind must be one of 'none', 'l1', 'l2', 'path-norm', got ['l1']": (
        'network = "LN"\nd = 2\npenalty = { kind = ["l1"], strength = 1 }\n'
    ),
    "some.toml: penalty's strength must be a number or a list of them, as ranges are of integers, got {'from': 1": (
        'network = "LN"\nd = 2\npenalty = { kind = "l1", strength = { from = 1, to = 2 } }\n'
    ),
    "some.toml: grid must be one or more [[grid]] tables": 'network = "LN"\nd = 2\ngrid = 3\n',
    "some.toml: unknown key 'optimizer'": 'network = "LN"\nd = 2\noptimizer = "adam"\n',
    "some.toml: unknown key 'runs'": '[runs]\nnetwork = "LN"\n',
}


@pytest.mark.parametrize("message", BAD_FILES)
def test_mistakes_in_toml_name_the_grid(message, tmp_path):
    with pytest.raises(ValueError, match=r"some\.toml") as caught:
        pn.Sweep.from_toml(write(tmp_path, BAD_FILES[message]))
    assert str(caught.value).startswith(message)


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "some.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not valid TOML"):
        pn.Sweep.from_toml(path)
    with pytest.raises(FileNotFoundError):
        pn.Sweep.from_toml(tmp_path / "no.toml")

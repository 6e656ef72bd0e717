"""Bad input of every kind gives one sentence that names the argument; never a crash or a silent wrong answer."""

import dataclasses
import math

import numpy as np
import pytest

import pyneedle as pn

NET = pn.LocalNetwork(3, 4)
P = NET.init()
X = np.zeros((5, 3), np.float32)
Y = np.zeros(5, np.float32)
DS = pn.make_dataset("square", 3, 100)
RUN = pn.Run(NET, DS, epochs=1)


def changed(array, index, value):
    out = array.copy()
    out[index] = value
    return out


def without(name):
    return {key: value for key, value in P.items() if key != name}


def train_on(**splits):
    return pn.train(NET, dataclasses.replace(DS, **splits), epochs=1)


def step(p, g=None, adam=pn.Adam(), **moments):
    state = adam.init_state(p)
    gradient = adam.init_state(p).m if g is None else g
    adam.step(p, gradient, dataclasses.replace(state, **moments))


CASES = {
    # networks
    "d zero": (lambda: pn.LocalNetwork(0), ValueError, "d must be at least 1, got 0"),
    "d negative": (lambda: pn.GlobalNetwork(-3), ValueError, "d must be at least 1, got -3"),
    "d float": (lambda: pn.LocalNetwork(4.0), TypeError, "d must be an integer, got 4.0"),
    "d bool": (lambda: pn.LocalNetwork(True), TypeError, "d must be an integer, got True"),
    "d numpy bool": (lambda: pn.LocalNetwork(np.True_), TypeError, "d must be an integer"),
    "d text": (lambda: pn.LocalNetwork("4"), TypeError, "d must be an integer, got '4'"),
    "d beyond 32 bits": (lambda: pn.LocalNetwork(2**40), ValueError, "d must be at most"),
    "d beyond 64 bits": (lambda: pn.LocalNetwork(2**70), ValueError, "d must be at most"),
    "alpha zero": (lambda: pn.LocalNetwork(4, 0), ValueError, "alpha must be at least 1"),
    "alpha float": (lambda: pn.LocalNetwork(4, np.float64(3)), TypeError, "alpha must be an integer"),
    "too many parameters": (
        lambda: pn.GlobalNetwork(60_000, 50),
        ValueError,
        "d and alpha must give a network of at most 1099511627776 parameters, got 60000 and 50, which give 91800090000",
    ),
    "too wide": (
        lambda: pn.GlobalNetwork(2**30, 8),
        ValueError,
        "d and alpha must have a product of at most 2147483647, got 1073741824 and 8",
    ),
    "too wide blocks": (
        lambda: pn.LocalNetwork(2**30, 8, block_in=2**29),
        ValueError,
        "block_in and alpha must have a product of at most",
    ),
    "three layers": (lambda: pn.LocalNetwork(4, hidden_layers=3), ValueError, "hidden_layers must be at most 2"),
    "no layer": (lambda: pn.LocalNetwork(4, hidden_layers=0), ValueError, "hidden_layers must be at least 1"),
    "activation": (lambda: pn.LocalNetwork(4, activation="gelu"), ValueError, "activation must be one of 'relu'"),
    "activation type": (lambda: pn.LocalNetwork(4, activation=None), TypeError, "activation"),
    "block_in divides": (lambda: pn.LocalNetwork(4, block_in=3), ValueError, "block_in must divide d=4, got 3"),
    "block_in zero": (lambda: pn.LocallyConnectedNetwork(4, block_in=0), ValueError, "block_in"),
    "seed negative": (lambda: NET.init(-1), ValueError, "seed must be at least 0"),
    "seed too large": (lambda: NET.init(2**64), ValueError, "seed must be at most"),
    "seed float": (lambda: NET.init(0.5), TypeError, "seed must be an integer"),
    "scheme": (lambda: NET.init(scheme="he"), ValueError, "scheme must be one of 'paper', 'glorot'"),
    "dtype": (lambda: NET.init(dtype="float16"), ValueError, "dtype must be float32 or float64"),
    "dtype unknown": (lambda: NET.init(dtype="float33"), TypeError, "dtype must be float32 or float64"),
    "dtype none": (lambda: NET.init(dtype=None), TypeError, "dtype must be float32 or float64"),
    # parameters
    "p no dict": (lambda: NET.forward([1, 2], X), TypeError, "p must be a dict"),
    "p missing": (lambda: NET.forward(without("b2"), X), ValueError, r"missing \['b2'\]"),
    "p unknown": (lambda: NET.forward({**P, "w9": X}, X), ValueError, r"unknown \['w9'\]"),
    "p shape": (
        lambda: NET.forward({**P, "w2": np.zeros((4, 3), np.float32)}, X),
        ValueError,
        r"p\['w2'\] must have shape \(4, 4\), got \(4, 3\)",
    ),
    "p list": (lambda: NET.forward({**P, "b1": [0, 0, 0, 0]}, X), TypeError, r"p\['b1'\] must be a numpy array"),
    "p mixed": (lambda: NET.forward({**P, "b1": np.zeros(4)}, X), TypeError, "one dtype, got float32 for 'w1'"),
    "p integers": (lambda: NET.forward({k: v.astype(int) for k, v in P.items()}, X), TypeError, "float32 or float64"),
    "p byte order": (lambda: NET.forward({k: v.astype(">f4") for k, v in P.items()}, X), TypeError, "float32"),
    # x and y
    "x columns": (
        lambda: NET.forward(P, np.zeros((5, 4), np.float32)),
        ValueError,
        r"x must have shape \(n, 3\) to match the network's d=3, got \(5, 4\)",
    ),
    "x one row": (lambda: NET.forward(P, X[0]), ValueError, r"x must have shape \(n, 3\)"),
    "x empty": (lambda: NET.forward(P, X[:0]), ValueError, "x must have at least one row"),
    "x dtype": (lambda: NET.forward(P, X.astype(float)), TypeError, "x must have .* float32, got float64"),
    "x integers": (lambda: NET.forward(P, X.astype(int)), TypeError, "got int64"),
    "x byte order": (lambda: NET.forward(P, X.astype(">f4")), TypeError, "got >f4"),
    "x objects": (lambda: NET.forward(P, X.astype(object)), TypeError, "got object"),
    "x ragged": (lambda: NET.forward(P, [[1, 2, 3], [1]]), ValueError, "x must be an array of numbers"),
    "x nan": (lambda: NET.forward(P, changed(X, (3, 1), np.nan)), ValueError, r"x must be finite, got nan .*\[3, 1\]"),
    "x inf": (lambda: NET.forward(P, changed(X, (4, 2), -np.inf)), ValueError, r"got -inf at index \[4, 2\]"),
    "y shape": (lambda: NET.loss_and_grad(P, X, Y[:4]), ValueError, r"y must have shape \(5,\) .*got \(4,\)"),
    "y column": (lambda: NET.loss_and_grad(P, X, Y[:, None]), ValueError, r"got \(5, 1\)"),
    "y dtype": (lambda: NET.loss_and_grad(P, X, Y.astype(float)), TypeError, "y must have"),
    "y nan": (lambda: NET.loss_and_grad(P, X, changed(Y, 2, np.nan)), ValueError, r"y must be finite, got nan .*\[2\]"),
    "kernel": (lambda: NET.forward(P, X, kernel="fast"), ValueError, "kernel must be one of 'auto'"),
    "kernel of another network": (lambda: NET.forward(P, X, kernel="active"), ValueError, "kernel must be one of"),
    "kernel type": (lambda: NET.forward(P, X, kernel=None), TypeError, "kernel must be one of"),
    "threads zero": (lambda: NET.forward(P, X, threads=0), ValueError, "threads must be at least 1"),
    "threads float": (lambda: NET.forward(P, X, threads=1.0), TypeError, "threads must be an integer"),
    "threads many": (lambda: NET.forward(P, X, threads=10**9), ValueError, "threads must be at most"),
    "penalty text": (lambda: NET.loss_and_grad(P, X, Y, penalty="l1"), TypeError, "penalty must be None, L1"),
    "penalty class": (lambda: NET.loss_and_grad(P, X, Y, penalty=pn.L1), TypeError, "penalty must be None, L1"),
    # embedding and path norm
    "embed unknown": (lambda: pn.embed(NET, P, "LN"), ValueError, "into must be one of 'LCN', 'GN'"),
    "embed down": (lambda: pn.embed(pn.GlobalNetwork(1, 1), pn.GlobalNetwork(1, 1).init(), "LCN"), ValueError, "into"),
    "embed same": (
        lambda: pn.embed(pn.LocallyConnectedNetwork(2, 1), pn.LocallyConnectedNetwork(2, 1).init(), "LCN"),
        ValueError,
        "into must name a network larger than the LCN",
    ),
    "embed no network": (lambda: pn.embed("LN", P, "GN"), TypeError, "network must be"),
    "path norm of no network": (lambda: pn.path_norm(P, NET), TypeError, "network must be"),
    "path norm of another": (lambda: pn.path_norm(pn.LocalNetwork(3, 5), P), ValueError, "shape"),
    # data
    "target unknown": (lambda: pn.make_dataset("cube", 3, 100), ValueError, "target must be one of 'square'"),
    "target type": (lambda: pn.make_dataset(None, 3, 100), TypeError, "target must be one of"),
    "data d": (lambda: pn.make_dataset("square", 0, 100), ValueError, "d must be at least 1"),
    "few samples": (lambda: pn.make_dataset("square", 3, 4), ValueError, "n_samples must be at least 5"),
    "no samples": (lambda: pn.make_dataset("square", 3, 0), ValueError, "n_samples must be at least"),
    "samples float": (lambda: pn.make_dataset("square", 3, 1e3), TypeError, "n_samples must be an integer"),
    "samples too many": (lambda: pn.make_dataset("square", 3, 2**33), ValueError, "n_samples must be at most"),
    "sort": (lambda: pn.make_dataset("square", 3, 100, sort="up"), ValueError, "sort must be one of"),
    "data seed": (lambda: pn.make_dataset("square", 3, 100, seed=-1), ValueError, "seed"),
    "data dtype": (lambda: pn.make_dataset("square", 3, 100, dtype=int), ValueError, "dtype"),
    "arrays x": (lambda: pn.Dataset.from_arrays(np.zeros(9), np.zeros(9)), ValueError, r"x must have shape \(n, d\)"),
    "arrays no column": (lambda: pn.Dataset.from_arrays(np.zeros((9, 0)), np.zeros(9)), ValueError, "d at least 1"),
    "arrays y": (
        lambda: pn.Dataset.from_arrays(np.zeros((9, 1)), np.zeros(8)),
        ValueError,
        r"y must have shape \(9,\)",
    ),
    "arrays few": (lambda: pn.Dataset.from_arrays(np.zeros((4, 1)), np.zeros(4)), ValueError, "at least 5"),
    "arrays empty": (lambda: pn.Dataset.from_arrays(np.zeros((0, 1)), np.zeros(0)), ValueError, "at least"),
    "arrays nan": (
        lambda: pn.Dataset.from_arrays(np.full((9, 1), np.nan), np.zeros(9)),
        ValueError,
        "x must be finite",
    ),
    "arrays y inf": (
        lambda: pn.Dataset.from_arrays(np.zeros((9, 1)), np.full(9, np.inf)),
        ValueError,
        "y must be finite",
    ),
    "arrays overflow": (
        lambda: pn.Dataset.from_arrays(np.full((9, 1), 1e99), np.zeros(9)),
        ValueError,
        "x as float32 must be finite",
    ),
    "arrays complex": (
        lambda: pn.Dataset.from_arrays(np.zeros((9, 1), complex), np.zeros(9)),
        TypeError,
        "x must hold real numbers",
    ),
    "split sum": (
        lambda: pn.Dataset.from_arrays(np.zeros((9, 1)), np.zeros(9), split=(0.5, 0.5, 0.5)),
        ValueError,
        "split must",
    ),
    "split two": (
        lambda: pn.Dataset.from_arrays(np.zeros((9, 1)), np.zeros(9), split=(0.5, 0.5)),
        TypeError,
        "split must",
    ),
    "split negative": (
        lambda: pn.Dataset.from_arrays(np.zeros((9, 1)), np.zeros(9), split=(1.2, -0.4, 0.2)),
        ValueError,
        "split must",
    ),
    "data beyond memory": (lambda: pn.make_dataset("square", 2**31 - 1, 2**31 - 1), MemoryError, "data set of"),
    "network beyond memory": (lambda: pn.GlobalNetwork(16_000).init(), MemoryError, "a GN with d=16000"),
    # penalties and Adam
    "strength negative": (lambda: pn.L1(-1.0), ValueError, "strength must be finite and not negative, got -1.0"),
    "strength nan": (lambda: pn.PathNorm(math.nan), ValueError, "strength must be finite"),
    "strength inf": (lambda: pn.L2(math.inf), ValueError, "strength must be finite"),
    "strength text": (lambda: pn.L2("1e-7"), TypeError, "strength must be a real number"),
    "strength bool": (lambda: pn.L2(True), TypeError, "strength must be a real number"),
    "learning rate": (lambda: pn.Adam(learning_rate=0), ValueError, "learning_rate must be positive"),
    "learning rate nan": (lambda: pn.Adam(learning_rate=math.nan), ValueError, "learning_rate"),
    "learning rate text": (lambda: pn.Adam(learning_rate="0.1"), TypeError, "learning_rate must be a real number"),
    "beta1": (lambda: pn.Adam(beta1=1.0), ValueError, "beta1 must be in"),
    "beta2": (lambda: pn.Adam(beta2=-0.1), ValueError, "beta2 must be in"),
    "epsilon": (lambda: pn.Adam(epsilon=0.0), ValueError, "epsilon must be positive"),
    "decay": (lambda: pn.Adam(decay=-1), ValueError, "decay must be finite and not negative"),
    "placement": (lambda: pn.Adam(epsilon_placement="inside"), ValueError, "epsilon_placement must be one of"),
    "step epsilon": (
        lambda: step(np.ones(3, np.float32), adam=pn.Adam(epsilon=1e-40)),
        ValueError,
        "epsilon must be at least 1.18e-38 with float32, got 1e-40",
    ),
    "step corrected epsilon": (
        lambda: step(np.ones(3, np.float32), adam=pn.Adam(epsilon=3e-37, epsilon_placement="corrected")),
        ValueError,
        r"epsilon times sqrt\(1 - beta2\) = 0.0316 must be at least 1.18e-38 with float32, got 3e-37",
    ),
    "step one array for both moments": (
        lambda: step(np.ones(3), m=(z := np.zeros(3)), v=z),
        ValueError,
        "state.m and state.v must not share memory",
    ),
    "step p for a moment": (lambda: step(z := np.ones(3), m=z), ValueError, "p and state.m must not share memory"),
    "step one array twice": (
        lambda: step({"a": (z := np.ones(3)), "b": z}),
        ValueError,
        r"p\['a'\] and p\['b'\] must not share memory",
    ),
    "step shifted": (lambda: step((z := np.ones(9))[1:], z[:-1]), ValueError, "g and p must not share memory"),
    "step another key's": (
        lambda: step(p := {"a": np.ones(3), "b": np.ones(3)}, {"a": p["b"], "b": p["a"]}),
        ValueError,
        r"must not share memory",
    ),
    "step form": (lambda: pn.Adam().step(X, P, pn.Adam().init_state(X)), ValueError, "g must have exactly the keys"),
    "step shape": (lambda: pn.Adam().step(X, X[:3], pn.Adam().init_state(X)), ValueError, "g must have shape"),
    "step dtype": (lambda: pn.Adam().step(X, X.astype(float), pn.Adam().init_state(X)), TypeError, "g must have"),
    "step state": (lambda: pn.Adam().step(X, X, None), TypeError, "state must be an AdamState"),
    "step list": (lambda: pn.Adam().init_state([1.0]), TypeError, "p must be an array or a dict"),
    "step integers": (lambda: pn.Adam().init_state(np.zeros(3, int)), TypeError, "p must be float32 or float64"),
    "step path norm": (
        lambda: pn.Adam().step(X, X, pn.Adam().init_state(X), pn.PathNorm(1)),
        ValueError,
        "network must be given",
    ),
    "step network and array": (
        lambda: pn.Adam().step(X, X, pn.Adam().init_state(X), network=NET),
        TypeError,
        "p must be a dict",
    ),
    "step read-only": (
        lambda: pn.Adam().step(DS.train.x, DS.train.x, pn.Adam().init_state(DS.train.x)),
        ValueError,
        "p must be writable",
    ),
    # training
    "train network": (lambda: pn.train("LN", DS), TypeError, "network must be"),
    "train class": (lambda: pn.train(pn.LocalNetwork, DS), TypeError, "network must be"),
    "train data": (lambda: pn.train(NET, (X, Y)), TypeError, "dataset must be a Dataset"),
    "train split": (lambda: train_on(train=(X, Y)), TypeError, "dataset.train must be a Split, got tuple"),
    "train list": (lambda: pn.Split(X.tolist(), Y), TypeError, "x must be a numpy array, got list"),
    "train rows": (lambda: train_on(train=pn.Split(X[:, :2], Y)), ValueError, r"dataset.train.x .*\(n, 3\).*\(5, 2\)"),
    "train empty": (lambda: train_on(train=pn.Split(X[:0], Y[:0])), ValueError, r"dataset.train.x .*got \(0, 3\)"),
    "train targets": (lambda: train_on(train=pn.Split(X, Y[:4])), ValueError, r"dataset.train.y .*\(5,\).*got \(4,\)"),
    "train dtype": (
        lambda: train_on(validation=pn.Split(X.astype(float), Y)),
        TypeError,
        "dataset.validation.x must have the data set's dtype float32, got float64",
    ),
    "train nan": (
        lambda: train_on(validation=pn.Split(changed(X, (3, 1), np.nan), Y)),
        ValueError,
        r"dataset.validation.x must be finite, got nan at index \[3, 1\]",
    ),
    "train inf": (lambda: train_on(test=pn.Split(X, changed(Y, 2, -np.inf))), ValueError, r"dataset.test.y .*got -inf"),
    "train d": (lambda: pn.train(pn.LocalNetwork(4), DS), ValueError, "dataset must have the network's d=4, got d=3"),
    "epochs zero": (lambda: pn.train(NET, DS, epochs=0), ValueError, "epochs must be at least 1"),
    "epochs float": (lambda: pn.train(NET, DS, epochs=1e3), TypeError, "epochs must be an integer"),
    "batch zero": (lambda: pn.train(NET, DS, batch_size=0), ValueError, "batch_size must be at least 1"),
    "batch large": (lambda: pn.train(NET, DS, batch_size=65), ValueError, "batch_size must be at most the 64 training"),
    "batch bool": (lambda: pn.train(NET, DS, batch_size=True), TypeError, "batch_size must be an integer"),
    "train epsilon": (
        lambda: pn.Run(NET, DS, optimizer=pn.Adam(epsilon=1e-46)),
        ValueError,
        "epsilon must be at least",
    ),
    "optimizer": (lambda: pn.train(NET, DS, optimizer="adam"), TypeError, "optimizer must be an Adam"),
    "train penalty": (lambda: pn.train(NET, DS, penalty=1e-5), TypeError, "penalty must be"),
    "train seed": (lambda: pn.train(NET, DS, seed=-1), ValueError, "seed must be at least 0"),
    "initial shape": (
        lambda: pn.train(NET, DS, initial=pn.LocalNetwork(3, 5).init()),
        ValueError,
        r"initial\['w1'\] must have shape",
    ),
    "initial dtype": (lambda: pn.train(NET, DS, initial=NET.init(dtype="float64")), TypeError, "initial must have"),
    "initial nan": (
        lambda: pn.train(NET, DS, initial={**P, "w1": changed(P["w1"], 2, np.nan)}),
        ValueError,
        r"initial\['w1'\]",
    ),
    "train kernel": (lambda: pn.train(NET, DS, kernel="fast"), ValueError, "kernel must be one of"),
    "device": (lambda: pn.train(NET, DS, device="tpu"), ValueError, "device must be one of 'cpu', 'cuda'"),
    "train threads": (lambda: pn.train(NET, DS, threads=-1), ValueError, "threads must be at least 1"),
    "progress": (lambda: pn.train(NET, DS, progress="yes"), TypeError, "progress must be True or False"),
    "shuffle": (lambda: pn.train(NET, DS, shuffle=0), TypeError, "shuffle must be True or False"),
    "runs of no kind": (lambda: pn.train_ensemble(DS), TypeError, "runs must be an iterable of Run, got Dataset"),
    "one run": (lambda: pn.train_ensemble(RUN), TypeError, "runs must be an iterable of Run, got Run"),
    "runs": (lambda: pn.train_ensemble([RUN, NET]), TypeError, r"runs\[1\] must be a Run"),
    "batch rule": (lambda: pn.batch_size(0), ValueError, "n_samples must be at least 1"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(case):
    call, error, message = CASES[case]
    with pytest.raises(error, match=message) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert text

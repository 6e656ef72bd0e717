"""Arrays on a GPU, with a GPU that is NumPy underneath: what is borrowed, on which stream, and what comes back."""

import sys

import numpy as np
import pytest
from support import fake_cuda
from support.cases import NETWORKS, random_parameters, random_rows
from support.fake_cuda import DeviceArray

import pyneedle as pn
from pyneedle import _device

NET = pn.LocalNetwork(3, 7)
X = np.ones((4, 3), np.float32)


@pytest.fixture
def cuda(monkeypatch):
    return fake_cuda.install(monkeypatch)


def on_gpu(values, kind=DeviceArray):
    """A copy of an array, or of a dict of arrays, that says to be on the GPU."""
    if isinstance(values, dict):
        return {key: on_gpu(value, kind) for key, value in values.items()}
    return kind(np.array(values, order="C"))


def host(values):
    return {key: value.host for key, value in values.items()}


def problem(network, dtype="float32"):
    net = network(3, 7)
    return net, random_parameters(net, dtype=dtype), *random_rows(net, 11, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("network", NETWORKS)
def test_forward_and_gradient_are_those_of_the_host(cuda, network, dtype):
    net, p, x, y = problem(network, dtype)
    penalty = pn.PathNorm(0.1)
    prediction = net.forward(on_gpu(p), on_gpu(x))
    assert type(prediction) is DeviceArray
    np.testing.assert_array_equal(prediction.host, net.forward(p, x))
    loss, gradient = net.loss_and_grad(on_gpu(p), on_gpu(x), on_gpu(y), penalty, kernel="direct")
    wanted, wanted_gradient = net.loss_and_grad(p, x, y, penalty, kernel="direct")
    assert loss == wanted
    assert list(gradient) == list(p)
    for key, value in gradient.items():
        assert type(value) is DeviceArray
        np.testing.assert_array_equal(value.host, wanted_gradient[key])
    assert pn.path_norm(net, on_gpu(p)) == pn.path_norm(net, p)
    assert cuda.kernels_asked == [("auto", False), ("direct", False)]


@pytest.mark.parametrize("with_network", [False, True])
def test_adam_in_place(cuda, with_network):
    net, p, x, y = problem(pn.GlobalNetwork)
    network, penalty = (net, pn.PathNorm(0.1)) if with_network else (None, pn.L1(0.1))
    adam, (_, g) = pn.Adam(weight_decay=0.1), net.loss_and_grad(p, x, y)
    theirs, gradient = on_gpu(p), on_gpu(g)
    mine = {key: value.copy() for key, value in p.items()}
    state, their_state = adam.init_state(mine), adam.init_state(theirs)
    assert type(their_state.m["w1"]) is DeviceArray
    for _ in range(3):
        adam.step(mine, g, state, penalty, network)
        adam.step(theirs, gradient, their_state, penalty, network)
    assert their_state.t == 3
    for ours, other in ((mine, theirs), (state.m, their_state.m), (state.v, their_state.v)):
        for key, value in host(other).items():
            np.testing.assert_array_equal(value, ours[key])


def test_adam_on_a_single_array(cuda):
    p, g = np.arange(5.0), np.ones(5)
    theirs, adam = on_gpu(p), pn.Adam()
    state, their_state = adam.init_state(p), adam.init_state(theirs)
    adam.step(p, g, state)
    adam.step(theirs, on_gpu(g), their_state)
    np.testing.assert_array_equal(theirs.host, p)


@pytest.mark.parametrize(
    ("name", "module"), [("cupy", fake_cuda.cupy_module), ("torch", fake_cuda.torch_module)], ids=["cupy", "torch"]
)
@pytest.mark.parametrize(("stream", "asked", "used"), [(0, 1, 0), (1, 1, 0), (7, 7, 7)])
def test_the_current_stream_of_the_library(cuda, monkeypatch, name, module, stream, asked, used):
    kind = fake_cuda.of_library(name)
    monkeypatch.setitem(sys.modules, name, module(kind, stream))
    net, p, x, _ = problem(pn.LocalNetwork)
    prediction = net.forward(on_gpu(p, kind), on_gpu(x, kind))
    assert type(prediction) is kind
    np.testing.assert_array_equal(prediction.host, net.forward(p, x))
    assert set(kind.seen) == {asked}  # 0 stands for no stream in the protocol
    assert cuda.streams == [used]
    assert cuda.synchronized == 0
    assert type(pn.Adam().init_state(on_gpu(p, kind)).m["w1"]) is kind


def test_arrays_of_two_libraries_get_finished_work(cuda, monkeypatch):
    """The other library may write where it lent an array, on a stream of its own."""
    kinds = {name: fake_cuda.of_library(name) for name in ("cupy", "torch")}
    monkeypatch.setitem(sys.modules, "cupy", fake_cuda.cupy_module(kinds["cupy"], 0))
    net, p, x, _ = problem(pn.LocalNetwork)
    net.forward(on_gpu(p, kinds["cupy"]), on_gpu(x, kinds["torch"]))
    assert cuda.synchronized == 1


def test_a_network_of_one_input_is_no_matter_of_products(cuda):
    net = pn.GlobalNetwork(1, 5)
    p, (x, _) = random_parameters(net), random_rows(net, 3)
    net.forward(on_gpu(p), on_gpu(x))
    with pytest.raises(ValueError, match="kernel must be one of"):
        net.forward(on_gpu(p), on_gpu(x), "direct_tf32")


def test_other_libraries_get_the_legacy_stream_and_finished_work(cuda):
    net, p, x, _ = problem(pn.LocalNetwork)
    DeviceArray.seen.clear()
    net.forward(on_gpu(p), on_gpu(x))
    assert set(DeviceArray.seen) == {1}
    assert cuda.streams == [0]
    assert cuda.synchronized == 1


def test_nothing_is_copied(cuda):
    net, p, *_ = problem(pn.LocallyConnectedNetwork)
    flat = np.concatenate([value.reshape(-1) for value in p.values()])
    views, first = {}, 0
    for key, value in p.items():
        views[key] = DeviceArray(flat[first : first + value.size].reshape(value.shape))
        first += value.size
    g = {key: DeviceArray(np.ones(value.shape, value.dtype)) for key, value in p.items()}
    adam = pn.Adam()
    adam.step(views, g, adam.init_state(views), network=net)
    assert not np.array_equal(flat, np.concatenate([value.reshape(-1) for value in p.values()]))


def test_tf32_by_name(cuda):
    net, p, x, _ = problem(pn.GlobalNetwork)
    net.forward(on_gpu(p), on_gpu(x), kernel="active_tf32")
    assert cuda.kernels_asked == [("active", True)]


class Bare:
    """An array of a library with nothing but the protocol: no namespace, no shape, no dtype."""

    seen: list = []  # noqa: RUF012

    def __init__(self, host):
        self._array = DeviceArray(host)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()

    def __dlpack__(self, stream=None):
        return self._array.__dlpack__(stream)


def test_arrays_with_nothing_but_the_protocol(cuda):
    net, p, x, y = problem(pn.LocallyConnectedNetwork)
    _, g = net.loss_and_grad(p, x, y)
    bare = on_gpu(p, Bare)
    assert pn.path_norm(net, bare) == pn.path_norm(net, p)
    adam = pn.Adam()
    for network in (net, None):
        mine, theirs = {key: value.copy() for key, value in p.items()}, on_gpu(p, Bare)
        state, their_state = adam.init_state(mine), pn.AdamState(*(on_gpu(adam.init_state(p).m, Bare) for _ in "mv"))
        adam.step(mine, g, state, network=network)
        adam.step(theirs, on_gpu(g, Bare), their_state, network=network)
        for key, value in theirs.items():
            np.testing.assert_array_equal(value._array.host, mine[key])
    # Beside parameters of a library that makes arrays.
    np.testing.assert_array_equal(net.forward(on_gpu(p), on_gpu(x, Bare)).host, net.forward(p, x))
    loss, _ = net.loss_and_grad(on_gpu(p), on_gpu(x, Bare), on_gpu(y, Bare))
    assert loss == net.loss_and_grad(p, x, y)[0]
    with pytest.raises(ValueError, match=r"x must have shape \(n, 3\) to match the network's d=3, got \(11,\)"):
        net.forward(on_gpu(p), on_gpu(y, Bare))


@pytest.mark.parametrize(
    "call",
    [
        lambda p, x, y: NET.forward(p, x),
        lambda p, x, y: NET.loss_and_grad(p, x, y)[1],
        lambda p, x, y: pn.Adam().init_state(p),
    ],
    ids=["forward", "loss_and_grad", "init_state"],
)
def test_a_result_that_can_not_be_made(cuda, call):
    with pytest.raises(TypeError, match=r"Bare for the result can't be made: the type has no __array_namespace__"):
        call(on_gpu(NET.init(), Bare), on_gpu(X, Bare), on_gpu(np.ones(4, np.float32), Bare))
    assert cuda.streams == []


class Jax(DeviceArray):
    __module__ = "jaxlib._jax"
    seen = []  # noqa: RUF012


def wide(value):
    """A view whose rows are apart."""
    return DeviceArray(np.zeros((*value.shape, 2), value.dtype)[..., 0])


CASES = {
    "x on the host": (lambda p: NET.forward(p, X), TypeError, "x must be on the GPU like p['w1'], got numpy ndarray"),
    "a list": (
        lambda p: NET.forward(p, [[1.0] * 3]), TypeError, "x must be on the GPU like p['w1'], got list"
    ),
    "one on the host": (
        lambda p: NET.forward({**p, "w2": p["w2"].host}, on_gpu(X)), TypeError, "p['w2'] must be on the GPU"
    ),
    "the first on the host": (
        lambda p: NET.forward({**p, "w1": p["w1"].host}, on_gpu(X)), TypeError, "p['w1'] must be on the GPU"
    ),
    "shape of x": (lambda p: NET.forward(p, on_gpu(X[:, :2])), ValueError, "x must have shape (n, 3)"),
    "no rows": (lambda p: NET.forward(p, on_gpu(X[:0])), ValueError, "x must have at least one row"),
    "dtype of x": (
        lambda p: NET.forward(p, on_gpu(X.astype(np.float64))), TypeError, "x must have the dtype float32 of p['w1']"
    ),
    "integers": (
        lambda p: NET.forward(p, on_gpu(X.astype(np.int64))), TypeError,
        "x must be float32 or float64, got DLPack type 0 of 64 bits",
    ),
    "another device": (
        lambda p: NET.forward(p, DeviceArray(X.copy(), 1)), ValueError, "x must be on GPU 0 like p['w1'], got GPU 1"
    ),
    "strides": (
        lambda p: NET.forward({**p, "w2": wide(p["w2"])}, on_gpu(X)), ValueError, "must be C-contiguous on the GPU"
    ),
    "missing key": (
        lambda p: NET.forward({k: v for k, v in p.items() if k != "b1"}, on_gpu(X)), ValueError, "missing ['b1']"
    ),
    "shape of p": (
        lambda p: NET.forward({**p, "b1": on_gpu(np.zeros(6, np.float32))}, on_gpu(X)), ValueError,
        "p['b1'] must have shape (7,), got (6,)",
    ),
    "y": (
        lambda p: NET.loss_and_grad(p, on_gpu(X), on_gpu(np.ones(3, np.float32))), ValueError, "y must have shape (4,)"
    ),
    "reference": (
        lambda p: NET.forward(p, on_gpu(X), kernel="reference"), ValueError,
        "kernel must be one of 'auto', 'piecewise_linear', 'direct' for LN on device 'cuda', got 'reference'",
    ),
    "no products": (lambda p: NET.forward(p, on_gpu(X), kernel="direct_tf32"), ValueError, "got 'direct_tf32'"),
    "immutable": (
        lambda p: pn.Adam().step(
            on_gpu(NET.init(), Jax), on_gpu(NET.init(), Jax), pn.Adam().init_state(on_gpu(NET.init(), Jax))
        ),
        TypeError, "p['w1'] must be an array that can be changed in place, got jaxlib Jax",
    ),
    "moments on the host": (
        lambda p: pn.Adam().step(p, p, pn.Adam().init_state(NET.init())), TypeError, "state.m['w1'] must be on the GPU"
    ),
    "one array for both moments": (
        lambda p: pn.Adam().step(p, p, pn.AdamState(z := pn.Adam().init_state(p).m, z)), ValueError,
        "must not share memory",
    ),
    "p for a moment": (
        lambda p: pn.Adam().step(p, on_gpu(NET.init()), pn.AdamState(p, pn.Adam().init_state(p).v), network=NET),
        ValueError, "must not share memory",
    ),
    "gradients of other keys": (
        lambda p: pn.Adam().step(
            p := on_gpu({"a": X, "b": X + 1}), {"a": p["b"], "b": p["a"]}, pn.Adam().init_state(p)
        ),
        ValueError, "must not share memory",
    ),
    "epsilon": (
        lambda p: pn.Adam(epsilon=1e-40).step(p, p, pn.Adam().init_state(p)), ValueError,
        "epsilon must be at least 1.18e-38 with float32, got 1e-40",
    ),
}  # fmt: skip


Cupy = fake_cuda.of_library("cupy")
P, Y = NET.init(), np.ones(4, np.float32)
ON_THE_CPU = {
    "x": (lambda: NET.forward(P, on_gpu(X, Cupy)), "x must be on the CPU like p, got cupy ndarray"),
    "x, for the loss": (
        lambda: NET.loss_and_grad(P, on_gpu(X, Cupy), Y), "x must be on the CPU like p, got cupy ndarray"
    ),
    "y": (lambda: NET.loss_and_grad(P, X, on_gpu(Y, Cupy)), "y must be on the CPU like p, got cupy ndarray"),
    "data": (
        lambda: pn.Dataset.from_arrays(on_gpu(np.ones((40, 3)), Cupy), np.ones(40)),
        "x must be on the CPU, got cupy ndarray",
    ),
    "initial": (
        lambda: pn.train(NET, pn.make_dataset("square", 3, 100), 1, 10, initial=on_gpu(P, Cupy)),
        "initial['w1'] must be a numpy array, got cupy ndarray",
    ),
    "g": (
        lambda: pn.Adam().step(P, on_gpu(P, Cupy), pn.Adam().init_state(P)),
        "g['w1'] must be a numpy array, got cupy ndarray",
    ),
    "g alone": (
        lambda: pn.Adam().step(Y.copy(), on_gpu(Y, Cupy), pn.Adam().init_state(Y)),
        "g must be a numpy array, got cupy ndarray",
    ),
    "g alone, a list": (
        lambda: pn.Adam().step(Y.copy(), [1.0] * 4, pn.Adam().init_state(Y)), "g must be a numpy array, got list"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ON_THE_CPU.values(), ids=ON_THE_CPU.keys())
def test_arrays_on_the_gpu_beside_those_on_the_cpu(cuda, call, message):
    with pytest.raises(TypeError) as error:
        call()
    assert str(error.value) == message


@pytest.mark.parametrize(("call", "kind", "message"), CASES.values(), ids=CASES.keys())
def test_bad_input(cuda, call, kind, message):
    p = on_gpu(NET.init())
    with pytest.raises(kind) as error:
        call(p)
    assert message in str(error.value)
    assert cuda.streams == []  # nothing was computed


def test_tf32_needs_float32(cuda):
    net, p, x, _ = problem(pn.GlobalNetwork, "float64")
    with pytest.raises(ValueError, match="kernel must be one without TF32 for float64, got 'direct_tf32'"):
        net.forward(on_gpu(p), on_gpu(x), kernel="direct_tf32")


def test_a_library_that_refuses(cuda):
    class Refuses(DeviceArray):
        def __dlpack__(self, stream=None):
            raise BufferError("tensor requires gradient")

    p = on_gpu(NET.init())
    with pytest.raises(TypeError, match=r"x can't be borrowed through DLPack: tensor requires gradient"):
        NET.forward(p, Refuses(X.copy()))


def test_without_a_gpu(monkeypatch):
    fake_cuda.install(monkeypatch, missing="no NVIDIA driver: libcuda.so.1 was not found")
    with pytest.raises(RuntimeError, match="device 'cuda' is not available: no NVIDIA driver"):
        NET.forward(on_gpu(NET.init()), on_gpu(X))


CALLS = {
    "forward": lambda p, x, y: NET.forward(p, x),
    "loss_and_grad": NET.loss_and_grad,
    "path_norm": lambda p, x, y: pn.path_norm(NET, p),
    "adam": lambda p, x, y: pn.Adam().step(p, p, pn.Adam().init_state(p)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_without_the_module(monkeypatch, call):
    """A build without it: the import must not fail before the check that says what is missing."""
    monkeypatch.delattr(pn, "_cuda", raising=False)
    monkeypatch.setitem(sys.modules, "pyneedle._cuda", None)
    monkeypatch.setattr(_device, "_usable", [])
    with pytest.raises(RuntimeError, match=r"device 'cuda' is not available: .*CUDA module"):
        call(on_gpu(NET.init()), on_gpu(X), on_gpu(np.ones(4, np.float32)))

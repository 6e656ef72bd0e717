"""Every kernel of the GPU, in both precisions, against the float64 reference on the CPU."""

import itertools

import numpy as np
import pytest
from support import textbook
from support.cases import ACTIVATIONS, AWKWARD, NETWORKS, cast, random_parameters, random_rows

import pyneedle as pn
from pyneedle import _device, _networks

DRAWS = 4  # of parameters and rows: float32 errors are compared as root mean squares over them
FLOOR = 4 * np.finfo(np.float32).eps  # below it a textbook's error is luck
PENALTIES = (None, pn.L1(1e-2), pn.L2(1e-2), pn.PathNorm(1e-2))


@pytest.fixture
def sides(any_library, cuda, monkeypatch):
    """Calls on the GPU, with NumPy's arrays on both ends, that assert which kernel ran."""
    return Sides(any_library, cuda, monkeypatch)


class Sides:
    def __init__(self, library, cuda, monkeypatch):
        self.library, self.ran = library, []
        for name in ("forward", "loss_and_gradient"):
            monkeypatch.setattr(cuda, name, self.spy(getattr(cuda, name)))

    def spy(self, function):
        def call(*args, **more):
            result = function(*args, **more)
            self.ran.append(result if isinstance(result, str) else result[-1])
            return result

        return call

    def kernels(self, net):
        return _device.kernels(_networks.native(net), dense=False)

    def asked(self, kernel):
        assert self.ran.pop() == kernel
        assert not self.ran

    def forward(self, net, p, x, kernel):
        f = net.forward(self.library.put(p), self.library.put(x), kernel)
        self.asked(_device.split_kernel(kernel)[0])
        return self.library.get(f)

    def loss_and_grad(self, net, p, x, y, kernel, penalty=None):
        loss, g = net.loss_and_grad(*map(self.library.put, (p, x, y)), penalty, kernel)
        self.asked(_device.split_kernel(kernel)[0])
        return loss, self.library.get(g)


def check_float64(sides, net, n, seed, kernel):
    p, (x, y) = random_parameters(net, seed), random_rows(net, n, seed)
    loss, truth = net.loss_and_grad(p, x, y, kernel="reference")
    got, g = sides.loss_and_grad(net, p, x, y, kernel)
    assert got == pytest.approx(loss, rel=1e-12)
    assert textbook.relative_error(g, truth) <= 1e-12
    f, expected = sides.forward(net, p, x, kernel), net.forward(p, x, "reference")
    assert textbook.relative_error({"f": f}, {"f": expected}) <= 1e-12


def float32_errors(sides, net, n, seed, kernel):
    """Errors of gradient and prediction, of the kernel and of the textbook in float32."""
    p, (x, y) = random_parameters(net, seed, "float32"), random_rows(net, n, seed, "float32")
    wide = [cast(p, "float64"), x.astype("float64"), y.astype("float64")]
    loss, g = net.loss_and_grad(*wide, kernel="reference")
    truth = (g, {"f": net.forward(*wide[:2], kernel="reference")})
    got, g = sides.loss_and_grad(net, p, x, y, kernel)
    assert got == pytest.approx(loss, rel=1e-5)
    assert all(a.dtype == np.float32 for a in g.values())
    mine = (g, {"f": sides.forward(net, p, x, kernel)})
    book = (textbook.loss_and_grad(net, p, x, y)[1], {"f": textbook.forward(net, p, x)})
    return [[textbook.relative_error(a, t) for a, t in zip(side, truth, strict=True)] for side in (mine, book)]


def check(sides, net, n, seed):
    kernels = sides.kernels(net)
    assert kernels, net
    for kernel in kernels:
        check_float64(sides, net, n, seed, kernel)
        errors = np.array([float32_errors(sides, net, n, seed + 1000 * draw, kernel) for draw in range(DRAWS)])
        for quantity in range(2):
            mine, book = (np.sqrt(np.mean(np.square(errors[:, side, quantity]))) for side in range(2))
            assert mine <= 2 * book + FLOOR, (net, kernel, quantity)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("alpha", AWKWARD)
def test_awkward_widths(sides, network, alpha):
    d = 2 if network is pn.GlobalNetwork else 3
    for layers, activation in itertools.product((1, 2), ACTIVATIONS):
        check(sides, network(d=d, alpha=alpha, hidden_layers=layers, activation=activation), 19, seed=alpha)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rows", [1, 2, 31, 32, 33, 127, 128, 129, 800, 1025])
def test_awkward_batches(sides, network, rows):
    check(sides, network(d=4, alpha=9), rows, seed=rows)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("d", [1, 2, 7, 20, 33])
def test_awkward_inputs(sides, network, d):
    check(sides, network(d=d, alpha=5), 40, seed=d)


@pytest.mark.parametrize("network", NETWORKS[:2])
@pytest.mark.parametrize(("d", "block_in"), [(6, 2), (6, 3), (6, 6), (34, 17)])
def test_blocks_with_several_inputs(sides, network, d, block_in):
    for activation in ACTIVATIONS:
        check(sides, network(d=d, alpha=5, block_in=block_in, activation=activation), 70, seed=d)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_papers_width(sides, network):
    check(sides, network(d=4 if network is pn.GlobalNetwork else 20, alpha=50), 200, seed=1)


@pytest.mark.parametrize("network", NETWORKS[:2])
def test_the_widest_blocks(sides, network, real_kernels):
    """4096 units do not all fit into shared memory; wider blocks are refused before anything is computed."""
    net = network(2, 4096, hidden_layers=1)
    for kernel in sides.kernels(net):
        check_float64(sides, net, 30, 1, kernel)
    wider = network(2, 4097, hidden_layers=1)
    p, (x, y) = random_parameters(wider), random_rows(wider, 30)
    for kernel in sides.kernels(wider):
        with pytest.raises(ValueError, match="at most 4096 units per block, got 4097"):
            wider.loss_and_grad(*map(sides.library.put, (p, x, y)), kernel=kernel)
    with pytest.raises(ValueError, match="at most 4096 units per block, got 4097"):
        pn.train(wider, pn.make_dataset("square", 2, 100), epochs=1, batch_size=10, device="cuda")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("penalty", PENALTIES[1:])
def test_penalties(sides, network, penalty):
    net = network(d=5, alpha=9)
    p, (x, y) = random_parameters(net), random_rows(net, 30)
    wanted, truth = net.loss_and_grad(p, x, y, penalty, "reference")
    for kernel in sides.kernels(net):
        loss, g = sides.loss_and_grad(net, p, x, y, kernel, penalty)
        assert loss == pytest.approx(wanted, rel=1e-12)
        assert textbook.relative_error(g, truth) <= 1e-12


@pytest.mark.parametrize("network", NETWORKS)
def test_derivative_at_zero_is_zero(sides, network):
    """At the start of the protocol a row of zeros puts every unit on its kink."""
    net = network(d=2, alpha=8)
    for kernel in sides.kernels(net):
        _, g = sides.loss_and_grad(net, net.init(dtype="float64"), np.zeros((3, 2)), np.ones(3), kernel)
        assert all(not a.any() for a in g.values())


@pytest.mark.parametrize("network", NETWORKS)
def test_the_start_of_the_protocol(sides, network):
    """All biases are 0: every hinge of layer 1 and every zero of layer 2 is at x = 0."""
    net = network(d=4, alpha=20)
    p = net.init(seed=1, dtype="float64")
    x, y = random_rows(net, 100)
    _, truth = net.loss_and_grad(p, x, y, kernel="reference")
    for kernel in sides.kernels(net):
        assert textbook.relative_error(sides.loss_and_grad(net, p, x, y, kernel)[1], truth) <= 1e-12


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_dead_units(sides, network, share):
    """Units of layer 2 that are dead, on and mixed, or none but dead."""
    net = network(d=3, alpha=16)
    p, (x, y) = random_parameters(net, 4), random_rows(net, 50)
    b2 = p["b2"].reshape(-1)
    b2[: int(share * b2.size)] = -1e3
    b2[int(share * b2.size) : int(share * b2.size) + 3] = 1e3
    _, truth = net.loss_and_grad(p, x, y, kernel="reference")
    for kernel in sides.kernels(net):
        assert textbook.relative_error(sides.loss_and_grad(net, p, x, y, kernel)[1], truth) <= 1e-12


@pytest.mark.parametrize("network", NETWORKS)
def test_nan_parameters_give_a_nan_loss(sides, network):
    net = network(d=3, alpha=5)
    x, y = random_rows(net, 10)
    for name, kernel in itertools.product(net.parameter_shapes, sides.kernels(net)):
        p = random_parameters(net)
        p[name].flat[0] = np.nan
        assert not np.isfinite(sides.loss_and_grad(net, p, x, y, kernel)[0]), (name, kernel)


@pytest.mark.parametrize("network", NETWORKS)
def test_determinism(sides, network):
    net = network(d=8, alpha=50)
    p = random_parameters(net, dtype="float32")
    x, y = random_rows(net, 800, dtype="float32")
    for kernel in sides.kernels(net):
        loss, g = sides.loss_and_grad(net, p, x, y, kernel)
        for _ in range(5):
            other_loss, other = sides.loss_and_grad(net, p, x, y, kernel)
            assert other_loss == loss
            assert textbook.flat(g).tobytes() == textbook.flat(other).tobytes()


def test_tf32_is_less_exact_and_only_by_name(sides, real_kernels):
    net = pn.GlobalNetwork(d=20, alpha=50)
    p = random_parameters(net, dtype="float32")
    x, y = random_rows(net, 800, dtype="float32")
    truth = net.loss_and_grad(cast(p, "float64"), x.astype("float64"), y.astype("float64"), kernel="reference")[1]
    for kernel in sides.kernels(net):
        exact, rough = (
            textbook.relative_error(sides.loss_and_grad(net, p, x, y, name)[1], truth)
            for name in (kernel, f"{kernel}_tf32")
        )
        assert exact < 1e-5
        assert 4 * exact < rough < 1e-2


@pytest.mark.parametrize("network", NETWORKS)
def test_the_path_norm(any_library, network):
    net = network(d=7, alpha=13)
    for dtype, tolerance in (("float32", 1e-6), ("float64", 1e-13)):
        p = random_parameters(net, dtype=dtype)
        assert pn.path_norm(net, any_library.put(p)) == pytest.approx(pn.path_norm(net, p), rel=tolerance)
        assert pn.path_norm(net, any_library.put(p)) == pn.path_norm(net, any_library.put(p))


@pytest.mark.parametrize("placement", ["uncorrected", "corrected"])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("network", NETWORKS)
def test_adam(any_library, network, penalty, placement):
    net = network(d=3, alpha=17)
    adam = pn.Adam(decay=0.1, weight_decay=0.01, epsilon_placement=placement)
    for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-12)):
        p = random_parameters(net, dtype=dtype)
        mine, theirs = {key: value.copy() for key, value in p.items()}, any_library.put(p)
        state, their_state = adam.init_state(mine), adam.init_state(theirs)
        for step in range(4):
            g = random_parameters(net, seed=10 + step, dtype=dtype)
            adam.step(mine, g, state, penalty, net)
            adam.step(theirs, any_library.put(g), their_state, penalty, net)
        for ours, other in ((mine, theirs), (state.m, their_state.m), (state.v, their_state.v)):
            for key, value in any_library.get(other).items():
                np.testing.assert_allclose(value, ours[key], rtol=tolerance, atol=tolerance * 0.01)


@pytest.mark.parametrize("size", [1, 31, 1000, 4097])
@pytest.mark.parametrize("penalty", PENALTIES[:3])
def test_adam_on_any_array(any_library, size, penalty):
    rng, adam = np.random.default_rng(size), pn.Adam(weight_decay=0.1)
    p, g = rng.normal(size=(2, size)).astype(np.float32)
    theirs = any_library.put(p)
    state, their_state = adam.init_state(p), adam.init_state(theirs)
    for _ in range(3):
        adam.step(p, g, state, penalty)
        adam.step(theirs, any_library.put(g), their_state, penalty)
    np.testing.assert_allclose(any_library.get(theirs), p, rtol=1e-5, atol=1e-7)

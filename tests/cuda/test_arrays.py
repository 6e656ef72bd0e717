"""Arrays of other libraries on the GPU: their kind, their stream, their memory."""

import numpy as np
import pytest
from support import gpu
from support.cases import NETWORKS, random_parameters, random_rows

import pyneedle as pn

NET = pn.GlobalNetwork(4, 33)


def problem(network=None, rows=65):
    net = NET if network is None else network(4, 33)
    return net, random_parameters(net, dtype="float32"), *random_rows(net, rows, dtype="float32")


@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_kind_comes_back(library, network):
    net, p, x, y = problem(network)
    theirs = library.put(p)
    prediction = net.forward(theirs, library.put(x))
    _, gradient = net.loss_and_grad(theirs, library.put(x), library.put(y))
    assert type(prediction) is type(theirs["w1"])
    assert {key: tuple(value.shape) for key, value in gradient.items()} == net.parameter_shapes
    assert all(type(value) is type(theirs["w1"]) for value in gradient.values())
    np.testing.assert_allclose(library.get(prediction), net.forward(p, x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
def test_views_of_one_vector(library, network):
    """Tensors begin at any multiple of a number's size, as they do in one flat vector."""
    net, p, x, y = problem(network)
    flat = library.put(np.concatenate([[np.float32(0)], *(value.reshape(-1) for value in p.values())]))
    if not hasattr(flat, "reshape"):
        pytest.skip("the made-up array has no views")
    views, first = {}, 1
    for key, value in p.items():
        views[key] = flat[first : first + value.size].reshape(value.shape)
        first += value.size
    loss, gradient = net.loss_and_grad(views, library.put(x), library.put(y))
    wanted, wanted_gradient = net.loss_and_grad(library.put(p), library.put(x), library.put(y))
    # The bits are those of one alignment: cuBLAS has other algorithms for others.
    assert loss == pytest.approx(wanted, rel=1e-5)
    for key, value in library.get(wanted_gradient).items():
        np.testing.assert_allclose(library.get(gradient)[key], value, rtol=0, atol=1e-5 * np.abs(value).max())
    adam = pn.Adam()
    before = library.get(flat).copy()
    adam.step(views, gradient, adam.init_state(views), network=net)
    after = library.get(flat)
    assert after[0] == before[0]
    assert (after[1:] != before[1:]).any()


def test_mixed_libraries(real_arrays):
    cupy, torch = gpu.library("cupy"), gpu.library("torch")
    net, p, x, _ = problem()
    wanted = net.forward(p, x)
    np.testing.assert_allclose(cupy.get(net.forward(cupy.put(p), torch.put(x))), wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(torch.get(net.forward(torch.put(p), cupy.put(x))), wanted, rtol=1e-4, atol=1e-6)


def test_the_current_stream_of_cupy(real_arrays):
    cupy = gpu.library("cupy")
    net, p, x, _ = problem()
    theirs, device_x, wanted = cupy.put(p), cupy.put(x), net.forward(p, x)
    for _ in range(20):
        with cupy.module.cuda.Stream(non_blocking=True) as stream:
            big = cupy.module.ones((3000, 3000), "float32")
            late = device_x + 0 * (big @ big)[0, 0]  # is there only when the product is
            prediction = net.forward(theirs, late)
            doubled = prediction * 2  # queued behind it
            stream.synchronize()
        np.testing.assert_allclose(cupy.get(doubled), 2 * wanted, rtol=1e-4, atol=1e-6)


def test_the_current_stream_of_torch(real_arrays):
    library = gpu.library("torch")
    torch = library.module
    net, p, x, _ = problem()
    theirs, device_x, wanted = library.put(p), library.put(x), net.forward(p, x)
    torch.cuda.synchronize()
    for _ in range(20):
        with torch.cuda.stream(torch.cuda.Stream()):
            big = torch.ones((3000, 3000), device="cuda")
            late = device_x + 0 * (big @ big)[0, 0]
            doubled = net.forward(theirs, late) * 2
            torch.cuda.current_stream().synchronize()
        np.testing.assert_allclose(library.get(doubled), 2 * wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_jax(real_arrays):
    library = gpu.library("jax")
    net, p, x, y = problem()
    theirs = library.put(p)
    prediction = net.forward(theirs, library.put(x))
    assert type(prediction) is type(theirs["w1"])
    np.testing.assert_allclose(library.get(prediction), net.forward(p, x), rtol=1e-4, atol=1e-6)
    _, gradient = net.loss_and_grad(theirs, library.put(x), library.put(y))
    for key, value in net.loss_and_grad(p, x, y)[1].items():
        np.testing.assert_allclose(library.get(gradient)[key], value, rtol=1e-2, atol=1e-5)
    with pytest.raises(TypeError, match="can be changed in place, got"):
        pn.Adam().step(theirs, gradient, pn.Adam().init_state(theirs), network=net)


def test_a_tensor_that_wants_a_gradient(real_arrays):
    library = gpu.library("torch")
    net, p, x, _ = problem()
    theirs = library.put(p)
    theirs["w1"].requires_grad_()
    with pytest.raises(TypeError, match=r"p\['w1'\] can't be borrowed through DLPack"):
        net.forward(theirs, library.put(x))


def test_strides(real_arrays, library):
    net, p, x, _ = problem()
    with pytest.raises(ValueError, match="x must be C-contiguous on the GPU"):
        net.forward(library.put(p), library.put(np.ascontiguousarray(x.T)).T)

"""Single kernels, for pytest-benchmark: `pytest bench/ --benchmark-only`.

Times of pyneedle's public functions on one batch of 800 rows, checks of their arguments included. Nothing is asserted
about speed.
"""

import numpy as np
import pytest

import pyneedle as pn
from pyneedle.benchmark import Problem, dataset_of, make_problem, network_of, penalty_of

CASES = [("LN", 4), ("LN", 20), ("LN", 60), ("LCN", 4), ("LCN", 20), ("LCN", 60), ("GN", 8), ("GN", 20)]
KERNELS = [
    (network, d, kernel)
    for network, d in CASES
    for kernel in network_of(make_problem(network, d, batch=1, batches=1, validation_rows=1)).kernels
    if kernel != "reference"
]


@pytest.fixture(scope="module")
def problem_of():
    """Problems by network and d, made once."""
    made: dict[tuple[str, int], Problem] = {}

    def get(network: str, d: int) -> Problem:
        if (network, d) not in made:
            made[network, d] = make_problem(network, d, batches=2, validation_rows=1)
        return made[network, d]

    return get


@pytest.mark.benchmark(group="loss and gradient")
@pytest.mark.parametrize(("network", "d", "kernel"), KERNELS)
def test_loss_and_grad(benchmark, problem_of, network, d, kernel):
    problem = problem_of(network, d)
    net, x, y = network_of(problem), problem.train_x[:800], problem.train_y[:800]
    p = net.init(0)
    loss, _ = benchmark(net.loss_and_grad, p, x, y, kernel=kernel)
    assert np.isfinite(loss)


@pytest.mark.benchmark(group="forward")
@pytest.mark.parametrize(("network", "d", "kernel"), KERNELS)
def test_forward(benchmark, problem_of, network, d, kernel):
    problem = problem_of(network, d)
    net = network_of(problem)
    out = benchmark(net.forward, net.init(0), problem.train_x[:800], kernel=kernel)
    assert out.shape == (800,)


@pytest.mark.benchmark(group="an epoch of 20 steps")
@pytest.mark.parametrize(("network", "d", "kernel"), KERNELS)
def test_training(benchmark, network, d, kernel):
    problem = make_problem(network, d, batches=20, validation_rows=1)
    net, data = network_of(problem), dataset_of(problem)
    fit = benchmark.pedantic(
        lambda: pn.train(net, data, epochs=1, batch_size=800, kernel=kernel), rounds=3, warmup_rounds=1
    )
    assert fit.kernel == kernel


@pytest.mark.benchmark(group="Adam step")
@pytest.mark.parametrize("penalty", ["none", "l1", "l2", "path-norm"])
@pytest.mark.parametrize(("network", "d"), [("LN", 20), ("LCN", 20), ("GN", 8), ("GN", 20)])
def test_adam(benchmark, network, d, penalty):
    problem = make_problem(network, d, batch=1, batches=1, validation_rows=1, penalty=penalty)
    net = network_of(problem)
    p, g, adam = net.init(0), net.init(1), pn.Adam()
    state = adam.init_state(p)
    benchmark(adam.step, p, g, state, penalty_of(problem), net)
    assert all(np.isfinite(value).all() for value in p.values())

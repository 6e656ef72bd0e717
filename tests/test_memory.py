"""What training and gradients take of memory, in processes of their own, and what is said where there is too little."""

import subprocess
import sys

import pytest

# Prints how far the peak of the resident memory rose, in MiB.
MEASURE = """
import resource, numpy as np, pyneedle as pn
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
{prepare}
before = peak()
{work}
print(peak() - before)
"""
# The process may take so many bytes beyond what it has.
LIMIT = """
import resource, numpy as np, pyneedle as pn
def limit(bytes):
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + bytes,) * 2)
{prepare}
limit({bytes})
try:
    {work}
except MemoryError as error:
    print(error)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of memory")


@pytest.fixture
def run(tmp_path):
    """Runs a program elsewhere than in the checkout, whose `pyneedle` has no native module; what it prints."""

    def call(program):
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return call


@pytest.mark.parametrize("network", ["LocalNetwork", "LocallyConnectedNetwork"])
def test_threads_share_the_room_for_the_largest_table(run, network):
    """One worst-case table at alpha = 500 has 43 MB; 16 threads once took 16 of them."""
    prepare = f"net, ds = pn.{network}(2, 500), pn.make_dataset('square', 2, 100)"
    work = "assert pn.train(net, ds, epochs=1, threads=16).kernel == 'piecewise_linear'"
    bound = "print(net._layout.network.kernel_bytes('auto', 'float32', 1024, 16) / 2**20)"
    rise, counted = map(float, run(MEASURE.format(prepare=prepare, work=work) + bound).split())
    vectors = 12 * 2 * 251_500 * 4 / 2**20  # parameters, moments, gradient, results
    assert rise < 40 + vectors
    assert rise < counted + vectors


@pytest.mark.parametrize("kernel", ["active", "direct"])
def test_the_gradient_of_many_rows_takes_memory_for_some(run, kernel):
    prepare = """
net = pn.GlobalNetwork(2, 100)
p, x, y = net.init(), np.zeros((300_000, 2), np.float32), np.zeros(300_000, np.float32)
net.loss_and_grad(p, x[:10], y[:10])
"""
    work = f"net.loss_and_grad(p, x, y, kernel='{kernel}', threads=1)"
    # The activations of all rows would be 3 to 4 times 240 MB.
    assert float(run(MEASURE.format(prepare=prepare, work=work))) < 60


def test_too_little_memory_is_said(run):
    prepare = """
net = pn.GlobalNetwork(2, 100)
p, x, y = net.init(), np.zeros((5000, 2), np.float32), np.zeros(5000, np.float32)
net.loss_and_grad(p, x[:10], y[:10], threads=1)
"""
    work = "net.loss_and_grad(p, x, y, threads=1); print('no error')"
    said = run(LIMIT.format(prepare=prepare, work=work, bytes=2_000_000))
    assert said.startswith("no memory for an array of 0.00")
    assert said.endswith("GB")

"""What the Ray executor asks of a cluster; the cluster is a made-up one, and Ray need not be installed."""

import sys
import types

import pytest
from support.sweeps import tiny

from pyneedle.sweep import read_results
from pyneedle.sweep._cost import Speeds
from pyneedle.sweep._executor import Job
from pyneedle.sweep._outcome import Keep
from pyneedle.sweep._ray import RayExecutor


class MadeUpRay(types.ModuleType):
    """A cluster of some nodes, whose tasks never end."""

    def __init__(self, nodes):
        super().__init__("ray")
        self.resources, self.running, self.tasks = nodes, False, []

    def is_initialized(self):
        return self.running

    def init(self, **_):
        self.running = True

    def shutdown(self):
        self.running = False

    def nodes(self):
        return [{"Alive": True, "Resources": node} for node in self.resources]

    def remote(self, **_):
        return lambda function: types.SimpleNamespace(options=self.options)

    def options(self, **resources):
        def remote(cells, *_):
            self.tasks.append((cells, resources))
            return len(self.tasks)

        return types.SimpleNamespace(remote=remote)

    def wait(self, references, num_returns, timeout):
        return [], references

    def cancel(self, reference, force):
        pass


@pytest.fixture
def made_up(monkeypatch):
    def cluster(*nodes):
        ray = MadeUpRay(nodes)
        monkeypatch.setitem(sys.modules, "ray", ray)
        return ray

    return cluster


def submitted(ray, cells):
    """(device, number of cells, GPUs asked for, bytes asked for) of each task that the executor hands out at first."""
    with RayExecutor(Job(cells, Keep(), 1, Speeds())) as executor:
        assert executor.poll(0.0) == []
    return [(cells[0].device, len(cells), asked["num_gpus"], asked["memory"]) for cells, asked in ray.tasks]


@pytest.mark.parametrize("before", [False, True])
def test_a_cluster_without_a_gpu(made_up, tmp_path, before):
    ray = made_up({"CPU": 4.0, "memory": 1e9}, {"CPU": 4.0, "GPU": 0.0})
    ray.running = before
    path = tmp_path / "a.sqlite"
    message = '^executor "ray": no node of the cluster has a GPU, which runs with device "cuda" need$'
    with pytest.raises(RuntimeError, match=message):
        tiny(device=["cpu", "cuda"]).run(path, executor="ray")
    assert ray.tasks == []
    assert ray.running is before  # a cluster of its own was ended
    assert len(read_results(path)) == 0


def test_groups_for_gpus_are_shared_among_gpus(made_up):
    ray = made_up({"CPU": 16.0, "memory": 1e9}, {"CPU": 16.0, "GPU": 2.0, "memory": 1e9})
    cells = tiny(device="cuda", repeat=range(100)).cells
    tasks = submitted(ray, cells)
    # Half of what is left each time, until two tasks for each GPU are in flight.
    assert [task[:3] for task in tasks] == [("cuda", 50, 1), ("cuda", 25, 1), ("cuda", 13, 1), ("cuda", 6, 1)]
    assert tasks[0][3] > tasks[1][3] > tasks[2][3] > tasks[3][3]  # that of all its runs


def test_no_more_side_by_side_than_fill_a_gpu(made_up):
    ray = made_up({"CPU": 2.0, "GPU": 1.0, "memory": 1e9})
    tasks = submitted(ray, tiny(device="cuda", repeat=range(1300)).cells)
    assert [count for _, count, _, _ in tasks] == [512, 512]


def test_processors_do_not_wait_for_gpus(made_up):
    ray = made_up({"CPU": 2.0, "GPU": 1.0, "memory": 1e9})
    slow = tiny(network="GN", d=[4, 5, 6], device="cuda").cells
    tasks = submitted(ray, [*slow, *tiny(repeat=range(9)).cells])
    assert [(device, count, gpus) for device, count, gpus, _ in tasks] == [("cuda", 1, 1)] * 2 + [("cpu", 1, 0)] * 4

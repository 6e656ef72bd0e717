"""What runs beside what, and what is shown of it; nothing is trained here."""

import io
import random

import pytest
from rich.console import Console
from support.own_data import arrays, own, write
from support.sweeps import tiny

from pyneedle.sweep._cost import Speeds, dataset_bytes, run_bytes
from pyneedle.sweep._executor import Member
from pyneedle.sweep._outcome import Outcome, failure
from pyneedle.sweep._progress import Display
from pyneedle.sweep._schedule import Queue, Scheduler


def scheduler(cells, threads, memory):
    return Scheduler(Queue(cells, Speeds(), 0.05), threads, memory)


def test_runs_wait_for_memory_and_smaller_ones_go_first():
    big = tiny(network="GN", d=10, alpha=20, repeat=range(2)).cells
    small = tiny(n_samples=50).cells
    room = run_bytes(big[0]) + dataset_bytes(big[0]) + run_bytes(small[0]) + dataset_bytes(small[0])
    plan = scheduler([*small, *big], 4, room)
    first, second = plan.take(), plan.take()
    assert (first.cells, second.cells) == ((big[0],), small)
    plan.give_back(first)
    assert plan.take().cells == (big[1],)


def test_a_run_beyond_the_memory_goes_alone():
    plan = scheduler(tiny(repeat=range(2)).cells, 2, 1)
    task = plan.take()
    assert len(task.cells) == 1
    plan.give_back(task)
    assert plan.take() is not None


def test_threads_are_shared_among_runs_and_the_last_one_gets_all_that_are_free():
    plan = scheduler(tiny(repeat=range(3)).cells, 4, 1 << 40)
    tasks = [plan.take() for _ in range(3)]
    assert sum(task.threads for task in tasks) == 4
    assert [task.threads for task in tasks] == [1, 1, 2]
    assert plan.take() is None
    assert scheduler(tiny().cells, 4, 1 << 40).take().threads == 4


def test_the_longest_first_whatever_is_learnt():
    """As sorting all kinds by what is known says, at each step, also far beyond the first."""
    chance = random.Random(3)
    cells = tiny(network=["LN", "GN"], d=[2, 3, 4], n_samples=[50, 60, 200], epochs=[1, 2, 5], data_seed=[0, 1]).cells
    speeds = Speeds()
    queue = Queue(cells, speeds, 0.05)
    waiting = list(cells)
    while waiting:
        assert len(queue) == len(waiting)
        assert list(queue.longest()) == sorted(waiting, key=speeds.seconds, reverse=True)
        (taken,) = queue.take(chance.choice(waiting))
        waiting.remove(taken)
        if chance.random() < 0.5:
            cell = chance.choice(cells)
            speeds.learn(cell, chance.uniform(0.001, 10.0), cell.steps)
    assert list(queue.longest()) == []


def test_equal_runs_wait_together():
    cells = tiny(repeat=range(5)).cells
    speeds = Speeds()
    queue = Queue(cells, speeds, 3.5)
    assert queue.take(cells[0]) == cells[:1]  # not measured
    speeds.learn(cells[0], 1.0, cells[0].steps)
    assert list(queue.longest()) == [cells[1]]
    assert queue.take(cells[1], shares=2) == cells[1:3]
    assert queue.take(cells[3]) == cells[3:]
    assert len(queue) == 0


@pytest.mark.parametrize("axis", ["data_seed", "n_samples", "d"])
def test_many_kinds_cost_little_each(axis, monkeypatch):
    """How often a time is asked for grows with the number of kinds, not with its square."""
    asked = []
    step_seconds = Speeds.step_seconds
    monkeypatch.setattr(Speeds, "step_seconds", lambda self, cell: asked.append(cell) or step_seconds(self, cell))
    cells = tiny(**{axis: range(50, 350)}).cells
    speeds = Speeds()
    plan = Scheduler(Queue(cells, speeds, 0.0), 2, 1 << 40)
    for _ in cells:
        task = plan.take()
        plan.give_back(task)
        speeds.learn(task.cells[0], 0.01, task.cells[0].steps)
    assert plan.take() is None
    assert len(asked) < 5 * len(cells)


def test_the_display_on_a_terminal():
    cells = tiny(repeat=range(4)).cells
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120)
    with Display(2, cells, Speeds(), 2, True, console) as display:
        display.update([Outcome(cells[0], "completed"), failure(cells[1], "no")], [Member(cells[2], 1, 0.125)])
    shown = text.getvalue()
    assert "4/6 runs, 1 failed" in shown
    assert "left" in shown
    assert "LN, d=2, square, N=100, repeat 2" in shown
    assert "best val 1.25e-01" in shown


def test_the_display_of_data_with_brackets(tmp_path):
    (cell,) = own(write(tmp_path / "run[bold].npz", *arrays())).cells
    text = io.StringIO()
    with Display(0, [cell], Speeds(), 1, True, Console(file=text, force_terminal=True, width=120)) as display:
        display.update([], [Member(cell)])
    assert "run[bold].npz" in text.getvalue()


def test_no_display_without_a_terminal_or_when_not_asked_for():
    cells = tiny().cells
    for terminal, show in ((False, True), (True, False)):
        text = io.StringIO()
        with Display(0, cells, Speeds(), 1, show, Console(file=text, force_terminal=terminal)) as display:
            display.update([Outcome(cells[0], "completed")], [])
        assert text.getvalue() == ""

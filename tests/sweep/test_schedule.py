"""What runs beside what, and what is shown of it; nothing is trained here."""

import io

from rich.console import Console
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


def test_no_display_without_a_terminal_or_when_not_asked_for():
    cells = tiny().cells
    for terminal, show in ((False, True), (True, False)):
        text = io.StringIO()
        with Display(0, cells, Speeds(), 1, show, Console(file=text, force_terminal=terminal)) as display:
            display.update([Outcome(cells[0], "completed")], [])
        assert text.getvalue() == ""

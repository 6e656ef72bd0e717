"""The bookkeeping of bench/memory.py; how much memory a training takes is not asserted. Part of `pytest bench/`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import memory
from bench.memory import Case, Measured, Sizes

BIG = 48 << 20
SLACK = 4 << 20  # the kernel counts pages in lots, and Python allocates some


@pytest.fixture
def linux():
    if reason := memory.unavailable():
        pytest.skip(reason)


def test_sizes_are_what_a_hand_counts():
    sizes = Sizes.of(Case("LCN", 3, 2).problem())
    assert sizes.rows == 1600 + 400
    assert sizes.parameters == 4 * 3 * (50 + 50 + 2500 + 50 + 50)
    assert sizes.data == 4 * 2000 * (3 + 1)
    assert sizes.least == 4 * sizes.parameters + sizes.data
    assert sizes.activations == 4 * 800 * 2 * 150


def test_ratio_is_of_the_highest():
    row = Measured("LN", 3, "pyneedle", Sizes(10, parameters=100, data=600, activations=50), {2: 500, 20: 1400})
    assert row.held == {2: 1100, 20: 2000}
    assert row.ratio == 2.0
    assert row.beyond == 20.0
    text = memory.table([row])
    assert "| LN d=3 | 10 |" in text
    assert "| 2 | 20 |" in text


def test_growth_is_the_peak_and_not_what_is_left(linux):
    def work():
        np.ones(BIG, np.uint8)
        return np.ones(BIG // 4, np.uint8)

    assert BIG - SLACK < memory.peak_growth(work) < BIG + SLACK


def test_what_was_there_does_not_count(linux):
    there = np.ones(BIG, np.uint8)
    assert memory.peak_growth(there.sum) < SLACK


FREED = """
import sys
sys.path.append(sys.argv[1])
import numpy as np
from bench import memory
size = int(sys.argv[2])
make = lambda: [np.ones(1000, np.uint8) for _ in range(size // 1000)]
make()
print(memory.peak_growth(make))
"""


def test_small_blocks_freed_before_are_counted_again(linux, tmp_path):
    """In a process of its own, as every measurement is: the heap of a long one has gaps that cannot be given back."""
    command = [sys.executable, "-c", FREED, str(Path(memory.__file__).parents[1]), str(BIG)]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
    assert int(done.stdout) > BIG - SLACK


def test_a_child_measures_a_training(linux, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(memory, "QUICK", (Case("LCN", 3, 1),))
    monkeypatch.setattr(memory, "missing", lambda module: f"no {module}")
    file = tmp_path / "memory.json"
    assert memory.main(["--quick", "--json", str(file), "--markdown", str(tmp_path / "memory.md")]) == 0
    content = json.loads(file.read_text(encoding="utf-8"))
    (row,) = content["rows"]
    assert row["growth"].keys() == {"2", "20"}
    assert all(growth > 0 for growth in row["growth"].values())
    assert content["skipped"] == ["PyTorch eager skipped: no torch"]
    assert "PyTorch eager skipped: no torch" in capsys.readouterr().out

"""What `pyneedle results` prints: what tells runs apart, as far as there is room, and names as they are."""

import io

import pytest
from rich.console import Console
from support.own_data import arrays, own, write
from support.sweeps import tiny
from typer.testing import CliRunner

import pyneedle as pn
from pyneedle.cli import app
from pyneedle.cli._runs_table import print_runs


def lines(frame, width):
    """What a terminal of this width shows: headings, rows, and what stands below."""
    text = io.StringIO()
    print_runs(frame, Console(file=text, force_terminal=True, width=width, color_system=None, highlight=False))
    heading, _, *rows, below = [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]
    return heading.split(), [row.split() for row in rows], below


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    sweep = tiny(
        network=["GN", "LN"], learning_rate=[0.01, 0.02], penalty=[None, "l1:1e-6"], n_samples=[100, 200], repeat=[0, 1]
    )
    return sweep.run(tmp_path_factory.mktemp("store") / "a.sqlite")


SETTINGS = {"learning_rate": [0.01, 0.02], "alpha": [3, 4], "batch": [8, 16], "dtype": ["float32", "float64"]}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_that_varies_is_shown(name, tmp_path):
    frame = tiny(**{name: SETTINGS[name]}).run(tmp_path / "a.sqlite")
    heading, rows, _ = lines(frame, 200)
    column = {"batch": "batch_size"}.get(name, name)
    assert [row[heading.index(column)] for row in rows] == [str(value) for value in SETTINGS[name]]


def test_what_follows_from_others_is_not_shown(frame):
    heading, rows, _ = lines(frame, 200)
    assert "batch_size" not in heading
    assert "alpha" not in heading
    assert all(len(row) == len(heading) for row in rows)
    apart = [heading.index(name) for name in ("network", "n_samples", "penalty", "learning_rate", "repeat")]
    assert len({tuple(row[i] for i in apart) for row in rows}) == len(frame) == 32


@pytest.mark.parametrize("width", [40, 80, 100, 120])
def test_a_terminal_gets_what_fits(width, frame):
    whole, wide, _ = lines(frame, 300)
    heading, rows, below = lines(frame, width)
    assert heading == [name for name in whole if name in heading]
    left_out = [name for name in whole if name not in heading]
    assert left_out
    assert f"; without {', '.join(left_out)} for want of room, --csv writes all columns" in below
    assert {"network", "d", "test_mse_original"} <= set(heading)
    assert "seconds" in left_out
    kept = [whole.index(name) for name in heading]
    assert rows == [[row[i] for i in kept] for row in wide]  # nothing is cut off
    assert ("learning_rate" in heading) == (width > 40)


def test_a_pipe_gets_all(frame, tmp_path):
    tiny(network=["GN", "LN"], learning_rate=[0.01, 0.02], repeat=[0, 1]).run(tmp_path / "a.sqlite")
    result = CliRunner().invoke(app, ["results", str(tmp_path / "a.sqlite")])
    assert "seconds" in result.stdout
    assert result.stdout.splitlines()[-1] == "8 runs (8 completed)"


def test_names_with_brackets(tmp_path):
    files = [write(tmp_path / f"run[{name}].npz", *arrays(i)) for i, name in enumerate(("a", "bold"))]
    (own(files) + tiny(d=3)).run(tmp_path / "a.sqlite")
    result = CliRunner().invoke(app, ["results", str(tmp_path / "a.sqlite")])
    heading, _, *rows, _ = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert {row[heading.index("data")] for row in rows} == {"run[a].npz", "run[bold].npz", "-"}


def test_files_of_one_name_are_told_apart(tmp_path):
    for i in range(2):
        (tmp_path / str(i)).mkdir()
    sweep = pn.Sweep.from_cells(
        cell for i in range(2) for cell in own(write(tmp_path / str(i) / "a.npz", *arrays(i))).cells
    )
    frame = sweep.run(tmp_path / "a.sqlite")
    heading, rows, _ = lines(frame, 200)
    assert [row[heading.index("data_sha256")] for row in rows] == [text[:12] for text in frame["data_sha256"]]

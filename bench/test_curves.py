"""The pictures of `bench.curves`, from made-up numbers."""

import json

import pytest

from bench import curves


def made_up(axis, network):
    return [
        {
            axis.name: value,
            "rounds": {side: [1e-3 * value, 2e-3 * value, 4e-3 * value] for side in ("pyneedle", "NumPy")},
        }
        for value in axis.values[network]
    ]


@pytest.fixture
def numbers():
    by_axis = {axis.name: {network: made_up(axis, network) for network in ("LN", "GN")} for axis in curves.AXES}
    members = {"LN": {"1": [1e3, 2e3], "16": [1e4, 3e4]}}
    return {"threads": 2, **by_axis, "members": members}


def test_pictures_are_drawn_again_from_the_numbers(numbers, tmp_path, capsys):
    (tmp_path / curves.NUMBERS).write_text(json.dumps(numbers))
    assert curves.main([str(tmp_path)]) == 0
    names = ["cost_alpha.png", "cost_batch.png", "cost_d.png", "cost_members.png"]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == names
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names)
    assert capsys.readouterr().out.count("wrote ") == 4


def test_every_round_is_a_point_and_the_median_a_line(numbers):
    axis = curves.AXES[0]
    figure = curves._figure_of(axis, numbers[axis.name])
    assert [panel.get_title(loc="left")[:6] for panel in figure.axes] == ["(a) LN", "(b) GN"]
    line, points = figure.axes[0].get_lines()[:2]
    values = list(axis.values["LN"])
    assert line.get_xdata().tolist() == values
    assert line.get_ydata() == pytest.approx([2.0 * value for value in values])
    assert len(points.get_xdata()) == 3 * len(values)
    assert figure.axes[0].xaxis.get_majorticklocs().tolist() == values
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["pyneedle", "NumPy"]


def test_a_side_that_could_not_run_at_a_size_has_no_point_there(numbers):
    del numbers["d"]["LN"][-1]["rounds"]["NumPy"]
    panel = curves._figure_of(curves.AXES[0], numbers["d"]).axes[0]
    assert [len(line.get_xdata()) for line in panel.get_lines()] == [5, 15, 4, 12]

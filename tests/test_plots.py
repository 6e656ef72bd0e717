"""How figures look: lines that can be told apart in grey, legends beside the axes, ticks at the values."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from pyneedle import _plots


def lightness(colour):
    """CIE L*, 0 (black) to 100 (white): what is left of a colour in grey."""
    rgb = np.asarray(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116.0 * luminance ** (1 / 3) - 16.0 if luminance > 0.008856 else 903.3 * luminance


def test_no_two_of_forty_looks_are_alike():
    assert len(_plots.LOOKS) == 40
    assert len(set(_plots.LOOKS)) == 40
    # Without colours, too: each has a shade of its own among those of its marker.
    assert len({(look.marker, look.dash) for look in _plots.LOOKS}) == 40


def test_shades_go_from_black_to_light_by_even_steps():
    shades = list(dict.fromkeys(look.colour for look in _plots.LOOKS))
    levels = [lightness(shade) for shade in shades]
    assert len(levels) == 8
    assert levels[0] == 0.0
    assert levels[-1] < 80.0  # still seen on white
    assert np.diff(levels).min() > 8.0


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 40, 41])
def test_few_looks_are_far_apart(count):
    looks = _plots.looks(count)
    assert len(looks) == count
    assert len(set(looks)) == min(count, 40)
    if 2 <= count <= 7:
        assert np.diff([lightness(look.colour) for look in looks]).min() > 60.0 / (count - 1) - 5.0


def drawn(entries):
    figure = _plots.new_figure()
    axes = figure.add_subplot()
    for i, look in enumerate(_plots.looks(entries)):
        axes.plot([4, 8], [1 + i, 2 + i], color=look.colour, marker=look.marker, label=f"line {i}, such as it is")
    return figure, axes


@pytest.mark.parametrize("entries", [1, 9, 40])
def test_a_legend_is_beside_the_axes_and_in_the_figure(entries):
    with _plots.styled():
        figure, axes = drawn(entries)
        legend = _plots.legend(axes)
        figure.canvas.draw()
    assert len(legend.get_texts()) == entries
    box, frame = legend.get_window_extent(), axes.get_window_extent()
    assert box.x0 > frame.x1
    assert box.x1 <= figure.bbox.x1 + 1
    assert box.y0 >= -1
    assert frame.width > 2.5 * figure.dpi  # the axes do not pay for it
    assert frame.height > 2.5 * figure.dpi


@pytest.mark.parametrize(
    ("values", "logarithmic", "numbered"),
    [
        ([4, 8], True, [4, 8]),
        ([4, 8, 12, 16, 20], True, [4, 8, 12, 16, 20]),
        (list(range(4, 61, 4)), True, [4, 8, 16, 32, 60]),
        (list(range(4, 61, 4)), False, [4, 12, 20, 28, 36, 44, 52, 60]),
        ([500, 1000, 2000, 4000, 8000, 16000, 32000], True, [500, 1000, 2000, 4000, 8000, 16000, 32000]),
        ([7], True, [7]),
    ],
)
def test_ticks_are_at_the_values(values, logarithmic, numbered):
    with _plots.styled():
        figure = _plots.new_figure()
        axes = figure.add_subplot()
        axes.plot(values, np.ones(len(values)))
        if logarithmic:
            _plots.log_x(axes)
        _plots.value_ticks(axes.xaxis, values)
        figure.canvas.draw()
    assert axes.xaxis.get_majorticklocs().tolist() == numbered
    assert [text.get_text() for text in axes.get_xticklabels()] == [str(value) for value in numbered]
    assert set(axes.xaxis.get_minorticklocs()) <= set(values)
    assert not any(text.get_text() for text in axes.get_xticklabels(minor=True))
    assert set(values) == {*axes.xaxis.get_majorticklocs(), *axes.xaxis.get_minorticklocs()}


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-7, "10^{-7}"), (3e-6, r"3\times 10^{-6}"), (1e5, "10^{5}"), (0.05, "0.05"), (250, "250"), (0.0, "0")],
)
def test_numbers_as_mathematical_text(value, text):
    assert _plots.scientific(value) == text


def test_an_ordinate_within_a_decade_has_plain_numbers():
    with _plots.styled():
        figure = _plots.new_figure()
        axes = figure.add_subplot()
        axes.plot([1, 2], [2.0, 2.1])
        _plots.log_axes(axes, [1, 2])
        figure.canvas.draw()
    low, high = axes.get_ylim()
    assert high / low == pytest.approx(10.0)
    assert {"1", "2", "5"} <= {text.get_text() for text in axes.get_yticklabels()}


def test_means_over_stretches_of_epochs():
    epochs = np.arange(6)
    at, means = _plots.stretches(epochs, np.array([1.0, 100.0, np.nan, 4.0, np.inf, 0.0]), most=3)
    assert at.tolist() == [0.5, 2.5, 4.5]
    np.testing.assert_allclose(means, [10.0, 4.0, np.nan])


@pytest.mark.parametrize("epochs", [1, 30, 300])
def test_losses(epochs):
    rng = np.random.default_rng(0)
    train, validation = np.exp(rng.normal(-9.0, 1.0, (2, epochs)))
    best = int(validation.argmin())
    with _plots.styled():
        figure = _plots.losses(train, validation, best, "LN")
        figure.canvas.draw()
    (axes,) = figure.axes
    dashes = [line.get_linestyle() for line in axes.get_lines()]
    # Dashed of training, solid of validation; of many epochs points as well, and the best one.
    assert dashes.count("--") == dashes.count("-") == 1
    assert len(dashes) == (5 if epochs == 300 else 3)
    solid = next(line for line in axes.get_lines() if line.get_linestyle() == "-")
    assert len(solid.get_xdata()) == (38 if epochs == 300 else epochs)
    assert axes.get_lines()[-1].get_xydata().tolist() == [[best, validation[best]]]
    assert axes.get_yscale() == "log"
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[-1] == f"lowest validation loss, epoch {best}"


def test_losses_that_are_not_finite():
    nothing = np.full(300, np.nan)
    with _plots.styled():
        figure = _plots.losses(nothing, nothing, -1, "GN: diverged")
        figure.canvas.draw()
    assert figure.axes[0].get_yscale() == "linear"


def test_the_same_picture_is_the_same_file(tmp_path):
    for ending, name in itertools.product(_plots.formats(), "ab"):
        with _plots.styled():
            figure, axes = drawn(2)
            _plots.legend(axes)
        _plots.save(figure, tmp_path / f"{name}.{ending}")
    for ending in _plots.formats():
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()

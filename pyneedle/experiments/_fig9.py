"""Figures 9, 10 and 11: errors of GN against the number of training rows."""

from collections.abc import Mapping

from pyneedle.experiments._curves import Curves, curves_experiment
from pyneedle.experiments._experiment import Experiment
from pyneedle.experiments._presets import AGAINST_N, AGAINST_N_LARGER_D
from pyneedle.experiments._protocol import PresetName, Protocol
from pyneedle.experiments._series import GN, GREEN, Series

_L1 = Series("GN", GREEN, "l1")


def _declare(
    name: str,
    title: str,
    protocols: Mapping[PresetName, Protocol],
    series: Series = GN,
    batch: str | int = "ratio",
    visible_gap: bool = False,
) -> Experiment[Protocol]:
    curves = Curves(series=(series,), fitted={series: name}, x="train_rows", batch=batch, visible_gap=visible_gap)
    return curves_experiment(name, title, curves, protocols)


EXPERIMENTS = (
    _declare("fig9a", "errors of GN against training rows, batches of 80 rows", AGAINST_N, batch=80, visible_gap=True),
    _declare("fig9b", "errors of GN against training rows, 80 steps an epoch", AGAINST_N),
    _declare("fig10", "errors of GN against training rows, at larger d", AGAINST_N_LARGER_D),
    _declare("fig11a", "errors of GN with L1 penalty against training rows", AGAINST_N, _L1, visible_gap=True),
    _declare(
        "fig11b",
        "errors of GN with L1 penalty against training rows, at larger d",
        AGAINST_N_LARGER_D,
        _L1,
        visible_gap=True,
    ),
)

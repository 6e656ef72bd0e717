"""Figure 6: test error of GN against d under each penalty, beside GN, LCN and LN without one."""

from pyneedle.experiments._curves import Curves, curves_experiment
from pyneedle.experiments._experiment import Experiment
from pyneedle.experiments._presets import AGAINST_D
from pyneedle.experiments._protocol import Protocol
from pyneedle.experiments._series import GN, GREEN, NETWORKS, Series


def _declare(name: str, what: str, series: Series) -> Experiment[Protocol]:
    curves = Curves(series=(series, *NETWORKS), fitted={series: name, GN: "fig5a"})
    return curves_experiment(name, f"errors of GN with {what} against d, beside GN, LCN and LN", curves, AGAINST_D)


EXPERIMENTS = (
    _declare("fig6a", "L1 penalty", Series("GN", GREEN, "l1")),
    _declare("fig6b", "L2 penalty", Series("GN", GREEN, "l2")),
    _declare("fig6c", "path-norm penalty", Series("GN", GREEN, "path-norm")),
)

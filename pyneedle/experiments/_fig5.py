"""Figures 5 and 7: test error and path norm of GN against d, without and with the path-norm penalty."""

from pyneedle.experiments._curves import PATH_NORM, Curves, curves_experiment
from pyneedle.experiments._presets import AGAINST_D
from pyneedle.experiments._series import GN, GREEN, Series

PENALISED = Series("GN", GREEN, "path-norm")

EXPERIMENTS = (
    curves_experiment("fig5a", "test error of GN against d", Curves(series=(GN,), fitted={GN: "fig5a"}), AGAINST_D),
    curves_experiment(
        "fig5b", "path norm of GN against d", Curves(series=(GN,), fitted={GN: "fig5b"}, y=PATH_NORM), AGAINST_D
    ),
    curves_experiment(
        "fig7",
        "path norm of GN against d under the path-norm penalty, beside that without",
        Curves(series=(PENALISED, GN), fitted={PENALISED: "fig7", GN: "fig5b"}, y=PATH_NORM),
        AGAINST_D,
    ),
)

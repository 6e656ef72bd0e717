"""Figure 3: training and test error of GN, LCN and LN against d, for three targets."""

from pyneedle.experiments._curves import Curves, curves_experiment
from pyneedle.experiments._presets import AGAINST_D
from pyneedle.experiments._series import GN, LCN, LN, NETWORKS

EXPERIMENTS = (
    curves_experiment(
        "fig3a",
        "errors of GN, LCN and LN against d, target sum of squares",
        Curves(series=NETWORKS, fitted={GN: "fig5a", LCN: "", LN: ""}),
        AGAINST_D,
    ),
    curves_experiment(
        "fig3b",
        "errors of GN, LCN and LN against d, target sum of fourth powers",
        Curves(series=NETWORKS, fitted=dict.fromkeys(NETWORKS, ""), target="quartic"),
        AGAINST_D,
    ),
    curves_experiment(
        "fig3c",
        "errors of GN, LCN and LN against d, target sum of cosines",
        Curves(series=NETWORKS, fitted=dict.fromkeys(NETWORKS, ""), target="cosine"),
        AGAINST_D,
    ),
)

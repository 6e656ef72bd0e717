"""Figures 9, 10 and 11: errors of GN against the number of training rows."""

from pyneedle.experiments._curves import Curves, curves_experiment
from pyneedle.experiments._presets import AGAINST_N, AGAINST_N_LARGER_D
from pyneedle.experiments._series import GN, GREEN, Series

_L1 = Series("GN", GREEN, "l1")
PLAIN = Curves(series=(GN,), fitted=(GN,), x="train_rows")
FIXED_BATCH = Curves(series=(GN,), fitted=(GN,), x="train_rows", batch=80, visible_gap=True)
WITH_L1 = Curves(series=(_L1,), fitted=(_L1,), x="train_rows", visible_gap=True)

EXPERIMENTS = (
    curves_experiment("fig9a", "errors of GN against training rows, batches of 80 rows", FIXED_BATCH, AGAINST_N),
    curves_experiment("fig9b", "errors of GN against training rows, 80 steps an epoch", PLAIN, AGAINST_N),
    curves_experiment("fig10", "errors of GN against training rows, at larger d", PLAIN, AGAINST_N_LARGER_D),
    curves_experiment("fig11a", "errors of GN with L1 penalty against training rows", WITH_L1, AGAINST_N),
    curves_experiment(
        "fig11b", "errors of GN with L1 penalty against training rows, at larger d", WITH_L1, AGAINST_N_LARGER_D
    ),
)

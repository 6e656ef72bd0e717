"""What the project set out to reach: ratios to the fastest peer in the same run, one model, whole training step."""

from pyneedle.benchmark import Comparison

# (network, kernel) -> d -> (must reach, aim); "any" stands for every d.
_PLAIN: dict[tuple[str, str], dict[int | str, tuple[str, str]]] = {
    ("LN", "piecewise_linear"): {4: ("20x", ""), 20: ("40x", "80x"), 60: ("70x", "200x")},
    ("LCN", "piecewise_linear"): {20: ("10x", "30x"), 60: ("12x", "30x")},
    ("LN", "direct"): {"any": ("1.5x", "3x")},
    ("LCN", "direct"): {"any": ("1.5x", "3x")},
    ("GN", "active"): {8: ("1.3x", "1.8x"), 20: ("2x", "3.5x"), 40: ("3x", "5x"), 60: ("4x", "10x")},
}
_PENALIZED: dict[int, tuple[str, str]] = {20: ("1.5x", "4x"), 40: ("2x", "4x")}  # GN with L1, L2 or path norm
ADAM_PATH_NORM = ("5x", "70% of copy bandwidth")  # GN d = 20
ENSEMBLE = ("1.9x", "")  # 8 runs of LN or LCN on 2 cores against one after another on 1


def goal(row: Comparison) -> tuple[str, str]:
    """ "Must reach" and "aim" of a comparison; empty where none was set."""
    if row.what != "step" or (row.alpha, row.batch) != (50, 800):
        return "", ""
    if row.penalty != "none":
        return _PENALIZED.get(row.d, ("", "")) if (row.network, row.kernel) == ("GN", "active") else ("", "")
    by_d = _PLAIN.get((row.network, row.kernel), {})
    return by_d.get(row.d, by_d.get("any", ("", "")))

"""Sweeps that take well under a second, and how two stores are compared."""

import pyneedle as pn

# What the time, the machine and the number of threads may change.
VARYING = ["seconds", "finished_at", "threads"]


def tiny(**settings):
    """A sweep of runs of a few milliseconds."""
    defaults = {"network": "LN", "d": 2, "alpha": 4, "n_samples": 100, "epochs": 2}
    return pn.Sweep(**{**defaults, **settings})


def same_results(a, b):
    """Whether two frames hold the same runs with the same numbers, bit for bit."""

    def plain(frame):
        return frame.drop(columns=VARYING).sort_values("cell", ignore_index=True)

    return plain(a).equals(plain(b))

"""Files of own data, and sweeps over them that take well under a second."""

import numpy as np

import pyneedle as pn

ROWS, D = 200, 3


def arrays(seed=0, rows=ROWS, d=D):
    """Inputs whose columns are in no order, and a target that is not separable."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, d))
    return x, np.sin(x.sum(axis=1))


def write(path, x, y):
    np.savez(path, x=x, y=y)
    return path


def own(data, **settings):
    """A sweep of runs of a few milliseconds over own data."""
    return pn.Sweep(**{"network": "LN", "data": data, "alpha": 4, "epochs": 2, **settings})

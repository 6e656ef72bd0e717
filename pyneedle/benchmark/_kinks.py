"""Rows on which float32 cannot tell the side of a kink of ReLU, kept out of the batch whose gradient is compared."""

from dataclasses import replace

import numpy as np

from ._problem import Array, Problem
from ._truth import pre_activations

ROUNDOFF = 2.0**-24  # float32
# A sum of n products is off by about sqrt(n) ROUNDOFF / 8 of the root of their summed squares, at most by ten times
# that in 400,000 of them (n = 512, PyTorch on AVX-512).
SAFETY = 4.0


def near_kinks(problem: Problem, x: Array) -> Array:
    """Which rows of x have a pre-activation within float32's rounding of 0 at the initial parameters.

    Returns
    -------
    ndarray of bool, shape (n,)
        Where |z| < 4 sqrt(terms) 2^-24 (sum of the squared terms of z)^(1/2) for a unit of either hidden layer. A z
        that is a sum of zeros alone is exact, and near nothing.
    """
    near = np.zeros(len(x), bool)
    for z, size, terms in pre_activations(problem, problem.initial, x):
        near |= np.any(np.abs(z) < SAFETY * np.sqrt(terms) * ROUNDOFF * size, axis=(0, 2))
    return near


def clear_of_kinks(problem: Problem) -> Problem:
    """The problem with the rows of its first batch that are near a kink exchanged for rows of the second that are not.

    On such a row rounding decides whether a unit is active, and so whether the row has its share in the gradient of
    the unit's weights: two sides of equal worth may differ there by far more than rounding. One such unit among 409,600
    was seen to move an entry of the gradient by 5e-3 of the largest one. Training has the same rows as before.
    """
    if problem.activation != "relu":
        return problem
    batch = problem.batch
    near = near_kinks(problem, problem.train_x[: 2 * batch])
    pairs = list(zip(np.flatnonzero(near[:batch]), batch + np.flatnonzero(~near[batch:]), strict=False))
    if not pairs:
        return problem
    order = np.arange(len(problem.train_x))
    for here, there in pairs:
        order[[here, there]] = order[[there, here]]
    return replace(problem, train_x=problem.train_x[order], train_y=problem.train_y[order])

"""Power laws: least squares of logarithms."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pyneedle._checks import Array

# A gap between training and test error is called visible from this ratio of their geometric means on.
VISIBLE_GAP = 1.5


@dataclass(frozen=True)
class PowerLaw:
    """The line log y = intercept + slope log x through points.

    Attributes
    ----------
    slope, intercept : float
        By least squares of natural logarithms, all repeats as points of their own.
    error : float
        Standard error of the slope; NaN for fewer than three points.
    points : int
        That were fitted.
    low, high : float
        The range of their abscissae.
    """

    slope: float
    intercept: float
    error: float
    points: int
    low: float
    high: float

    def __call__(self, x: ArrayLike) -> Array:
        """The line at `x`."""
        values: Array = np.exp(self.intercept + self.slope * np.log(np.asarray(x, dtype=np.float64)))
        return values

    def __str__(self) -> str:
        """The slope with its standard error."""
        return f"{self.slope:.3f}" if np.isnan(self.error) else f"{self.slope:.3f} ± {self.error:.3f}"


def fit_power_law(x: ArrayLike, y: ArrayLike) -> PowerLaw | None:
    """Fit y = c x^slope.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Points. Those that are not finite and positive are left out: a run that diverged has no error to fit.

    Returns
    -------
    PowerLaw or None
        None where there are fewer than two different abscissae.

    Raises
    ------
    ValueError
        Where the shapes differ.
    """
    abscissa, ordinate = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if abscissa.ndim != 1 or abscissa.shape != ordinate.shape:
        raise ValueError(f"x and y must be points of the same number, got shapes {abscissa.shape} and {ordinate.shape}")
    good = np.isfinite(abscissa) & np.isfinite(ordinate) & (abscissa > 0.0) & (ordinate > 0.0)
    u, v = np.log(abscissa[good]), np.log(ordinate[good])
    if np.unique(u).size < 2:
        return None
    centred = u - u.mean()
    spread = float(centred @ centred)
    slope = float(centred @ v) / spread
    intercept = float(v.mean() - slope * u.mean())
    residual = v - intercept - slope * u
    n = u.size
    error = float(np.sqrt(residual @ residual / (n - 2) / spread)) if n > 2 else float("nan")
    return PowerLaw(slope, intercept, error, n, float(abscissa[good].min()), float(abscissa[good].max()))


def geometric_mean(values: ArrayLike) -> float:
    """Of the finite and positive values; NaN where there is none."""
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array) & (array > 0.0)]
    return float(np.exp(np.log(array).mean())) if array.size else float("nan")

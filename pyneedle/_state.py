"""Where a training run stands between two epochs, so that it can go on later."""

from dataclasses import dataclass

from pyneedle._checks import Array


@dataclass(frozen=True, eq=False)
class TrainingState:
    """All that a run needs to go on, bitwise as if it had never stopped. `Fit.state` holds it where it was asked for.

    Attributes
    ----------
    parameters, m, v, best : ndarray, shape (parameter_count,)
        Parameters reached, their two Adam moments, and the parameters with the lowest validation error; flat vectors
        (w1 | b1 | w2 | b2 | w3, each in C order) of the data set's dtype.
    epochs, steps : int
        Finished so far.
    best_epoch : int
        The epoch, from 0, after which `best` were taken; -1 where there was none.
    best_validation_loss : float
        Its scaled mean squared error; infinity where there was none.
    history : dict of str to ndarray
        As `Fit.history`, of all epochs so far.
    seconds : float
        Time of the training loop so far.
    """

    parameters: Array
    m: Array
    v: Array
    best: Array
    epochs: int
    steps: int
    best_epoch: int
    best_validation_loss: float
    history: dict[str, Array]
    seconds: float

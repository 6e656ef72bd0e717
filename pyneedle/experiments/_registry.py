"""All experiments, by name."""

from collections.abc import Mapping
from typing import Any

from pyneedle import _checks
from pyneedle.experiments import _anatomy, _fig3, _fig4, _fig5, _fig6, _fig8, _fig9, _haystack, _rates
from pyneedle.experiments._experiment import Experiment

_FAMILIES = (_fig3, _fig4, _fig5, _fig6, _fig8, _fig9, _rates, _haystack, _anatomy)
_ORDER = (
    "fig3a", "fig3b", "fig3c", "fig4", "fig5a", "fig5b", "fig6a", "fig6b", "fig6c", "fig7", "fig8", "fig9a", "fig9b",
    "fig10", "fig11a", "fig11b", "rates", "haystack", "anatomy",
)  # fmt: skip

_DECLARED: dict[str, Experiment[Any]] = {
    experiment.name: experiment for family in _FAMILIES for experiment in family.EXPERIMENTS
}
EXPERIMENTS: Mapping[str, Experiment[Any]] = {name: _DECLARED[name] for name in _ORDER if name in _DECLARED}


def names() -> list[str]:
    """The names of all experiments.

    Returns
    -------
    list of str
        In the order of the paper.
    """
    return list(EXPERIMENTS)


def running_order() -> list[str]:
    """The names in the order in which nothing is trained twice: what keeps best parameters first.

    Other experiments find these runs in the store; the other way round they would lack their parameters.

    Returns
    -------
    list of str
        The same as `names`, in another order.
    """
    return sorted(EXPERIMENTS, key=lambda name: not EXPERIMENTS[name].parameters)


def get(name: str) -> Experiment[Any]:
    """The experiment of that name; TypeError or ValueError with the list of names where there is none."""
    return EXPERIMENTS[_checks.choice("name", name, EXPERIMENTS)]

"""What an experiment is: cells, their analysis, a plot."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pyneedle._networks import NetworkName
from pyneedle.experiments._protocol import PresetName, Protocol
from pyneedle.experiments._published import NUMBERS, Overlay
from pyneedle.experiments._session import Session
from pyneedle.experiments._slopes import PowerLaw
from pyneedle.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

P = TypeVar("P", bound=Protocol)


@dataclass(frozen=True)
class Comparison:
    """A line of the table that an experiment ends with.

    Attributes
    ----------
    quantity : str
        What was computed.
    value : float or None
        In this run; NaN where there was not enough to compute it from, None where nothing is run for it.
    error : float
        Standard error of `value`; NaN where there is none.
    published : float or None
        The published value, where there is one.
    source : str
        Where it was published.
    protocol : tuple of str, or str
        What of the protocol differs: values of this run, with the paper's in brackets; empty where nothing does. A text
        where there is nothing to compare.
    """

    quantity: str
    value: float | None
    error: float = float("nan")
    published: float | None = None
    source: str = ""
    protocol: tuple[str, ...] | str = ()


@dataclass(frozen=True)
class Means:
    """The geometric means over repeats of what a figure shows, a row for each abscissa.

    Attributes
    ----------
    frame : DataFrame
        The abscissa, and a column for each curve; NaN where a curve has no point.
    caption : str
        What they are.
    """

    frame: "pd.DataFrame"
    caption: str


@dataclass(frozen=True)
class Analysis:
    """What an experiment computes from its runs.

    Attributes
    ----------
    frame : DataFrame
        The numbers that the plot shows, for the CSV file.
    comparisons : list of Comparison
        For the table.
    fits : dict of str to PowerLaw
        Fitted lines, by name of the curve.
    notes : list of str
        What a reader of the table must know.
    means : Means, optional
        The numbers of the figure's points.
    data : Any
        What else the plot needs.
    """

    frame: "pd.DataFrame"
    comparisons: list[Comparison] = field(default_factory=list)
    fits: dict[str, PowerLaw] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    means: "Means | None" = None
    data: Any = None


@dataclass(frozen=True, kw_only=True)
class Experiment(Generic[P]):
    """The declaration of a figure or table.

    Parameters
    ----------
    name : str
        How it is asked for.
    title : str
        One line.
    protocols : mapping of str to Protocol
        The scale of each preset.
    plan : callable
        The runs of a protocol; where later ones depend on earlier ones, all that there may be.
    analyse : callable
        Runs what was planned in a session, and computes what is shown; given other results to compare with.
    draw : callable
        The figure, given the analysis, the protocol and other results to draw beside it.
    parameters : bool
        The analysis needs best parameters.
    overlays : bool
        Other results are drawn beside one's own.
    remark : str
        What an estimate of the time must add.
    networks : tuple of str
        Those that it can be restricted to; empty where all of it is needed.
    restrict : callable, optional
        The experiment with some of `networks` alone, given in the order of `networks`.
    """

    name: str
    title: str
    protocols: Mapping[PresetName, P]
    plan: Callable[[P], Sweep]
    analyse: Callable[[Session, P, Overlay | None], Analysis]
    draw: Callable[[Analysis, P, Overlay | None], "Figure"]
    parameters: bool = False
    overlays: bool = False
    remark: str = ""
    networks: tuple[NetworkName, ...] = ()
    restrict: "Callable[[tuple[NetworkName, ...]], Experiment[P]] | None" = None

    def only(self, networks: Iterable[str]) -> "Experiment[P]":
        """The part of the figure that is of some networks.

        Parameters
        ----------
        networks : iterable of str
            Names, in any order.

        Returns
        -------
        Experiment
            This one where it has no other networks.

        Raises
        ------
        TypeError, ValueError
            Where they are no names, none is given, or the experiment can't be restricted to one of them.
        """
        if isinstance(networks, str):
            raise TypeError(f"networks must be a list of names, such as ['LN', 'LCN'], got {networks!r}")
        wanted = list(networks)
        if not wanted:
            raise ValueError("networks must have at least one name, got none")
        if self.restrict is None:
            raise ValueError(
                f"networks must not be given for {self.name}, only for the figures of curves, 3, 5 to 7 and 9 to 11"
            )
        for name in wanted:
            if name not in self.networks:
                raise ValueError(f"networks must be among {', '.join(self.networks)} for {self.name}, got {name!r}")
        chosen = tuple(name for name in self.networks if name in wanted)
        return self if chosen == self.networks else self.restrict(chosen)


def compare_slope(quantity: str, fit: PowerLaw | None, number: str, protocol: tuple[str, ...]) -> Comparison:
    """The line of the table for a fitted slope and its published number; "" where there is none."""
    published = NUMBERS.get(number)
    return Comparison(
        quantity=quantity,
        value=float("nan") if fit is None else fit.slope,
        error=float("nan") if fit is None else fit.error,
        published=None if published is None else published.value,
        source="" if published is None else published.source,
        protocol=protocol,
    )

"""One comparison: check that all sides compute the same, time them in turns, report ratios."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from ._equality import STEPS, Truth
from ._kinks import clear_of_kinks
from ._peer import Peer, Trainer
from ._problem import Problem
from ._side import PyneedleClock, PyneedleSide, What, after_one_epoch, network_of
from ._timing import PeerClock, Ratio, in_turns

Say = Callable[[str], None]


class DisagreementError(RuntimeError):
    """A side computes something else; its time would mean nothing."""


@dataclass(frozen=True)
class Comparison:
    """The outcome for one problem and one kernel of pyneedle.

    Attributes
    ----------
    label, network, d, alpha, batch, penalty, activation : str or int
        The problem.
    what : {"step", "epoch"}
        What was timed.
    kernel : str
        The kernel that ran.
    seconds : dict
        Median seconds per unit of every side.
    rounds : dict
        Seconds per unit of every side, round by round.
    ratios : dict
        Of every peer to pyneedle.
    fastest : str
        The peer with the lowest median; "" where none could run.
    agreement : dict
        How far every side is from float64 truth.
    skipped : dict
        Peers that did not take part, with the reason.
    """

    label: str
    network: str
    d: int
    alpha: int
    batch: int
    penalty: str
    activation: str
    what: What
    kernel: str
    seconds: dict[str, float]
    rounds: dict[str, list[float]]
    ratios: dict[str, Ratio]
    fastest: str
    agreement: dict[str, str]
    skipped: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(
    problem: Problem,
    peers: Sequence[Peer],
    kernels: Sequence[str] = ("auto",),
    threads: int = 1,
    rounds: int = 5,
    budget: float = 1.0,
    whats: Sequence[What] = ("step",),
    say: Say = lambda _: None,
) -> list[Comparison]:
    """Check and time pyneedle's kernels against the peers on one problem.

    Parameters
    ----------
    problem : Problem
        With initial parameters of the protocol. Loss and gradient are compared there, and where one epoch leads: in the
        state that is timed. Training rows on which rounding decides the side of a kink are first moved out of the batch
        on which they are compared (`clear_of_kinks`).
    peers : sequence of Peer
        Those that cannot run are skipped with a line that says why.
    kernels : sequence of str
        "auto" or names; names that the network does not have are skipped.
    threads : int
        For every side.
    rounds, budget : int, float
        How often every side is timed, and for about how many seconds each time.
    whats : sequence of {"step", "epoch"}
        What to time.
    say : callable
        Is given a line of progress now and then.

    Returns
    -------
    list of Comparison
        One per kernel and unit.

    Raises
    ------
    DisagreementError
        Where a side's loss, gradient or ten steps are not those of the float64 truth.
    """
    say(f"{problem.label}: checking that all sides compute the same")
    problem = clear_of_kinks(problem)
    warm = clear_of_kinks(after_one_epoch(problem, threads))
    truths = Truth.of(problem), Truth.of(warm, with_steps=False)
    skipped: dict[str, str] = {}
    agreement: dict[str, str] = {}
    sides: dict[str, PyneedleSide] = {}
    for kernel in _kernels(problem, kernels, threads, say):
        name = f"pyneedle ({kernel})"
        prepare = partial(PyneedleSide, kernel=kernel, threads=threads)
        _, agreement[name] = _prepared(truths, name, prepare, say)
        sides[name] = prepare(problem)
    trainers: dict[str, Trainer] = {}
    for peer in peers:
        reason = peer.available()
        if reason is None:
            try:
                prepared = _prepared(truths, peer.name, partial(peer.prepare, threads=threads), say)
                trainers[peer.name], agreement[peer.name] = prepared
            except NotImplementedError as error:
                reason = str(error)
        if reason is not None:
            skipped[peer.name] = reason
            say(f"  {peer.name} skipped: {reason}")
    comparisons = []
    for what in whats:
        seconds = _times(sides, trainers, what, rounds, budget)
        for name, side in sides.items():
            row = _comparison(problem, what, side, name, seconds, list(trainers), agreement, skipped)
            comparisons.append(row)
            say(f"  {line(row)}")
    return comparisons


def line(row: Comparison) -> str:
    """One comparison as a line of text."""
    own = f"{row.what} {row.kernel}: {1e3 * row.seconds['pyneedle']:.4g} ms"
    others = ", ".join(f"{name} {ratio}" for name, ratio in row.ratios.items())
    return f"{own}; times as long: {others or 'no peer could run'}"


def _kernels(problem: Problem, kernels: Sequence[str], threads: int, say: Say) -> list[str]:
    """The kernels asked for by name, without those that the network lacks and without repetitions."""
    there, names = network_of(problem).kernels, list[str]()
    for kernel in kernels:
        name = kernel
        if kernel == "auto":  # ask, rather than know, what "auto" stands for
            name = PyneedleSide(problem, "auto", threads).fit("step", 1).kernel
        elif kernel not in there:
            say(f"  kernel {kernel} skipped: {problem.network} has {', '.join(there)}")
            continue
        if name not in names:
            names.append(name)
    return names


def _prepared(
    truths: tuple[Truth, Truth], name: str, prepare: Callable[[Problem], Trainer], say: Say
) -> tuple[Trainer, str]:
    """A side's trainer where an epoch leads, and its errors at the start and there."""
    first, settled = truths
    start = _check(first, name, prepare(first.problem))  # freed before the other takes its memory
    trainer = prepare(settled.problem)
    errors = f"{start}; {_check(settled, name, trainer, 'after an epoch: ')}"
    say(f"  {name}: errors against float64: {errors}")
    return trainer, errors


def _check(truth: Truth, name: str, trainer: Trainer, when: str = "") -> str:
    found = truth.compare(trainer)
    if not found.good:
        raise DisagreementError(
            f"{name} does not compute the same as the float64 truth on {truth.problem.label} ({STEPS} steps): "
            f"{when}{found}"
        )
    return f"{when}{found}"


def _times(
    sides: dict[str, PyneedleSide], trainers: dict[str, Trainer], what: What, rounds: int, budget: float
) -> dict[str, list[float]]:
    measures: dict[str, Callable[[], float]] = {}
    for name, side in sides.items():
        measures[name] = PyneedleClock(side, what, budget).measure
    for name, trainer in trainers.items():
        measures[name] = PeerClock(trainer, what, budget).measure
    return in_turns(measures, rounds)


def _comparison(
    problem: Problem,
    what: What,
    side: PyneedleSide,
    name: str,
    seconds: dict[str, list[float]],
    peers: list[str],
    agreement: dict[str, str],
    skipped: dict[str, str],
) -> Comparison:
    rounds = {"pyneedle": seconds[name], **{peer: seconds[peer] for peer in peers}}
    medians = {key: statistics.median(values) for key, values in rounds.items()}
    return Comparison(
        label=problem.label,
        network=problem.network,
        d=problem.d,
        alpha=problem.alpha,
        batch=problem.batch,
        penalty=problem.penalty,
        activation=problem.activation,
        what=what,
        kernel=side.kernel,
        seconds=medians,
        rounds=rounds,
        ratios={peer: Ratio.of(seconds[peer], seconds[name]) for peer in peers},
        fastest=min(peers, key=lambda peer: medians[peer]) if peers else "",
        agreement={"pyneedle": agreement[name], **{peer: agreement[peer] for peer in peers}},
        skipped=skipped,
    )

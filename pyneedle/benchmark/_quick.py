"""The two-minute comparison behind `pyneedle bench`."""

import time
from dataclasses import dataclass

from pyneedle._machine import cores

from ._compare import Comparison, Say, compare
from ._jax import JaxPeer
from ._machine import busy, describe
from ._numpy import NumpyPeer
from ._peer import Peer
from ._problem import NetworkName, make_problem
from ._torch import TorchPeer

# One of each network first: whatever does not fit into the time is left out, and said to be.
_CASES: tuple[tuple[NetworkName, int], ...] = (("LN", 20), ("GN", 8), ("LCN", 20), ("GN", 20), ("LN", 60), ("LN", 4))
_WIDE = 3.0  # highest / lowest of a ratio's rounds, above which something disturbed them


def shipped_peers() -> list[Peer]:
    """PyTorch eager, JAX and NumPy, whether installed or not (see `Peer.available`)."""
    return [TorchPeer(), JaxPeer(), NumpyPeer()]


@dataclass(frozen=True)
class QuickResult:
    """What `quick` found.

    Attributes
    ----------
    machine : dict of str to str
        The machine and the versions.
    rows : list of Comparison
        One per case that fitted into the time.
    left_out : list of str
        The cases that did not.
    warnings : list of str
        Why the ratios may be wrong: other programs were running, or rounds differ too much.
    """

    machine: dict[str, str]
    rows: list[Comparison]
    left_out: list[str]
    warnings: list[str]


def quick(seconds: float = 120.0, say: Say = lambda _: None) -> QuickResult:
    """Compare whole training steps with the frameworks that are installed, on all cores of this process.

    Parameters
    ----------
    seconds : float
        No case is begun after about two thirds of it.
    say : callable
        Is given lines of progress.

    Raises
    ------
    DisagreementError
        Where a side does not compute the same; nothing is timed then.
    """
    start, peers = time.monotonic(), shipped_peers()
    machine = describe(peers, cores())
    warnings: list[str] = []
    if busy(machine):
        warnings.append("other programs are running; frameworks that wait for their threads lose most by it")
        say(f"WARNING: {warnings[-1]}")
    rows: list[Comparison] = []
    left_out: list[str] = []
    for network, d in _CASES:
        if time.monotonic() - start > 0.65 * seconds:
            left_out.append(f"{network} d={d}")
            continue
        # 40 batches: the data of the largest case are made in a second
        problem = make_problem(network, d, batches=40, validation_rows=800)
        rows += compare(problem, peers, ("auto",), cores(), rounds=3, budget=seconds / 400, say=say)
    return QuickResult(machine, rows, left_out, warnings + _disturbed(rows))


def _disturbed(rows: list[Comparison]) -> list[str]:
    return [
        f"{row.label} against {peer}: the rounds range over a factor {ratio.high / ratio.low:.1f}, so something "
        "disturbed them; run it again on a quiet machine"
        for row in rows
        for peer, ratio in row.ratios.items()
        if ratio.high > _WIDE * ratio.low
    ]

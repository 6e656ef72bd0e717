"""Comparison with the frameworks a user may have installed; `pyneedle bench` runs it, and bench/ builds on it.

Nothing else in pyneedle imports this package at the top of a module, and no framework is imported before a peer is
asked for.
"""

from pyneedle._machine import cores

from ._compare import Comparison, DisagreementError, compare
from ._equality import Agreement, Truth
from ._jax import JaxTrainer
from ._kinks import clear_of_kinks, near_kinks
from ._loop import LoopTrainer
from ._machine import busy, describe
from ._peer import Peer, Trainer, missing, module
from ._problem import (
    ACTIVATIONS,
    NETWORKS,
    PENALTIES,
    STRENGTHS,
    WEIGHTS,
    Array,
    NetworkName,
    Parameters,
    PenaltyName,
    Problem,
    make_problem,
)
from ._quick import QuickResult, quick, shipped_peers
from ._report import comparison_table, machine_table, skipped_lines
from ._side import PyneedleClock, PyneedleSide, What, after_one_epoch, dataset_of, network_of, penalty_of
from ._timing import PeerClock, Ratio, in_turns
from ._torch import TorchTrainer
from ._truth import first_step

__all__ = [
    "ACTIVATIONS",
    "NETWORKS",
    "PENALTIES",
    "STRENGTHS",
    "WEIGHTS",
    "Agreement",
    "Array",
    "Comparison",
    "DisagreementError",
    "JaxTrainer",
    "LoopTrainer",
    "NetworkName",
    "Parameters",
    "Peer",
    "PeerClock",
    "PenaltyName",
    "Problem",
    "PyneedleClock",
    "PyneedleSide",
    "QuickResult",
    "Ratio",
    "TorchTrainer",
    "Trainer",
    "Truth",
    "What",
    "after_one_epoch",
    "busy",
    "clear_of_kinks",
    "compare",
    "comparison_table",
    "cores",
    "dataset_of",
    "describe",
    "first_step",
    "in_turns",
    "machine_table",
    "make_problem",
    "missing",
    "module",
    "near_kinks",
    "network_of",
    "penalty_of",
    "quick",
    "shipped_peers",
    "skipped_lines",
]

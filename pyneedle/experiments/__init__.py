"""The paper's figures and tables, each from one call: `reproduce("fig3a")`."""

from pyneedle.experiments._experiment import Comparison
from pyneedle.experiments._protocol import PRESETS, PresetName, Protocol
from pyneedle.experiments._published import NUMBERS, PAPER, Overlay, PublishedNumber, read_overlay
from pyneedle.experiments._registry import EXPERIMENTS, names, running_order
from pyneedle.experiments._reproduce import DEFAULT_OUT, STORE_NAME, check, estimate, plan, reproduce
from pyneedle.experiments._result import Result
from pyneedle.experiments._slopes import PowerLaw, fit_power_law
from pyneedle.experiments._tables import print_result

__all__ = [
    "DEFAULT_OUT",
    "EXPERIMENTS",
    "NUMBERS",
    "PAPER",
    "PRESETS",
    "STORE_NAME",
    "Comparison",
    "Overlay",
    "PowerLaw",
    "PresetName",
    "Protocol",
    "PublishedNumber",
    "Result",
    "check",
    "estimate",
    "fit_power_law",
    "names",
    "plan",
    "print_result",
    "read_overlay",
    "reproduce",
    "running_order",
]

"""What was set out to be reached on a GPU, against the frameworks on the same one in the same run."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyneedle.benchmark import Ratio

# Adam with the path norm in one pass, of the bandwidth of a copy.
ADAM_SHARE = 0.8


@dataclass(frozen=True)
class Goal:
    """How many times as long the fastest of some peers must take, which are those whose names begin so."""

    at_least: float
    peers: str = ""

    def verdict(self, ratios: Mapping[str, Ratio]) -> str:
        """What must be reached, and whether it was."""
        wanted = f"{self.at_least:g}x {self.peers or 'the fastest'}"
        found = [ratio.median for name, ratio in ratios.items() if name.startswith(self.peers)]
        if not found:
            return f"{wanted}: not measured"
        return f"{wanted}: {'reached' if min(found) >= self.at_least else 'MISSED'}"


# (network, d, members, TF32 on both sides), of an epoch of the protocol without a penalty.
_EPOCHS = {
    ("LN", 20, 180, False): Goal(20.0),
    ("GN", 60, 1, False): Goal(2.0, "PyTorch"),
    ("GN", 60, 1, True): Goal(1.0, "PyTorch"),
}


def of_epoch(network: str, d: int, members: int, tf32: bool) -> Goal | None:
    """The goal for a comparison of epochs, if there is one."""
    return _EPOCHS.get((network, d, members, tf32))


def adam_verdict(share: float) -> str:
    """The same for Adam's share of the bandwidth of a copy."""
    return f"{ADAM_SHARE:.0%} of copying: {'reached' if share >= ADAM_SHARE else 'MISSED'} ({share:.0%})"

"""Every peer: those that pyneedle ships for `pyneedle bench`, and those only this folder has."""

from pyneedle.benchmark import Peer, shipped_peers

from .numba_peer import NumbaPeer
from .torch_compile import TorchCompilePeer

__all__ = ["all_peers"]


def all_peers() -> list[Peer]:
    """The peers of the comparison, whether they can run here or not."""
    return [*shipped_peers(), TorchCompilePeer(), NumbaPeer()]

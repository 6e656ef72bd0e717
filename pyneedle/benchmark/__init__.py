"""Comparison with the frameworks a user may have installed; `pyneedle bench` runs it, and bench/ builds on it.

Nothing else in pyneedle imports this package, and no framework is imported before a peer is asked for.
"""

from __future__ import annotations

from .jax_peer import JaxPeer
from .numpy_peer import NumpyPeer
from .peer import Peer
from .torch_peer import TorchPeer

__all__ = ["shipped_peers"]


def shipped_peers() -> list[Peer]:
    """PyTorch eager, JAX and NumPy, whether installed or not (see `Peer.available`)."""
    return [TorchPeer(), JaxPeer(), NumpyPeer()]

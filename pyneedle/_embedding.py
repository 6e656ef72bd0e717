"""The embeddings LN -> LCN -> GN of the paper (figure 2): the small network inside the larger one."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from pyneedle import _checks, _parameters
from pyneedle._checks import Array
from pyneedle._networks import GlobalNetwork, LocallyConnectedNetwork, Network, check
from pyneedle._parameters import Parameters

_WIDER = {"LN": ("LCN", "GN"), "LCN": ("GN",), "GN": ()}


def embed(network: Network, p: Mapping[str, Array], into: Literal["LCN", "GN"]) -> tuple[Network, Parameters]:
    """Write a network as a larger one that computes the same function.

    An LN becomes an LCN whose blocks are all alike; an LN or LCN becomes a GN whose weight matrices hold the blocks on
    their diagonal and zeros elsewhere. Every hidden unit of the GN belongs to one block and sees nothing of the others,
    so the function is the same for every activation, up to the rounding of another order of summation.

    Parameters
    ----------
    network : LocalNetwork or LocallyConnectedNetwork
        The network that `p` belongs to.
    p : dict of str to ndarray
        Its parameters.
    into : {"LCN", "GN"}
        The larger network; an LCN can only go into a GN.

    Returns
    -------
    network : LocallyConnectedNetwork or GlobalNetwork
        With the same d, alpha, hidden layers and activation.
    parameters : dict of str to ndarray
        Its parameters, of the dtype of `p`; new arrays, views of one flat array.

    Raises
    ------
    TypeError, ValueError
        Where `p` does not fit the network, or the network can't be embedded into `into`.
    """
    check(network)
    dtype = _parameters.check(network.parameter_shapes, p)
    _checks.choice("into", into, ("LCN", "GN"))
    if into not in _WIDER[network.name]:
        raise ValueError(f"into must name a network larger than the {network.name} that is given, got {into!r}")
    wider: Network
    if into == "LCN":
        wider = LocallyConnectedNetwork(
            network.d, network.alpha, network.hidden_layers, network.activation, network.inputs_per_block
        )
    else:
        wider = GlobalNetwork(network.d, network.alpha, network.hidden_layers, network.activation)
    shapes = wider.parameter_shapes
    _checks.memory(wider.parameter_count, dtype, f"a {wider.name} with d={wider.d} and alpha={wider.alpha}")
    out = _parameters.unflatten(shapes, np.zeros(wider.parameter_count, dtype))
    for name, tensor in out.items():
        if into == "LCN":
            tensor[...] = p[name]
        elif tensor.ndim == 1:  # a bias, or the output weights: the blocks one after another
            tensor.reshape(network.blocks, network.width)[...] = p[name]
        else:
            columns = tensor.shape[1] // network.blocks
            # View the matrix as (block, row, block, column) and write its diagonal.
            blocks = tensor.reshape(network.blocks, network.width, network.blocks, columns)
            every = np.arange(network.blocks)
            source = p[name].reshape(-1, network.width, columns)
            blocks[every, :, every, :] = source
    return wider, out

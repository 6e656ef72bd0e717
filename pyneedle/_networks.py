"""The three networks of the paper as frozen descriptions: local (LN), locally connected (LCN) and global (GN).

Each maps x (n, d) to f(x) (n,) = output / d, without an output bias. Blocks: an LCN gives each group of `block_in`
inputs a network of its own and adds their outputs; an LN gives all groups the same one; a GN is one network that sees
all inputs.
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from pyneedle import _blas, _checks, _device, _dlpack, _gpu_arrays, _native, _parameters, _penalties
from pyneedle._checks import Array
from pyneedle._dlpack import A, DeviceArray
from pyneedle._parameters import Parameters
from pyneedle._penalties import Penalty

Activation = Literal["relu", "tanh", "sigmoid"]
NetworkName = Literal["LN", "LCN", "GN"]
Scheme = Literal["paper", "glorot"]

_MOST_PARAMETERS = 2**40  # kMaxParameters of the native code; no machine has the memory


@dataclass(frozen=True)
class Network(ABC):
    """What the three networks have in common; make a `LocalNetwork`, `LocallyConnectedNetwork` or `GlobalNetwork`.

    Attributes
    ----------
    d : int
        Number of inputs.
    alpha : int
        Nodes per input in each hidden layer.
    hidden_layers : {1, 2}
        Of each block.
    activation : {"relu", "tanh", "sigmoid"}
        Of every hidden unit.
    name : {"LN", "LCN", "GN"}
        The paper's abbreviation.
    """

    d: int
    alpha: int = 50
    hidden_layers: int = 2
    activation: Activation = "relu"

    name: ClassVar[NetworkName]

    def __post_init__(self) -> None:
        """Check the sizes; numpy integers become Python's."""
        object.__setattr__(self, "d", _checks.integer("d", self.d))
        object.__setattr__(self, "alpha", _checks.integer("alpha", self.alpha))
        object.__setattr__(self, "hidden_layers", _checks.integer("hidden_layers", self.hidden_layers, maximum=2))
        _checks.choice("activation", self.activation, ("relu", "tanh", "sigmoid"))
        self._check_blocks()
        count = sum(map(math.prod, shapes(self).values()))
        if count > _MOST_PARAMETERS:
            raise ValueError(
                f"d and alpha must give a network of at most {_MOST_PARAMETERS} parameters, got {self.d} and "
                f"{self.alpha}, which give {count}"
            )

    @abstractmethod
    def _check_blocks(self) -> None:
        """Check what only some networks have."""

    def _check_width(self, inputs: str) -> None:
        """Check the width of a block, whose number of inputs users give as the argument `inputs`."""
        if self.width > _checks.LARGEST_COUNT:
            raise ValueError(
                f"{inputs} and alpha must have a product of at most {_checks.LARGEST_COUNT}, "
                f"got {self.inputs_per_block} and {self.alpha}"
            )

    @property
    @abstractmethod
    def inputs_per_block(self) -> int:
        """Inputs that one block sees."""

    @property
    def blocks(self) -> int:
        """Number of blocks; a GN is one."""
        return self.d // self.inputs_per_block

    @property
    def width(self) -> int:
        """Units of one hidden layer of one block."""
        return self.alpha * self.inputs_per_block

    @property
    @abstractmethod
    def _groups(self) -> tuple[int, ...]:
        """The leading axis of every tensor: one set of weights per block, or nothing."""

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors in storage order; weights are [out, in].

        With two hidden layers w1, b1, w2, b2, w3; with one w1, b1, w2, where w2 holds the output weights.
        """
        return dict(shapes(self))

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return native(self).parameter_count

    @property
    def kernels(self) -> list[str]:
        """Names of the kernels that can run this network; "auto" stands for the best of them."""
        return list(kernels(self))

    def init(self, seed: int = 0, scheme: Scheme = "paper", dtype: DTypeLike = "float32") -> Parameters:
        """Draw initial parameters: Glorot uniform weights, biases 0.

        Parameters
        ----------
        seed : int
            0 <= seed < 2^64. The same seed gives the same numbers on every machine.
        scheme : {"paper", "glorot"}
            A weight is uniform on (-limit, limit) with limit = sqrt(6 / (fan_in + fan_out)). "glorot" takes the fans of
            one block. "paper" does so for LN and GN; for an LCN both fans are multiplied by the number of blocks, as
            the authors' framework does, which takes that axis of the kernel for a receptive field.
        dtype : {"float32", "float64"}
            Of all arrays.

        Returns
        -------
        dict of str to ndarray
            As `parameter_shapes`, in that order; views of one flat array.

        Raises
        ------
        TypeError, ValueError
            Where an argument is out of its range.
        """
        return _parameters.unflatten(shapes(self), initial(self, seed, scheme, dtype))

    def forward(
        self, p: Mapping[str, A], x: ArrayLike | DeviceArray, kernel: str = "auto", threads: int | None = None
    ) -> A:
        """Evaluate the network, where the parameters are.

        Parameters
        ----------
        p : dict of str to ndarray, or to arrays on a GPU
            Parameters as `parameter_shapes`, all float32 or all float64. On a GPU: arrays of CuPy, or of any library
            that speaks DLPack and makes arrays by the array API standard, C-contiguous; they are not copied.
        x : array_like, shape (n, d)
            Rows, n >= 1, of the parameters' dtype, finite (which is not checked on a GPU); where the parameters are.
        kernel : str
            "auto" or one of `kernels`; on a GPU as for `train` with device "cuda".
        threads : int, optional
            Default: as many as this process may run on. The result does not depend on it, and a GPU needs none.

        Returns
        -------
        array of the parameters' kind, shape (n,)
            f(x), divided by d, of the parameters' dtype. On a GPU the work is queued on the stream that is current in
            the library of `p`'s arrays (CuPy, PyTorch); for other libraries it is done on return.

        Raises
        ------
        TypeError, ValueError
            Where names, shapes or dtypes do not fit the network, or `x` is empty or holds NaN or infinity.
        RuntimeError, ImportError
            Where the parameters are on a GPU and this build or machine can't use it.
        """
        if _dlpack.any_on_gpu(p):
            found: A = _gpu_arrays.forward(self._layout, p, x, kernel)
            return found
        flat, dtype = self._flat(p)
        rows = _checks.inputs(x, self.d, dtype)
        self._prepare(kernel)
        prediction: Any = _native.forward(native(self), flat, rows, kernel, _checks.threads(threads))[0]
        kind: A = prediction  # that of the parameters
        return kind

    def loss_and_grad(
        self,
        p: Mapping[str, A],
        x: ArrayLike | DeviceArray,
        y: ArrayLike | DeviceArray,
        penalty: Penalty | None = None,
        kernel: str = "auto",
        threads: int | None = None,
    ) -> tuple[float, dict[str, A]]:
        """Compute the mean squared error, plus the penalty, and its gradient by all parameters, where these are.

        Parameters
        ----------
        p : dict of str to ndarray, or to arrays on a GPU
            Parameters as for `forward`.
        x : array_like, shape (n, d)
            Rows, n >= 1, of the parameters' dtype, finite (which is not checked on a GPU); where the parameters are.
        y : array_like, shape (n,)
            Scaled targets (divided by d), of the parameters' dtype, finite; where the parameters are.
        penalty : L1, L2 or PathNorm, optional
            Added to the loss.
        kernel : str
            "auto" or one of `kernels`; on a GPU as for `train` with device "cuda".
        threads : int, optional
            Default: as many as this process may run on. The result does not depend on it, and a GPU needs none.

        Returns
        -------
        loss : float
            mean (f(x) - y)^2 + penalty.
        gradient : dict of str to array of the parameters' kind
            Like `p`; NumPy's arrays are views of one flat array. The derivative of ReLU at 0 is 0.

        Raises
        ------
        TypeError, ValueError
            Where names, shapes or dtypes do not fit the network, or `x` or `y` is empty or holds NaN or infinity.
        MemoryError
            Where the gradient and what the kernel needs for it do not fit into memory.
        RuntimeError, ImportError
            Where the parameters are on a GPU and this build or machine can't use it.
        """
        if _dlpack.any_on_gpu(p):
            _penalties.check(penalty)
            return _gpu_arrays.loss_and_gradient(self._layout, p, x, y, _penalties.native(penalty), kernel)
        flat, dtype = self._flat(p)
        rows = _checks.inputs(x, self.d, dtype)
        target = _checks.targets(y, rows.shape[0], dtype)
        _penalties.check(penalty)
        self._prepare(kernel)
        loss, gradient, _ = _native.loss_and_gradient(
            native(self), flat, rows, target, _penalties.native(penalty), kernel, _checks.threads(threads)
        )
        views: Any = _parameters.unflatten(shapes(self), gradient)
        kinds: dict[str, A] = views  # those of the parameters
        return loss, kinds

    @property
    def _layout(self) -> _gpu_arrays.Layout:
        dense = self.blocks == 1 and self.d > 1  # on the GPU; a block with one input is no matter of products there
        return _gpu_arrays.Layout(native(self), shapes(self), self.d, dense, self.name)

    def _flat(self, p: Mapping[str, Any]) -> tuple[Array, np.dtype[Any]]:
        dtype = _parameters.check(shapes(self), p)
        return _parameters.flatten(shapes(self), p), dtype

    def _prepare(self, kernel: str) -> None:
        """Check the kernel's name and load what it needs."""
        check_kernel(self, kernel)
        # A single block that sees all inputs runs as a dense network, whatever it is called.
        if self.blocks == 1:
            _blas.ensure_loaded()


@dataclass(frozen=True)
class _Blocked(Network):
    block_in: int = 1

    def _check_blocks(self) -> None:
        object.__setattr__(self, "block_in", _checks.integer("block_in", self.block_in))
        if self.d % self.block_in:
            raise ValueError(f"block_in must divide d={self.d}, got {self.block_in}")
        self._check_width("block_in")

    @property
    def inputs_per_block(self) -> int:
        """Inputs that one block sees."""
        return self.block_in


@dataclass(frozen=True)
class LocalNetwork(_Blocked):
    """LN: one block with `alpha` nodes per input, applied to every input (or group of inputs), outputs added.

    Parameters
    ----------
    d : int
        Number of inputs, >= 1.
    alpha : int
        Nodes per input in each hidden layer, >= 1; a block is alpha * block_in wide. Above 2048 only the direct kernel
        applies.
    hidden_layers : {1, 2}
        Of the block.
    activation : {"relu", "tanh", "sigmoid"}
        Of every hidden unit.
    block_in : int
        Inputs per block; must divide d.

    Raises
    ------
    TypeError, ValueError
        Where an argument is no integer, or out of its range.
    """

    name: ClassVar[NetworkName] = "LN"

    @property
    def _groups(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True)
class LocallyConnectedNetwork(_Blocked):
    """LCN: a block of its own, with `alpha` nodes per input, for every input (or group of inputs), outputs added.

    Parameters
    ----------
    d : int
        Number of inputs, >= 1.
    alpha : int
        Nodes per input in each hidden layer, >= 1; a block is alpha * block_in wide. Above 2048 only the direct kernel
        applies.
    hidden_layers : {1, 2}
        Of each block.
    activation : {"relu", "tanh", "sigmoid"}
        Of every hidden unit.
    block_in : int
        Inputs per block; must divide d.

    Raises
    ------
    TypeError, ValueError
        Where an argument is no integer, or out of its range.
    """

    name: ClassVar[NetworkName] = "LCN"

    @property
    def _groups(self) -> tuple[int, ...]:
        return (self.blocks,)


@dataclass(frozen=True)
class GlobalNetwork(Network):
    """GN: the dense network, d -> d * alpha -> d * alpha -> 1, that contains the other two.

    Parameters
    ----------
    d : int
        Number of inputs, >= 1.
    alpha : int
        Nodes per input in each hidden layer, >= 1; the network is d * alpha wide.
    hidden_layers : {1, 2}
        Number of hidden layers.
    activation : {"relu", "tanh", "sigmoid"}
        Of every hidden unit.

    Raises
    ------
    TypeError, ValueError
        Where an argument is no integer, or out of its range.
    """

    name: ClassVar[NetworkName] = "GN"

    def _check_blocks(self) -> None:
        self._check_width("d")

    @property
    def inputs_per_block(self) -> int:
        """Inputs that one block sees: all."""
        return self.d

    @property
    def _groups(self) -> tuple[int, ...]:
        return ()


BY_NAME: dict[str, type[LocalNetwork | LocallyConnectedNetwork | GlobalNetwork]] = {
    kind.name: kind for kind in (LocalNetwork, LocallyConnectedNetwork, GlobalNetwork)
}


# Cached beside the networks, not in them, so that they stay plain values that pickle and compare by their fields.
@functools.lru_cache(maxsize=1024)
def native(network: Network) -> _native.Network:
    """The native form of a network."""
    return _native.Network(
        network.d,
        network.inputs_per_block,
        network.width,
        network.name == "LN",
        network.hidden_layers,
        network.activation,
    )


@functools.lru_cache(maxsize=1024)
def check_kernel(network: Network, kernel: object) -> None:
    """ValueError or TypeError where the network has no such kernel on the CPU; says what the named one takes."""
    hint = _device.cpu_hint(kernel)
    if kernel == "piecewise_linear":
        most = _native.most_piecewise_alpha
        hint = f"'piecewise_linear' takes ReLU, one input per block and an alpha of at most {most}"
    _checks.choice("kernel", kernel, ("auto", *kernels(network)), hint)


def kernels(network: Network) -> tuple[str, ...]:
    """The kernels that can run a network, as the native module lists them."""
    return tuple(native(network).kernels)


@functools.lru_cache(maxsize=1024)
def shapes(network: Network) -> Mapping[str, tuple[int, ...]]:
    """`Network.parameter_shapes`, not to be changed."""
    lead, width, inputs = network._groups, network.width, network.inputs_per_block
    # One input per block: the axis of length 1 is left out, except for a GN, whose w1 is always a matrix.
    columns = () if inputs == 1 and network.name != "GN" else (inputs,)
    first = {"w1": (*lead, width, *columns), "b1": (*lead, width)}
    if network.hidden_layers == 2:
        return MappingProxyType({**first, "w2": (*lead, width, width), "b2": (*lead, width), "w3": (*lead, width)})
    return MappingProxyType({**first, "w2": (*lead, width)})


def initial(network: Network, seed: int, scheme: Scheme, dtype: DTypeLike) -> Array:
    """What `Network.init` draws, as one flat vector (parameter_count,)."""
    seed = _checks.seed(seed)
    _checks.choice("scheme", scheme, ("paper", "glorot"))
    kind = _checks.float_dtype("dtype", dtype)
    _checks.memory(network.parameter_count, kind, f"a {network.name} with d={network.d} and alpha={network.alpha}")
    field = network.blocks if scheme == "paper" and network.name == "LCN" else 1
    return _native.initial_parameters(native(network), seed, field, _checks.dtype_name(kind))


def check(network: object, name: str = "network") -> None:
    """TypeError where `network` is no network."""
    if not isinstance(network, Network):
        raise TypeError(
            f"{name} must be a LocalNetwork, LocallyConnectedNetwork or GlobalNetwork, got {type(network).__name__}"
        )


def path_norm(network: Network, p: Mapping[str, A]) -> float:
    """The path norm: the sum over all paths from input to output of |w1| |w2| |w3|, divided by d.

    Equation 22 of the paper, with its factor 1/d. An LN's is that of the network that it stands for, in which all
    blocks have the same weights. Biases do not count.

    Parameters
    ----------
    network : LocalNetwork, LocallyConnectedNetwork or GlobalNetwork
        The network that `p` belongs to.
    p : dict of str to ndarray, or to arrays on a GPU
        Its parameters.

    Returns
    -------
    float
        The path norm; NaN or infinite where a weight is.

    Raises
    ------
    TypeError, ValueError
        Where names, shapes or dtypes of `p` do not fit the network.
    RuntimeError
        Where the parameters are on a GPU and this build or machine can't use it.
    """
    check(network)
    if _dlpack.any_on_gpu(p):
        return _gpu_arrays.path_norm(network._layout, p)
    flat, _ = network._flat(p)
    return _native.path_norm(native(network), flat)


def errors(
    network: Network, p: Mapping[str, Array], sets: Sequence[tuple[Array, Array]], threads: int | None = None
) -> tuple[list[float], float]:
    """The mean squared error of the scaled target over the rows of each (x, y) of a data set, and the path norm."""
    flat, _ = network._flat(p)
    network._prepare("auto")
    handle = native(network)
    mean = _native.mean_squared_errors(handle, flat, sets, _checks.threads(threads))
    return mean, _native.path_norm(handle, flat)

"""Adam, for the trainer and as a function of its own on any arrays."""

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pyneedle import _checks, _dlpack, _gpu_arrays, _native, _networks, _parameters, _penalties, _spans
from pyneedle._checks import Array
from pyneedle._parameters import Shapes
from pyneedle._penalties import Penalty
from pyneedle._spans import Span

EpsilonPlacement = Literal["uncorrected", "corrected"]
_REALS = ("learning_rate", "beta1", "beta2", "epsilon", "decay", "weight_decay")


@dataclass
class AdamState:
    """What Adam keeps between steps.

    Attributes
    ----------
    m, v : ndarray or dict of str to ndarray
        First and second moments, in the form of the parameters.
    t : int
        Steps that were made.
    """

    m: Any
    v: Any
    t: int = 0


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015), optionally with decoupled weight decay (AdamW).

    Step t = 1, 2, ... has the rate lr_t = learning_rate / (1 + decay * (t - 1)).

    Parameters
    ----------
    learning_rate : float
        > 0.
    beta1, beta2 : float
        Decay rates of the moments, in [0, 1).
    epsilon : float
        > 0. Times sqrt(1 - beta2) where it is "corrected", it must be a normal number of the arrays' dtype, in float32
        one from 1.2e-38 on.
    decay : float
        Of the learning rate, per step, >= 0. Figure 4 of the paper uses 0.03.
    weight_decay : float
        >= 0; multiplies weights by 1 - lr_t * weight_decay before the step.
    epsilon_placement : {"uncorrected", "corrected"}
        "uncorrected" is the form of the paper's framework,
        p -= lr_t sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon);
        "corrected" that of PyTorch, p -= lr_t mhat / (sqrt(vhat) + epsilon).

    Raises
    ------
    TypeError, ValueError
        Where a setting is no real number, or out of its range.
    """

    learning_rate: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-7
    decay: float = 0.0
    weight_decay: float = 0.0
    epsilon_placement: EpsilonPlacement = "uncorrected"

    def __post_init__(self) -> None:
        """Check the settings; the ranges are checked by the native form."""
        for name in _REALS:
            object.__setattr__(self, name, _checks.real(name, getattr(self, name)))
        _checks.choice("epsilon_placement", self.epsilon_placement, ("uncorrected", "corrected"))
        native(self)

    def init_state(self, p: Any) -> AdamState:
        """Zero moments for parameters `p`, of their kind and where they are.

        Parameters
        ----------
        p : ndarray or dict of str to ndarray, or arrays on a GPU
            As for `step`.

        Returns
        -------
        AdamState
            For `step`, at t = 0.

        Raises
        ------
        TypeError
            Where an array is neither float32 nor float64, or arrays differ in dtype.
        """
        if _dlpack.any_on_gpu(p):
            return AdamState(_gpu_arrays.zeros_like(p), _gpu_arrays.zeros_like(p))
        if isinstance(p, np.ndarray):
            _floating("p", p)
            return AdamState(np.zeros(p.shape, p.dtype), np.zeros(p.shape, p.dtype))
        shapes = _shapes(p)
        dtype = _parameters.check(shapes, p)
        size = sum(value.size for value in p.values())
        return AdamState(
            _parameters.unflatten(shapes, np.zeros(size, dtype)), _parameters.unflatten(shapes, np.zeros(size, dtype))
        )

    def step(
        self,
        p: Any,
        g: Any,
        state: AdamState,
        penalty: Penalty | None = None,
        network: _networks.Network | None = None,
        threads: int | None = None,
    ) -> None:
        """Make one step in place: changes the arrays of `p` and `state` and counts `state.t` up.

        Parameters
        ----------
        p : ndarray or dict of str to ndarray, or arrays on a GPU
            Parameters, writable, all float32 or all float64. On a GPU: arrays of CuPy, or of any library that speaks
            DLPack, C-contiguous; the step is queued on the stream that is current in that library.
        g : array or dict of str to array
            Gradient of the loss without the penalty, in the form of `p`.
        state : AdamState
            From `init_state(p)`.
        penalty : L1, L2 or PathNorm, optional
            Its gradient is added to `g` on the fly.
        network : LocalNetwork, LocallyConnectedNetwork or GlobalNetwork, optional
            The network that `p` belongs to. With it, penalty and weight decay apply to the weights only; without it, to
            all of `p`, and the path norm is an error.
        threads : int, optional
            Default: as many as this process may run on. The result does not depend on it.

        Raises
        ------
        TypeError, ValueError
            Where names, shapes or dtypes do not fit one another or the network, an array is read-only, epsilon is too
            small for the dtype, or arrays share memory; only `g` may be `p` itself.
        RuntimeError
            Where the parameters are on a GPU and this build or machine can't use it.
        """
        _penalties.check(penalty)
        count = _checks.threads(threads)
        if not isinstance(state, AdamState):
            raise TypeError(f"state must be an AdamState, got {type(state).__name__}")
        t = _checks.integer("state.t", state.t, minimum=0, maximum=2**62) + 1
        if network is not None:
            _networks.check(network)
            if not isinstance(p, Mapping):
                raise TypeError(f"p must be a dict of arrays where a network is given, got {type(p).__name__}")
        elif penalty is not None and penalty.kind == "path-norm":
            raise ValueError("network must be given for a PathNorm penalty, got None")
        settings, cost = native(self), _penalties.native(penalty)
        if _dlpack.any_on_gpu(p):
            layout = None if network is None else network._layout
            arrays = {"p": p, "g": g, "state.m": state.m, "state.v": state.v}
            _gpu_arrays.adam_step(layout, arrays, t, settings, cost, functools.partial(check_epsilon, self))
        else:
            given = {"g": g, "p": p, "state.m": state.m, "state.v": state.v}
            _step_on_cpu(self, given, t, settings, cost, network, count)
        state.t = t


def _step_on_cpu(
    adam: Adam,
    given: Mapping[str, Any],
    t: int,
    settings: _native.Adam,
    penalty: _native.Penalty,
    network: _networks.Network | None,
    threads: int,
) -> None:
    """Step t on NumPy's arrays: "g" is read, "p", "state.m" and "state.v" are changed."""
    if network is not None:
        shapes: Shapes = network.parameter_shapes
        # One flat vector: the native step must know which part of it are weights.
        groups, handle = [shapes], _networks.native(network)
    else:
        shapes = _shapes(given["p"])
        groups, handle = [{key: shape} for key, shape in shapes.items() if 0 not in shape], None
    checked = _arrays(shapes, given)
    check_epsilon(adam, next(iter(checked["p"].values())).dtype)
    flats = [[_parameters.flatten(group, arrays) for arrays in checked.values()] for group in groups]
    if network is None or not _flat_and_apart(flats[0], checked):
        _check_apart(checked)
    for group, (gradient, p, m, v) in zip(groups, flats, strict=True):
        _native.adam_step(handle, p, gradient, m, v, t, settings, penalty, threads)
        for values, name in ((p, "p"), (m, "state.m"), (v, "state.v")):
            _copy_back(group, values, checked[name])


def native(adam: Adam) -> _native.Adam:
    """The native form of the settings."""
    return _native.Adam(
        adam.learning_rate,
        adam.beta1,
        adam.beta2,
        adam.epsilon,
        adam.decay,
        adam.weight_decay,
        adam.epsilon_placement,
    )


def _floating(name: str, array: Array) -> None:
    if array.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"{name} must be float32 or float64, got {array.dtype}")


def _shapes(p: Array | Mapping[str, Array]) -> Shapes:
    if isinstance(p, np.ndarray):
        return {"": p.shape}
    if not isinstance(p, Mapping) or not p:
        raise TypeError(f"p must be an array or a dict of arrays, got {p if p == {} else type(p).__name__}")
    for key, value in p.items():
        if not isinstance(value, np.ndarray):
            raise TypeError(f"p[{key!r}] must be a numpy array, got {_dlpack.describe(value)}")
    return {key: value.shape for key, value in p.items()}


def check_epsilon(adam: Adam, dtype: np.dtype[Any]) -> None:
    """ValueError where epsilon is 0 to arithmetic of this dtype, which takes numbers below the normal ones as 0."""
    factor = math.sqrt(1.0 - adam.beta2) if adam.epsilon_placement == "corrected" else 1.0
    least = float(np.finfo(dtype).smallest_normal)
    if adam.epsilon * factor < least:
        scaled = "" if factor == 1.0 else f" times sqrt(1 - beta2) = {factor:.3g}"
        raise ValueError(f"epsilon{scaled} must be at least {least:.3g} with {dtype}, got {adam.epsilon:.3g}")


def _arrays(shapes: Shapes, given: Mapping[str, object]) -> dict[str, Mapping[str, Array]]:
    """Check that all are like "p", of one dtype, and all but "g" writable; single arrays become dicts."""
    checked: dict[str, Mapping[str, Array]] = {}
    single = isinstance(given["p"], np.ndarray)
    dtypes = {}
    for name, value in given.items():
        alone = isinstance(value, np.ndarray) or (single and not isinstance(value, Mapping))
        arrays = {"": value} if alone else value
        dtypes[name] = _parameters.check(shapes, arrays, name)
        assert isinstance(arrays, Mapping)
        checked[name] = arrays
    for name, arrays in checked.items():
        if dtypes[name] != dtypes["p"]:
            raise TypeError(f"{name} must have the parameters' dtype {dtypes['p']}, got {dtypes[name]}")
        for key in shapes:
            if name != "g" and not arrays[key].flags.writeable:
                raise ValueError(f"{_checks.label(name, key)} must be writable, got a read-only array")
    return checked


def _flat_and_apart(flats: list[Array], checked: Mapping[str, Mapping[str, Array]]) -> bool:
    """Whether all arrays are the parts of these vectors, as pyneedle makes them, and the vectors lie apart.

    A quick look at what is usual; where it says no, `_check_apart` says why or that all is well.
    """
    owners = (next(iter(arrays.values())).base for arrays in checked.values())
    if not all(flat is owner for flat, owner in zip(flats, owners, strict=True)):
        return False
    pairs = itertools.combinations(flats if flats[0] is not flats[1] else flats[1:], 2)
    return not any(np.may_share_memory(one, other) for one, other in pairs)


def _span(name: str, key: str, array: Array) -> Span:
    first = array.__array_interface__["data"][0]
    end = first + array.nbytes
    if not array.flags.forc:
        end = first + array.itemsize
        for n, stride in zip(array.shape, array.strides, strict=True):
            first, end = first + min(0, (n - 1) * stride), end + max(0, (n - 1) * stride)
    return Span(first, end, name != "g", name, key)


def _check_apart(checked: Mapping[str, Mapping[str, Array]]) -> None:
    """ValueError where an array that is changed shares memory with another one; g's may be p's of the same key."""
    p = checked["p"]
    spans = [
        _span(name, key, array)
        for name, arrays in checked.items()
        for key, array in arrays.items()
        if array.size and not (name == "g" and _is_same(array, p[key]))
    ]
    if _spans.meeting(spans):
        _check_pairs(checked, spans)


def _check_pairs(checked: Mapping[str, Mapping[str, Array]], spans: list[Span]) -> None:
    """The exact check, where some spans meet: the elements of two slices with steps may still be apart."""
    for one, other in itertools.combinations(spans, 2):
        either = one.changed or other.changed
        if either and np.shares_memory(checked[one.name][one.key], checked[other.name][other.key]):
            raise _spans.error(one, other)


def _is_same(one: Array, other: Array) -> bool:
    """Whether these arrays of one shape and dtype have the same elements in memory."""
    if one is other:
        return True
    return one.strides == other.strides and one.__array_interface__["data"][0] == other.__array_interface__["data"][0]


def _copy_back(shapes: Shapes, flat: Array, p: Mapping[str, Array]) -> None:
    """Write a flat vector into the arrays of `p`, unless these are views of it."""
    for key, value in _parameters.unflatten(shapes, flat).items():
        if not np.may_share_memory(value, p[key]):
            p[key][...] = value

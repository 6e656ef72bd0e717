"""Train very many small structured regression networks: local (LN), locally connected (LCN) and global, dense (GN)."""

from typing import TYPE_CHECKING, Any

from pyneedle._datasets import Dataset, Split, make_dataset
from pyneedle._embedding import embed
from pyneedle._fit import Fit
from pyneedle._native import Progress, __version__
from pyneedle._networks import GlobalNetwork, LocallyConnectedNetwork, LocalNetwork, Network, path_norm
from pyneedle._optimizers import Adam, AdamState
from pyneedle._penalties import L1, L2, PathNorm
from pyneedle._state import TrainingState
from pyneedle._training import Run, batch_size, train, train_ensemble

if TYPE_CHECKING:
    from pyneedle.sweep import Sweep

__all__ = [
    "L1",
    "L2",
    "Adam",
    "AdamState",
    "Dataset",
    "Fit",
    "GlobalNetwork",
    "LocalNetwork",
    "LocallyConnectedNetwork",
    "Network",
    "PathNorm",
    "Progress",
    "Run",
    "Split",
    "Sweep",
    "TrainingState",
    "__version__",
    "batch_size",
    "embed",
    "make_dataset",
    "path_norm",
    "train",
    "train_ensemble",
]


def __getattr__(name: str) -> Any:
    # `import pyneedle` must stay light: what sweeps need is imported when one is asked for.
    if name == "Sweep":
        from pyneedle.sweep import Sweep

        return Sweep
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Where the BLAS of the dense network comes from: the OpenBLAS that the scipy-openblas32 package carries."""

import threading
from pathlib import Path

from pyneedle import _native

_PACKAGE = "scipy_openblas32"
_lock = threading.Lock()
_loaded: list[str] = []


def find() -> str:
    """Path of the OpenBLAS library; ImportError where the package or its library is missing."""
    # Not at the top: `import pyneedle` must not pay for what only a dense network needs.
    import importlib.util

    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(
            "a dense network (GN) needs OpenBLAS from the package scipy-openblas32, which is not installed; "
            "`pip install scipy-openblas32` brings it"
        )
    for folder in spec.submodule_search_locations:
        for pattern in ("libscipy_openblas*.so*", "libscipy_openblas*.dylib"):
            for path in sorted(Path(folder, "lib").glob(pattern)):
                return str(path)
    raise ImportError(
        f"the installed package scipy-openblas32 holds no libscipy_openblas library in "
        f"{list(spec.submodule_search_locations)}; reinstall it"
    )


def ensure_loaded() -> str:
    """Load OpenBLAS into the native module, once per process; returns its path."""
    with _lock:
        if not _loaded:
            path = find()
            _native.load_blas(path)
            _loaded.append(path)
        return _loaded[0]

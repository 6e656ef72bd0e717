"""What the machine can do at most, measured: copy bandwidth, and float32 products."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

COPY_FLOATS = 1 << 26  # 256 MiB a side: beyond any cache
GEMM_SIZE = 2048


def _best(run: Callable[[], object], repeats: int) -> float:
    """Shortest of several times: a ceiling is what the machine does when nothing disturbs it."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def copy_bandwidth(threads: int, repeats: int = 5) -> float:
    """Bytes per second of copying a large array with `threads` threads: 4 read and 4 written per float32.

    What a write reads before (write-allocate) is not counted, neither here nor for any kernel.
    """
    source, target = np.ones(COPY_FLOATS, np.float32), np.zeros(COPY_FLOATS, np.float32)
    pieces = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:  # NumPy copies without the GIL
        return 8.0 * COPY_FLOATS / _best(lambda: list(pool.map(lambda p: np.copyto(p[1], p[0]), pieces)), repeats)


def sgemm_rate(repeats: int = 3) -> float:
    """Operations per second of a square float32 product, by NumPy's BLAS on all cores of the process."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((GEMM_SIZE, GEMM_SIZE), np.float32) for _ in range(2))
    out = np.empty_like(a)
    return 2.0 * GEMM_SIZE**3 / _best(lambda: np.matmul(a, b, out=out), repeats)

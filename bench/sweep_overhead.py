"""What a sweep of many tiny runs spends outside training: `python -m bench.sweep_overhead`.

A run is an LN of d = 8, alpha = 10 on 1,000 samples for 100 epochs, some 12 ms of one core. Training is the native
training loop alone, which each run times itself (its "seconds"). All else counts as overhead: describing the cells,
drawing the data, making and freeing each run's engine, the errors and the path norm of each run, its row and its
history in the store, reading the frame, and the import of pandas.

With `--vary data_seed` each run has data of its own, and no two runs are of one kind, so that none shares a call with
another: what that costs, and finding the next of many kinds, is in the overhead, too.

Two shares are printed; the status is 1 where the larger one is above the goal, which is one for runs that differ in the
repeat.

Of the wall clock: wall x threads less the sum of the runs' seconds, over wall x threads. It is what a user waits for.
With one thread it says nothing of what the driver does on another core meanwhile; and where threads wait for a core,
that stretches the runs' own seconds, too, and makes the share smaller. Hence the other one.

Of the processor time of the whole process, on whatever core: less that of the training loops, which is not clocked
within them. The native threads' processor time during the calls of the native loop is that of the process, less that of
the two Python threads meanwhile (the caller, which waits and reports, and the driver, which stores earlier runs). Of
it, training has the share that the runs' seconds have of the wall clock of these calls. Whatever a call does beside the
loops (it starts and ends with the interpreter's lock) makes that share smaller, so that the overhead is not
underestimated. This needs one sweep thread: two calls at a time could not be told apart.
"""

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pyneedle as pn
from pyneedle import _native

_GOAL = 0.05


class Clock:
    """Processor and wall time of the calls of the native loop."""

    def __init__(self) -> None:
        self.processor = self.wall = 0.0
        self._native = _native.train
        self._driver = time.pthread_getcpuclockid(threading.get_ident())
        _native.train = self._timed

    def _now(self) -> float:
        return time.process_time() - time.thread_time() - time.clock_gettime(self._driver)

    def _timed(self, *arguments: Any, **more: Any) -> Any:
        processor, wall = self._now(), time.perf_counter()
        try:
            return self._native(*arguments, **more)
        finally:
            self.processor += self._now() - processor
            self.wall += time.perf_counter() - wall


def main() -> int:
    """Measure and print; status 1 where the share is above the goal."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--vary", choices=["repeat", "data_seed"], default="repeat", help="what tells the runs apart")
    options = parser.parse_args()

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        processor, wall = time.process_time(), time.perf_counter()
        different: dict[str, Any] = {options.vary: range(options.runs)}
        sweep = pn.Sweep(network="LN", d=8, alpha=10, n_samples=1000, epochs=options.epochs, **different)
        frame = sweep.run(Path(folder) / "a.sqlite", threads=1, progress=False)
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
    assert (frame["status"] == "completed").all()

    seconds = float(frame["seconds"].sum())
    training = clock.processor * seconds / clock.wall
    shares = {"wall clock": (wall, seconds), "processor time": (processor, training)}
    sys.stdout.write(
        f"{options.runs} runs of LN, d=8, alpha=10, 1000 samples, {options.epochs} epochs, one thread, each another "
        f"{options.vary}\n"
        f"{'':16}{'all':>10}{'training':>12}{'outside':>12}\n"
    )
    for name, (all_of_it, inside) in shares.items():
        outside = all_of_it - inside
        sys.stdout.write(
            f"{name:16}{all_of_it:8.2f} s{inside:10.2f} s{outside:10.2f} s: {outside / all_of_it:.1%}, "
            f"{1e3 * outside / options.runs:.2f} ms a run\n"
        )
    return (
        0
        if options.vary != "repeat" or all(1.0 - inside / all_of_it < _GOAL for all_of_it, inside in shares.values())
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())

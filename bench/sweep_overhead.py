"""What a sweep of many tiny runs spends outside training: `python -m bench.sweep_overhead`.

A run is an LN of d = 8, alpha = 10 on 1,000 samples for 100 epochs, some 13 ms of one core. Training is the processor
time of the native training threads alone. Everything else counts as overhead: describing the cells,
drawing the data, the errors and the path norm of each run, its row and its history in the store, reading the frame, and
the import of pandas.

Processor time is the measure, since a busy machine stretches the wall clock of both. That of the whole process is read
around the sweep. Training is the processor time of the process during each call of the native loop, less that of the
two Python threads meanwhile (the caller, which waits and reports, and the driver, which stores earlier runs): what is
left is that of the native threads. This needs one sweep thread: two calls at a time could not be told apart.
"""

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyneedle as pn
from pyneedle import _native

_GOAL = 0.05


def main() -> int:
    """Measure and print; status 1 where the share is above the goal."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args()

    inside = 0.0
    native = _native.train
    driver = time.pthread_getcpuclockid(threading.get_ident())

    def clock():
        return time.process_time() - time.thread_time() - time.clock_gettime(driver)

    def timed(*arguments, **more):
        nonlocal inside
        began = clock()
        try:
            return native(*arguments, **more)
        finally:
            inside += clock() - began

    _native.train = timed
    with tempfile.TemporaryDirectory() as folder:
        processor, wall = time.process_time(), time.perf_counter()
        sweep = pn.Sweep(network="LN", d=8, alpha=10, n_samples=1000, epochs=options.epochs, repeat=range(options.runs))
        frame = sweep.run(Path(folder) / "a.sqlite", threads=1, progress=False)
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
    assert (frame["status"] == "completed").all()

    training = float(frame["seconds"].sum())
    outside, each = processor - inside, 1e3 / options.runs
    sys.stdout.write(
        f"{options.runs} runs of LN, d=8, alpha=10, 1000 samples, {options.epochs} epochs, one thread\n"
        f"wall clock      {wall:8.2f} s, of which training {training:.2f} s\n"
        f"processor time  {processor:8.2f} s, {processor * each:.2f} ms a run\n"
        f"outside train   {outside:8.2f} s, {outside * each:.2f} ms a run: {outside / processor:.1%}\n"
    )
    return 0 if outside / processor < _GOAL else 1


if __name__ == "__main__":
    sys.exit(main())

"""The scales of the presets: `quick` takes minutes on two cores, `laptop` less than an hour, `paper` is the paper's.

Experiments that show the same runs share a protocol here, so that they find one another's results in a store. A
penalty's best strength goes down with the error that it is weighed against: with fewer rows and steps it is larger than
the paper's.
"""

from collections.abc import Mapping

from pyneedle.experiments._protocol import PresetName, Protocol

ALL_D = tuple(range(4, 61, 4))
# {1, 3, 5, 7} * 10^k up to 10^6
LADDER = (*(digit * 10**k for k in (3, 4, 5) for digit in (1, 3, 5, 7)), 10**6)

_QUICK_LADDER = tuple(500 * 2**k for k in range(7))  # up to 32000

AGAINST_D: Mapping[PresetName, Protocol] = {
    "quick": Protocol(d=(4, 8, 12, 16, 20), n_samples=(10_000,), epochs=400, repeats=2, alpha=20, l1=1e-7, l2=1e-6),
    "laptop": Protocol(d=ALL_D, gn_d=(4, 8, 12, 16, 20), n_samples=(10_000,), epochs=500, repeats=2, l1=1e-7, l2=1e-6),
    "paper": Protocol(d=ALL_D, n_samples=(100_000,), epochs=1000, repeats=4),
}

# Figures 9 and 11a
AGAINST_N: Mapping[PresetName, Protocol] = {
    "quick": Protocol(d=(12,), n_samples=_QUICK_LADDER, epochs=100, repeats=2, alpha=20, l1=1e-7),
    "laptop": Protocol(d=(16,), n_samples=tuple(n for n in LADDER if n <= 70_000), epochs=200, repeats=2, l1=1e-7),
    "paper": Protocol(d=(40,), n_samples=LADDER, epochs=1000, repeats=4),
}

# Figures 10 and 11b
AGAINST_N_LARGER_D: Mapping[PresetName, Protocol] = {
    "quick": Protocol(d=(16,), n_samples=_QUICK_LADDER, epochs=100, repeats=2, alpha=20, l1=1e-7),
    "laptop": Protocol(d=(20,), n_samples=tuple(n for n in LADDER if n <= 70_000), epochs=200, repeats=2, l1=1e-7),
    "paper": Protocol(d=(60,), n_samples=LADDER, epochs=1000, repeats=4),
}

"""SplitMix64, by which numbers are drawn without a generator's state: equal everywhere, in any order.

Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014; reference code
https://prng.di.unimi.it/splitmix64.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

GAMMA = 0x9E3779B97F4A7C15
"""What the state grows by from one number to the next."""
FACTORS = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
SHIFTS = 30, 27, 31


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return each number after SplitMix64's finaliser, a permutation of the 64-bit numbers; uint64, of their shape."""
    for shift, factor in zip(SHIFTS, FACTORS, strict=False):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(SHIFTS[-1]))

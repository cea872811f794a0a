"""Random numbers by counter: any element of any step is computed from the seed alone.

A generator's state would have to be stored in every checkpoint and advanced equally on every rank. A counter needs
neither: the numbers are a pure function of (seed, step, stream, element), equal on every device and number of ranks.
The function is SplitMix64; `core.hashing` has its source and the same function of NumPy's arrays.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mlimages_dataset.core.hashing import FACTORS, GAMMA, SHIFTS

# Its constants as signed integers: torch has no arithmetic on uint64, and int64 wraps alike.
_GAMMA = GAMMA - (1 << 64)
_FIRST_FACTOR, _SECOND_FACTOR = (factor - (1 << 64) for factor in FACTORS)
_FIRST_SHIFT, _SECOND_SHIFT, _LAST_SHIFT = SHIFTS


def seed_scalar(seed: int) -> Tensor:
    """Return a seed as an int64 scalar; one from 2**63 to 2**64 - 1 as the signed integer of the same bits."""
    return torch.tensor(seed - (1 << 64) if seed >= 1 << 63 else seed, dtype=torch.int64)


def stream_key(seed: Tensor, step: Tensor, stream: int) -> Tensor:
    """Return the key of one stream of one step, an int64 scalar.

    Args:
        seed: int64 scalar.
        step: int64 scalar.
        stream: which of the independent uses of randomness within a step.
    """
    return _mixed(_mixed(_mixed(seed) + stream) + step)


def draw_bits(key: Tensor, n: int) -> Tensor:
    """Return the first n outputs of SplitMix64 from state `key`: 64 random bits each, int64, shape (n,)."""
    return _mixed(key + _GAMMA * torch.arange(1, n + 1, device=key.device))


def draw_uniform(key: Tensor, n: int) -> Tensor:
    """Return n numbers in [0, 1) with 24 random bits each, float32, shape (n,)."""
    return _shifted(draw_bits(key, n), 40).to(torch.float32) * 2.0**-24


def draw_below(key: Tensor, n: int, bound: int) -> Tensor:
    """Return n integers in [0, bound), int64, shape (n,); a bound below 2**32 biases them by less than 2**-31."""
    return _shifted(draw_bits(key, n), 1) % bound


def draw_positions(key: Tensor, n: int) -> Tensor:
    """Return the place of each of n elements in a random order: a permutation of 0..n-1, int64, shape (n,)."""
    return draw_bits(key, n).argsort(stable=True).argsort(stable=True)


def _mixed(bits: Tensor) -> Tensor:
    """Return the bits after SplitMix64's finaliser."""
    bits = (bits ^ _shifted(bits, _FIRST_SHIFT)) * _FIRST_FACTOR
    bits = (bits ^ _shifted(bits, _SECOND_SHIFT)) * _SECOND_FACTOR
    return bits ^ _shifted(bits, _LAST_SHIFT)


def _shifted(bits: Tensor, n: int) -> Tensor:
    """Return the bits shifted right by n, filled with zeros; torch's own shift repeats the sign."""
    return (bits >> n) & ((1 << (64 - n)) - 1)

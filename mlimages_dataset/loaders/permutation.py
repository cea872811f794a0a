"""Permutations of 0..n-1 whose elements are computed one by one, without a table of n numbers.

A Feistel network permutes 0..2^b-1, where 2^b is the smallest such power that is at least n. An element that is
sent to n or beyond is sent through the network again until it is below n ("cycle walking"), which gives a permutation
of 0..n-1. The network has a key, and every key gives another order. Source: J. Black and P. Rogaway, "Ciphers with
Arbitrary Finite Domains", CT-RSA 2002, https://web.cs.ucdavis.edu/~rogaway/papers/subset.pdf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.hashing import mixed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ROUNDS = 8
"""Luby and Rackoff prove four rounds sufficient; short halves need more."""

TABLE = 1 << 12
"""Up to so many elements a table is used: it takes no longer, and with short halves some orders would be rare."""


def keys_of(*entropy: int) -> NDArray[np.uint64]:
    """Return the key of a sequence of integers, uint64, shape (ROUNDS,); (1, 2) and (2, 1) have different keys.

    Raises:
        UsageError: one of them is negative.
    """
    if min(entropy) < 0:
        raise UsageError(f"{min(entropy)} is neither a seed nor an epoch", remedy="count both from 0")
    return np.asarray(np.random.SeedSequence(entropy).generate_state(ROUNDS, np.uint64), np.uint64)


def permuted(positions: NDArray[np.int64], n: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the images of positions under a permutation of 0..n-1, int64, of the positions' shape.

    Args:
        positions: each in 0..n-1, any shape.
        n: the number of elements.
        keys: shape (ROUNDS,).
    """
    if n <= TABLE:
        return np.asarray(np.random.default_rng(keys).permutation(n)[positions])
    bits = int(n - 1).bit_length()
    widths = (bits // 2, bits - bits // 2)
    found = _network(positions.astype(np.uint64), widths, keys)
    outside = np.flatnonzero(found >= n)
    while len(outside):
        found.flat[outside] = _network(found.flat[outside], widths, keys)
        outside = outside[found.flat[outside] >= n]
    return found.astype(np.int64)


def _network(values: NDArray[np.uint64], widths: Sequence[int], keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the images of `values` under a permutation of 0..2^b-1; the two widths add up to b.

    The halves are swapped in every round, and with an odd b their widths, too.
    """
    low, high = widths
    right, left = values & np.uint64((1 << low) - 1), values >> np.uint64(low)
    for key in keys:
        left, right = right, left ^ (mixed(right + key) & np.uint64((1 << high) - 1))
        low, high = high, low
    return (left << np.uint64(low)) | right

"""Copies of pictures: files with equal bytes, or the same picture encoded differently.

Each picture has two 64-bit hashes. The search uses the signs of the lowest frequencies (pHash: C. Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, section 3.2.1). Pairs that it finds must
also agree in the signs of brightness differences between neighbours (dHash), which makes other mistakes. Mirrored and
rotated pictures, and crops of more than a few percent, are not copies.

Legend: N pictures, P pairs of them.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import scipy.sparse as sp
from PIL import Image

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.images.check import PILLOW_FORMATS
from mlimages_dataset.images.depth import eight_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = 64
_FREQUENCIES = 8
_THUMBNAIL = 32
_FLAT = 4.0
"""Grey levels; below this standard deviation the hashes of a picture are noise."""

_WORDS, _WORD_BITS = 4, 16
_ONES_OF_WORD = (
    np.unpackbits(np.arange(1 << _WORD_BITS, dtype=np.uint16).view(np.uint8)).reshape(-1, 16).sum(1, np.uint8)
)
"""Set bits of every 16-bit word, uint8, shape (65536,); NumPy counts them itself from version 2 on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HashTolerance:
    """The number of bits in which the hashes of copies may differ.

    Attributes:
        frequencies: bits of the hash by frequencies (pHash).
        neighbours: bits of the hash by neighbours (dHash).
    """

    frequencies: int = 10
    neighbours: int = 12


def picture_hashes(content: bytes) -> tuple[int, int] | None:
    """Return a picture's 64-bit hashes by frequencies and by neighbours; None for a picture of nearly one colour.

    Raises:
        Exception: of any kind, if Pillow cannot decode it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as image:
            image.draft("L", (2 * _THUMBNAIL, 2 * _THUMBNAIL))
            grey = eight_bits(image).convert("L")
    thumbnail = np.asarray(grey.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX), np.float32)
    if thumbnail.std() < _FLAT:
        return None
    # Without row and column 0, brightness and its gradients, which depend most on the light.
    lowest = scipy.fft.dctn(thumbnail)[1 : _FREQUENCIES + 1, 1 : _FREQUENCIES + 1]
    small = np.asarray(grey.resize((_FREQUENCIES + 1, _FREQUENCIES), Image.Resampling.BOX), np.int16)
    return _packed(lowest > np.median(lowest)), _packed(small[:, 1:] > small[:, :-1])


def _packed(bits: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def distances(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the number of different bits (Hamming distance), uint8, of the arrays' common shape."""
    different = one ^ other
    total = np.zeros(different.shape, np.uint8)
    for word in range(_WORDS):
        total += _ONES_OF_WORD[different >> np.uint64(_WORD_BITS * word) & np.uint64(0xFFFF)]
    return total


def pairs_within(hashes: NDArray[np.uint64], radius: int) -> NDArray[np.int64]:
    """Return the indices of all pairs of hashes that differ in at most `radius` bits, ascending, int64, shape (P, 2).

    Multi-index hashing (M. Norouzi, A. Punjani, D. Fleet, "Fast Search in Hamming Space with Multi-Index Hashing",
    2012, proposition 1): of the four words of 16 bits, at least one differs in at most a quarter of `radius` bits.

    Raises:
        ValueError: the radius is not within 0 and 15.
    """
    if not 0 <= radius < _WORDS * 4:
        raise ValueError(f"a radius of {radius} bits is not within 0 and 15")
    masks = np.flatnonzero(radius // _WORDS >= _ONES_OF_WORD).astype(np.uint64)
    found = [np.empty((0, 2), np.int64)]
    for word in range(_WORDS):
        key = (hashes >> np.uint64(_WORD_BITS * word)).astype(np.uint16)
        order = np.argsort(key, kind="stable")
        starts = np.searchsorted(key[order], np.arange((1 << _WORD_BITS) + 1))
        # Sorted by bucket: the search then reads neighbouring hashes.
        found.append(_pairs(hashes[order], (order, starts), masks, word, radius))
    pairs = np.concatenate(found)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


@compiled
def _pairs(
    hashes: NDArray[np.uint64],
    buckets: tuple[NDArray[np.int64], NDArray[np.int64]],
    masks: NDArray[np.uint64],
    word: int,
    radius: int,
) -> NDArray[np.int64]:
    order, starts = buckets
    found = np.empty((1024, 2), np.int64)
    n = 0
    for own_at in range(len(hashes)):
        i = order[own_at]
        own = (hashes[own_at] >> np.uint64(16 * word)) & np.uint64(0xFFFF)
        for mask in masks:
            bucket = own ^ mask
            for at in range(starts[bucket], starts[bucket + np.uint64(1)]):
                different = hashes[own_at] ^ hashes[at]
                if _ones(different) > radius:
                    continue
                j = order[at]
                if j <= i:
                    continue
                first = True  # false if an earlier word has found the pair
                for earlier in range(word):
                    if _ones((different >> np.uint64(16 * earlier)) & np.uint64(0xFFFF)) <= radius // 4:
                        first = False
                if not first:
                    continue
                if n == len(found):
                    larger = np.empty((2 * n, 2), np.int64)
                    larger[:n] = found
                    found = larger
                found[n, 0], found[n, 1] = i, j
                n += 1
    return found[:n]


@compiled
def _ones(value: np.uint64) -> int:
    # Hacker's Delight, figure 5-2.
    value = value - ((value >> np.uint64(1)) & np.uint64(0x5555555555555555))
    value = (value & np.uint64(0x3333333333333333)) + ((value >> np.uint64(2)) & np.uint64(0x3333333333333333))
    value = (value + (value >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((value * np.uint64(0x0101010101010101)) >> np.uint64(56))


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """The digests and hashes of N pictures.

    Attributes:
        digests: the first 64 bits of the SHA-256 of the bytes, uint64, shape (N,).
        frequencies: hashes by frequencies, uint64, shape (N,).
        neighbours: hashes by neighbours, uint64, shape (N,).
        hashed: whether a picture has the two hashes, bool, shape (N,).
    """

    digests: NDArray[np.uint64]
    frequencies: NDArray[np.uint64]
    neighbours: NDArray[np.uint64]
    hashed: NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: list[Fingerprints]) -> Fingerprints:
        """Return the fingerprints of several parts, concatenated."""
        return cls(
            np.concatenate([part.digests for part in parts]),
            np.concatenate([part.frequencies for part in parts]),
            np.concatenate([part.neighbours for part in parts]),
            np.concatenate([part.hashed for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.digests)


def exact_groups(prints: Fingerprints) -> NDArray[np.int64]:
    """Return for each picture the first one with the same bytes, most often itself, int64, shape (N,).

    64 bits of the digest are enough to tell pictures apart.
    """
    _, first, group = np.unique(prints.digests, return_index=True, return_inverse=True)
    return np.asarray(first[group], np.int64)


def alike_pairs(prints: Fingerprints, tolerance: HashTolerance) -> NDArray[np.int64]:
    """Return pairs of pictures that agree in both hashes within the tolerance, int64, shape (P, 2).

    Of pictures with equal bytes only the first is compared. Pictures with equal hashes are each paired with the first
    of them, not with each other.
    """
    rows = np.flatnonzero(prints.hashed & (exact_groups(prints) == np.arange(len(prints))))
    if not len(rows):
        return np.empty((0, 2), np.int64)
    both = np.stack([prints.frequencies[rows], prints.neighbours[rows]], axis=1)
    distinct, first, group = np.unique(both, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    equal = np.stack([rows[first[group]], rows], axis=1)[first[group] != np.arange(len(rows))]
    # Search among distinct hashes by frequencies; then expand each pair of hashes to the pictures that have them.
    hashes, of_hash = np.unique(distinct[:, 0], return_inverse=True)
    holders = sp.csr_array((np.ones(len(distinct), np.bool_), (of_hash, np.arange(len(distinct)))))
    near = pairs_within(hashes, tolerance.frequencies)
    same = np.stack([np.arange(len(hashes))] * 2, axis=1)
    candidates = _holders_of(np.concatenate([same, near]), holders)
    agree = distances(distinct[candidates[:, 0], 1], distinct[candidates[:, 1], 1]) <= tolerance.neighbours
    alike = rows[first[candidates[agree]]]
    return np.concatenate([equal, np.sort(alike, axis=1)])


def _holders_of(pairs: NDArray[np.int64], holders: sp.csr_array) -> NDArray[np.int64]:
    """Return all pairs of different rows that have the hashes of the given pairs, int64, shape (P, 2)."""
    sizes = np.diff(holders.indptr)
    many = sizes[pairs[:, 0]] * sizes[pairs[:, 1]]
    of_pair = np.repeat(np.arange(len(pairs)), many)
    within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    left, right = pairs[of_pair, 0], pairs[of_pair, 1]
    one = holders.indices[holders.indptr[left] + within // sizes[right]]
    other = holders.indices[holders.indptr[right] + within % sizes[right]]
    found = np.stack([one, other], axis=1).astype(np.int64)
    return found[np.where(left == right, one < other, True)]


def groups_of(n: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of each picture's group (connected component of the pairs), int64, shape (N,)."""
    joined = sp.coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(sp.csgraph.connected_components(joined, directed=False)[1], np.int64)

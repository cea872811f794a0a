"""Texts as numbers, counted in the order in which each first appears."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.tables.texts import utf8_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIRST_SLOTS = 1 << 12
_MULTIPLIER = np.uint64(secrets.randbits(64) | 1)
"""Another in each process, so that nobody can write texts that all have one hash."""
_WORD = 8
_ROWS = 128
"""Rows whose memory is asked for together: one after the other, each would wait for it."""
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
"""Numba takes a whole number and a uint64 together for a float, and `int` leaves a uint64 one: hence `np.int64`."""


def numbered_texts(texts: pa.StringArray) -> tuple[NDArray[np.int32], pa.StringArray]:
    """Return the number of each of L texts, int32 of shape (L,), and the distinct texts in the order of their numbers.

    These are the indices and the dictionary of Arrow's `dictionary_encode`, in half of its time.

    Args:
        texts: without nulls.
    """
    assert not texts.null_count
    if not len(texts):
        return np.empty(0, np.int32), texts
    bounds, content = utf8_of(texts)
    numbers, ends = np.empty(len(texts), np.int32), np.zeros(len(texts) + 1, np.int32)
    kept = np.empty(int(bounds[-1] - bounds[0]), np.uint8)
    n = _number(numbers, ends, kept, bounds, content, _MULTIPLIER)
    found = [None, pa.py_buffer(ends[: n + 1].copy()), pa.py_buffer(kept[: ends[n]].copy())]
    return numbers, pa.Array.from_buffers(pa.string(), n, found)


@compiled
def _number(  # noqa: PLR0917 - compiled code takes no keywords
    numbers: NDArray[np.int32],
    ends: NDArray[np.int32],
    kept: NDArray[np.uint8],
    bounds: NDArray[np.int32],
    letters: NDArray[np.uint8],
    multiplier: np.uint64,
) -> int:
    """Fill the number of each text, and the letters of distinct ones up to their ends; return how many are distinct.

    A slot holds the upper half of a hash and a number; it is 0 where it is empty, so numbers count from 1 in there.
    Slots are probed in turn, and doubled when half of them are full.
    """
    slots = np.zeros(_FIRST_SLOTS, np.uint64)
    hashes, entries = np.empty(_ROWS, np.uint64), np.empty(_ROWS, np.uint64)
    n = 0
    for begin in range(0, len(numbers), _ROWS):
        end = min(begin + _ROWS, len(numbers))
        _look_up(entries, hashes, bounds[begin : end + 1], letters, kept, ends, slots, multiplier)
        for row in range(begin, end):
            number = int(np.int64(entries[row - begin]))
            if not number:  # a new text, or one whose first slot is another's
                first, last, hashed = bounds[row], bounds[row + 1], hashes[row - begin]
                slot = _slot_of(hashed, letters, first, last, kept, ends, slots)
                number = int(np.int64(slots[slot] & _LOW))
                if not number:
                    n += 1
                    number = n
                    ends[n] = ends[n - 1] + last - first
                    for place in range(last - first):
                        kept[ends[n - 1] + place] = letters[first + place]
                    slots[slot] = ((hashed >> _HALF) << _HALF) | np.uint64(n)
                    if 2 * n > len(slots):
                        slots = _doubled(slots)
            numbers[row] = number - 1
    return n


@compiled
def _look_up(  # noqa: PLR0917 - as above
    entries: NDArray[np.uint64],
    hashes: NDArray[np.uint64],
    bounds: NDArray[np.int32],
    letters: NDArray[np.uint8],
    kept: NDArray[np.uint8],
    ends: NDArray[np.int32],
    slots: NDArray[np.uint64],
    multiplier: np.uint64,
) -> None:
    """Fill the hashes of some texts, and the numbers of those that their first slot holds, else 0."""
    mask = np.uint64(len(slots) - 1)
    n = len(bounds) - 1
    first, last = np.empty(n, np.int32), np.empty(n, np.int32)
    for row in range(n):
        hashes[row] = _hash(letters, bounds[row], bounds[row + 1], multiplier)
    for row in range(n):
        entries[row] = slots[int(np.int64((hashes[row] >> _HALF) & mask))]
    for row in range(n):
        number = max(int(np.int64(entries[row] & _LOW)), 1)
        first[row], last[row] = ends[number - 1], ends[number]
    for row in range(n):
        is_known = entries[row] != np.uint64(0) and (entries[row] ^ hashes[row]) >> _HALF == np.uint64(0)
        if is_known and _are_equal(letters, bounds[row], bounds[row + 1], kept, first[row], last[row]):
            entries[row] &= _LOW
        else:
            entries[row] = np.uint64(0)


@compiled
def _slot_of(  # noqa: PLR0917 - as above
    hashed: np.uint64,
    letters: NDArray[np.uint8],
    first: int,
    last: int,
    kept: NDArray[np.uint8],
    ends: NDArray[np.int32],
    slots: NDArray[np.uint64],
) -> int:
    """Return the slot of a text, an empty one for a new text."""
    mask = np.uint64(len(slots) - 1)
    slot = int(np.int64((hashed >> _HALF) & mask))
    while slots[slot]:
        number = int(np.int64(slots[slot] & _LOW))
        if (slots[slot] ^ hashed) >> _HALF == np.uint64(0) and _are_equal(
            letters, first, last, kept, ends[number - 1], ends[number]
        ):
            break
        slot = slot + 1 if slot + 1 < len(slots) else 0
    return slot


@compiled
def _hash(letters: NDArray[np.uint8], start: int, end: int, multiplier: np.uint64) -> np.uint64:
    """Return a hash of some letters, eight at a time."""
    hashed = np.uint64(end - start)
    at = start
    while at + _WORD <= end:
        word = np.uint64(0)
        for place in range(_WORD):
            word |= np.uint64(letters[at + place]) << np.uint64(8 * place)
        hashed = (hashed ^ word) * multiplier
        hashed ^= hashed >> np.uint64(29)
        at += _WORD
    while at < end:
        hashed = (hashed ^ np.uint64(letters[at])) * multiplier
        at += 1
    hashed ^= hashed >> np.uint64(32)
    return np.uint64(hashed * multiplier)


@compiled
def _are_equal(  # noqa: PLR0917 - as above
    letters: NDArray[np.uint8], start: int, end: int, kept: NDArray[np.uint8], first: int, last: int
) -> bool:
    if end - start != last - first:
        return False
    different = np.uint8(0)
    for place in range(end - start):  # without a way out, so that it becomes vector instructions
        different |= letters[start + place] ^ kept[first + place]
    return bool(different == 0)


@compiled
def _doubled(slots: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a table with the same entries and twice as many slots."""
    larger = np.zeros(2 * len(slots), np.uint64)
    mask = np.uint64(len(larger) - 1)
    for entry in slots:
        if entry:
            slot = int(np.int64((entry >> _HALF) & mask))
            while larger[slot]:
                slot = slot + 1 if slot + 1 < len(larger) else 0
            larger[slot] = entry
    return larger

"""The order of texts, by compiled loops over their UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.tables.arrays import arrow_of, repeated

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


def utf8_of(values: pa.StringArray | pa.LargeStringArray) -> tuple[NDArray[np.signedinteger], NDArray[np.uint8]]:
    """Return where N texts start, and the last ends, shape (N + 1,), and their UTF-8; both read-only."""
    _, offsets, text = values.buffers()
    kind = np.dtype(np.int64 if values.type == "large_string" else np.int32)
    starts = (
        np.frombuffer(offsets, kind, len(values) + 1, values.offset * kind.itemsize)
        if len(values)
        else np.zeros(1, kind)
    )
    found = np.frombuffer(text or b"", np.uint8)
    for one in (starts, found):
        one.flags.writeable = False  # for another type, Numba compiles its loops again
    return starts, found


@compiled
def compared(  # noqa: PLR0917 - compiled code takes no keywords
    a: NDArray[np.uint8], a_start: int, a_stop: int, b: NDArray[np.uint8], b_start: int, b_stop: int
) -> int:
    """Return a number below, at or above 0 as the first text is before, the same as, or behind the second."""
    for i in range(min(a_stop - a_start, b_stop - b_start)):
        if a[a_start + i] != b[b_start + i]:
            return -1 if a[a_start + i] < b[b_start + i] else 1
    return (a_stop - a_start) - (b_stop - b_start)


def least_and_greatest(values: pa.StringArray) -> tuple[int, int]:
    """Return which of one text or more is the first in the order of UTF-8, and which the last."""
    return _extremes(*utf8_of(values))


@compiled
def _extremes(starts: NDArray[np.int32], text: NDArray[np.uint8]) -> tuple[int, int]:
    least = greatest = 0
    for i in range(1, len(starts) - 1):
        # Ids mostly ascend: one comparison for most.
        if compared(text, starts[i], starts[i + 1], text, starts[greatest], starts[greatest + 1]) > 0:
            greatest = i
        elif compared(text, starts[i], starts[i + 1], text, starts[least], starts[least + 1]) < 0:
            least = i
    return least, greatest


def extreme_texts(
    values: pa.StringArray,
    order: NDArray[np.int64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    *,
    greatest: bool = False,
) -> pa.StringArray:
    """Return the least text that is not empty of each of N groups of rows, or the greatest; empty where all are.

    Args:
        values: without nulls.
        order: row numbers.
        first: where the rows of each group begin among them, shape (N,).
        last: where they end, shape (N,).
        greatest: whether the greatest one is meant.
    """
    chosen = np.empty(len(first), np.int64)
    starts, text = utf8_of(values)
    if len(text) == 0:
        return repeated("", len(first))
    _choose(starts, text, order, first, last, greatest, chosen)
    return values.take(arrow_of(chosen))


@compiled
def _choose(  # noqa: PLR0917 - compiled code takes no keywords
    starts: NDArray[np.int32],
    text: NDArray[np.uint8],
    order: NDArray[np.int64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    greatest: bool,  # noqa: FBT001 - as above
    chosen: NDArray[np.int64],
) -> None:
    """Write the row of the wanted text of each group, any row of one whose texts are empty."""
    for group in range(len(first)):
        best = order[first[group]]
        for place in range(first[group] + 1, last[group]):
            row = order[place]
            if starts[row] == starts[row + 1]:
                continue
            at = compared(text, starts[row], starts[row + 1], text, starts[best], starts[best + 1])
            if starts[best] == starts[best + 1] or (at > 0 if greatest else at < 0):
                best = row
        chosen[group] = best


_KEY_BYTES = 7
_MORE = np.uint64(_KEY_BYTES + 1)
_BYTE = np.uint64(0xFF)
_FEW = 48
"""Rows that are sorted by insertion."""


def ordered_texts(values: pa.StringArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of L texts in the order of their UTF-8, equal ones in their order, and where each text begins.

    Args:
        values: without nulls.

    Returns:
        row numbers, shape (L,), and the place of the first row of each of N texts among them, and L, shape (N + 1,).
    """
    order, begins = np.arange(len(values)), np.zeros(len(values), np.bool_)
    if len(values):
        _sort(*utf8_of(values), order, begins)
    return order, np.append(np.flatnonzero(begins), len(values))


@compiled
def _sort(
    starts: NDArray[np.int32], text: NDArray[np.uint8], order: NDArray[np.int64], begins: NDArray[np.bool_]
) -> None:
    """Sort rows by seven bytes of their texts at a time, and mark the first row of each text.

    A key is these bytes, and in its last byte how many more there are: 0 to 7, or 8 for more than seven. So equal keys
    are equal texts, or texts to be told apart by their next bytes.
    """
    keys, other_keys, other_order = np.empty(len(order), np.uint64), np.empty(len(order), np.uint64), order.copy()
    # Each range but the first has two rows or more.
    ranges, next_ranges = np.empty((len(order) // 2 + 1, 2), np.int64), np.empty((len(order) // 2 + 1, 2), np.int64)
    ranges[0, 0], ranges[0, 1] = 0, len(order)
    n_ranges, at = 1, _shared(starts, text)
    while n_ranges:
        n = 0
        for i in range(n_ranges):
            low, high = ranges[i, 0], ranges[i, 1]
            for row in range(low, high):
                keys[row] = _key(text, starts[order[row]] + at, starts[order[row] + 1])
            _sort_keys(keys, order, other_keys, other_order, low, high)
            begin = low
            for row in range(low + 1, high + 1):
                if row < high and keys[row] == keys[begin]:
                    continue
                if row > begin + 1 and keys[begin] & _BYTE == _MORE:
                    if row - begin <= _FEW:
                        _finish(starts, text, order, begins, begin, row, at + _KEY_BYTES)
                    else:
                        next_ranges[n, 0], next_ranges[n, 1] = begin, row
                        n += 1
                else:
                    begins[begin] = True
                begin = row
        ranges, next_ranges, n_ranges = next_ranges, ranges, n
        at += _KEY_BYTES


@compiled
def _finish(  # noqa: PLR0917 - compiled code takes no keywords
    starts: NDArray[np.int32],
    text: NDArray[np.uint8],
    order: NDArray[np.int64],
    begins: NDArray[np.bool_],
    low: int,
    high: int,
    at: int,
) -> None:
    """Sort few rows whose texts are alike up to a byte, and mark the first row of each text."""
    for i in range(low + 1, high):
        row, k = order[i], i
        while k > low:
            other = order[k - 1]
            if compared(text, starts[other] + at, starts[other + 1], text, starts[row] + at, starts[row + 1]) <= 0:
                break
            order[k] = other
            k -= 1
        order[k] = row
    begins[low] = True
    for i in range(low + 1, high):
        row, other = order[i], order[i - 1]
        same = compared(text, starts[other] + at, starts[other + 1], text, starts[row] + at, starts[row + 1]) == 0
        begins[i] = not same


@compiled
def _shared(starts: NDArray[np.int32], text: NDArray[np.uint8]) -> int:
    """Return how many bytes all texts begin with alike."""
    shared = starts[1] - starts[0]
    for row in range(1, len(starts) - 1):
        shared = min(shared, starts[row + 1] - starts[row])
        k = 0
        while k < shared and text[starts[row] + k] == text[starts[0] + k]:
            k += 1
        shared = k
        if shared == 0:
            break
    return int(shared)


@compiled
def _key(text: NDArray[np.uint8], start: int, stop: int) -> np.uint64:
    key = np.uint64(0)
    for k in range(_KEY_BYTES):
        key = key << np.uint64(8) | np.uint64(text[start + k] if start + k < stop else 0)
    return np.uint64(key << np.uint64(8) | np.uint64(min(stop - start, _KEY_BYTES + 1)))


@compiled
def _sort_keys(  # noqa: PLR0917 - compiled code takes no keywords
    keys: NDArray[np.uint64],
    order: NDArray[np.int64],
    other_keys: NDArray[np.uint64],
    other_order: NDArray[np.int64],
    low: int,
    high: int,
) -> None:
    """Sort keys within bounds, and their rows with them; equal ones stay in their order. The other arrays are room."""
    if high - low <= _FEW:
        _insert(keys, order, low, high)
        return
    counts = np.zeros((8, 256), np.int64)
    for i in range(low, high):
        key = keys[i]
        for byte in range(8):
            counts[byte, int(key >> np.uint64(8 * byte) & _BYTE)] += 1
    # From one pair of arrays to the other and back: to copy them after each byte would take a third of the time.
    there = False
    for byte in range(8):
        shift = np.uint64(8 * byte)
        if counts[byte, int(keys[low] >> shift & _BYTE)] == high - low:
            continue
        place = low
        for value in range(256):
            place, counts[byte, value] = place + counts[byte, value], place
        if there:
            _scatter(other_keys, other_order, keys, order, low, high, shift, counts[byte])
        else:
            _scatter(keys, order, other_keys, other_order, low, high, shift, counts[byte])
        there = not there
    if there:
        for i in range(low, high):
            keys[i], order[i] = other_keys[i], other_order[i]


@compiled
def _insert(keys: NDArray[np.uint64], order: NDArray[np.int64], low: int, high: int) -> None:
    """Sort few keys, and their rows with them."""
    for i in range(low + 1, high):
        key, row, k = keys[i], order[i], i
        while k > low and keys[k - 1] > key:
            keys[k], order[k] = keys[k - 1], order[k - 1]
            k -= 1
        keys[k], order[k] = key, row


@compiled
def _scatter(  # noqa: PLR0917 - compiled code takes no keywords
    keys: NDArray[np.uint64],
    order: NDArray[np.int64],
    to_keys: NDArray[np.uint64],
    to_order: NDArray[np.int64],
    low: int,
    high: int,
    shift: np.uint64,
    places: NDArray[np.int64],
) -> None:
    """Write keys and their rows where the next one with this byte belongs."""
    for i in range(low, high):
        value = int(keys[i] >> shift & _BYTE)
        to_keys[places[value]], to_order[places[value]] = keys[i], order[i]
        places[value] += 1

"""Columns as Parquet's pages: levels of lists, dictionaries, packed bits and plain texts, by compiled loops.

https://parquet.apache.org/docs/file-format/data-pages/encodings/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.tables.arrays import numpy_of
from mlimages_dataset.tables.texts import utf8_of
from mlimages_dataset.tables.thrift import unsigned

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

PLAIN, RLE, RLE_DICTIONARY = 0, 3, 8
"""Parquet's numbers of encodings."""
Pieces: TypeAlias = "tuple[bytes | memoryview, ...]"
"""Bytes in several pieces, which are put together once, where they are compressed."""
_MOST_ENTRIES = 1 << 16
_SLOTS = _MOST_ENTRIES << 1
_SAMPLE = 64


@dataclass(frozen=True, slots=True)
class Encoded:
    """The values of one column of a row group.

    Attributes:
        values: plain, or their numbers in the dictionary.
        dictionary: its entries, plain; None without one.
        n_entries: of the dictionary.
    """

    values: Pieces
    dictionary: Pieces | None = None
    n_entries: int = 0

    @property
    def encoding(self) -> int:
        """Parquet's number of the encoding of the values."""
        return PLAIN if self.dictionary is None else RLE_DICTIONARY


def encoded_words(words: NDArray[np.uint32]) -> Encoded:
    """Return numbers of 32 bits, read-only, shape (L,): with a dictionary, unless they differ too much for one."""
    numbers = np.empty(len(words), np.uint32)
    entries = np.empty(min(_MOST_ENTRIES, len(words) // 2 + 1), np.uint32)
    n = _number(words, np.zeros(_SLOTS, np.uint32), np.full(_SLOTS, -1, np.int32), entries, numbers)
    if n < 0:
        return Encoded((_little(words),))
    return Encoded(_numbered(numbers, n), (_little(entries[:n]),), n)


def _little(words: NDArray[np.uint32]) -> memoryview:
    return words.astype("<u4", copy=False).view(np.uint8).data


def encoded_texts(values: pa.StringArray) -> Encoded:
    """Return texts without nulls: with a dictionary where many are the same."""
    # A dictionary costs more than all else, so a few texts decide whether it is tried.
    if 2 * len(values[:_SAMPLE].unique()) <= min(len(values), _SAMPLE):
        found = values.dictionary_encode()
        n = len(found.dictionary)
        if 2 * n <= len(values) and n <= _MOST_ENTRIES:
            return Encoded(_numbered(numpy_of(found.indices).astype(np.uint32), n), (_plain(found.dictionary),), n)
    return Encoded((_plain(values),))


def levels_of_lists(offsets: NDArray[np.int32]) -> tuple[Pieces, int]:
    """Return the levels of N lists of required values, as a data page begins with them, and how many values it has.

    Args:
        offsets: the index of each list's first value, the first 0, and the end, shape (N + 1,); read-only.
    """
    n_empty = int((offsets[1:] == offsets[:-1]).sum())
    n = int(offsets[-1]) + n_empty
    repetition, definition = np.zeros(-(-n // 8), np.uint8), np.zeros(-(-n // 8) if n_empty else 0, np.uint8)
    _levels(offsets, repetition, definition)
    defined = _packed_run(definition, n) if n_empty else (_same_run(1, n),)
    return (*_sized(_packed_run(repetition, n)), *_sized(defined)), n


def _sized(content: Pieces) -> Pieces:
    return sum(map(len, content)).to_bytes(4, "little"), *content


def _packed_run(content: NDArray[np.uint8], n: int) -> Pieces:
    """Return a run of n packed numbers, of groups of eight."""
    return unsigned(-(-n // 8) << 1 | 1), content.data


def _same_run(number: int, n: int) -> bytes:
    """Return a run of n times one number of at most eight bits."""
    return unsigned(n << 1) + bytes([number])


def _numbered(numbers: NDArray[np.uint32], n_entries: int) -> Pieces:
    """Return numbers of dictionary entries as a data page has them."""
    if n_entries <= 1:
        return bytes([1]), _same_run(0, len(numbers))
    width = (n_entries - 1).bit_length()
    packed = np.zeros(-(-len(numbers) // 8) * width, np.uint8)
    _pack(numbers, width, packed)
    return bytes([width]), *_packed_run(packed, len(numbers))


def _plain(values: pa.StringArray) -> memoryview:
    offsets, text = utf8_of(values)
    found = np.empty(4 * len(values) + int(offsets[-1]) - int(offsets[0]), np.uint8)
    _join(offsets, text, found)
    return found.data


@compiled
def _number(
    words: NDArray[np.uint32],
    slots: NDArray[np.uint32],
    numbers_of_slots: NDArray[np.int32],
    entries: NDArray[np.uint32],
    numbers: NDArray[np.uint32],
) -> int:
    """Write the different words in the order in which they come, and the number of each word among them.

    Args:
        words: shape (L,).
        slots: a hash table of a power of two of places, more than there are entries, shape (S,).
        numbers_of_slots: -1 for each slot, shape (S,).
        entries: room for the different words.
        numbers: shape (L,).

    Returns:
        how many differ, -1 if there is no room for them.
    """
    n = 0
    last = np.uint32(len(slots) - 1)
    for i in range(len(words)):
        word = words[i]
        # Small numbers, such as class indices, are their own places; the bits of floats are mixed.
        slot = word if word <= last else (word ^ word >> np.uint32(15)) * np.uint32(0x9E3779B1) >> np.uint32(9) & last
        while numbers_of_slots[slot] >= 0 and slots[slot] != word:
            slot = (slot + np.uint32(1)) & last
        if numbers_of_slots[slot] < 0:
            if n == len(entries):
                return -1
            slots[slot], numbers_of_slots[slot], entries[n] = word, n, word
            n += 1
        numbers[i] = numbers_of_slots[slot]
    return n


@compiled
def _pack(numbers: NDArray[np.uint32], width: int, packed: NDArray[np.uint8]) -> None:
    """Write the lowest `width` bits of each number one after the other, from the lowest bit of each byte on."""
    held, n_held, at = np.uint64(0), np.uint64(0), 0
    for i in range(len(numbers)):
        held |= np.uint64(numbers[i]) << n_held
        n_held += np.uint64(width)
        while n_held >= np.uint64(8):
            packed[at] = held & np.uint64(0xFF)
            held >>= np.uint64(8)
            n_held -= np.uint64(8)
            at += 1
    if n_held:
        packed[at] = held & np.uint64(0xFF)


@compiled
def _levels(offsets: NDArray[np.int32], repetition: NDArray[np.uint8], definition: NDArray[np.uint8]) -> None:
    """Set a bit of `repetition` for each value of a list but its first, and one of `definition` for each value.

    An empty list has one place in both, without a bit. `definition` is empty if no list is.
    """
    at = 0
    for i in range(len(offsets) - 1):
        n = offsets[i + 1] - offsets[i]
        for k in range(n):
            bit = np.uint8(1 << (at & 7))
            if k:
                repetition[at >> 3] |= bit
            if len(definition):
                definition[at >> 3] |= bit
            at += 1
        if n == 0:
            at += 1


@compiled
def _join(offsets: NDArray[np.int32], text: NDArray[np.uint8], found: NDArray[np.uint8]) -> None:
    """Write texts, each behind the number of its bytes in four bytes."""
    at = 0
    for i in range(len(offsets) - 1):
        size = offsets[i + 1] - offsets[i]
        for k in range(4):
            found[at + k] = size >> 8 * k & 0xFF
        for k in range(size):
            found[at + 4 + k] = text[offsets[i] + k]
        at += 4 + size

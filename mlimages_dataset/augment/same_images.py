"""Which row of one table is about the image of a row of another: a hash table of ids with linear probing.

Each table's own salt makes ids that collide on purpose as rare as others.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.core.compiled import compiled

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


class RepeatedIdError(ValueError):
    """An id stands in two rows; `str` of it is the id."""


def rows_with(ids: pa.StringArray, found_in: pa.StringArray) -> NDArray[np.int64]:
    """Return the row of `found_in` that holds each id, -1 for none, shape (len(ids),).

    Raises:
        RepeatedIdError: an id occurs twice in `found_in`.
    """
    salt = secrets.token_hex(8)
    slots = np.full(1 << (2 * len(found_in)).bit_length(), -1, np.int32)
    starts, letters = _text(found_in)
    draws = draws_of(found_in, salt)
    repeated = _fill(starts, letters, draws, slots)
    if repeated >= 0:
        raise RepeatedIdError(found_in[repeated].as_py())
    rows = np.empty(len(ids), np.int64)
    wanted_starts, wanted_letters = _text(ids)
    _find(wanted_starts, wanted_letters, draws_of(ids, salt), starts, letters, draws, slots, rows)
    return rows


def _text(ids: pa.StringArray) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return where each id starts and the last ends, shape (N + 1,), and the bytes of all."""
    _, offsets, content = ids.buffers()
    starts = (
        np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1] if len(ids) else np.zeros(1, np.int32)
    )
    starts.flags.writeable = False  # as Arrow's arrays are: for another type, Numba compiles its loops again
    empty = np.frombuffer(b"", np.uint8)
    return starts, empty if content is None else np.frombuffer(content, np.uint8)


@compiled
def _fill(
    starts: NDArray[np.int32], letters: NDArray[np.uint8], draws: NDArray[np.uint64], slots: NDArray[np.int32]
) -> int:
    """Put each row into its slot; return a row whose id an earlier row has, or -1."""
    for row in range(len(draws)):
        slot = _slot(row, starts, letters, draws, starts, letters, draws, slots)
        if slots[slot] >= 0:
            return row
        slots[slot] = row
    return -1


@compiled
def _find(  # noqa: PLR0917 - compiled code takes no keywords
    starts: NDArray[np.int32],
    letters: NDArray[np.uint8],
    draws: NDArray[np.uint64],
    held_starts: NDArray[np.int32],
    held_letters: NDArray[np.uint8],
    held_draws: NDArray[np.uint64],
    slots: NDArray[np.int32],
    rows: NDArray[np.int64],
) -> None:
    for row in range(len(draws)):
        rows[row] = slots[_slot(row, starts, letters, draws, held_starts, held_letters, held_draws, slots)]


@compiled
def _slot(  # noqa: PLR0917 - compiled code takes no keywords
    row: int,
    starts: NDArray[np.int32],
    letters: NDArray[np.uint8],
    draws: NDArray[np.uint64],
    held_starts: NDArray[np.int32],
    held_letters: NDArray[np.uint8],
    held_draws: NDArray[np.uint64],
    slots: NDArray[np.int32],
) -> np.int64:
    """Return the slot that holds the row's id, or the free one where it belongs."""
    size = starts[row + 1] - starts[row]
    last = np.int64(len(slots) - 1)
    slot = np.int64(draws[row] & np.uint64(last))
    while slots[slot] >= 0:
        held = slots[slot]
        if held_draws[held] == draws[row] and held_starts[held + 1] - held_starts[held] == size:
            at = 0
            while at < size and letters[starts[row] + at] == held_letters[held_starts[held] + at]:
                at += 1
            if at == size:
                return slot
        slot = (slot + 1) & last
    return slot

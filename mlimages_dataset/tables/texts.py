"""The order of texts, by compiled loops over their UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.compiled import compiled

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

"""Arrow's arrays of numbers as numpy's and back, without a copy.

`pyarrow.Array.to_numpy` and `pyarrow.array` import pandas, where it is installed: half a second of every command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_NUMPY: dict[pa.DataType, np.dtype[Any]] = {
    pa.type_for_alias(name): np.dtype(name)
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
}
_ARROW = {dtype: kind for kind, dtype in _NUMPY.items()}


def numpy_of(array: pa.Array, null: float | None = None) -> NDArray[Any]:
    """Return the numbers of an array, read-only, shape (N,).

    Args:
        array: whole numbers or floats.
        null: stands for nulls, which make a copy; None where there may be none.

    Raises:
        ValueError: the array has nulls.
        KeyError: its type is not one of whole numbers or floats.
    """
    dtype = _NUMPY[array.type]
    if array.null_count and null is None:
        raise ValueError(f"the array has {array.null_count} nulls")
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        values = np.full(len(array), 0 if null is None else null, dtype)
    else:
        values = np.frombuffer(buffer, dtype, len(array), array.offset * dtype.itemsize)
        if array.null_count:
            values = np.where(numpy_of(array.is_valid().cast(pa.uint8())) == 1, values, dtype.type(null))
    values.flags.writeable = False  # also where Arrow owns the memory alone: for another type, Numba compiles again
    return values


def arrow_of(values: NDArray[Any]) -> pa.Array:
    """Return numbers, or truth values, of shape (N,) as an array without nulls.

    Raises:
        KeyError: the type is neither of whole numbers, floats nor truth values.
    """
    if values.dtype == np.bool_:
        return pa.Array.from_buffers(
            pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))]
        )
    return pa.Array.from_buffers(_ARROW[values.dtype], len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def texts(values: Sequence[str]) -> pa.StringArray:
    """Return texts, of less than 2 GiB in all, as an array without nulls."""
    encoded = [value.encode() for value in values]
    offsets = np.concatenate(([0], np.cumsum([len(one) for one in encoded]))).astype(np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(encoded), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def repeated(text: str, n: int) -> pa.StringArray:
    """Return an array of one text `n` times, of less than 2 GiB in all."""
    encoded = text.encode()
    offsets = np.arange(n + 1, dtype=np.int32) * np.int32(len(encoded))
    return pa.Array.from_buffers(pa.string(), n, [None, pa.py_buffer(offsets), pa.py_buffer(encoded * n)])


def filtered(table: pa.Table, chosen: pa.ChunkedArray) -> pa.Table:
    """Return the chosen rows of a table, without a copy where they are one after the other."""
    rows = pc.indices_nonzero(chosen)
    if not len(rows):
        return table.slice(0, 0)
    first, last = rows[0].as_py(), rows[-1].as_py()
    return table.slice(first, len(rows)) if last - first + 1 == len(rows) else table.filter(chosen)


def scalar_of(value: str | int) -> pa.Scalar:
    """Return a text or a whole number as Arrow's."""
    return (texts([value]) if isinstance(value, str) else arrow_of(np.array([value], np.int64)))[0]

"""Conversion of the confidences that files state to those of tables: float32, in which only 0 and 1 mean *verified*.

The nearest float32 to 0.99999999 is 1, and to 1e-50 it is 0: with plain rounding, a machine's near certainty would
become a person's verification. Here a number strictly between 0 and 1 becomes the nearest float32 strictly between 0
and 1, and 0 and 1 stay 0 and 1. `core.decimals` reads texts by their digits: 0.99999999999999999999 is less than 1, but
equal to 1 as float64.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.decimals import nearest_float, sql_of_double, sql_of_nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST = np.nextafter(np.float32(0), np.float32(1))
"""The least float32 above 0, 2^-149."""
MOST = np.nextafter(np.float32(1), np.float32(0))
"""The greatest float32 below 1, 1 - 2^-24."""
MOST_ROUNDED = 1.5
"""A number above 1 and up to this is malformed (badly rounded); a greater one shows that the scale is not 0 to 1."""
_SQL_LEAST, _SQL_MOST = "1.401298464324817e-45::FLOAT", "0.99999994::FLOAT"
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)\s?%")
_SHARE = re.compile(r"[01]?\.\d{1,18}")
_PLAIN = r"^(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def how_to_write(cell: str) -> str:
    """Return how to write a confidence that a cell has in percent or with a comma; empty if it has none in 0..1.

    >>> how_to_write("97%"), how_to_write("0,5"), how_to_write("12.5 %"), how_to_write("150%"), how_to_write("1,5")
    ('write 97% as 0.97', 'write 0,5 as 0.5', 'write 12.5 % as 0.125', '', '')
    """
    number = cell.replace(",", ".")
    percent = _PERCENT.fullmatch(number)
    if percent is None and not ("," in cell and _SHARE.fullmatch(number)):
        return ""
    share = Decimal(number) if percent is None else Decimal(percent[1]) / 100
    return f"write {cell} as {share:f}" if share <= 1 else ""


def rounded(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return numbers from 0 to 1 as float32; those strictly between 0 and 1 stay strictly between; same shape."""
    nearest = values.astype(np.float32)
    return np.where((values > 0) & (values < 1), nearest.clip(LEAST, MOST), nearest)


def of_a_model(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return a model's probabilities as float32 strictly between 0 and 1: a model verifies nothing; same shape."""
    return values.astype(np.float32).clip(LEAST, MOST)


def of_column(column: pa.Array) -> pa.Array:
    """Return the confidences of a column of numbers or decimals, null as in `of_texts`; a column of texts unchanged.

    Raises:
        pa.ArrowInvalid, pa.ArrowNotImplementedError: it holds neither numbers nor texts.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_boolean(column.type):  # Arrow would make 1 and 0 of them, which mean what a person has verified
        raise pa.ArrowInvalid("truth values are no numbers")
    if any(is_kind(column.type) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        return column
    if pa.types.is_decimal(column.type):
        return of_texts(pc.cast(column, pa.string()))
    return _of_numbers(pc.cast(column, pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False))


def beyond_one(column: pa.Array) -> tuple[int, list[float]]:
    """Return the first row with a finite number greater than 1.5, and some such numbers; -1 and none without any.

    Only columns of numbers have any.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return -1, []
    values = pc.cast(column, pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero((values > MOST_ROUNDED) & np.isfinite(values))
    found: list[float] = np.unique(values[rows])[:5].tolist()
    return (int(rows[0]), found) if found else (-1, [])


def of_texts(texts: pa.StringArray) -> pa.FloatArray:
    """Return the confidences of decimals such as `0.8` or `1e-3`, null for texts that are not a number from 0 to 1."""
    number = pc.cast(pc.if_else(pc.match_substring_regex(texts, _PLAIN), texts, None), pa.float64())
    values = number.fill_null(np.nan).to_numpy(zero_copy_only=False).copy()
    others = np.flatnonzero((values == 0) | (values == 1) | np.isnan(values))
    # Few texts are distinct, and nearly all of these are "1" or "0".
    encoded = pc.fill_null(texts.take(pa.array(others)), "").dictionary_encode()
    of_text = np.array([nearest_float(text) for text in encoded.dictionary.to_pylist()], np.float64)
    values[others] = of_text[encoded.indices.to_numpy()] if len(others) else of_text
    return _of_numbers(values)


def _of_numbers(values: NDArray[np.float64]) -> pa.FloatArray:
    with np.errstate(over="ignore"):  # a number beyond float32 is not from 0 to 1 either
        confidence = np.where((values >= 0) & (values <= 1), rounded(values), np.float32(np.nan))
    return pa.array(confidence, pa.float32(), from_pandas=True)


def sql_of_text(column: str) -> str:
    """Return SQL for the FLOAT confidence of a column of texts, null for texts that are not a number from 0 to 1."""
    # Nearly all texts are one of these, or strictly between 0 and 1 as float64, and so are the numbers they write.
    number = sql_of_double(column)
    least, most = "5e-324::DOUBLE", "0.9999999999999999::DOUBLE"
    nearest = sql_of_nearest(column)
    return (
        f"CASE WHEN {column} IN ('1', '1.0') THEN 1::FLOAT WHEN {column} IN ('0', '0.0') THEN 0::FLOAT "
        f"WHEN {number} BETWEEN {least} AND {most} THEN {_sql_between(number)} "
        f"WHEN {nearest} BETWEEN {least} AND {most} THEN {_sql_between(nearest)} "
        f"WHEN {nearest} IN (0, 1) THEN {nearest}::FLOAT END"
    )


def sql_of_model(column: str, says: str) -> str:
    """Return SQL for the confidence of a column of texts, which is a model's where the SQL `says` holds.

    A model verifies nothing.
    """
    found = sql_of_text(column)
    return (
        f"CASE WHEN {found} = 1 AND {says} THEN {_SQL_MOST} "
        f"WHEN {found} = 0 AND {says} THEN {_SQL_LEAST} ELSE {found} END"
    )


def _sql_between(number: str) -> str:
    return f"least(greatest({number}::FLOAT, {_SQL_LEAST}), {_SQL_MOST})"

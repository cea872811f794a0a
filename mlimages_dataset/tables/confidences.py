"""Conversion of the confidences that files state to those of tables: float32, in which only 0 and 1 mean *verified*.

The nearest float32 to 0.99999999 is 1, and to 1e-50 it is 0: with plain rounding, a machine's near certainty would
become a person's verification. Here a number strictly between 0 and 1 becomes the nearest float32 strictly between 0
and 1, and 0 and 1 stay 0 and 1. Texts are compared by their digits: 0.99999999999999999999 is less than 1, but equal to
1 as float64.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST = np.nextafter(np.float32(0), np.float32(1))
"""The least float32 above 0, 2^-149."""
MOST = np.nextafter(np.float32(1), np.float32(0))
"""The greatest float32 below 1, 1 - 2^-24."""
MOST_ROUNDED = 1.5
"""A number above 1 and up to this is malformed (badly rounded); a greater one shows that the scale is not 0 to 1."""
_SQL_LEAST, _SQL_MOST = "1.401298464324817e-45::FLOAT", "0.99999994::FLOAT"
_MANY_NINES = re.compile(rb"9(?:\.?9){14}")
_MANY_ZEROS = b"0" * 300
_SMALL_EXPONENTS = (re.compile(rb"e-\d{3}"), re.compile(rb"E-\d{3}"))
_SMALL_NUMBER = re.compile(rb"[\d.][eE]-\d{3,5}\s*(?:[\",;|\t\r\n]|$)")
_NUMBER = r"^(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


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
    number = pc.cast(pc.if_else(pc.match_substring_regex(texts, _NUMBER), texts, None), pa.float64())
    values = number.fill_null(np.nan).to_numpy(zero_copy_only=False)
    confidence = _of_numbers(values).to_numpy(zero_copy_only=False).copy()
    ends = np.flatnonzero((values == 0) | (values == 1))
    # Few texts are distinct, and nearly all of these are "1" or "0".
    encoded = texts.take(pa.array(ends)).dictionary_encode()
    of_text = np.array([_at_an_end(text) for text in encoded.dictionary.to_pylist()], np.float32)
    confidence[ends] = of_text[encoded.indices.to_numpy()] if len(ends) else of_text
    return pa.array(confidence, pa.float32(), from_pandas=True)


def _of_numbers(values: NDArray[np.float64]) -> pa.FloatArray:
    with np.errstate(over="ignore"):  # a number beyond float32 is not from 0 to 1 either
        confidence = np.where((values >= 0) & (values <= 1), rounded(values), np.float32(np.nan))
    return pa.array(confidence, pa.float32(), from_pandas=True)


def _at_an_end(text: str) -> np.float32:
    """Return the confidence of a decimal whose float64 is 0 or 1, NaN if the decimal is more than 1."""
    digits = "".join(sign for sign in text.lower().partition("e")[0] if sign in "123456789")
    if float(text) == 0:
        return LEAST if digits else np.float32(0)
    if digits == "1":
        return np.float32(1)
    return MOST if digits.startswith("9") else np.float32(np.nan)


def needs_digits(content: bytes) -> bool:
    """Return whether CSV may hold a decimal strictly between 0 and 1 that float64 rounds to 0 or 1.

    Float64 has 15 digits, and its least number above 0 is 5e-324. The first search runs at 1 GB/s.
    """
    if b"99999999" in content and _MANY_NINES.search(content):
        return True
    has_exponent = any(small.search(content) for small in _SMALL_EXPONENTS)
    return _MANY_ZEROS in content or (has_exponent and _SMALL_NUMBER.search(content) is not None)


def sql_of_number(column: str) -> str:
    """Return SQL for the FLOAT confidence of a column that DOUBLE can hold, null for values that are not from 0 to 1.

    If a query casts a CSV column to the same type wherever it uses it, DuckDB reads it as that type, and lists the
    values that do not fit.
    """
    number = f"TRY_CAST({column} AS DOUBLE)"
    return (
        f"CASE WHEN {number} > 0 AND {number} < 1 THEN {_sql_between(number)} "
        f"WHEN {number} = 0 THEN 0::FLOAT WHEN {number} = 1 THEN 1::FLOAT END"
    )


def sql_of_model(column: str, says: str, *, digits: bool) -> str:
    """Return SQL for the confidence of a column, which is a model's where `says` holds, and so verifies nothing.

    Args:
        column: its name.
        says: SQL.
        digits: as texts (`sql_of_text`), or as numbers (`sql_of_number`).
    """
    confidence = sql_of_text(column) if digits else sql_of_number(column)
    # Not the confidence itself, or DuckDB would no longer read the column as numbers.
    found = confidence if digits else f"TRY_CAST({column} AS DOUBLE)"
    return (
        f"CASE WHEN {found} = 1 AND {says} THEN {_SQL_MOST} "
        f"WHEN {found} = 0 AND {says} THEN {_SQL_LEAST} ELSE {confidence} END"
    )


def sql_of_text(column: str) -> str:
    """Return SQL for the FLOAT confidence of a column of texts, null for texts that are not a number from 0 to 1."""
    number = f"TRY_CAST({column} AS DOUBLE)"
    digits = f"regexp_replace(split_part(lower({column}), 'e', 1), '[^1-9-]', '', 'g')"
    return (
        f"CASE WHEN {column} IN ('1', '1.0') THEN 1::FLOAT WHEN {column} IN ('0', '0.0') THEN 0::FLOAT "
        f"WHEN {number} > 0 AND {number} < 1 THEN {_sql_between(number)} "
        f"WHEN {number} = 0 AND {digits} IN ('', '-') THEN 0::FLOAT "
        f"WHEN {number} = 0 AND NOT starts_with({digits}, '-') THEN {_SQL_LEAST} "
        f"WHEN {number} = 1 AND {digits} = '1' THEN 1::FLOAT "
        f"WHEN {number} = 1 AND starts_with({digits}, '9') THEN {_SQL_MOST} END"
    )


def _sql_between(number: str) -> str:
    return f"least(greatest({number}::FLOAT, {_SQL_LEAST}), {_SQL_MOST})"

"""Decimals as texts, read by one rule: which texts are numbers, and on which side of 0 and 1 a number lies.

A number is a decimal such as `0.8`, `.5`, `+1e-3` or `1.`, with blanks around it. Python's `float` and DuckDB's casts
also take `1_000`, and Python's the digits of any script: these are no numbers here. The float64 nearest to
0.99999999999999999999 is 1, and to 1e-400 it is 0; as confidences, 1 and 0 mean *verified*. So a number becomes the
nearest float64 that lies on the same side of 0 and of 1.
"""

from __future__ import annotations

import math
import re

_LEAST, _BELOW_ONE, _ABOVE_ONE = 5e-324, math.nextafter(1.0, 0.0), math.nextafter(1.0, 2.0)
_WHOLE = re.compile(r"[0-9]{1,18}")
_PLAIN_ENDS = frozenset({"0", "1", "0.0", "1.0"})
_MANY_NINES, _MANY_ZEROS = re.compile(rb"9(?:\.?9){14}"), re.compile(rb"0(?:\.?0){14}[0.]*[1-9]")
_SMALL_EXPONENTS = (re.compile(rb"e-\d{3}"), re.compile(rb"E-\d{3}"))


def nearest_float(text: str) -> float:
    """Return the float64 nearest to a decimal among those on its side of 0 and 1, NaN for a text that is none.

    >>> nearest_float("0.8"), nearest_float("1.00"), nearest_float("0_1"), nearest_float("1,5")
    (0.8, 1.0, nan, nan)
    >>> nearest_float("0.99999999999999999999"), nearest_float("1e-400")
    (0.9999999999999999, 5e-324)
    """
    if text in _PLAIN_ENDS:
        return float(text)
    if "_" in text or not text.isascii():
        return math.nan
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return _at_an_end(text, value) if value in {0, 1} else value


def is_whole(text: str) -> bool:
    """Return whether a text is a whole number that int64 holds: one to 18 of the digits 0 to 9.

    >>> is_whole("650"), is_whole("1_000"), is_whole("-1"), is_whole("")
    (True, False, False, False)
    """
    return _WHOLE.fullmatch(text) is not None


def _at_an_end(text: str, value: float) -> float:
    """Return the number of a decimal whose float64 is 0 or 1."""
    mantissa = text.lower().partition("e")[0]
    digits = "".join(sign for sign in mantissa if sign in "123456789")
    if value == 0:
        return math.copysign(_LEAST, value) if digits else value
    if digits == "1":
        return value
    return _BELOW_ONE if digits.startswith("9") else _ABOVE_ONE


def needs_digits(content: bytes) -> bool:
    """Return whether a document may hold a decimal that float64 takes for 0 or 1, and that is neither.

    Such a one has 15 nines, 15 zeros before another digit, or an exponent of three digits: the float64 beside 1 are
    farther than 5e-17 from it, and the least above 0 is 5e-324.
    """
    return (
        (b"9" * 8 in content and _MANY_NINES.search(content) is not None)
        or (b"0" * 8 in content and _MANY_ZEROS.search(content) is not None)
        or any(small.search(content) for small in _SMALL_EXPONENTS)
    )


def sql_of_double(column: str) -> str:
    """Return SQL for the DOUBLE of a column of texts, null for those that are no numbers as `nearest_float` has it."""
    # DuckDB's cast also takes `1_0` and `+-1`. The text itself is asked for, so no cast moves into a scan of CSV: there
    # it would make rejects of rows.
    return f"CASE WHEN NOT (contains({column}, '_') OR contains({column}, '+-')) THEN TRY_CAST({column} AS DOUBLE) END"


def sql_of_nearest(column: str) -> str:
    """Return SQL for `nearest_float` of a column of texts, null for those that are no numbers."""
    number = sql_of_double(column)
    mantissa = f"regexp_replace(split_part(lower({column}), 'e', 1), '[^1-9]', '', 'g')"
    return (
        f"CASE WHEN {number} NOT IN (0, 1) THEN {number} "
        f"WHEN {column} IN ('1', '1.0') THEN 1::DOUBLE WHEN {column} IN ('0', '0.0') THEN 0::DOUBLE "
        f"WHEN {number} = 0 THEN CASE WHEN {mantissa} = '' THEN 0::DOUBLE "
        f"WHEN contains(split_part(lower({column}), 'e', 1), '-') THEN {_sql(-_LEAST)} ELSE {_sql(_LEAST)} END "
        f"WHEN {number} = 1 THEN CASE WHEN {mantissa} = '1' THEN 1::DOUBLE "
        f"WHEN starts_with({mantissa}, '9') THEN {_sql(_BELOW_ONE)} ELSE {_sql(_ABOVE_ONE)} END END"
    )


def _sql(number: float) -> str:
    return f"'{number!r}'::DOUBLE"

"""One rule says which texts are numbers, and on which side of 0 and 1 they lie, in Python and in SQL alike."""

from __future__ import annotations

import decimal
import itertools
import math
import re
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.decimals import is_whole, nearest_float, needs_digits, sql_of_double, sql_of_nearest
from mlimages_dataset.core.documents import parse_json

EXACT = decimal.Context(prec=2000, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)[ \t\n\v\f\r]*")


def exact(text: str) -> Decimal | None:
    """Return the number of a decimal, None for a text that is none."""
    match = _NUMBER.fullmatch(text)
    return None if match is None else Decimal(match[1], EXACT)


def side(value: float | Decimal) -> tuple[bool, bool, bool, bool]:
    """Return where a number lies beside 0 and 1."""
    return value < 0, value == 0, value < 1, value == 1


mantissas = st.builds(
    "{}{}{}".format,
    st.sampled_from(["0.", "1.", ".", "00.", "0", "1", "9", "99.", "-0.", "-1.", "+0.", ""]),
    st.text("0189", max_size=40)
    | st.builds("{}{}".format, st.sampled_from(["9" * 20, "0" * 15, "0" * 250, "0" * 330]), st.text("019", max_size=3)),
    st.sampled_from(["", "_1", ".", " "]),
)
exponents = st.just("") | st.builds(
    "{}{}".format, st.sampled_from(["e", "E", "e+", "e-", "e-000"]), st.integers(0, 420) | st.just(99999999999)
)
decimals = st.builds("{}{}".format, mantissas, exponents) | st.text("019_.eE+- \u0661\uff11x", max_size=8)


@given(decimals)
def test_a_text_becomes_the_nearest_float_on_its_side_of_0_and_1(text: str) -> None:
    number, found = exact(text), nearest_float(text)
    if number is None:
        assert math.isnan(found)
        return
    assert side(found) == side(number)
    if side(float(number)) == side(number):
        assert found == float(number)


@given(st.lists(decimals, min_size=1))
def test_sql_reads_texts_likewise(texts: list[str]) -> None:
    table = pa.table({"t": texts})
    with duckdb.connect() as connection:
        connection.register("texts", table)
        rows = connection.sql(f"SELECT {sql_of_nearest('t')}, {sql_of_double('t')} FROM texts").fetchall()  # noqa: S608
    wanted = [nearest_float(text) for text in texts]
    assert [math.nan if nearest is None else nearest for nearest, _ in rows] == pytest.approx(
        wanted, rel=0, nan_ok=True
    )
    assert [double is None for _, double in rows] == [math.isnan(one) for one in wanted]


def test_every_short_text_is_a_number_in_sql_where_it_is_one_in_python() -> None:
    signs = "019_.eE+- x\u0661\n"
    texts = ["".join(one) for n in range(5) for one in itertools.product(signs, repeat=n)]
    with duckdb.connect() as connection:
        connection.register("texts", pa.table({"t": texts}))
        rows = connection.sql(f"SELECT {sql_of_nearest('t')} FROM texts").fetchall()  # noqa: S608 - ours
    wanted = [None if exact(text) is None else nearest_float(text) for text in texts]
    assert [one for (one,) in rows] == wanted
    assert [math.isnan(nearest_float(text)) for text in texts] == [one is None for one in wanted]


@given(decimals)
def test_every_number_that_float64_cannot_tell_from_0_or_1_is_looked_at(text: str) -> None:
    number = exact(text)
    if number is not None and side(float(number)) != side(number):
        assert needs_digits(f'{{"score": {text}}}'.encode())


@pytest.mark.parametrize("text", ["0.8732948732984732", "1.000000000000000000e+00", "000000000009", "1e-05", "id-123"])
def test_usual_numbers_are_not_looked_at(text: str) -> None:
    assert not needs_digits(f"[{text}]".encode())


@pytest.mark.parametrize("text", ["0.99999999999999999999", "1e-400", "-1e-400", "1.00000000000000000001", "0.5"])
def test_numbers_of_json_keep_their_side(text: str) -> None:
    for document in (f'{{"a": [{text}]}}', f'{{"a": [{text}]}}'.encode()):
        assert parse_json(document) == {"a": [nearest_float(text)]}
        assert parse_json(document)["a"][0] != 0


@pytest.mark.parametrize(
    ("text", "wanted"), [("0", True), ("007", True), ("9" * 18, True), ("9" * 19, False), ("", False), ("1_0", False)]
)
def test_whole_numbers_have_the_digits_0_to_9(text: str, *, wanted: bool) -> None:
    assert is_whole(text) == wanted


@pytest.mark.parametrize("text", ["\u0661", "\uff11", "\u00b2", "+1", "-1", " 1", "1.0", "0x1"])
def test_what_has_another_sign_is_no_whole_number(text: str) -> None:
    assert not is_whole(text)

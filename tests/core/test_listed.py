"""A list that is cut says how many more there are, whatever its length."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.listed import first_of


@given(n=st.integers(0, 30), most=st.integers(0, 12), unlisted=st.integers(0, 2_000))
def test_what_is_named_and_what_is_counted_is_all(n: int, most: int, unlisted: int) -> None:
    told = first_of([f"x{number}" for number in range(n)], most, n + unlisted)
    named, _, more = told.partition(" and ")
    count = int(more.removesuffix(" more").replace(",", "")) if more else 0
    assert len([one for one in named.split(", ") if one]) + count == n + unlisted
    assert len([one for one in named.split(", ") if one]) == min(n, most)


def test_the_sign_stands_before_the_number_too() -> None:
    assert first_of(["a b", "c", "d"], 2, sign="; ") == "a b; c; and 1 more"

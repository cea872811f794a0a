"""Items that another thread makes: the same ones, the same errors, and no thread that is left."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.ahead import ahead
from mlimages_dataset.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator


def failing(items: list[int]) -> Iterator[int]:
    yield from items
    raise OSError("the disk is gone")


@given(st.lists(st.integers()))
def test_they_are_the_same_in_the_same_order(items: list[int]) -> None:
    assert list(ahead(items)) == items


@given(st.lists(st.integers(), max_size=5))
def test_an_error_comes_behind_the_items_before_it(items: list[int]) -> None:
    made = ahead(failing(items))
    assert list(itertools.islice(made, len(items))) == items
    with pytest.raises(OSError, match="the disk is gone"):
        next(made)


@pytest.mark.parametrize("used", range(4))
def test_who_stops_early_leaves_no_thread_and_the_maker_is_closed(used: int) -> None:
    closed = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.append(1)

    before = threading.active_count()
    items = ahead(endless())
    for _ in range(used):
        next(items)
    items.close()
    assert threading.active_count() == before
    assert closed == ([1] if used else [])


def thread_of(_: int) -> int:
    return threading.get_ident()


def numbers_until(end: int) -> Iterator[int]:
    yield from range(end)
    raise DataError("is damaged", where="part-2", remedy="build it again")


@pytest.mark.parametrize("wanted", [0, 3, 20])
def test_items_come_in_order_from_a_thread_and_no_more_than_are_wanted(wanted: int) -> None:
    source = iter(range(20))
    items = ahead(source)
    assert list(itertools.islice(items, wanted)) == list(range(wanted))
    items.close()
    assert len(list(source)) >= 20 - wanted - 6
    assert {threading.get_ident()} != set(ahead(map(thread_of, range(3))))


def test_an_error_of_the_thread_comes_after_the_items_before_it() -> None:
    items = ahead(numbers_until(7))
    assert list(itertools.islice(items, 7)) == list(range(7))
    with pytest.raises(DataError, match="is damaged"):
        next(items)

"""Items that another thread makes: the same ones, the same errors, and no thread that is left."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.ahead import ahead

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

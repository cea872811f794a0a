"""Ranks share an epoch, and other ranks go on with it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.loaders.partition import share

WORLDS = [1, 2, 3, 8]


@given(n=st.integers(0, 100), start=st.integers(0, 110), world=st.integers(1, 9), padded=st.booleans())
def test_ranks_cover_an_epoch_without_overlap(n: int, start: int, world: int, padded: bool) -> None:  # noqa: FBT001 - drawn
    shares = [share(n, start, world, rank, padded=padded) for rank in range(world)]
    positions = [[one.position(k) for k in range(len(one))] for one in shares]
    together = sorted(itertools.chain.from_iterable(positions))
    left = max(n - start, 0)
    assert together[:left] == list(range(start, n))
    if padded:
        assert len({len(one) for one in shares}) == 1
        assert together == list(range(start, start + len(together)))
        assert len(together) - left < world
    else:
        assert len(together) == left


@given(n=st.integers(1, 60), before=st.integers(1, 5), after=st.integers(1, 5), data=st.data())
def test_another_number_of_ranks_goes_on_where_the_first_ended(
    n: int, before: int, after: int, data: st.DataObject
) -> None:
    shares = [share(n, 0, before, rank, padded=True) for rank in range(before)]
    k = data.draw(st.integers(0, len(shares[0])))
    done = shares[0].done(k)
    assert all(one.done(k) == done for one in shares)
    read = sorted(one.position(i) for one in shares for i in range(k))
    rest = [share(n, done, after, rank, padded=True) for rank in range(after)]
    read += sorted(one.position(i) for one in rest for i in range(len(one)))
    assert read[:n] == list(range(n))


def test_a_rank_that_there_is_not_is_told() -> None:
    with pytest.raises(UsageError, match="no rank 2 among 2"):
        share(5, 0, 2, 2, padded=True)

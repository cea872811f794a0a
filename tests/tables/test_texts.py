"""The order of texts is that of their UTF-8, by the sort of Python, and groups have their least and greatest text."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from mlimages_dataset.tables.texts import extreme_texts, least_and_greatest, ordered_texts

NEAR = st.text("\0ab", max_size=20)
TEXTS = st.lists(NEAR | st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=120)
LONG = [f"train/n0144076{i % 3}/{'x' * (i % 17)}{i % 29}" for i in range(500)]


def arrow_texts(values: list[str], cut: int) -> pa.StringArray:
    """Return texts as a slice that begins amid its buffers."""
    return pa.array(["before"] * cut + values, pa.string()).slice(cut)


@given(values=TEXTS, times=st.integers(1, 4), cut=st.integers(0, 3))
@example(values=LONG, times=2, cut=0)
@example(values=["", "\0", "\0\0", "a", "a\0", "aaaaaaa", "aaaaaaa\0", "aaaaaaaa"], times=3, cut=1)
@example(values=[f"{i * 2654435761 % 2**32:08x}" for i in range(3000)], times=1, cut=0)
def test_texts_are_in_the_order_of_their_bytes_and_equal_ones_together(values: list[str], times: int, cut: int) -> None:
    every = values * times
    order, starts = ordered_texts(arrow_texts(every, cut))
    encoded = [value.encode() for value in every]
    assert order.tolist() == sorted(range(len(every)), key=lambda row: encoded[row])
    found = [every[order[start]] for start in starts[:-1]]
    assert found == sorted(set(every), key=str.encode)
    assert starts[-1] == len(every)
    for first, last in itertools.pairwise(starts):
        assert len({every[row] for row in order[first:last]}) == 1


@given(values=TEXTS.filter(len), cut=st.integers(0, 3), ends=st.lists(st.integers(1, 120)))
def test_each_group_has_its_least_and_greatest_text(values: list[str], cut: int, ends: list[int]) -> None:
    texts = arrow_texts(values, cut)
    bounds = np.array(sorted({0, len(values), *(end for end in ends if end < len(values))}))
    order = np.arange(len(values))[::-1].copy()
    for greatest, choose in ((False, min), (True, max)):
        found = extreme_texts(texts, order, bounds[:-1], bounds[1:], greatest=greatest).to_pylist()
        groups = [[values[row] for row in order[a:b]] for a, b in itertools.pairwise(bounds)]
        assert found == [choose([text for text in group if text], key=str.encode, default="") for group in groups]
    least, most = least_and_greatest(texts)
    assert (values[least], values[most]) == (min(values, key=str.encode), max(values, key=str.encode))

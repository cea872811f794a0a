"""Numbers of texts, against Arrow's dictionaries."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.tables.text_numbers import numbered_texts


def same_as_arrow(texts: pa.StringArray) -> None:
    numbers, distinct = numbered_texts(texts)
    expected = texts.dictionary_encode()
    distinct.validate(full=True)
    assert distinct.equals(expected.dictionary)
    np.testing.assert_array_equal(numbers, expected.indices.to_numpy())
    assert numbers.dtype == np.int32


@given(st.lists(st.text(max_size=20) | st.sampled_from(["", "a", "0" * 16, "0" * 15 + "1", "0" * 17]), max_size=300))
def test_any_texts_have_the_numbers_and_the_dictionary_that_arrow_gives(texts: list[str]) -> None:
    same_as_arrow(pa.array(texts, pa.string()))


@given(st.lists(st.text(max_size=9), min_size=1), st.data())
def test_a_part_of_an_array_is_read_alone(texts: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(texts)))
    same_as_arrow(pa.array(texts, pa.string()).slice(start, data.draw(st.integers(0, len(texts)))))


@pytest.mark.parametrize("n", [127, 128, 129, 2_048, 2_049, 100_000])
def test_many_texts_are_told_apart_while_the_table_grows(n: int) -> None:
    drawn = np.random.default_rng(n).integers(0, n, 2 * n)
    same_as_arrow(pa.array([f"{one:016x}" for one in drawn.tolist()]))

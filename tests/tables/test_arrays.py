"""Arrow's arrays as numpy's and back, against pyarrow's own conversions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlimages_dataset.tables.arrays import arrow_of, numpy_of, repeated, scalar_of, texts

KINDS = st.sampled_from(["int8", "int32", "int64", "uint8", "uint64", "float32", "float64"])
NUMBERS = KINDS.flatmap(lambda kind: hnp.arrays(kind, st.integers(0, 20)))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(NUMBERS, st.integers(0, 20))
def test_numbers_and_their_slices_are_those_of_pyarrow(values: np.ndarray[Any, Any], start: int) -> None:
    assert arrow_of(values).equals(pa.array(values)) or np.isnan(values).any()
    part = pa.array(values).slice(start)
    found = numpy_of(part)
    np.testing.assert_array_equal(found, part.to_numpy())
    assert not found.flags.writeable


@given(st.lists(st.integers(0, 9) | st.none()), st.integers(0, 5))
def test_nulls_become_what_stands_for_them_and_are_refused_without(values: list[int | None], start: int) -> None:
    part = pa.array(values, pa.int64()).slice(start)
    expected = [-1 if value is None else value for value in values[start:]]
    assert numpy_of(part, -1).tolist() == expected
    if part.null_count:
        with pytest.raises(ValueError, match="nulls"):
            numpy_of(part)


@given(hnp.arrays(np.bool_, st.integers(0, 40)))
def test_truth_values_are_those_of_pyarrow(values: np.ndarray[Any, Any]) -> None:
    assert arrow_of(values).equals(pa.array(values))


@given(st.lists(TEXTS), TEXTS, st.integers(0, 5))
def test_texts_are_those_of_pyarrow(values: list[str], one: str, n: int) -> None:
    assert texts(values).equals(pa.array(values, pa.string()))
    assert repeated(one, n).equals(pa.array([one] * n, pa.string()))
    assert scalar_of(one).equals(pa.scalar(one))
    assert scalar_of(n).equals(pa.scalar(n))

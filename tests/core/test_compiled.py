"""Sorting in compiled code, against numpy's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlimages_dataset.core.compiled import sort_in_place

if TYPE_CHECKING:
    from numpy.typing import NDArray

INTEGERS = st.sampled_from([np.int32, np.int64]).flatmap(lambda kind: hnp.arrays(kind, st.integers(0, 200)))


@given(INTEGERS)
def test_any_integers_are_sorted_as_numpy_sorts_them(values: NDArray[np.int64]) -> None:
    expected = np.sort(values)
    sort_in_place(values)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("n", [1_000, 11_166])
def test_long_rows_are_sorted_too(n: int) -> None:
    values = np.random.default_rng(n).permutation(n).astype(np.int32)
    sort_in_place(values)
    np.testing.assert_array_equal(values, np.arange(n))

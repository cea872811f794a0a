"""Chosen rows of a table are those of Arrow's filter, whether or not they are copied."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.tables.arrays import filtered


@given(chosen=st.lists(st.booleans() | st.none(), max_size=12))
def test_chosen_rows_are_those_of_a_filter(chosen: list[bool | None]) -> None:
    table = pa.table({"row": range(len(chosen))})
    mask = pa.chunked_array([pa.array(chosen, pa.bool_())])
    assert filtered(table, mask).to_pylist() == table.filter(mask).to_pylist()

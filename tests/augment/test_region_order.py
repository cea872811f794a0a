"""The order of regions is that of their values, column by column, whatever order they come in."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.augment import region_order
from mlimages_dataset.augment.region_order import by_image, in_order
from mlimages_dataset.tables.schemas import REGIONS

numbers = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1, width=32)
values: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.sampled_from(["", "a", "b", "ab", "é", "日"]),
    pa.int32(): st.integers(0, 3) | st.integers(0, 2**31 - 1),
    pa.float32(): numbers.map(abs),
    pa.uint8(): st.integers(0, 4),
    pa.bool_(): st.booleans(),
}
rows = st.lists(
    st.fixed_dictionaries({field.name: values[field.type] for field in REGIONS.arrow} | {"source": st.just("s")}),
    max_size=40,
)


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(value.encode() if isinstance(value, str) else value for value in row.values())


@pytest.mark.parametrize("compiled_rows", [0, 1 << 16])
@given(rows=rows, cut=st.integers(0, 40))
def test_regions_are_sorted_by_all_columns(compiled_rows: int, rows: list[dict[str, Any]], cut: int) -> None:
    table = pa.Table.from_pylist(rows, REGIONS.arrow)
    table = pa.concat_tables([table.slice(cut), table.slice(0, cut)])
    with mock.patch.object(region_order, "COMPILED_ROWS", compiled_rows):
        assert in_order(table).to_pylist() == sorted(table.to_pylist(), key=key)


def test_an_image_of_many_boxes_is_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region_order, "COMPILED_ROWS", 0)
    rng = np.random.default_rng(3)
    nothing = {pa.string(): "", pa.bool_(): False}
    box = {field.name: nothing.get(field.type, 0) for field in REGIONS.arrow}
    table = pa.Table.from_pylist([{**box, "xmin": one} for one in rng.random(5000, np.float32).tolist()], REGIONS.arrow)
    assert in_order(table).to_pylist() == sorted(table.to_pylist(), key=key)


@given(ids=st.lists(values[pa.string()], max_size=30))
def test_rows_of_an_image_stay_in_their_order(ids: list[str]) -> None:
    table = pa.table({"image_id": pa.array(ids, pa.string()), "row": range(len(ids))})
    found = by_image(table)
    assert found["row"].to_pylist() == sorted(range(len(ids)), key=lambda at: (ids[at].encode(), at))

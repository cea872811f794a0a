"""Columns within columns, whatever kind of list they lie in."""

from __future__ import annotations

import pyarrow as pa
import pytest

from mlimages_dataset.sources.nested import column_at, is_list, nested_names

ITEM = pa.struct([("name", pa.string())])


@pytest.mark.parametrize("kind", [pa.list_(ITEM), pa.large_list(ITEM), pa.list_(ITEM, 2)])
def test_a_column_within_lists_has_a_list_in_each_row(kind: pa.DataType) -> None:
    rows = [[{"name": "dog"}, {"name": "cat"}], None, [{"name": "cow"}, None]]
    batch = pa.record_batch({"objects": pa.array(rows, kind)})
    assert is_list(kind)
    assert nested_names(batch.schema, ["objects.name", "objects.other"]) == ["objects.name"]
    for some, expected in ((batch, [["dog", "cat"], None, ["cow", None]]), (batch.slice(2), [["cow", None]])):
        assert column_at(some, "objects.name").to_pylist() == expected


def test_other_types_are_no_lists() -> None:
    assert not any(map(is_list, (ITEM, pa.string(), pa.map_(pa.string(), pa.int64()), pa.null())))

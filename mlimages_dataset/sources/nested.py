"""Columns within columns of Parquet files, named by paths such as `image.path` or `labels.list.element.name`.

https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#lists: a list has two levels between its name and
that of its items, which may be left out: `labels.name` is the same column.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow.parquet as pq

_LEVELS_OF_LISTS = re.compile(r"\.(?:list\.(?:element|item)|bag\.(?:array|array_element))(?=\.|$)")


def plain_path(path: str) -> str:
    """Return a path without the levels of lists.

    >>> plain_path("labels.list.element.name")
    'labels.name'
    """
    return _LEVELS_OF_LISTS.sub("", path)


def nested_names(schema: pa.Schema, paths: Iterable[str]) -> list[str]:
    """Return those of some paths that lead into a column of a schema, and are no column's own name."""
    return [path for path in paths if path not in schema.names and _leads(schema, plain_path(path))]


def _leads(schema: pa.Schema, path: str) -> bool:
    first, *steps = path.split(".")
    kind = schema.field(first).type if schema.names.count(first) == 1 else pa.null()
    for step in steps:
        kind = _unlisted(kind)
        if not pa.types.is_struct(kind) or kind.get_field_index(step) < 0:
            return False
        kind = kind.field(step).type
    return bool(steps)


def _unlisted(kind: pa.DataType) -> pa.DataType:
    while is_list(kind):
        kind = kind.value_type
    return kind


def is_list(kind: pa.DataType) -> bool:
    """Return whether a type is that of lists, of one length too."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def stored_columns(schema: pq.ParquetSchema, name: str) -> list[str]:
    """Return the paths of the stored columns that a column or path consists of: no others are read for it."""
    paths = [schema.column(at).path for at in range(len(schema))]
    plain = plain_path(name)
    return [path for path in paths if f"{plain_path(path)}.".startswith(f"{plain}.")]


def column_at(batch: pa.RecordBatch, path: str) -> pa.Array:
    """Return the column that a path leads to: that of a list has a list in each row."""
    if path in batch.schema.names:
        return batch.column(path)
    first, *steps = plain_path(path).split(".")
    return _below(batch.column(first), steps)


def _below(array: pa.Array, steps: list[str]) -> pa.Array:
    if not steps:
        return array
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    if is_list(array.type):
        kind = pa.ListArray if pa.types.is_list(array.type) else pa.LargeListArray
        below = kind.from_arrays(array.offsets, _below(array.values, steps))
        return pc.if_else(array.is_valid(), below, pa.scalar(None, below.type))
    return _below(pc.struct_field(array, steps[0]), steps[1:])

"""Whether a table is of a schema of ours: its columns, their types, and no null in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from mlimages_dataset.core.errors import DataError, SchemaError

if TYPE_CHECKING:
    from mlimages_dataset.tables.schemas import TableSchema


def checked(table: pa.Table, schema: TableSchema, *, where: object) -> pa.Table:
    """Return a table as one of exactly `schema`, without metadata; nothing is copied.

    Files of other writers may have its columns in another order, declared with nulls, or other names in lists.

    Raises:
        SchemaError, DataError: as `check_rows`.
    """
    check_rows(table, schema, where=where)
    found = table.select(schema.arrow.names)
    return found.replace_schema_metadata(None) if found.schema.equals(schema.arrow) else found.cast(schema.arrow)


def check_rows(table: pa.Table, schema: TableSchema, *, where: object) -> None:
    """Raise `SchemaError` unless the table has the columns and types of `schema`, `DataError` if any value is null."""
    check_columns(table.schema, schema, where=where)
    for name in schema.arrow.names:
        # Arrow's own validate() accepts nulls in a column declared without them.
        if any(_has_nulls(chunk) for chunk in table.column(name).chunks):
            raise DataError(f"column {name} holds nulls", where=where, remedy="rebuild the table")


def check_columns(found: pa.Schema, schema: TableSchema, *, where: object) -> None:
    """Raise `SchemaError` unless an Arrow schema has exactly the columns and types of `schema`, in any order."""
    missing = [name for name in schema.arrow.names if name not in found.names]
    if missing:
        raise SchemaError(f"no column {', '.join(missing)} ({schema.label})", where=where, remedy="rebuild the table")
    repeated = [name for name in schema.arrow.names if found.names.count(name) > 1]
    if repeated:
        raise SchemaError(f"two columns {repeated[0]} ({schema.label})", where=where, remedy="rebuild the table")
    unknown = [name for name in found.names if name not in schema.arrow.names]
    if unknown:
        raise SchemaError(f"{schema.label} has no {', '.join(unknown)}", where=where, remedy="remove these columns")
    for field in schema.arrow:
        kind = found.field(field.name).type
        if not _same_kind(kind, field.type):
            raise SchemaError(
                f"column {field.name} is {kind}, not {field.type} ({schema.label})",
                where=where,
                remedy="rebuild the table",
            )


def _same_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    if isinstance(found, pa.ListType) and isinstance(wanted, pa.ListType):
        return _same_kind(found.value_type, wanted.value_type)
    if isinstance(found, pa.StructType) and isinstance(wanted, pa.StructType):
        return [(f.name, f.type) for f in found] == [(f.name, f.type) for f in wanted]
    return bool(found == wanted)


def _has_nulls(array: pa.Array) -> bool:
    if array.null_count:
        return True
    if isinstance(array, pa.ListArray):
        return _has_nulls(array.flatten())  # not .values, which ignores slicing
    if isinstance(array, pa.StructArray):
        return any(_has_nulls(array.field(i)) for i in range(array.type.num_fields))
    return False

"""The pictures of Parquet files, with what their rows say of them; see `sources/picture_tables`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.members import Member, held
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.sources.nested import is_list
from mlimages_dataset.sources.picture_tables import picture_columns, row_name, schema_of
from mlimages_dataset.sources.samples import CAPTION_COLUMNS
from mlimages_dataset.tables.parquet import open_parquet, parquet_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.core.locations import Location

_BATCH_ROWS = 32
"""Rows whose pictures are in memory at once."""


def table_members(path: Location, shard: str, *, most_bytes: int) -> Iterator[Member]:
    """Yield the rows of a Parquet file.

    Args:
        path: the file.
        shard: what it is called in names of rows.
        most_bytes: larger pictures are not taken.

    Raises:
        DataError: it is truncated or damaged, or has no column of pictures.
    """
    schema = schema_of(path)
    columns = picture_columns(schema, path)
    if columns is None:
        raise DataError("has no column of pictures", where=path, remedy="give a column `image` of bytes")
    captions = [name for name in CAPTION_COLUMNS if name in schema.names and _holds_texts(schema.field(name).type)]
    wanted = [columns.content, *columns.names, *columns.of_classes, *captions]
    first = 0
    with parquet_errors(path), open_parquet(path, buffered=True) as parquet:
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=list(dict.fromkeys(wanted))):
            names = columns.names_of(batch)
            pictures = batch.column(columns.image)
            contents = pc.struct_field(pictures, "bytes") if columns.is_struct else pictures
            columns_of_captions = [batch.column(name).to_pylist() for name in captions]
            of_rows = [_texts(values) for values in zip(*columns_of_captions, strict=True)] or [()] * batch.num_rows
            said = columns.classes_of(batch, names)
            for row, name in enumerate(names):
                yield _member(
                    row_name(shard, first + row, name), _content(contents[row], most_bytes), said[row], of_rows[row]
                )
            first += batch.num_rows


def _holds_texts(kind: pa.DataType) -> bool:
    if is_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _texts(values: Sequence[str | list[str | None] | None]) -> tuple[str, ...]:
    """Return the texts among texts and lists of them."""
    lists = [value if isinstance(value, list) else [value] for value in values]
    return tuple(text for one in lists for text in one if text)


def _member(
    path: str, content: bytes | Inspection, said: list[str] | ValueError | None, captions: tuple[str, ...]
) -> Member:
    wrong = str(said) if isinstance(said, ValueError) else ""
    labels = () if said is None or isinstance(said, ValueError) else tuple((one, 1.0) for one in said)
    return Member(path, held(content), labels, captions, wrong)


def _content(value: pa.Scalar, most_bytes: int) -> bytes | Inspection:
    if not value.is_valid:
        return Inspection(Status.MISSING, "its row has no bytes")
    size = value.as_buffer().size
    if size > most_bytes:
        return Inspection(Status.TOO_LARGE, f"{size:,} bytes, more than {most_bytes:,}")
    content: bytes = value.as_py()
    return content

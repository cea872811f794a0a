"""Small table folders on the disk, from the dictionaries that the tests of this package think in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from mlimages_dataset.tables.label_columns import array_of, columns_of
from mlimages_dataset.tables.parquet import read_table, table_parts, write_table
from tests.augment.strategies import Row, columns_from, rows_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlimages_dataset.tables.schemas import TableSchema

Images = list[tuple[str, Row]]
"""Image id and labels of each row."""


def table_of(images: Sequence[tuple[str, Row]], schema: TableSchema) -> pa.Table:
    """Return a table with one row per image, in the order given."""
    ids = [image_id for image_id, _ in images]
    columns = {
        "image_id": pa.array(ids, pa.string()),
        "source": ["tests"] * len(ids),
        "location": [f"http://{image_id}" for image_id in ids],
        "labels": array_of(columns_from([row for _, row in images])),
    }
    return pa.table(columns, schema=schema.arrow)


def write_parts(
    folder: Path, images: Sequence[tuple[str, Row]], schema: TableSchema, sizes: Sequence[int] = ()
) -> Path:
    """Write a table folder, the first parts with so many images each and the last with what is left."""
    start, parts = 0, []
    for size in sizes:
        parts.append(images[start : start + size])
        start += size
    for number, part in enumerate([*parts, images[start:]]):
        write_table(folder / f"part-{number:05d}.parquet", table_of(part, schema), schema, {})
    return folder


def read_parts(folder: Path, schema: TableSchema) -> Images:
    """Return the rows of a table folder in order; there are none where there is no folder."""
    if not folder.is_dir():
        return []
    tables = [read_table(part, schema) for part in table_parts(folder)]
    return [
        (image_id, row)
        for table in tables
        for image_id, row in zip(
            table["image_id"].to_pylist(),
            [row for chunk in table["labels"].chunks for row in rows_from(columns_of(chunk))],
            strict=True,
        )
    ]


def by_image(images: Sequence[tuple[str, Row]]) -> Mapping[str, Row]:
    """Return the labels of each image, which must not repeat."""
    assert len({image_id for image_id, _ in images}) == len(images)
    return dict(images)

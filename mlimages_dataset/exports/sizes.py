"""The sizes of the images of regions, for the formats whose boxes are in pixels."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.tables.parquet import scan_table, schema_of, table_parts
from mlimages_dataset.tables.schemas import IMAGES, REGIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.exports.writing import Export

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""


def size_tables(export: Export) -> list[Location]:
    """Return the parts of the table of the images of an export.

    Raises:
        UsageError: none is named, or it is no such table.
    """
    if export.images is None:
        raise UsageError(
            "boxes of this format are in pixels, and regions are shares", remedy="name the images' folder with --images"
        )
    folder = export.images
    has_no_table = folder.is_dir() and next(iter(folder.rglob("*.parquet")), None) is None
    parts = [] if has_no_table else table_parts(folder)
    found = [part for part in parts if schema_of(part, (REGIONS, IMAGES)) is IMAGES]
    if not found:
        ingest = shlex.join(["mlimages-build", "images", "ingest", str(folder), "--out", "pictures"])
        raise UsageError(
            "holds no images table, which has the sizes of the pictures",
            where=folder,
            remedy=f"for a folder of picture files run {ingest} and name it with --images pictures",
        )
    return found


def number_sized(tables: Sequence[Location]) -> int:
    """Return how many images of some tables have a size."""
    widths = (batch.column("width") for table in tables for batch in scan_table(table, IMAGES, columns=["width"]))
    return sum(pc.sum(pc.greater(column, 0)).as_py() or 0 for column in widths)


def sizes_of_part(part: Location, tables: Sequence[Location]) -> dict[str, Size]:
    """Return the sizes of the images of a part of regions that have some."""
    ids = (batch.column("image_id") for batch in scan_table(part, REGIONS, columns=["image_id"]))
    wanted = pc.unique(pa.chunked_array(ids, pa.string()))
    found: dict[str, Size] = {}
    for table in tables:
        for batch in scan_table(table, IMAGES, columns=["image_id", "width", "height"]):
            chosen = pc.and_(pc.is_in(batch.column("image_id"), wanted), pc.greater(batch.column("width"), 0))
            for row in batch.filter(chosen).to_pylist():
                found[row["image_id"]] = row["width"], row["height"]
    return found

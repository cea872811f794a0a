"""The sizes of the images of regions, for the formats whose boxes are in pixels."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.tables.parquet import scan_table, schema_of, table_parts
from mlimages_dataset.tables.schemas import IMAGES, REGIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.exports.writing import Export

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""
_SAVED = "saved"
"""The status of a picture that is kept; a broken one may have a size, too."""
_SALT = "without regions"


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


def number_without_regions(tables: Sequence[Location], parts: Sequence[Location]) -> int:
    """Return how many saved images of some tables no part of regions has, each id once.

    Ids are compared by hashes of 64 bits: two of ten million are alike with a probability of 3 in a million.
    """
    columns = ("image_id", "status", "width")
    rows = (batch for table in tables for batch in scan_table(table, IMAGES, columns=columns))
    saved = (
        batch.column("image_id").filter(
            pc.and_(pc.equal(batch.column("status"), _SAVED), pc.greater(batch.column("width"), 0))
        )
        for batch in rows
    )
    shown = (batch.column("image_id") for part in parts for batch in scan_table(part, REGIONS, columns=["image_id"]))
    return len(np.setdiff1d(_hashes(saved), _hashes(shown), assume_unique=True))


def _hashes(ids: Iterable[pa.StringArray]) -> NDArray[np.uint64]:
    """Return the hashes of ids, ascending and each once, shape (N,)."""
    nothing = np.empty(0, np.uint64)
    return np.unique(np.concatenate([nothing, *(draws_of(pc.unique(one), _SALT) for one in ids)]))


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

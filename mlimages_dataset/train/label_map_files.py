"""Label maps as files: an indexed PNG for each picture, as viewers and Pascal VOC's evaluation read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import paths_outside
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.tables.parquet import scan_table, table_parts
from mlimages_dataset.tables.schemas import LABEL_MAPS

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.core.locations import Location

_MAPS_AT_ONCE = 64


def write_label_maps(table: Location, folder: Path) -> int:
    """Write the maps of a `label_maps` table as `IMAGE.png` below a folder, and return their number.

    Raises:
        UsageError: there is no such table, or the folder cannot be written.
        DataError, SchemaError: the table is damaged or of another schema, or an id leads out of the folder.
    """
    n_maps = 0
    for part in table_parts(table):
        for batch in scan_table(part, LABEL_MAPS, columns=("image_id", "map"), batch_rows=_MAPS_AT_ONCE):
            names = [f"{image_id}.png" for image_id in batch.column("image_id").to_pylist()]
            if outside := paths_outside(folder, names):
                raise DataError(
                    f"{outside[0]!r} is no name of a file below {folder}", where=part, remedy="rename the picture"
                )
            for name, content in zip(names, batch.column("map").to_pylist(), strict=True):
                write_bytes(folder / name, content)
            n_maps += len(names)
    return n_maps

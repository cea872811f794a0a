"""Folders of shards that we wrote as a store: an index over the saved rows of all parts.

The index is made once from the tables and kept as an Arrow file beside them (or in the user's cache if the folder is
remote or cannot be written).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import is_local, user_cache
from mlimages_dataset.images.indexed import FORMAT, PLACES, IndexedStore, write_places
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.records import CACHE_PREFIX, read_manifest, stands
from mlimages_dataset.tables.parquet import scan_table
from mlimages_dataset.tables.parts import MANIFEST_NAME
from mlimages_dataset.tables.schemas import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pyarrow as pa

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.shards import ShardReader
    from mlimages_dataset.pipeline.records import FileRecord


class ImageIndex(IndexedStore):
    """The saved pictures of a folder of shards that we wrote; implements `ImageStore`."""

    @classmethod
    def recognises(cls, folder: Location) -> bool:
        """See `ImageStore`."""
        return (folder / MANIFEST_NAME).is_file()

    @classmethod
    def open(cls, folder: Location) -> ImageIndex:
        """Return the index of a folder of images; it is made first if there is none yet.

        Raises:
            UsageError: the folder has no manifest, or no finished images.
            DataError: a table is damaged, or changed since it was written.
        """
        records = _image_records(folder)
        _refuse_changed(folder, records)
        digests = {path: record.sha256 for path, record in records.items()}
        key = hashlib.sha256(json.dumps([FORMAT, digests]).encode()).hexdigest()[:16]
        beside = folder / f"{CACHE_PREFIX}index-{key}.arrow"
        own = user_cache() / f"index-{key}.arrow"
        for path in (beside, own):
            if (found := cls.standing(path, folder)) is not None:
                return found
        parts = [folder / path for path in digests]
        if isinstance(beside, Path):
            try:
                write_index(beside, parts)
            except UsageError:  # the folder cannot be written, or is full
                write_index(own, parts)
            else:
                _remove_older(beside)
                return cls(beside, folder)
        else:
            write_index(own, parts)
        return cls(own, folder)

    def refuse_other_rows(self, saved: int) -> None:
        """Raise `DataError` unless the tables have as many saved pictures as the index that was made from them."""
        if saved != len(self):
            raise DataError(
                f"the tables have {saved:,} saved pictures, and their index has {len(self):,}: they were changed",
                where=self.folder,
                remedy="run mlimages-build images verify",
            )

    @property
    def digest(self) -> str:
        """See `ImageStore`: the digests of the parts of the `images` table."""
        return "".join(image_parts(self.folder).values())


def image_parts(folder: Location) -> dict[str, str]:
    """Return the SHA-256 of each part of a folder's `images` table by its path, in their order.

    Raises:
        UsageError: the folder has no manifest, or no finished images.
        DataError: the manifest is damaged.
    """
    return {path: record.sha256 for path, record in _image_records(folder).items()}


def _image_records(folder: Location) -> dict[str, FileRecord]:
    files = sorted(read_manifest(folder).files.items())
    records = {path: record for path, record in files if record.schema == IMAGES.label}
    if not records:
        raise UsageError(
            "holds no finished images", where=folder, remedy="finish images download or images ingest first"
        )
    return records


def _refuse_changed(folder: Location, records: Mapping[str, FileRecord]) -> None:
    """Raise `DataError` if a table has another size than the manifest says: the index tells what it was before."""
    if not is_local(folder):  # a request for each
        return
    for path, record in records.items():
        if (folder / path).is_file() and not stands(folder / path, record):
            size = (folder / path).stat().st_size
            raise DataError(
                f"has {size:,} bytes where the manifest has {record.bytes:,}",
                where=folder / path,
                remedy="run mlimages-build images verify",
            )


def saved_rows(part: Location) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of the saved pictures of a part of an `images` table.

    Raises:
        DataError, SchemaError: it is damaged, or has another schema.
    """
    for batch in scan_table(part, IMAGES):
        yield from batch.filter(pc.equal(batch.column("status"), Status.SAVED.value)).to_pylist()


def stored_picture(reader: ShardReader, row: Mapping[str, Any]) -> bytes:
    """Return the bytes of a saved row's picture.

    Raises:
        DataError: they are not those of its digest, or its shard is too short.
        UsageError: its shard cannot be read.
    """
    content = reader.read(row["shard"], row["offset"], row["bytes"])
    if hashlib.sha256(content).hexdigest() != row["digest"]:
        raise DataError(
            f"the picture of {row['image_id']} has another digest than its row",
            where=reader.folder / row["shard"],
            remedy="run mlimages-build images verify",
        )
    return content


def write_index(path: Path, parts: Iterable[Location]) -> None:
    """Write the index of the saved rows of some parts of an `images` table.

    Raises:
        UsageError: the file cannot be written.
        DataError, SchemaError: a part is damaged, or has another schema.
    """
    write_index_of(
        path, (batch for part in parts for batch in scan_table(part, IMAGES, columns=("status", *PLACES.names)))
    )


def write_index_of(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """Write the index of the saved rows among batches of an `images` table; errors as `write_index`."""
    saved = (batch.filter(pc.equal(batch.column("status"), Status.SAVED.value)) for batch in batches)
    write_places(path, (batch.select(PLACES.names) for batch in saved))


def _remove_older(index: Path) -> None:
    """Remove the indices of older tables."""
    for path in list(index.parent.glob(f"{CACHE_PREFIX}index-*.arrow")):
        if path != index:
            path.unlink(missing_ok=True)

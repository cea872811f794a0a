"""Checking the members of local sources: folders, archives and TFRecords."""

from __future__ import annotations

import collections
import enum
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.image_ids import image_ids
from mlimages_dataset.core.links import below
from mlimages_dataset.core.locations import as_text
from mlimages_dataset.images.archives import archive_file_members, folder_members, with_masks_of_archive
from mlimages_dataset.images.check import Inspection, Limits, inspect
from mlimages_dataset.images.own_members import holds_own_images, own_members, refuse_no_pictures
from mlimages_dataset.images.parquet_store import ParquetStore
from mlimages_dataset.images.resize import ResizeOptions, resized
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.images.table_members import table_members
from mlimages_dataset.images.tar_store import TarStore
from mlimages_dataset.images.tfrecords import tfrecord_members
from mlimages_dataset.images.zips import zip_file_members
from mlimages_dataset.sources.class_lists import TENCENT_HEADER, parse_tencent_dictionary
from mlimages_dataset.sources.folders import is_mask, is_wnid
from mlimages_dataset.sources.packing import refuse_other_archive
from mlimages_dataset.sources.tars import ARCHIVE_NAME
from mlimages_dataset.sources.zips import ZIP_NAME
from mlimages_dataset.tables.files import read_lines
from mlimages_dataset.tables.parts import MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.members import Member
    from mlimages_dataset.pipeline.engine import Mapper

CHUNK_MEMBERS = 256
CHUNK_BYTES = 64 << 20
"""A chunk for the workers has at most so many members, or about so many bytes."""
_CHUNKS_AHEAD = 2
_TFRECORD_NAME = (".tfrecord", ".tfrecords", ".tfrecord.gz", ".tfrecords.gz")


class Form(enum.StrEnum):
    """How sources are stored."""

    AUTO = "auto"
    """Folders; tar and zip archives, TFRecord and Parquet files, recognised by their suffix. Folders of others' shards
    are recognised by what is in them."""
    TFRECORDS = "tfrecords"
    """TFRecord files, or folders of them, with any names."""


def members_of(source: Location, form: Form, limits: Limits, class_ids: tuple[str, ...] = ()) -> Iterator[Member]:
    """Yield the members of a source, always in the same order.

    Raises:
        UsageError: there is no such source, or it has no known format.
        DataError: an archive or a TFRecord file is truncated, damaged or of another kind than its name says.
    """
    if form is Form.TFRECORDS or source.name.lower().endswith(_TFRECORD_NAME):
        for file in sorted(path for path in below(source) if path.is_file()) if source.is_dir() else [source]:
            yield from tfrecord_members(file, class_ids=class_ids)
    elif source.is_dir():
        yield from _folder_members(source, limits)
    elif source.suffix.lower() == ".parquet":
        yield from table_members(source, source.name, most_bytes=limits.bytes)
    elif ARCHIVE_NAME.search(source.name) or ZIP_NAME.search(source.name):
        stem = ZIP_NAME.sub("", ARCHIVE_NAME.sub("", source.name))
        # The name of a synset's archive is the class of its pictures; the name of any other is not part of an id.
        folder = f"{stem}/" if is_wnid(stem) else ""
        read = zip_file_members if ZIP_NAME.search(source.name) else archive_file_members
        members = read(source, most_bytes=limits.bytes, folder=folder)
        yield from members if folder else with_masks_of_archive(source, members, most_bytes=limits.bytes)
    else:
        refuse_other_archive(source, "tar")
        raise UsageError(
            "is neither a folder, nor a tar or zip archive, TFRecord or Parquet file by its suffix",
            where=source,
            remedy="check its name; TFRecord files of any name are read by mlimages-build images ingest --format "
            "tfrecords",
        )


_MASK = Inspection(
    Status.MASK,
    "what each pixel of another picture is: stored beside that where both are in a folder, not in an archive",
)


def _folder_members(folder: Location, limits: Limits) -> Iterator[Member]:
    """Yield the files of a folder, or the pictures of the shards that others wrote there, as their stores have them."""
    if holds_own_images(folder):
        yield from own_members(folder, most_bytes=limits.bytes)
    elif (folder / MANIFEST_NAME).is_file():
        refuse_no_pictures(folder)
        yield from folder_members(folder, most_bytes=limits.bytes)
    elif TarStore.recognises(folder):
        for shard, path in TarStore.shards_of(folder):
            yield from archive_file_members(path, most_bytes=limits.bytes, folder=f"{as_text(shard)}/")
    elif ParquetStore.recognises(folder):
        for shard, path in ParquetStore.shards_of(folder):
            yield from table_members(path, shard, most_bytes=limits.bytes)
    else:
        yield from folder_members(folder, most_bytes=limits.bytes)


@dataclass(frozen=True, slots=True)
class Checked:
    """A member that was checked.

    Attributes:
        member: the member; its content can no longer be read.
        image_id: the id of its picture.
        found: whether it is a picture that can be kept.
        content: the bytes to keep; empty if there are none.
    """

    member: Member
    image_id: str
    found: Inspection
    content: bytes


def checked(
    members: Iterable[Member], limits: Limits, resize: ResizeOptions | None = None, mapper: Mapper = map
) -> Iterator[Checked]:
    """Check members and yield the results in order; a few chunks are in memory at a time."""
    prepare = functools.partial(prepared, limits=limits, resize=resize)
    waiting: collections.deque[Iterator[Checked]] = collections.deque()
    for chunk in _chunks(members):
        # Pools start to work when they are called: meanwhile the next chunk is read.
        results = mapper(prepare, [content for _, content in chunk if isinstance(content, bytes)])
        waiting.append(_joined(chunk, iter(results)))
        if len(waiting) == _CHUNKS_AHEAD:
            yield from waiting.popleft()
    for chunk_of in waiting:
        yield from chunk_of


def prepared(content: bytes, limits: Limits, resize: ResizeOptions | None) -> tuple[Inspection, bytes | None]:
    """Check one picture; return its inspection and the re-encoded bytes, None to keep the given ones."""
    found = inspect(content, limits)
    if found.status is not Status.SAVED or resize is None:
        return found, None
    return resized(content, found, resize)


BROKEN_MASK = "a mask that cannot be used"
"""What the detail of a picture's row says of its masks."""


def whole_masks(member: Member, limits: Limits) -> tuple[dict[str, bytes], str]:
    """Return the masks of a member that are whole pictures, by their tags, and what is wrong with the others."""
    whole: dict[str, bytes] = {}
    wrong: list[str] = []
    for tag, content_of in member.masks:
        content = content_of()
        found = inspect(content, limits) if isinstance(content, bytes) else content
        if isinstance(content, bytes) and found.status is Status.SAVED:
            whole[tag] = content
        else:
            wrong.append(f"{tag} is {found.status.value.replace('_', ' ')}")
    return whole, f"{BROKEN_MASK}: {', '.join(wrong)}" if wrong else ""


def _chunks(members: Iterable[Member]) -> Iterator[list[tuple[Member, bytes | Inspection]]]:
    chunk: list[tuple[Member, bytes | Inspection]] = []
    size = 0
    for member in members:
        content = member.content()
        content = _MASK if is_mask(member.path) else content
        chunk.append((member, content))
        size += len(content) if isinstance(content, bytes) else 0
        if len(chunk) >= CHUNK_MEMBERS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _joined(
    chunk: list[tuple[Member, bytes | Inspection]], results: Iterator[tuple[Inspection, bytes | None]]
) -> Iterator[Checked]:
    ids = ids_of([member for member, _ in chunk])
    for (member, content), image_id in zip(chunk, ids, strict=True):
        if isinstance(content, bytes):
            found, smaller = next(results)
            yield Checked(member, image_id, found, content if smaller is None else smaller)
        else:
            yield Checked(member, image_id, content, b"")


def ids_of(members: Iterable[Member]) -> list[str]:
    """Return the image ids of members; annotations of the same paths have the same ids."""
    ids: list[str] = image_ids(pa.array([member.path for member in members], pa.string())).to_pylist()
    return ids


def read_class_ids(path: Location) -> tuple[str, ...]:
    """Return the class ids of a file, one per line or Tencent ML-Images' dictionary, in the order of label vectors.

    Raises:
        UsageError, DataError: the file cannot be read, or the dictionary is damaged.
    """
    lines = read_lines(path)
    if lines[0].split("\t")[0].strip() == TENCENT_HEADER[0]:
        return tuple(row.wnid for row in parse_tencent_dictionary(lines, str(path)))
    return tuple(line.strip() for line in lines)

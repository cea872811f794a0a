"""Comparing the pictures of a folder with its tables, and with a label table."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

from mlimages_dataset.core.errors import DataError, MLImagesError
from mlimages_dataset.images.check import MAX_PIXELS, Inspection, Limits, inspect
from mlimages_dataset.images.file_store import FileStore
from mlimages_dataset.images.foreign import ForeignStore
from mlimages_dataset.images.index import ImageIndex
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.images.shards import SHARD_SCHEMA, ShardReader
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.tables.batches import label_batches
from mlimages_dataset.tables.parquet import scan_table, table_parts
from mlimages_dataset.tables.parts import MANIFEST_NAME
from mlimages_dataset.tables.schemas import IMAGES
from mlimages_dataset.vocab.folder import read_vocabulary, refuse_other_vocabulary, vocabulary_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.store import ImageStore
    from mlimages_dataset.pipeline.engine import Mapper

_Row: TypeAlias = "Mapping[str, str | int]"
_UNLIMITED = Limits(bytes=1 << 62, pixels=MAX_PIXELS)
"""For pictures that were saved under whatever limits."""
_LISTED_ROWS = 10
_PICTURES_AT_ONCE = 256
MOST_CLASSES = 1 << 20
"""More classes than any vocabulary has: a damaged table must not make counts of any size."""


@dataclass(frozen=True, slots=True)
class PartFindings:
    """What is wrong with a part.

    Attributes:
        images: the number of saved pictures.
        wrong: the number of wrong rows.
        problems: a sentence for each of the first wrong rows.
    """

    images: int
    wrong: int
    problems: tuple[str, ...]


def verify_images(
    folder: Location, *, decode: bool = True, mapper: Mapper = map, progress: Callable[[int], None] = unreported
) -> tuple[int, list[str]]:
    """Return the number of saved pictures of a folder, and a sentence for each problem.

    Each file is compared with the digest in the manifest; the bytes of each saved row are compared with its digest and
    size, and decoded. Only the first wrong rows of a part are listed. Of shards that others wrote, and of image files,
    each picture is read and decoded.

    Args:
        folder: a folder of images, ours, others' shards, or image files.
        decode: decode pictures.
        mapper: runs the parts.
        progress: is called with the number of pictures checked.

    Raises:
        UsageError, DataError: there is no manifest, or it cannot be read.
    """
    if folder.is_dir() and not (folder / MANIFEST_NAME).is_file():
        store = open_store(folder)
        if isinstance(store, ForeignStore) or (isinstance(store, FileStore) and len(store)):
            return _verify_store(store, decode=decode, mapper=mapper, progress=progress)
    problems = verify_folder(folder)
    files = read_manifest(folder).files
    shards = frozenset(path for path, record in files.items() if record.schema == SHARD_SCHEMA)
    tables = [path for path, record in sorted(files.items()) if record.schema == IMAGES.label]
    if not tables:
        # If nothing in the folder is finished, the problems say so already.
        return 0, problems or ["it holds no table of images; name a folder that images download or ingest wrote"]
    images = 0
    parts = [path for path in tables if (folder / path).is_file()]  # a missing one is a problem already
    lost = frozenset(path for path in shards if not (folder / path).is_file())
    check = functools.partial(verify_part, folder=folder.absolute(), shards=shards, lost=lost, decode=decode)
    for part, found in zip(parts, mapper(check, parts), strict=True):
        images += found.images
        problems += [f"{part}: {problem}" for problem in found.problems]
        if found.wrong > len(found.problems):
            problems.append(f"{part}: {found.wrong - len(found.problems):,} more rows are wrong")
        progress(found.images)
    if not problems:  # no index is made of wrong tables
        problems += [
            f"{image_id}: several saved rows have this id"
            for image_id in ImageIndex.open(folder).repeated_ids()[:_LISTED_ROWS]
        ]
    return images, problems


def _verify_store(
    store: ImageStore, *, decode: bool, mapper: Mapper, progress: Callable[[int], None]
) -> tuple[int, list[str]]:
    """Return the number of pictures of a store, and a sentence for each of the first problems."""
    starts = range(0, len(store), _PICTURES_AT_ONCE)
    problems = [f"{image_id}: several pictures have this id" for image_id in store.repeated_ids()[:_LISTED_ROWS]]
    wrong = 0
    for found in mapper(functools.partial(_check_pictures, store=store, decode=decode), starts):
        problems += found.problems[: max(0, _LISTED_ROWS - wrong)]
        wrong += found.wrong
        progress(found.images)
    if wrong > _LISTED_ROWS:
        problems.append(f"{wrong - _LISTED_ROWS:,} more pictures are wrong")
    return len(store), problems


def _check_pictures(first: int, *, store: ImageStore, decode: bool) -> PartFindings:
    """Return what is wrong with the pictures of a store from the first on."""
    numbers = np.arange(first, min(first + _PICTURES_AT_ONCE, len(store)))
    problems = []
    for k, content in zip(numbers.tolist(), store.read_many(numbers), strict=True):
        found = inspect(content or b"", _UNLIMITED, decode=decode)
        if content is None:
            problems.append(f"{store.image_id(k)}: {_why_not_read(store, k)}")
        elif found.status is not Status.SAVED:
            problems.append(f"{store.image_id(k)}: {_not_decoded(found)}")
    return PartFindings(len(numbers), len(problems), tuple(problems[:_LISTED_ROWS]))


def _why_not_read(store: ImageStore, k: int) -> str:
    try:
        store.read(k)
    except DataError as error:
        return error.what
    return "cannot be read"


def _not_decoded(found: Inspection) -> str:
    return f"cannot be decoded ({found.status.replace('_', ' ')}: {found.detail})"


def verify_part(
    part: str, *, folder: Location, shards: frozenset[str], lost: frozenset[str], decode: bool
) -> PartFindings:
    """Return what is wrong with one part of a folder.

    Args:
        part: its path in the folder.
        folder: the folder.
        shards: the shards of the manifest.
        lost: the missing ones among them, whose rows are not listed one by one.
        decode: decode pictures.
    """
    reader = ShardReader(folder)
    images = wrong = row = 0
    problems: list[str] = []
    try:
        for batch in scan_table(folder / part, IMAGES):
            for fields in batch.to_pylist():
                problem = "" if fields["shard"] in lost else _problem(fields, reader, shards, decode=decode)
                images += fields["status"] == Status.SAVED
                if problem:
                    wrong += 1
                    if len(problems) < _LISTED_ROWS:
                        problems.append(f"row {row} ({fields['image_id']}): {problem}")
                row += 1
    except MLImagesError as error:
        return PartFindings(images, wrong + 1, (*problems, error.what))
    return PartFindings(images, wrong, tuple(problems))


def _problem(row: _Row, reader: ShardReader, shards: frozenset[str], *, decode: bool) -> str:
    """Return what is wrong with a row of an `images` table; empty if nothing is."""
    if row["status"] not in set(Status):
        return f"its status is {row['status']!r}, which is unknown"
    if row["status"] != Status.SAVED:
        place = (row["shard"], row["offset"], row["bytes"], row["digest"])
        return "" if place == ("", -1, -1, "") else "it has a place but is not saved"
    shard, offset, length = str(row["shard"]), int(row["offset"]), int(row["bytes"])
    if shard not in shards:
        return f"its shard {shard!r} is not in the manifest"
    try:
        content = reader.read(shard, offset, length)
    except MLImagesError as error:
        return f"{shard} {error.what}"
    return _untrue(row, content, decode=decode)


def _untrue(row: _Row, content: bytes, *, decode: bool) -> str:
    """Return what is wrong with the bytes of a saved row; empty if nothing is."""
    if hashlib.sha256(content).hexdigest() != row["digest"]:
        return f"{len(content):,} bytes of {row['shard']} from {row['offset']:,} on have another digest"
    found = inspect(content, _UNLIMITED, decode=decode)
    if found.status is not Status.SAVED:
        return _not_decoded(found)
    if (found.width, found.height) != (row["width"], row["height"]):
        return f"has {found.width} x {found.height} pixels, not {row['width']} x {row['height']}"
    return ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many images of a label table have a picture in a folder; results of parts are added with `+`.

    Attributes:
        images: rows of the label table.
        missing: rows without a saved picture.
        images_of_class: rows in which each category is present, int64, shape (C,).
        missing_of_class: those of them without a saved picture, int64, shape (C,).
        first_missing: image ids of the first rows without a picture.
    """

    images: int
    missing: int
    images_of_class: NDArray[np.int64]
    missing_of_class: NDArray[np.int64]
    first_missing: tuple[str, ...]

    @classmethod
    def empty(cls) -> Coverage:
        """Return the coverage of no rows."""
        return cls(0, 0, np.zeros(0, np.int64), np.zeros(0, np.int64), ())

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(
            self.images + other.images,
            self.missing + other.missing,
            _sum(self.images_of_class, other.images_of_class),
            _sum(self.missing_of_class, other.missing_of_class),
            (self.first_missing + other.first_missing)[:_LISTED_ROWS],
        )

    def worst(self, n: int = _LISTED_ROWS) -> list[tuple[int, int, int]]:
        """Return class index, missing images and all images of the `n` categories with the largest share missing."""
        share = self.missing_of_class / np.maximum(self.images_of_class, 1)
        order = np.lexsort((np.arange(len(share)), -self.missing_of_class, -share))
        return [
            (int(c), int(self.missing_of_class[c]), int(self.images_of_class[c]))
            for c in order[:n]
            if self.missing_of_class[c]
        ]


def _sum(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    total = np.zeros(max(len(one), len(other)), np.int64)
    total[: len(one)] += one
    total[: len(other)] += other
    return total


def coverage(labels: Location, images: Location, *, mapper: Mapper = map) -> Coverage:
    """Return how many images of a label table have a picture in a folder of images.

    Raises:
        UsageError, SchemaError, DataError: a table is missing or damaged.
    """
    index = open_store(images)
    parts = [part.absolute() for part in table_parts(labels)]
    return sum(mapper(functools.partial(_coverage_of, index=index), parts), Coverage.empty())


def _coverage_of(part: Location, *, index: ImageStore) -> Coverage:
    total = Coverage.empty()
    finder = index.finder()
    for batch, columns in label_batches(part, MOST_CLASSES):
        image_ids = batch.column("image_id")
        missing = finder.find(image_ids, batch.column("location")) < 0
        present = columns.only(columns.confidence > 0)
        of_class = np.bincount(present.class_index)
        total += Coverage(
            len(missing),
            int(missing.sum()),
            of_class,
            np.bincount(present.class_index[missing[present.images]], minlength=len(of_class)),
            tuple(image_ids.filter(pa.array(missing)).slice(0, _LISTED_ROWS).to_pylist()),
        )
    return total


def category_names(vocabulary: Location, labels: Location) -> tuple[str, ...]:
    """Return wnid and name of each category of a label table's vocabulary, such as `n02084071 (dog)`.

    Raises:
        UsageError, SchemaError, DataError: the table was made with another vocabulary, or it cannot be read.
    """
    refuse_other_vocabulary(vocabulary_digests(vocabulary), [labels])
    return tuple(f"{one.wnid} ({one.name})" for one in read_vocabulary(vocabulary).categories)


def coverage_problems(labels: Location, found: Coverage, names: Sequence[str] = ()) -> Iterator[str]:
    """Yield sentences on the rows of a label table without a picture; `names` are the categories' names."""
    if not found.missing:
        return
    first = ", ".join(found.first_missing[:3])
    yield f"{labels}: {found.missing:,} of {found.images:,} images have no saved picture, first {first}"
    for class_index, missing, images in found.worst():
        category = names[class_index] if class_index < len(names) else class_index
        yield f"{labels}: {missing:,} of {images:,} images of category {category} have no picture"
    classes = np.count_nonzero(found.missing_of_class)
    if classes > _LISTED_ROWS:
        yield f"{labels}: {classes - _LISTED_ROWS:,} more categories have images without a picture (--json lists all)"

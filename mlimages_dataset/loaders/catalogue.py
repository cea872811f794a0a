"""The catalogue: which pictures have labels and what they are, joined once and kept on mapped memory.

A label table and the indices of image folders meet by image_id. The result is a folder of this machine's cache, named
by a digest of what it was made from: Arrow files that open at once and that all processes share. A row is a labelled
picture that can be read; rows stand as pictures stand in the shards, so that neighbours lie together on the disk and
the order depends neither on who made the catalogue nor on how the labels were built.

Legend: N rows, L labels of all of them, C classes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import reason, relative, user_cache
from mlimages_dataset.images.files import named_files, one_image
from mlimages_dataset.images.index import ImageIndex
from mlimages_dataset.loaders.orders import RowsOfClass
from mlimages_dataset.pipeline.records import MANIFEST_NAME, read_manifest
from mlimages_dataset.tables.batches import label_batches
from mlimages_dataset.tables.files import PARTIAL_PREFIX, file_digest, listing_digest
from mlimages_dataset.tables.label_columns import LabelColumns, array_of, columns_of
from mlimages_dataset.tables.parquet import mapped_table, mapped_writer, table_parts
from mlimages_dataset.tables.schemas import IMAGES, LABELS

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.shards import ShardReader
    from mlimages_dataset.pipeline.records import Manifest

_Number = TypeVar("_Number", bound=np.generic)

FORMAT = "mlimages.catalogue/2"
BLOCK_ROWS = 1 << 16
"""Rows of each Arrow batch but the last: row i stands in batch i // BLOCK_ROWS."""

GAP_BYTES = 1 << 20
"""Bytes that are read in vain rather than skipped: a request to an object store costs as much time."""

STRETCH_BYTES = 64 << 20
"""The most that is read at once."""

_ROWS_FILE, _CLASSES_FILE, _ROWS_OF_CLASS_FILE = "rows.arrow", "classes.npy", "rows_of_class.npy"
_FACTS_KEY = b"mlimages.catalogue"
_ROWS = pa.schema(
    [
        pa.field("folder", pa.int16(), nullable=False),
        pa.field("picture", pa.int32(), nullable=False),
        pa.field("source", pa.int16(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("location", pa.string(), nullable=False),
        LABELS.arrow.field("labels"),
    ]
)
"""`folder` and `picture` say where a picture of shards is; of one that is a file, -1 there, and its id and path."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a catalogue as a whole.

    Attributes:
        n_classes: C.
        sources: the names that rows' source numbers stand for.
        rows: N.
        labels: L.
        without_picture: labelled images of the table that no image folder has.
    """

    n_classes: int
    sources: tuple[str, ...]
    rows: int
    labels: int
    without_picture: int


@dataclass(frozen=True, slots=True)
class _Block:
    """The columns of one Arrow batch, all views of mapped memory."""

    folder: NDArray[np.int16]
    picture: NDArray[np.int32]
    source: NDArray[np.int16]
    image_id: pa.StringArray
    location: pa.StringArray
    labels: LabelColumns

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> _Block:
        folder, picture, source = (batch.column(i).to_numpy(zero_copy_only=True) for i in range(3))
        return cls(folder, picture, source, batch.column(3), batch.column(4), columns_of(batch.column(5)))


class Catalogue:
    """Labelled pictures by row.

    Attributes:
        facts: what is known of all rows.
        rows_of_class: in which rows each class is present, that is, has a confidence above 0.

    Raises:
        DataError: a file of it is missing or not whole.
    """

    def __init__(self, path: Path, pictures: Sequence[ImageIndex | Location]) -> None:
        self._path = path
        self._pictures = tuple(pictures)
        table = mapped_table(path / _ROWS_FILE)
        facts = json.loads(table.schema.metadata[_FACTS_KEY])
        self.facts = Facts(**{**facts, "sources": tuple(facts["sources"])})
        self._blocks = [_Block.of(batch) for batch in table.to_batches()]
        self.rows_of_class = RowsOfClass(
            _array(path / _CLASSES_FILE), _array(path / _ROWS_OF_CLASS_FILE, mmap_mode="r")
        )

    def __reduce__(self) -> tuple[type[Catalogue], tuple[Path, tuple[ImageIndex | Location, ...]]]:
        # Workers map the same files.
        return type(self), (self._path, self._pictures)

    def __len__(self) -> int:
        return self.facts.rows

    def _at(self, row: int) -> tuple[_Block, int]:
        return self._blocks[row // BLOCK_ROWS], row % BLOCK_ROWS

    def labels(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8]]:
        """Return class indices, confidences and origins of a row's labels, views of mapped memory, each shape (k,)."""
        block, at = self._at(row)
        labels = block.labels
        part = slice(labels.offsets[at], labels.offsets[at + 1])
        return labels.class_index[part], labels.confidence[part], labels.origin[part]

    def source(self, row: int) -> int:
        """Return the number of a row's source among `facts.sources`."""
        block, at = self._at(row)
        return int(block.source[at])

    def image_id(self, row: int) -> str:
        """Return the id of a row's picture."""
        block, at = self._at(row)
        pictures = self._pictures[block.folder[at]]
        if isinstance(pictures, ImageIndex):
            return pictures.image_id(int(block.picture[at]))
        return str(block.image_id[at])

    def place(self, row: int) -> tuple[Location, int, int]:
        """Return the file that a row's picture is in, and where: its offset and its bytes, -1 for all of the file."""
        block, at = self._at(row)
        pictures = self._pictures[block.folder[at]]
        if isinstance(pictures, ImageIndex):
            shard, offset, length = pictures.place(int(block.picture[at]))
            return pictures.reader.folder / shard, offset, length
        return pictures / str(block.location[at]), 0, -1

    def content(self, row: int) -> bytes:
        """Return a row's picture as it is stored.

        Raises:
            DataError, UsageError: it cannot be read.
        """
        block, at = self._at(row)
        pictures = self._pictures[block.folder[at]]
        if isinstance(pictures, ImageIndex):
            return pictures.read(int(block.picture[at]))
        path = pictures / str(block.location[at])
        try:
            content: bytes = path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot be read ({reason(error)})", where=path, remedy="check that it is there") from error
        return content

    def contents(self, rows: NDArray[np.int64]) -> Iterator[bytes | None]:
        """Yield the pictures of ascending rows; those that lie close together are read at once.

        None is for a picture that is not where it should be: reading it by itself says why.
        """
        places = [(*self._shard_place(int(row)), int(row)) for row in rows]
        for reader, stretch in _stretches(places):
            if reader is None:
                yield from (self._content_or_none(row) for *_, row in stretch)
                continue
            (_, shard, begin, _, _), (_, _, last, length, _) = stretch[0], stretch[-1]
            try:
                content = reader.read(shard, begin, last + length - begin)
            except DataError:
                yield from (self._content_or_none(row) for *_, row in stretch)
                continue
            yield from (content[offset - begin : offset - begin + size] for _, _, offset, size, _ in stretch)

    def _shard_place(self, row: int) -> tuple[ShardReader | None, str, int, int]:
        """Return the reader, shard, offset and bytes of a row's picture; no reader for one that is a file."""
        block, at = self._at(row)
        pictures = self._pictures[block.folder[at]]
        if not isinstance(pictures, ImageIndex):
            return None, "", 0, 0
        return (pictures.reader, *pictures.place(int(block.picture[at])))

    def _content_or_none(self, row: int) -> bytes | None:
        try:
            return self.content(row)
        except DataError:
            return None


def _array(path: Path, mmap_mode: Literal["r"] | None = None) -> NDArray[Any]:
    """Return the array of a file of the catalogue."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode=mmap_mode)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(
            f"is not a whole array ({reason(error)})", where=path, remedy="remove the folder that it is in"
        ) from error
    return array


_Place: TypeAlias = "tuple[ShardReader | None, str, int, int, int]"
"""Reader, shard, offset, bytes and row of a picture."""


def _stretches(places: Sequence[_Place]) -> Iterator[tuple[ShardReader | None, list[_Place]]]:
    """Yield places that are read at once: of one shard, with small gaps, and not too long."""
    stretch: list[_Place] = []
    for place in places:
        if stretch and not _continues(stretch[0], stretch[-1], place):
            yield stretch[0][0], stretch
            stretch = []
        stretch.append(place)
    if stretch:
        yield stretch[0][0], stretch


def _continues(first: _Place, last: _Place, place: _Place) -> bool:
    gap = place[2] - (last[2] + last[3])
    return place[:2] == first[:2] and 0 <= gap <= GAP_BYTES and place[2] + place[3] - first[2] <= STRETCH_BYTES


def open_catalogue(
    images: Sequence[Location], labels: Location, *, n_classes: int | None = None, cache: str | Path | None = None
) -> Catalogue:
    """Return the catalogue of some image folders and a label table, which is made first where it is not there yet.

    Args:
        images: folders that `mlimages-build images` wrote, or of image files, which the table's `location` names or
            else its `image_id`. A picture that several have is taken from the first.
        labels: a folder of parts of a `labels`, `annotations` or `predictions` table, or one part.
        n_classes: C; None for what the manifest of the table says.
        cache: the folder to keep it in; None for the user's cache.

    Raises:
        UsageError: a folder or table is missing, C is not known, no labelled image has a picture, two files have the
            id of one, or the cache cannot be written.
        DataError, SchemaError: a table is damaged or of another schema, or a class index is not below C.
    """
    if not images:
        raise UsageError("no folder of images is named", remedy="name a folder of images or of shards")
    parts = [labels] if labels.is_file() else table_parts(labels)
    manifest = _manifest_above(labels)
    n_classes = _n_classes(manifest, labels) if n_classes is None else n_classes
    pictures = [_pictures(folder) for folder in images]
    made_of = [FORMAT, n_classes, *(_digest(part, manifest) for part in parts), *map(_pictures_digest, pictures)]
    name = f"catalogue-{hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]}"
    path = (user_cache() if cache is None else Path(cache)) / name
    if not path.is_dir():
        with _only_maker(path) as scratch:
            if not path.is_dir():  # nobody made it while we waited
                _make(path, pictures, parts, n_classes, scratch)
    return Catalogue(path, pictures)


def split_folder(labels: Location, split: str | None) -> Location:
    """Return the folder of one split of a `labels` output, or `labels` itself where no split is asked for.

    Raises:
        UsageError: there is no such split.
    """
    if split is None:
        return labels
    folder = labels / split
    if not folder.is_dir():
        there = sorted(path.name for path in labels.iterdir() if path.is_dir()) if labels.is_dir() else []
        raise UsageError(
            f"there is no split {split!r} in it" + (f", only {', '.join(there)}" if there else ""),
            where=labels,
            remedy="name a folder that mlimages-build labels wrote, or split=None for one table",
        )
    return folder


def _pictures(folder: Location) -> ImageIndex | Location:
    """Return the index of a folder of shards, or the folder itself where it holds image files."""
    if not folder.is_dir():
        raise UsageError("there is no such folder", where=folder, remedy="name a folder of images or of shards")
    return ImageIndex.open(folder) if (folder / MANIFEST_NAME).is_file() else folder


def _pictures_digest(pictures: ImageIndex | Location) -> str:
    """Return what identifies pictures: the digests of their tables, or for plain files their names and sizes.

    Plain files are known by their folder too: a label table may name them by whole paths.
    """
    if not isinstance(pictures, ImageIndex):
        return f"{pictures.absolute()} {listing_digest(pictures)}"
    records = read_manifest(pictures.reader.folder).files
    return "".join(record.sha256 for _, record in sorted(records.items()) if record.schema == IMAGES.label)


def _manifest_above(labels: Location) -> tuple[Location, Manifest] | None:
    """Return the folder of the nearest manifest at most two folders above a table, and the manifest; None for none."""
    folder = labels.absolute()
    for _ in range(3):
        if (folder / MANIFEST_NAME).is_file():
            return folder, read_manifest(folder)
        folder = folder.parent
    return None


def _digest(part: Location, manifest: tuple[Location, Manifest] | None) -> str:
    """Return a table's SHA-256, from the manifest where its size is as recorded there: reading all bytes takes long."""
    if manifest is not None:
        folder, of = manifest
        record = of.files.get(relative(part.absolute(), folder))
        if record is not None and record.bytes == part.stat().st_size:
            return record.sha256
    return file_digest(part)


def _n_classes(manifest: tuple[Location, Manifest] | None, labels: Location) -> int:
    """Return C as the stage that wrote a table counted it."""
    for record in () if manifest is None else manifest[1].stages.values():
        for summary in (record.summary, *record.summary.values()):
            if isinstance(summary, dict) and isinstance(counts := summary.get("images_of_class"), list):
                return len(counts)
    raise UsageError("no manifest tells how many classes there are", where=labels, remedy="pass n_classes")


@contextlib.contextmanager
def _only_maker(path: Path) -> Iterator[Path]:
    """Hold the lock of a catalogue and yield a folder beside it to make it in.

    Of several ranks that want it, one makes it and the others wait for it.

    Raises:
        UsageError: the cache cannot be written.
    """
    prefix = f"{PARTIAL_PREFIX}{path.name}-"
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _lock_file(path.with_name(f".{path.name}.lock"))
            stack.callback(os.close, lock)
            if _is_locked(lock):
                for killed in path.parent.glob(f"{prefix}*"):
                    shutil.rmtree(killed, ignore_errors=True)
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent))
        except OSError as error:
            raise UsageError(
                f"no catalogue can be kept in it ({reason(error)})", where=path.parent, remedy="name another cache"
            ) from error
        yield Path(scratch)


def _lock_file(path: Path) -> int:
    """Return the descriptor of a file to lock, which another user of a shared cache may have made."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY)


def _is_locked(descriptor: int) -> bool:
    """Wait for the lock of a file and return whether there is one: some systems and network drives have none."""
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            return True
    return False


def _make(
    path: Path, pictures: Sequence[ImageIndex | Location], parts: Sequence[Location], n_classes: int, scratch: Path
) -> None:
    """Write a catalogue, whole."""
    made = scratch / path.name
    made.mkdir()
    found = _found_rows(pictures, parts, n_classes, scratch)
    if not found.keys.size:
        raise UsageError(
            f"none of {found.without_picture:,} labelled images has a picture in {_named(pictures)}",
            where=parts[0].parent,
            remedy="name the folder that mlimages-build images wrote for these labels, or one that holds the files "
            "of their columns location or image_id",
        )
    sizes = _write_rows(made / _ROWS_FILE, found, n_classes)
    _write_rows_of_class(made, sizes)
    try:
        made.rename(path)
    except OSError:  # where there are no locks, another process may have made it too
        if not path.is_dir():
            raise


@dataclass(frozen=True, slots=True)
class _Found:
    """The rows of a label table that have a picture, in its order, and their labels in scratch files.

    Attributes:
        keys: what the rows are ordered by, folder << `_PICTURE_BITS` | picture, int64, shape (N,).
        source: int16, shape (N,).
        starts: where the labels of each row begin, and the end, int64, shape (N + 1,).
        labels: the columns class_index, confidence and origin, each shape (L,), mapped.
        files: image_id and location of the rows whose pictures are files, in their order.
        folders_of_files: the numbers of the folders without an index.
        sources: the names of the sources.
        without_picture: rows of the table that have no picture.
    """

    keys: NDArray[np.int64]
    source: NDArray[np.int16]
    starts: NDArray[np.int64]
    labels: tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8]]
    files: pa.Table
    folders_of_files: NDArray[np.int64]
    sources: tuple[str, ...]
    without_picture: int


_PICTURE_BITS = 40
_FILES = pa.schema([LABELS.arrow.field(name) for name in ("image_id", "location")])


def _named(pictures: Sequence[ImageIndex | Location]) -> str:
    return ", ".join(str(one.reader.folder if isinstance(one, ImageIndex) else one) for one in pictures)


def _found_rows(
    pictures: Sequence[ImageIndex | Location], parts: Sequence[Location], n_classes: int, scratch: Path
) -> _Found:
    """Return the rows of a label table's parts that have a picture; their labels are written to `scratch`."""
    of_files = np.array([not isinstance(one, ImageIndex) for one in pictures])
    sources: dict[str, int] = {}
    keys, source, sizes, files = [np.zeros(0, np.int64)], [np.zeros(0, np.int16)], [np.zeros(0, np.int32)], []
    n_files = n_rows = 0
    by_id = [None if isinstance(one, ImageIndex) else _FilesById(one) for one in pictures]
    names = [scratch / name for name in ("class_index", "confidence", "origin")]
    with contextlib.ExitStack() as stack:
        sinks = [stack.enter_context(name.open("wb")) for name in names]
        for batch, labels in (pair for part in parts for pair in label_batches(part, n_classes)):
            folder, picture, location = _located(batch, pictures, by_id)
            there = folder >= 0
            is_file = there & of_files[folder]
            picture[is_file] = n_files + np.arange(is_file.sum())
            named = pa.RecordBatch.from_arrays([batch.column("image_id"), location], schema=_FILES)
            files.append(named.filter(pa.array(is_file)))
            keys.append((folder[there] << _PICTURE_BITS) + picture[there])
            source.append(_numbers(batch.column("source"), sources)[there])
            of_row = np.diff(labels.offsets)
            sizes.append(of_row[there])
            kept = labels.only(np.repeat(there, of_row))
            kept.class_index.tofile(sinks[0])
            kept.confidence.tofile(sinks[1])
            kept.origin.tofile(sinks[2])
            n_files += int(is_file.sum())
            n_rows += batch.num_rows
    columns = (_mapped(names[0], np.int32), _mapped(names[1], np.float32), _mapped(names[2], np.uint8))
    return _Found(
        keys=np.concatenate(keys),
        source=np.concatenate(source),
        starts=np.concatenate(([0], np.cumsum(np.concatenate(sizes), dtype=np.int64))),
        labels=columns,
        files=pa.Table.from_batches(files, _FILES).combine_chunks(),
        folders_of_files=np.flatnonzero(of_files),
        sources=tuple(sources),
        without_picture=n_rows - sum(map(len, keys)),
    )


def _located(
    batch: pa.RecordBatch, pictures: Sequence[ImageIndex | Location], by_id: Sequence[_FilesById | None]
) -> tuple[NDArray[np.int64], NDArray[np.int64], pa.StringArray]:
    """Return the first folder that has each row's picture, the picture's number in its index, and the file's path.

    The number is -1 for none and for a file.
    """
    folder, picture = np.full((2, batch.num_rows), -1, np.int64)
    location = batch.column("location")
    for number, one in enumerate(pictures):
        rows = np.flatnonzero(folder < 0)
        if isinstance(one, ImageIndex):
            numbers = one.rows_of(batch.column("image_id").take(pa.array(rows)))
            found = numbers >= 0
            picture[rows[found]] = numbers[found]
        else:
            found = _is_below(one, location.take(pa.array(rows)))
            files = by_id[number]
            assert files is not None
            others = rows[~found]
            paths = [files.path(image_id) for image_id in batch.column("image_id").take(pa.array(others)).to_pylist()]
            has_id = np.array([path is not None for path in paths], bool)
            found[~found] = has_id
            mask = np.zeros(batch.num_rows, bool)
            mask[others[has_id]] = True
            location = pc.replace_with_mask(location, mask, pa.array([p for p in paths if p is not None], pa.string()))
        folder[rows[found]] = number
    return folder, picture, location


class _FilesById:
    """The picture files of a folder by the ids of their images; the folder is listed when it is first asked."""

    def __init__(self, folder: Location) -> None:
        self._folder = folder
        self._paths: dict[str, list[str]] | None = None

    def path(self, image_id: str) -> str | None:
        """Return the path of an image's file below the folder, None where there is none.

        Raises:
            UsageError: there are several.
        """
        if self._paths is None:
            self._paths = {}
            for path, found in named_files(self._folder):
                self._paths.setdefault(found, []).append(path)
        paths = self._paths.get(image_id, [])
        if len(paths) > 1:
            raise one_image(self._folder, image_id, paths)
        return paths[0] if paths else None


def _is_below(folder: Location, paths: pa.StringArray) -> NDArray[np.bool_]:
    """Return which paths name a file below a folder, relative or whole, and do not lead out of it."""
    whole = pc.starts_with(paths, f"{folder.absolute()}/")
    relative_ = pc.invert(pc.match_substring_regex(paths, r"^$|^/|://|\\"))
    stays = pc.invert(pc.match_substring_regex(paths, r"(^|/)\.\.(/|$)"))
    may_be = np.asarray(pc.and_(pc.or_(whole, relative_), stays))
    may_be[may_be] = [_is_file(folder / path) for path in paths.filter(pa.array(may_be)).to_pylist()]
    return may_be


def _is_file(path: Location) -> bool:
    try:
        return path.is_file()
    except OSError:  # no name of a file at all, such as a long `data:` address
        return False


def _numbers(names: pa.StringArray, known: dict[str, int]) -> NDArray[np.int16]:
    """Return the number of each name; new names get the next numbers."""
    encoded = names.dictionary_encode()
    numbers = np.array([known.setdefault(name, len(known)) for name in encoded.dictionary.to_pylist()], np.int16)
    return np.asarray(numbers[encoded.indices.to_numpy()])


def _mapped(path: Path, kind: type[_Number]) -> NDArray[_Number]:
    # A file of no bytes cannot be mapped.
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)


def _write_rows(path: Path, found: _Found, n_classes: int) -> NDArray[np.int64]:
    """Write the rows in the order of their pictures, and return how many have each class, shape (C,)."""
    order = np.argsort(found.keys, kind="stable")
    facts = Facts(n_classes, found.sources, len(order), int(found.starts[-1]), found.without_picture)
    sizes = np.zeros(n_classes, np.int64)
    schema = _ROWS.with_metadata({_FACTS_KEY: json.dumps(asdict(facts)).encode()})
    with mapped_writer(path, schema) as writer:
        for start in range(0, len(order), BLOCK_ROWS):
            rows = order[start : start + BLOCK_ROWS]
            labels = _labels_of(found, rows)
            sizes += np.bincount(labels.class_index[labels.confidence > 0], minlength=n_classes)
            writer.write_batch(_batch(found, rows, labels, schema))
    return sizes


def _labels_of(found: _Found, rows: NDArray[np.int64]) -> LabelColumns:
    starts, sizes = found.starts[rows], found.starts[rows + 1] - found.starts[rows]
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    at = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
    class_index, confidence, origin = found.labels
    return LabelColumns(offsets.astype(np.int32), class_index[at], confidence[at], origin[at])


def _batch(found: _Found, rows: NDArray[np.int64], labels: LabelColumns, schema: pa.Schema) -> pa.RecordBatch:
    folder, picture = found.keys[rows] >> _PICTURE_BITS, found.keys[rows] & ((1 << _PICTURE_BITS) - 1)
    is_file = np.isin(folder, found.folders_of_files)
    files = found.files.take(pa.array(np.where(is_file, picture, 0), mask=~is_file))
    columns = [
        pa.array(folder.astype(np.int16)),
        pa.array(np.where(is_file, -1, picture).astype(np.int32)),
        pa.array(found.source[rows]),
        *(pc.fill_null(files.column(name), "").combine_chunks() for name in _FILES.names),
        array_of(labels),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _write_rows_of_class(folder: Path, sizes: NDArray[np.int64]) -> None:
    """Write in which rows each class is present: each block's rows go behind those of the blocks before it."""
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    np.save(folder / _CLASSES_FILE, offsets)
    path = folder / _ROWS_OF_CLASS_FILE
    rows_of_class = np.lib.format.open_memmap(path, "w+", np.int32, (int(offsets[-1]),)) if offsets[-1] else None
    if rows_of_class is None:
        np.save(path, np.zeros(0, np.int32))
        return
    ends = offsets[:-1].copy()
    first = 0
    for batch in mapped_table(folder / _ROWS_FILE).to_batches():
        labels = columns_of(batch.column("labels"))
        _append_rows(labels.offsets, labels.class_index, labels.confidence, first, ends, rows_of_class)
        first += batch.num_rows
    rows_of_class.flush()


@compiled
def _append_rows(  # noqa: PLR0917 - compiled code takes no keywords
    offsets: NDArray[np.int32],
    class_index: NDArray[np.int32],
    confidence: NDArray[np.float32],
    first: int,
    ends: NDArray[np.int64],
    rows_of_class: NDArray[np.int32],
) -> None:
    for row in range(len(offsets) - 1):
        for k in range(offsets[row], offsets[row + 1]):
            if confidence[k] > 0:
                c = class_index[k]
                rows_of_class[ends[c]] = first + row
                ends[c] += 1

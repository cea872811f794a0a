"""WebDataset: tar shards of pictures, with files of the same key that say what they show; img2dataset writes them too.

What such files say is in `samples`. Where they say no class, a picture's path in its shard tells it, as in a folder; a
picture of which nothing tells a class is a reject. A picture is named by its shard and its path there, so that
`annotate` tells where two shards have pictures of one id.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import IO, TYPE_CHECKING, ClassVar, TypeAlias

import pyarrow as pa

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import as_text, relative
from mlimages_dataset.sources.folders import class_of_path
from mlimages_dataset.sources.pieces import Piece, read_to_its_end
from mlimages_dataset.sources.places import shards_below
from mlimages_dataset.sources.rejects import LISTED_REJECTS, REJECT_CHARACTERS, Reject
from mlimages_dataset.sources.samples import (
    HEARD_SUFFIXES,
    MOST_BYTES,
    Stated,
    beside,
    by_key,
    is_picture,
    stated,
    suffix_of,
)
from mlimages_dataset.sources.source import BatchSource, statements
from mlimages_dataset.sources.tars import TarEntry, tar_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.rejects import RejectLog

_BLOCK_ROWS = 1 << 16
_Row: TypeAlias = tuple[str, str, str]
"""Image, class, location."""


class WebDataset(BatchSource):
    """Shards, or folders of them."""

    name: ClassVar[str] = "webdataset"
    takes_folders: ClassVar[bool] = True

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        piece = super().piece(path)
        if path.is_dir() and not tar_shards(path):
            raise UsageError("there is no .tar file in it", where=path, remedy="name a folder of shards")
        if not path.is_dir() and not path.stat().st_size:
            raise DataError("is empty", where=path, remedy="obtain the file again")
        return piece

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`: a shard is one piece."""
        if not piece.path.is_dir():
            return [piece]
        return [replace(piece, shard=relative(shard, piece.path)) for shard in tar_shards(piece.path)]

    def batches(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """See `BatchSource.batches`."""
        with read_to_its_end(piece.file), piece.file.open("rb") as stream:
            rows = _rows(piece, stream, log)
            while block := list(itertools.islice(rows, _BLOCK_ROWS)):
                names, classes, places = (pa.array(column, pa.string()) for column in zip(*block, strict=True))
                yield statements(names, classes, places)


def tar_shards(folder: Location) -> list[Location]:
    """Return the tar files below a folder, in the order of their paths."""
    return shards_below(folder, ".tar")


def samples(entries: Iterable[TarEntry]) -> Iterator[list[TarEntry]]:
    """Yield the entries of each sample."""
    return by_key(entries, lambda entry: entry.name)


def _rows(piece: Piece, stream: IO[bytes], log: RejectLog) -> Iterator[_Row]:
    """Yield what each picture of a shard is said to be."""
    seen: set[str] = set()
    for sample in samples(tar_entries(piece.file)):
        safe = [entry for entry in sample if not entry.unsafe]
        for entry in sample:
            if entry.unsafe:
                _reject(log, piece, entry.unsafe, entry.name)
        heard = beside([entry.name for entry in safe])
        if not heard and any(suffix_of(entry.name) in HEARD_SUFFIXES for entry in safe):
            _reject(log, piece, "no picture has this key", safe[0].name)
        for at, others in heard.items():
            name = safe[at].name
            if name in seen:
                _reject(log, piece, "a second picture of this name", name)
                continue
            seen.add(name)
            yield from _rows_of_picture(piece, name, _stated(stream, [safe[other] for other in others]), log)


def _rows_of_picture(piece: Piece, name: str, said: Stated, log: RejectLog) -> Iterator[_Row]:
    if said.wrong:
        _reject(log, piece, said.wrong, name)
        return
    classes = said.classes
    if classes is None:
        of_path = class_of_path(name)
        classes = (of_path,) if of_path else ()
        if not of_path:
            _reject(log, piece, "nothing says its class", name)
    image = as_text(f"{piece.name}/{name}")
    for one in classes:
        yield image, one, said.address or image


def _stated(stream: IO[bytes], entries: list[TarEntry]) -> Stated:
    """Return what the files beside a picture say."""
    files: dict[str, bytes] = {}
    for entry in entries:
        if suffix_of(entry.name) not in HEARD_SUFFIXES:
            continue
        if entry.size > MOST_BYTES:
            return Stated((), wrong=f"{suffix_of(entry.name)} has {entry.size:,} bytes, more than {MOST_BYTES:,}")
        if entry.name in files:
            return Stated((), wrong=f"two members are named {entry.name}")
        stream.seek(entry.offset)
        files[entry.name] = stream.read(entry.size)
    return stated(files)


def _reject(log: RejectLog, piece: Piece, what: str, text: str) -> None:
    rejects = [Reject(as_text(str(piece.file)), 0, what, text[:REJECT_CHARACTERS])]
    log.add(rejects if log.count < LISTED_REJECTS else [], 1)


def holds_samples(archive: Location, look: int = 64) -> bool:
    """Return whether one of the first members of a tar file is a picture with a file beside it that says something.

    Raises:
        DataError: it is truncated, damaged or no archive.
    """
    first = samples(itertools.islice(tar_entries(archive), look))
    return any(others for sample in first for others in beside([entry.name for entry in sample]).values())


def holds_pictures(archive: Location, look: int = 64) -> bool:
    """Return whether one of the first members of a tar file is a picture; errors as `holds_samples`."""
    return any(is_picture(entry.name) for entry in itertools.islice(tar_entries(archive), look))

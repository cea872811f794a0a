"""Pieces of files that any process may read: a large uncompressed file is divided, any other is one piece."""

from __future__ import annotations

import contextlib
import functools
import itertools
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

import pyarrow as pa

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import as_text, reason, refuse_special, system_errors
from mlimages_dataset.sources.layout import Layout
from mlimages_dataset.sources.quotes import last_row_end
from mlimages_dataset.tables.files import numbered, refuse_no_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.synsets import Synsets

PIECE_BYTES = 1 << 26
"""Most bytes of a piece. Grouping a piece of Open Images' labels takes 0.6 GB and 1 s of one processor."""
_LEAST_PIECE_BYTES = 1 << 24
"""Least bytes of a piece: its start costs a tenth of its work."""
_PIECES = 8
"""Pieces of a file whose pieces are neither the least nor the largest, so that a few processors share the work."""
_LOOK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, or a part of one that can be read without the rest.

    Attributes:
        path: the file, or a folder.
        columns: names of its columns, none for line formats.
        delimiter: the separator of its columns.
        start: where it begins, in bytes, or in row groups of a Parquet file.
        stop: where it ends; None for a file that is read from its beginning to its end.
        states: whether it states classes; Open Images' tables of images state places only.
        places: whether it states where images are.
        shard: the path of a file below the folder `path`, from which the names in it count; empty for `path` itself.
        header: whether its first line names its columns.
        padded: whether blanks stand around its cells, and belong to none.
        layout: what its user states of it.
        synsets: what its user says that numbers mean.
        exported: whether the file's own columns are those of an exported CSV, whatever its user calls them.
        root: what tells a folder of images from the others that are read with it; empty where there are no others.
    """

    path: Location
    columns: tuple[str, ...] = ()
    delimiter: str = ","
    start: int = 0
    stop: int | None = None
    states: bool = True
    places: bool = True
    header: bool = True
    padded: bool = False
    layout: Layout = Layout()  # noqa: RUF009 - frozen
    synsets: Synsets | None = None
    root: str = ""
    shard: str = ""
    exported: bool = False

    @property
    def file(self) -> Location:
        """The file that is read."""
        return self.path / self.shard if self.shard else self.path

    @property
    def name(self) -> str:
        """What the names of its images begin with, where it is a shard."""
        return self.shard or self.path.name

    def cut_at(self, ends: Sequence[int]) -> list[Piece]:
        """Return the pieces of this piece that end at `ends`."""
        return [replace(self, start=start, stop=stop) for start, stop in zip([0, *ends[:-1]], ends, strict=True)]


def told_apart(whole: Sequence[Piece], folder_of: Callable[[Location], Location | None]) -> list[Piece]:
    """Return files and folders as they are, those of several folders with a name each, see `Source.folder_of`."""
    folders = [folder_of(piece.path) for piece in whole]
    distinct = list(dict.fromkeys(folder for folder in folders if folder is not None))
    if len(distinct) < 2:  # noqa: PLR2004 - one needs no name
        return list(whole)
    names = dict(zip(distinct, numbered(as_text(folder.name) for folder in distinct), strict=True))
    return [
        piece if folder is None else replace(piece, root=names[folder])
        for piece, folder in zip(whole, folders, strict=True)
    ]


def cut_lines(piece: Piece) -> list[Piece]:
    """Return pieces of whole lines."""
    return _cut(piece, lambda stream: line_ends(stream, piece.path.stat().st_size))


def cut_rows(piece: Piece) -> list[Piece]:
    """Return pieces of whole rows of CSV, in which a quoted field may have line ends."""

    def ends(stream: IO[bytes]) -> list[int]:
        if not _has_quotes(stream):
            return line_ends(stream, piece.path.stat().st_size)
        stream.seek(0)
        return list(itertools.accumulate(len(rows) for rows in whole_rows(stream, piece.delimiter)))

    return _cut(piece, ends)


def _cut(piece: Piece, ends_of: Callable[[IO[bytes]], list[int]]) -> list[Piece]:
    """Return the pieces of a file: of `piece_bytes` or somewhat more if it is large and not compressed, else one."""
    path = piece.path
    if path.is_dir() or not path.exists():  # a member of an archive
        return [piece]
    with read_to_its_end(path):
        if (size := path.stat().st_size) <= piece_bytes(size) or is_packed(path):
            return [piece]
        with path.open("rb") as stream:
            return piece.cut_at(ends_of(stream))


def group_ends(sizes: Sequence[int]) -> list[int]:
    """Return the ends of groups of consecutive items with `PIECE_BYTES` in all (the last may have less)."""
    ends, size = [], 0
    for number, one in enumerate(sizes, 1):
        size += one
        if size >= PIECE_BYTES or number == len(sizes):
            ends.append(number)
            size = 0
    return ends or [0]


def piece_bytes(size: int) -> int:
    """Return how many bytes a piece of a file of `size` bytes has; by the size alone, so that runs can be resumed."""
    return min(PIECE_BYTES, max(_LEAST_PIECE_BYTES, size // _PIECES))


def line_ends(stream: IO[bytes], size: int) -> list[int]:
    """Return the ends of pieces of whole lines in a stream of `size` bytes."""
    ends = []
    step = at = piece_bytes(size)
    while at < size:
        stream.seek(at - 1)
        stream.readline()
        ends.append(stream.tell())
        at = ends[-1] + step
    return ends if ends and ends[-1] == size else [*ends, size]


def _has_quotes(stream: IO[bytes]) -> bool:
    """Return whether a stream has a quote: without quotes, each line is a row, and rows need not be searched."""
    return any(b'"' in block for block in iter(functools.partial(stream.read, _LOOK_BYTES), b""))


def whole_rows(stream: IO[bytes] | pa.NativeFile, delimiter: str) -> Iterator[bytes]:
    """Yield a CSV stream in blocks that end where rows do: at a line end outside quotes.

    The first has about the least bytes of a piece, so that work on it begins soon, each further one about twice as
    many as the one before, up to `PIECE_BYTES`.
    """
    rest, size = b"", min(PIECE_BYTES, _LEAST_PIECE_BYTES)
    while block := stream.read(size):
        content, size = rest + block, min(PIECE_BYTES, 2 * size)
        end = last_row_end(content, delimiter)
        if not end and len(content) >= 2 * PIECE_BYTES:
            # A quote that stays open for so long is an error, not a field: stop the damage here.
            end = content.rfind(b"\n") + 1
        if end:
            yield content[:end]
        rest = content[end:]
    if rest:
        yield rest


def bytes_of(piece: Piece) -> bytes:
    """Return the bytes of a piece of a divided file.

    Raises:
        DataError: the file has become shorter.
    """
    assert piece.stop is not None
    with piece.path.open("rb") as stream:
        stream.seek(piece.start)
        content: bytes = stream.read(piece.stop - piece.start)
    if len(content) < piece.stop - piece.start:
        raise DataError(
            "became shorter while it was read", where=piece.path, remedy="run it again when the file is complete"
        )
    return content


@contextlib.contextmanager
def read_to_its_end(path: Location) -> Iterator[None]:
    """Turn errors on reading a file into an error of ours.

    Raises:
        UsageError: there is no such file, or it is a pipe, socket or device.
        DataError: it cannot be read to its end.
    """
    refuse_special(path)
    try:
        with system_errors(path):
            yield
    except (OSError, pa.ArrowException) as error:
        refuse_no_file(path, error)
        raise DataError(f"cannot be read to its end ({reason(error)})", where=path, remedy="obtain it again") from error


def is_packed(path: Location) -> bool:
    """Return whether a file's suffix says that it is compressed."""
    try:
        pa.Codec.detect(path.name)
    except (TypeError, ValueError):
        return False
    return True

"""The base class of sources: files of one format that state what images show.

A new format is one file with one subclass, and one line in `registry`, or an entry point of the group
`mlimages_dataset.sources` in another package. `contract.py` checks the rules for every source.

A file names an image by its path, URL or id; `image_ids` turns this name into the image's id.
"""

from __future__ import annotations

import abc
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.sources import pieces
from mlimages_dataset.sources.pieces import Piece
from mlimages_dataset.sources.places import place_digest
from mlimages_dataset.tables.schemas import REGION_FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    import duckdb

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.layout import Layout
    from mlimages_dataset.sources.rejects import RejectLog

    Shown: TypeAlias = duckdb.DuckDBPyConnection | pa.RecordBatch
    Connect: TypeAlias = Callable[[], duckdb.DuckDBPyConnection]
    """Returns one connection, which it makes when it is first called: many blocks need none."""

STATEMENT = pa.schema(
    [("image_id", pa.string()), ("class_id", pa.string()), ("confidence", pa.float32()), ("location", pa.string())]
)
"""A statement: an image, as the file names it; a class of the source; a confidence, null if it is not a number from 0
to 1; and the image's location, empty if the file does not give it."""

LISTED = "\x1flisted"
"""The class of a statement, of confidence 0, that says only that its collection lists an image: where a collection is
complete for a class list, such an image shows none of its classes."""
DOUBTED = "\x1fdoubted"
"""The class of a statement, of confidence 0, that says only that a row about the image is a reject: nobody knows of
what class. So no absence of the image follows from what its collection is complete for."""
BOX = ("xmin", "ymin", "xmax", "ymax")
"""The sides of a box: shares of the image's width and height, from its left upper corner."""
REGION = pa.schema(
    [
        ("image_id", pa.string()),
        ("class_id", pa.string()),
        *((side, pa.float32()) for side in BOX),
        ("confidence", pa.float32()),
        *((flag, pa.bool_()) for flag in REGION_FLAGS),
        ("mask", pa.string()),
        ("location", pa.string()),
        ("clipped", pa.bool_()),
        ("outline", pa.bool_()),
    ]
)
"""A box that a file states: an image and a raw class, as in `STATEMENT`; the box, of some area and in the image; a
confidence above 0; flags; a mask, empty where there is none; whether the box reached beyond the image and was clipped;
and whether the file has an outline that `mask` does not say."""

WRITTEN = "written"
"""The column of `observations` that has a confidence as the file writes it, where it is known."""
NUMBERS = ("line", "item", "row")
"""The columns of `observations` that may have the number of each statement's line, item or row, from 1."""
FAULT = "fault"
"""The column of `observations` that says why a statement has no confidence, where its number is not the reason."""


class Source(abc.ABC):
    """Files of one format.

    Attributes:
        name: the format's name in commands and recipes.
        ids_of: the class list whose ids its statements use; None if they may use those of any list.
        takes_wnids: whether its statements may also use wnids.
        by_index: whether its statements use class indices of the vocabulary itself.
        takes_folders: whether it also reads a folder of images.
        suffixes: of its files, in lower case: such files in a folder are read as parts of one; empty if no folder is.
        heeds: the fields of `Layout` that it reads its files by.
        has_regions: whether its files may state boxes.
        member_suffixes: in lower case, of the files in archives that it reads where it takes no folders.
    """

    name: ClassVar[str]
    ids_of: ClassVar[str | None] = None
    takes_wnids: ClassVar[bool] = True
    by_index: ClassVar[bool] = False
    takes_folders: ClassVar[bool] = False
    suffixes: ClassVar[tuple[str, ...]] = ()
    heeds: ClassVar[frozenset[str]] = frozenset()
    has_regions: ClassVar[bool] = False
    member_suffixes: ClassVar[tuple[str, ...]] = ()

    def piece(self, path: Location) -> Piece:
        """Return a file as one piece, after checking its header.

        Raises:
            UsageError, DataError: it is not of the format.
        """
        if path.is_dir() and not self.takes_folders:
            raise UsageError("is a folder", where=path, remedy=f"name files of the format {self.name}")
        return Piece(path)

    def piece_as_stated(self, path: Location, layout: Layout) -> Piece:
        """Return a file as one piece, read as its user states; errors as `piece`."""
        return replace(self.piece(path), layout=layout)

    def folder_of(self, path: Location) -> Location | None:
        """Return the folder whose pictures a path names, None for a file: one name in two folders is two pictures."""
        return path if path.is_dir() else None

    @abc.abstractmethod
    def cut(self, piece: Piece) -> list[Piece]:
        """Return the pieces of a file, which depend only on the file.

        Raises:
            DataError: the file cannot be read.
        """

    @abc.abstractmethod
    def observe(self, connect: Connect, piece: Piece, log: RejectLog) -> Iterator[Shown]:
        """Yield each block of a piece in turn: in SQL, or as a batch where a source makes one without it.

        In SQL, it is a connection in which the block is the relation `observations`, with the columns of `STATEMENT`,
        and `stated`: the number in the file if the confidence is null because the number is out of range. A batch has
        the columns of `STATEMENT`, no nulls, no empty id or class, and confidences in 0..1. Rows are in any order, and
        those of a block fit in memory; `log` is complete when all rows were read. SQL may have the columns `WRITTEN`,
        `NUMBERS` and `FAULT` too, by which statements that cannot be used are told.

        Raises:
            DataError: the piece cannot be read to its end.
        """

    def regions(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 - for those that have any
        """Yield the boxes that a piece states, in the columns of `REGION`; `log` as for `observe`.

        Raises:
            UsageError: files of this format, or this one, state no boxes.
            DataError: the piece cannot be read to its end.
        """
        raise UsageError(f"the format {self.name} states no boxes", where=piece.path, remedy="name files with boxes")

    def digest(self, path: Location) -> str:
        """Return the SHA-256 of all that decides what a file or folder states.

        Raises:
            UsageError: it cannot be read.
        """
        return place_digest(path)


class BatchSource(Source):
    """A source that makes Arrow batches itself."""

    @abc.abstractmethod
    def batches(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """Yield the statements of a piece, in the columns of `STATEMENT`; errors and `log` as for `observe`."""

    def observe(self, connect: Connect, piece: Piece, log: RejectLog) -> Iterator[duckdb.DuckDBPyConnection]:
        """See `Source.observe`."""
        yield from observed(connect(), self.batches(piece, log), lambda _: "*, NULL AS stated")


def statements(
    image: pa.Array, class_id: pa.Array, location: pa.Array, confidence: pa.Array | None = None
) -> pa.RecordBatch:
    """Return statements as a batch; without confidences, each is a verified presence."""
    certain = pa.array(np.ones(len(image), np.float32)) if confidence is None else confidence
    return pa.RecordBatch.from_arrays([image, class_id, certain, location], schema=STATEMENT)


def observed(
    connection: duckdb.DuckDBPyConnection, batches: Iterator[pa.RecordBatch], columns: Callable[[pa.Table], str]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection for each block of batches, from which SQL selects the columns of `Source.observe`."""
    for table in joined_batches(batches):
        connection.register("block", table)
        selection = f"SELECT {columns(table)} FROM block"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW observations AS {selection}")
        yield connection
        connection.unregister("block")


def joined_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield batches joined to tables of about twice `PIECE_BYTES`; a column that only some have is null in others."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= 2 * pieces.PIECE_BYTES:
            yield _joined(waiting)
            waiting, size = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    if all(batch.schema.equals(batches[0].schema) for batch in batches):
        return pa.Table.from_batches(batches)
    return pa.concat_tables([pa.Table.from_batches([batch]) for batch in batches], promote_options="default")


def refuse_other_scale(numbers: Sequence[float], where: Location, *, first: str, line: int | None = None) -> None:
    """Raise `DataError` if confidences have another scale than 0 to 1.

    On a scale from 1 to 10, 1 is the lowest value, but would count as verified by a person.

    Args:
        numbers: some of the numbers greater than `confidences.MOST_ROUNDED`, empty if there are none.
        where: the file.
        first: what the first row with such a number says, with its place where it is known.
        line: its line in the file, where it is known.
    """
    if numbers:
        shown = ", ".join(f"{number:g}" for number in sorted(numbers)[:5])
        raise DataError(
            f"has confidences such as {shown}, on another scale than 0 to 1; the first one is in {first}",
            where=where,
            line=line,
            remedy="correct it if it is the only one, or divide all by the scale's greatest value; 1 means that a "
            "person has verified the class",
        )

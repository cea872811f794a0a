"""What a source is: the files of one format, which state what is in images.

A new format is one file with one class of this kind, and one line in `registry`, or an entry point of the group
`mlimages_dataset.sources` in anyone's package. `contract.py` holds what every source must keep.

What names an image is its path, its address or its id, as the file has it; `image_ids` makes its id of that.
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import duckdb

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.layout import Layout
    from mlimages_dataset.sources.rejects import RejectLog

STATEMENT = pa.schema(
    [("image_id", pa.string()), ("class_id", pa.string()), ("confidence", pa.float32()), ("location", pa.string())]
)
"""A statement: an image, as the file names it; a raw class; a confidence, null where it is no number from 0 to 1; and
where the image is, empty where the file does not say."""


class Source(abc.ABC):
    """Files of one format.

    Attributes:
        name: the format's name in commands and recipes.
        ids_of: the class list whose ids its statements use; None for any list's.
        takes_wnids: its statements may use wnids too.
        by_index: its statements use class indices of the vocabulary itself.
        takes_folders: a folder of images is read too.
        suffixes: of its files, in lower case: those in a folder are read as parts of one; none where no folder is.
        heeds: the fields of `Layout` that it reads its files by.
    """

    name: ClassVar[str]
    ids_of: ClassVar[str | None] = None
    takes_wnids: ClassVar[bool] = True
    by_index: ClassVar[bool] = False
    takes_folders: ClassVar[bool] = False
    suffixes: ClassVar[tuple[str, ...]] = ()
    heeds: ClassVar[frozenset[str]] = frozenset()

    def piece(self, path: Location) -> Piece:
        """Return a file as one piece, its header checked to be of the format.

        Raises:
            UsageError, DataError: it is not of the format.
        """
        if path.is_dir() and not self.takes_folders:
            raise UsageError("is a folder", where=path, remedy=f"name files of the format {self.name}")
        return Piece(path)

    def piece_as_stated(self, path: Location, layout: Layout) -> Piece:
        """Return a file as one piece, read as its user states; errors as `piece`."""
        return replace(self.piece(path), layout=layout)

    @abc.abstractmethod
    def cut(self, piece: Piece) -> list[Piece]:
        """Return the pieces of a file, which depend on the file alone.

        Raises:
            DataError: the file cannot be read.
        """

    @abc.abstractmethod
    def observe(
        self, connection: duckdb.DuckDBPyConnection, piece: Piece, log: RejectLog
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection for each block of a piece in turn, in which the block is the relation `observations`.

        The relation has the columns of `STATEMENT`, and `stated`, the number that a confidence is null for, if it is
        one. Its rows fit in memory; `log` is complete when they were read to
        the end.

        Raises:
            DataError: the piece cannot be read to its end.
        """


class BatchSource(Source):
    """A source that makes Arrow batches itself."""

    @abc.abstractmethod
    def batches(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """Yield what a piece states, in the columns of `STATEMENT`; errors and `log` as `observe`."""

    def observe(
        self, connection: duckdb.DuckDBPyConnection, piece: Piece, log: RejectLog
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """See `Source.observe`."""
        yield from observed(connection, self.batches(piece, log), lambda _: "*, NULL AS stated")


def statements(
    image: pa.Array, class_id: pa.Array, location: pa.Array, confidence: pa.Array | None = None
) -> pa.RecordBatch:
    """Return statements as a batch; each is verified presence where there is no confidence."""
    certain = pa.array(np.ones(len(image), np.float32)) if confidence is None else confidence
    return pa.RecordBatch.from_arrays([image, class_id, certain, location], schema=STATEMENT)


def observed(
    connection: duckdb.DuckDBPyConnection, batches: Iterator[pa.RecordBatch], columns: Callable[[pa.Table], str]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection for each block of batches, of which SQL selects the columns that `Source.observe` tells."""
    for table in _joined(batches):
        connection.register("block", table)
        selection = f"SELECT {columns(table)} FROM block"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW observations AS {selection}")
        yield connection
        connection.unregister("block")


def _joined(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield batches joined to tables of about two pieces' bytes."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= 2 * pieces.PIECE_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, size = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def refuse_other_scale(numbers: Sequence[float], where: Location) -> None:
    """Raise `DataError` where confidences are numbers of another scale than 0 to 1.

    Of 1 to 10, 1 is the least, and would be taken for what a person has verified.

    Args:
        numbers: some that are greater than `confidences.MOST_ROUNDED`, none where all is well.
        where: the file.
    """
    if numbers:
        shown = ", ".join(f"{number:g}" for number in sorted(numbers)[:5])
        raise DataError(
            f"has confidences such as {shown}, on another scale than 0 to 1",
            where=where,
            remedy="divide them by the scale's greatest value; 1 says that a person has verified the class",
        )

"""Tables that detectors are judged by: true boxes, verified labels of images, and detections, as delimited files.

The columns have the names of Open Images' files, in any case: ImageID, LabelName, XMin, XMax, YMin, YMax; IsGroupOf for
true boxes; Confidence for image labels; Score (or Confidence) for detections. Others are ignored, but a file with the
columns of another kind is refused. Sides are shares of the image; names of images become ids (`core.image_ids`).

https://storage.googleapis.com/openimages/web/challenge2019.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.decimals import sql_of_double, sql_of_nearest
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.image_ids import image_ids
from mlimages_dataset.sources.blocks import Block, blocks_of
from mlimages_dataset.sources.delimited import (
    DelimitedSource,
    delimiter_of,
    read_header,
    row_from,
    row_starts,
)
from mlimages_dataset.sources.pieces import Piece
from mlimages_dataset.sources.rejects import LISTED_REJECTS, Reject, RejectLog
from mlimages_dataset.tables.database import database

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import duckdb
    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location

NAMES = ("imageid", "labelname")
SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class RowKind:
    """What the rows of a file are.

    Attributes:
        needed: the columns that must be there, in lower case, besides `NAMES`.
        optional: further columns of 0 and 1, or true and false: 0 where the file lacks them or leaves them empty.
        other_names: what files may call a column instead.
        foreign: columns that only files of another kind have, and what those are; not asked where the file has `own`.
        own: the column that tells this kind from others.
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    other_names: tuple[tuple[str, str], ...] = ()
    foreign: tuple[frozenset[str], str] = (frozenset(), "")
    own: str = ""

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns of numbers."""
        return (*self.needed, *self.optional)


_OF_TRUE_BOXES = frozenset({"isgroupof", "isoccluded", "istruncated", "isdepiction", "isinside"})
TRUE_BOXES = RowKind(
    SIDES, optional=("isgroupof",), foreign=(frozenset({"score"}), "detections, not true boxes"), own="isgroupof"
)
IMAGE_LABELS = RowKind(("confidence",), foreign=(frozenset(SIDES), "boxes, not labels of images"))
DETECTIONS = RowKind(
    (*SIDES, "score"),
    other_names=(("confidence", "score"),),
    foreign=(_OF_TRUE_BOXES, "true boxes, not detections: there is no column Score"),
    own="score",
)


def _number(column: str) -> str:
    """Return SQL for the number of a column of texts; between commas, only a number in quotes can have a decimal comma.

    What nearly all texts are is asked for first: the other texts cost several times as much.
    """
    number = sql_of_double if column in SIDES else sql_of_nearest
    with_point = f"replace({column}, ',', '.')"
    return f"coalesce({number(column)}, {number(with_point)})"


def _switch(column: str) -> str:
    """Return SQL for a column of 0 and 1, or true and false, in which anything else is NaN."""
    return (
        f"CASE lower(trim(coalesce({column}, ''))) WHEN 'true' THEN 1 WHEN 'false' THEN 0 WHEN '' THEN 0 "
        f"ELSE coalesce({_number(column)}, 'nan'::DOUBLE) END"
    )


class _Rows(DelimitedSource):
    """A file of such rows, read in blocks."""

    name: ClassVar[str] = "rows of boxes"
    read_columns: ClassVar[frozenset[str]] = frozenset({*NAMES, *TRUE_BOXES.numbers, "confidence", "score"})

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`; only `read_rows` is used."""
        return Piece(path)

    def selection(self, piece: Piece) -> str:
        """See `DelimitedSource.selection`; only `read_rows` is used."""
        raise NotImplementedError


_MOST_BEYOND = 1.0
"""How far a box may reach beyond its image, as boxes that a detector did not clip do; pixels are farther."""


@dataclass(slots=True)
class RowTable:
    """The rows of a file that can be used, and what became of the others.

    Attributes:
        rows: `imageid` (ids) and `labelname`, as texts, and the columns of the kind as float64.
        log: the rows that cannot be used.
        missing: the optional columns that the file lacks.
        other_names: number of images that it names in a further way, as `a.jpg` beside `a.png`.
        outside: number of rows with sides farther from 0..1 than `_MOST_BEYOND`.
    """

    rows: pa.Table
    log: RejectLog
    missing: tuple[str, ...] = ()
    other_names: int = 0
    outside: int = 0


def read_rows(path: Location, kind: RowKind) -> RowTable:
    """Return the rows of a file, and those that cannot be used.

    Raises:
        UsageError: there is no such file.
        DataError: the file is no such table, is of another kind, has no sides in 0..1, or cannot be read to its end.
    """
    piece = _piece(path, kind)
    log = RejectLog()
    present = [name for name in kind.numbers if name in piece.columns]
    names = [f"trim({name}) AS {name}" for name in NAMES]
    numbers = [f"{(_switch if name in kind.optional else _number)(name)} AS {name}" for name in present]
    read = _Rows()
    found = []
    outside = 0
    with database(path) as connection:
        for block in blocks_of(piece, log):

            def show(scan: str, block: Block = block) -> Iterator[duckdb.DuckDBPyConnection]:
                nonlocal outside
                rows = connection.sql(f"SELECT {', '.join((*names, *numbers))} FROM {scan}").to_arrow_table()
                good, fault = _usable(rows, kind)
                found.append(good)
                outside += int((fault == _OUTSIDE).sum())
                bad = np.flatnonzero(fault).tolist()
                listed = bad[: LISTED_REJECTS - len(log.first)]
                cells = f"SELECT {', '.join((*NAMES, *present))} FROM {scan}"
                told = zip(listed, _told(connection, cells, piece, block, (listed, len(rows))), strict=True)
                log.add([Reject(str(path), line, _FAULTS[fault[at]], text) for at, (line, text) in told], len(bad))
                yield connection

            for _ in read.shown_block(connection, piece, block, log, show):
                pass
    rows, other_names = _with_ids(pa.concat_tables(found))
    # A detector's boxes as `export` writes them have the columns of true boxes too, but not every confidence is 1.
    if kind is DETECTIONS and pc.all(pc.equal(rows["score"], 1.0)).as_py():
        _refuse_foreign(path, kind, piece.delimiter)
    if outside and not len(rows):
        raise DataError(
            f"has no box in or near its image ({outside:,} far outside): sides are shares of the image, from 0 to 1",
            where=path,
            remedy="divide sides in pixels by the image's width and height",
        )
    return RowTable(rows, log, tuple(name for name in kind.optional if name not in piece.columns), other_names, outside)


def _with_ids(table: pa.Table) -> tuple[pa.Table, int]:
    """Return rows with the ids of their images, and the number of images that are named in a further way."""
    texts = {name: table[name].combine_chunks().dictionary_encode() for name in NAMES}
    images = texts[NAMES[0]]
    images = images.combine_chunks() if isinstance(images, pa.ChunkedArray) else images
    ids = image_ids(images.dictionary)
    texts[NAMES[0]] = ids.take(images.indices)
    texts[NAMES[1]] = texts[NAMES[1]].cast(pa.string())
    others = {name: table[name] for name in table.column_names if name not in NAMES}
    return pa.table({**texts, **others}), len(ids) - len(ids.unique())


def _told(
    connection: duckdb.DuckDBPyConnection, cells: str, piece: Piece, block: Block, rows: tuple[list[int], int]
) -> list[tuple[int, str]]:
    """Return the line and the text of some rows of a block; of rows whose line nobody knows, 0 and the cells.

    Args:
        connection: that has read the block.
        cells: SQL for the cells of all its rows.
        piece: the file.
        block: the block.
        rows: numbers of the rows that are asked for, and how many rows there are.
    """
    listed, n_rows = rows
    if not listed:
        return []
    starts = row_starts(connection, block, n_rows)
    if starts is None:
        found = connection.sql(cells).to_arrow_table().take(pa.array(listed)).to_pylist()
        return [(0, piece.delimiter.join(cell or "" for cell in row.values())) for row in found]
    lines = block.content.split(b"\n")
    return [(block.lines[starts[at]], row_from(lines, starts[at])) for at in listed]


def _piece(path: Location, kind: RowKind) -> Piece:
    """Return the file with its columns by our names.

    Raises:
        DataError: a column is missing or there twice.
    """
    needed = {*NAMES, *kind.needed}
    other = dict(kind.other_names)

    def ours(names: list[str]) -> list[str]:
        plain = [name.strip().casefold() for name in names]
        return [other[name] if name in other and other[name] not in plain else name for name in plain]

    delimiter = delimiter_of(path, lambda names: needed <= set(ours(names)))
    columns = ours(read_header(path, delimiter))
    if missing := [name for name in (*NAMES, *kind.needed) if name not in columns]:
        raise DataError(
            f"no column {', '.join(missing)} among {', '.join(columns)[:120]}",
            where=path,
            line=1,
            remedy=f"give it the columns {', '.join((*NAMES, *kind.needed))} (in any case), separated by commas",
        )
    if kind is not DETECTIONS:
        _refuse_foreign(path, kind, delimiter)
    if repeated := [name for name in (*NAMES, *kind.numbers) if columns.count(name) > 1]:
        raise DataError(f"has two columns {repeated[0]}", where=path, line=1, remedy="name each differently")
    return Piece(path, tuple(columns), delimiter=delimiter)


def _refuse_foreign(path: Location, kind: RowKind, delimiter: str) -> None:
    """Raise `DataError` if a file has columns of another kind, and not the one that tells its own."""
    foreign, told = kind.foreign
    plain = {name.strip().casefold() for name in read_header(path, delimiter)}
    if kind.own not in plain and (strange := sorted(foreign & plain)):
        what = f"has the column{'s' if len(strange) > 1 else ''} {', '.join(strange)}, so these are {told}"
        raise DataError(what, where=path, line=1, remedy="name the other file")


def _usable(table: pa.Table, kind: RowKind) -> tuple[pa.Table, NDArray[np.int64]]:
    """Return the rows that can be used, and what is wrong with each row, by its place in `_FAULTS`, shape (R,)."""
    columns = {name: table[name].fill_null(np.nan).to_numpy() for name in kind.needed}
    columns |= {
        name: table[name].fill_null(0.0).to_numpy() if name in table.column_names else np.zeros(len(table))
        for name in kind.optional
    }
    fault = _faults(table, columns)
    kept = np.flatnonzero(fault == 0)
    texts = {name: table[name].take(pa.array(kept)) for name in NAMES}
    return pa.table({**texts, **{name: column[kept] for name, column in columns.items()}}), fault


_FAULTS = (
    "",
    "it names no image or no label",
    "a side of its box is no finite number",
    "its box is inverted or has no area",
    "its score or confidence is no number in 0..1",
    "its flag is neither 0 nor 1",
    "a side of its box is far outside 0..1: sides are shares of the image",
    "it repeats the header",
)
_NO_NAME, _NO_NUMBER, _NO_AREA, _NO_SCORE, _NO_FLAG, _OUTSIDE, _HEADER = range(1, len(_FAULTS))


def _faults(table: pa.Table, columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.int64]:
    """Return what is wrong with each row, by its place in `_FAULTS`, shape (R,)."""
    fault = np.zeros(len(table), np.int64)
    for name in ("score", "confidence"):
        if name in columns:
            fault[~((columns[name] >= 0) & (columns[name] <= 1))] = _NO_SCORE
    if SIDES[0] in columns:
        xmin, ymin, xmax, ymax = (columns[side] for side in SIDES)
        lowest, highest = np.minimum(xmin, ymin), np.maximum(xmax, ymax)
        fault[(lowest < -_MOST_BEYOND) | (highest > 1 + _MOST_BEYOND)] = _OUTSIDE
        fault[~((xmin < xmax) & (ymin < ymax))] = _NO_AREA
        fault[~np.isfinite(np.stack([xmin, ymin, xmax, ymax])).all(axis=0)] = _NO_NUMBER
    for name in TRUE_BOXES.optional:
        if name in columns:
            fault[~np.isin(columns[name], (-1, 0, 1))] = _NO_FLAG  # -1: Open Images does not say
    for name in NAMES:
        fault[pc.equal(table[name].fill_null(""), "").to_numpy()] = _NO_NAME
    bad = np.flatnonzero(fault)
    texts = [table[name].take(pa.array(bad)).to_pylist() for name in NAMES]
    is_header = [tuple(str(cell).casefold() for cell in row) == NAMES for row in zip(*texts, strict=True)]
    fault[bad[np.array(is_header, np.bool_)]] = _HEADER
    return fault

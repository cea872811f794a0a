"""Tables that detectors are judged by: true boxes, verified labels of images, and detections, as delimited files.

The columns have the names of Open Images' files, in any case: ImageID, LabelName, XMin, XMax, YMin, YMax; IsGroupOf for
true boxes; Confidence for image labels; Score (or Confidence) for detections. Others are ignored.

https://storage.googleapis.com/openimages/web/challenge2019.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import duckdb
import numpy as np
import pyarrow as pa

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.delimited import DelimitedSource, delimiter_of, duckdb_errors, read_header
from mlimages_dataset.sources.pieces import Piece
from mlimages_dataset.sources.rejects import LISTED_REJECTS, Reject, RejectLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    other_names: tuple[tuple[str, str], ...] = ()

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns of numbers."""
        return (*self.needed, *self.optional)


TRUE_BOXES = RowKind(SIDES, optional=("isgroupof",))
IMAGE_LABELS = RowKind(("confidence",))
DETECTIONS = RowKind((*SIDES, "score"), other_names=(("confidence", "score"),))


_NUMBER = "TRY_CAST({0} AS DOUBLE)"
_SWITCH = (
    "CASE lower(trim(coalesce({0}, ''))) WHEN 'true' THEN 1 WHEN 'false' THEN 0 WHEN '' THEN 0 "
    "ELSE coalesce(TRY_CAST({0} AS DOUBLE), 'nan'::DOUBLE) END"
)
"""SQL for a column of numbers, and for one of 0 and 1, or true and false, in which anything else is NaN."""


class _Rows(DelimitedSource):
    """A file of such rows, read in blocks."""

    name: ClassVar[str] = "rows of boxes"
    read_columns: ClassVar[frozenset[str]] = frozenset({*NAMES, *TRUE_BOXES.numbers, "confidence", "score"})

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`; only `read_rows` is used."""
        return Piece(path)

    def selection(self, piece: Piece, *, digits: bool) -> str:
        """See `DelimitedSource.selection`; only `read_rows` is used."""
        raise NotImplementedError


def read_rows(path: Location, kind: RowKind) -> tuple[pa.Table, RejectLog]:
    """Return the rows of a file, and those that cannot be used.

    Returns:
        the columns `imageid` and `labelname`, as dictionaries of texts, and those of the kind as float64.

    Raises:
        DataError: the file is no such table, or cannot be read to its end.
    """
    piece = _piece(path, kind)
    log = RejectLog()
    decimal = "replace({0}, ',', '.')"  # between commas, only a number in quotes can have one
    names = [f"trim({name}) AS {name}" for name in NAMES]
    numbers = [
        f"{(_SWITCH if name in kind.optional else _NUMBER).format(decimal.format(name))} AS {name}"
        for name in kind.numbers
        if name in piece.columns
    ]
    found = []
    with duckdb_errors(path), duckdb.connect() as connection:

        def show(scan: str, _content: bytes) -> Iterator[duckdb.DuckDBPyConnection]:
            found.append(connection.sql(f"SELECT {', '.join((*names, *numbers))} FROM {scan}").to_arrow_table())
            yield connection

        for _ in _Rows().blocks(connection, piece, log, show):
            pass
    table = pa.concat_tables(found).combine_chunks()
    return _usable(table, kind, path, log), log


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
    if repeated := [name for name in (*NAMES, *kind.numbers) if columns.count(name) > 1]:
        raise DataError(f"has two columns {repeated[0]}", where=path, line=1, remedy="name each differently")
    return Piece(path, tuple(columns), delimiter=delimiter)


def _usable(table: pa.Table, kind: RowKind, path: Location, log: RejectLog) -> pa.Table:
    """Return the rows that can be used; the others are logged."""
    columns = {name: np.array(table[name].fill_null(np.nan)) for name in kind.needed}
    columns |= {
        name: np.array(table[name].fill_null(0.0)) if name in table.column_names else np.zeros(len(table))
        for name in kind.optional
    }
    fault = _faults(table, columns)
    bad = np.flatnonzero(fault)
    first = table.take(bad[:LISTED_REJECTS]).to_pylist()
    rejects = [
        Reject(str(path), 0, _FAULTS[fault[at]], ", ".join(str(cell) for cell in row.values()))
        for at, row in zip(bad, first, strict=False)
    ]
    log.add(rejects, len(bad))
    kept = np.flatnonzero(fault == 0)
    texts = {name: table[name].take(pa.array(kept)).combine_chunks().dictionary_encode() for name in NAMES}
    return pa.table({**texts, **{name: column[kept] for name, column in columns.items()}})


_FAULTS = (
    "",
    "it names no image or no label",
    "a side of its box is no finite number",
    "its box is inverted or has no area",
    "its score or confidence is no number in 0..1",
    "its flag is neither 0 nor 1",
)


def _faults(table: pa.Table, columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.int64]:
    """Return what is wrong with each row, by its place in `_FAULTS`, shape (R,)."""
    fault = np.zeros(len(table), np.int64)
    for name in ("score", "confidence"):
        if name in columns:
            fault[~((columns[name] >= 0) & (columns[name] <= 1))] = 4
    if SIDES[0] in columns:
        xmin, ymin, xmax, ymax = (columns[side] for side in SIDES)
        fault[~((xmin < xmax) & (ymin < ymax))] = 3
        fault[~np.isfinite(np.stack([xmin, ymin, xmax, ymax])).all(axis=0)] = 2
    for name in TRUE_BOXES.optional:
        if name in columns:
            fault[~np.isin(columns[name], (-1, 0, 1))] = 5  # -1: Open Images does not say
    for name in NAMES:
        fault[np.array(table[name].fill_null("")) == ""] = 1
    return fault

"""Open Images V1 to V7: image-level labels, boxes, segmentations, points, and image tables.

https://storage.googleapis.com/openimages/web/download_v7.html

* Labels (ImageID, LabelName, Confidence; Source): a class is present, absent, or likely. What the Source `machine` says
  is only likely, also where it says 1. What another Source says than those of Open Images cannot be used: nobody knows
  whether a person has verified it.
* Boxes (ImageID, LabelName, XMin, XMax, YMin, YMax; Confidence, Score and flags where there are): the class is
  present, and there. Flags are 1, or not stated: 0, -1 (unknown) or nothing. A spreadsheet's decimal commas are read as
  such. A box without Confidence was drawn or verified by a person. Their Source is not read: `export`
  writes a collection's name there.
* Segmentations (MaskPath, ImageID, LabelName, BoxXMin, ...): boxes whose mask is the picture MaskPath.
* Points (ImageId, X, Y, Label, EstimatedYesNo): a yes says that the class is present in the image. A no is about the
  point alone, and says nothing of the image; neither is a box.
* Image tables (ImageID, OriginalURL): where images are.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.decimals import sql_of_double
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.image_ids import without_id
from mlimages_dataset.core.locations import as_text
from mlimages_dataset.sources.blocks import Block, blocks_of
from mlimages_dataset.sources.boxes import region_batch
from mlimages_dataset.sources.delimited import (
    DelimitedSource,
    confidence_sql,
    delimiter_of,
    read_header,
    row_starts,
)
from mlimages_dataset.sources.pieces import Piece
from mlimages_dataset.sources.rejects import LISTED_REJECTS, REJECT_CHARACTERS, Reject
from mlimages_dataset.sources.rows import NAME_CONFIDENCE, refuse_other_confidence
from mlimages_dataset.sources.source import BOX, FAULT, REGION
from mlimages_dataset.sources.usual_rows import (
    FIELD_OF_SIDE,
    MACHINE,
    PEOPLE,
    Field,
    fields_of,
    is_for_loops,
    usual_boxes,
)
from mlimages_dataset.tables import confidences
from mlimages_dataset.tables.database import database
from mlimages_dataset.tables.schemas import REGION_FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.rejects import RejectLog

_SOURCE = "Source"
_OF_MACHINE = f"lower(trim({_SOURCE})) = '{MACHINE}'"
_TOLD_SIGNS = 40
_SIDES = ("XMin", "YMin", "XMax", "YMax")
_SIDES_OF_MASK = tuple(f"Box{side}" for side in _SIDES)
_POINT = ("ImageId", "Label", "EstimatedYesNo")
_FLAG_COLUMNS = {
    "IsOccluded": "occluded",
    "IsTruncated": "truncated",
    "IsGroupOf": "group_of",
    "IsDepiction": "depiction",
    "IsInside": "inside",
}
_OF_OTHERS = frozenset(
    {
        *("ImageID", "LabelName", "Confidence", "Score", "OriginalURL", "MaskPath", _SOURCE),
        *(*_SIDES, *_SIDES_OF_MASK, *_FLAG_COLUMNS),
    }
)
"""The columns that are read of files other than those of points."""
_OF_POINTS = frozenset(_POINT)


class OpenImages(DelimitedSource):
    """Open Images' files, their columns in any case; image tables state only where images are."""

    name: ClassVar[str] = "open-images"
    member_suffixes: ClassVar[tuple[str, ...]] = (".csv",)
    ids_of: ClassVar[str | None] = "open-images"
    has_regions: ClassVar[bool] = True
    read_columns = _OF_OTHERS | _OF_POINTS

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        delimiter = delimiter_of(path, lambda names: _is_of_images(_ours(names)) or _states(_ours(names)))
        columns = _ours(read_header(path, delimiter))
        if repeated := [name for name in self.read_columns if columns.count(name) > 1]:
            raise DataError(f"has two columns {repeated[0]}", where=path, line=1, remedy="name each differently")
        if _states(columns):
            if not _confidence_column(columns):
                refuse_other_confidence(columns, path, NAME_CONFIDENCE, each="box", line=1)
            return Piece(path, columns, delimiter=delimiter, places=False)
        if _is_of_images(columns):
            return Piece(path, columns, delimiter=delimiter, states=False)
        raise DataError(
            f"its header ({', '.join(columns)[:80]}) has neither LabelName and Confidence, nor boxes, nor OriginalURL",
            where=path,
            line=1,
            remedy="name Open Images' labels, boxes, segmentations, points and image tables",
        )

    def selection(self, piece: Piece) -> str:
        """See `DelimitedSource.selection`."""
        columns = piece.columns
        certain = "1::FLOAT AS confidence, NULL AS stated"
        if not piece.states:
            return f"SELECT ImageID AS image_id, '' AS class_id, {certain}, OriginalURL AS location"
        if set(_POINT) <= set(columns):
            return f"SELECT ImageId AS image_id, Label AS class_id, {certain}, '' AS location"
        names = "SELECT ImageID AS image_id, LabelName AS class_id"
        column = _confidence_column(columns)
        if not column:
            return f"{names}, {certain}, '' AS location"
        if _sides(columns):
            stated = confidence_sql(_of_box(column))
        else:
            stated = confidence_sql(column, of_model=_OF_MACHINE if _has_sources(columns) else "")
        return f"{names}, {stated}, '' AS location"

    def shown(
        self, connection: duckdb.DuckDBPyConnection, piece: Piece, scan: str, log: RejectLog
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """See `DelimitedSource.shown`."""
        if not (piece.states and _has_sources(piece.columns)):
            yield from super().shown(connection, piece, scan, log)
            return
        rows = connection.sql(f"{self.selection(piece)}, {_SOURCE} FROM {scan}").to_arrow_table()
        connection.register("block", _of_known_sources(rows))
        connection.execute("CREATE OR REPLACE TEMP VIEW observations AS FROM block")
        yield connection
        connection.unregister("block")

    def condition(self, piece: Piece) -> str:
        """See `DelimitedSource.condition`."""
        return "lower(trim(EstimatedYesNo)) = 'yes'" if set(_POINT) <= set(piece.columns) else ""

    def usual_fields(self, piece: Piece) -> Mapping[str, int] | None:
        """See `DelimitedSource.usual_fields`."""
        return None if not piece.states or self.condition(piece) else _fields(piece.columns)

    def regions(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """See `Source.regions`."""
        if not _sides(piece.columns):
            raise UsageError(
                "has no boxes: no XMin, XMax, YMin and YMax, and no BoxXMin and so on",
                where=piece.path,
                remedy="name files of boxes or segmentations",
            )
        fields = fields_of(piece.columns, _fields_of_boxes(piece.columns))
        with database(piece.path, threads=1) as connection:
            for block in blocks_of(piece, log):
                left = block
                if is_for_loops(block):
                    usual, left = usual_boxes(block, piece.delimiter, fields)
                    yield usual
                if left.lines:
                    yield from self._looked_at(connection, piece, left, log)

    def _looked_at(
        self, connection: duckdb.DuckDBPyConnection, piece: Piece, block: Block, log: RejectLog
    ) -> Iterator[pa.RecordBatch]:
        """Yield the boxes of a block whose rows may be written in any way."""

        def show(scan: str) -> Iterator[duckdb.DuckDBPyConnection]:
            boxes = f"{_box_selection(piece.columns)} FROM {scan}"
            connection.execute(f"CREATE OR REPLACE TEMP VIEW observations AS {boxes}")
            yield connection

        for shown in self.shown_block(connection, piece, block, log, show):
            rows = shown.sql("SELECT * FROM observations").to_arrow_table().combine_chunks()
            starts = row_starts(connection, block, rows.num_rows)
            lines = [0] * rows.num_rows if starts is None else [block.lines[at] for at in starts]
            yield _batch(rows.append_column("line", pa.array(lines, pa.int64())), piece.path, log)


def _ours(names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a header, with Open Images' own names where they only differ in case or in blanks."""
    plain = [name.strip().casefold() for name in names]
    own = _OF_POINTS if {name.casefold() for name in _POINT} <= set(plain) else _OF_OTHERS
    known = {name.casefold(): name for name in own}
    return tuple(
        known[folded] if folded in known and known[folded] not in names else name
        for name, folded in zip(names, plain, strict=True)
    )


def _states(columns: Sequence[str]) -> bool:
    """Return whether the columns are of labels, boxes or points."""
    named = {"ImageID", "LabelName"} <= set(columns) and ("Confidence" in columns or _sides(columns))
    return bool(named) or set(_POINT) <= set(columns)


def _is_of_images(columns: Sequence[str]) -> bool:
    return {"ImageID", "OriginalURL"} <= set(columns)


def _sides(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the columns xmin, ymin, xmax and ymax of a file's boxes, none where it has none."""
    return next((sides for sides in (_SIDES, _SIDES_OF_MASK) if set(sides) <= set(columns)), ())


def _of_known_sources(rows: pa.Table) -> pa.Table:
    """Return statements with `FAULT`, and without a confidence where `_SOURCE` is none that Open Images has."""
    source = pc.utf8_trim(pc.fill_null(rows[_SOURCE], ""), " ")
    is_known = pc.is_in(pc.utf8_lower(source), pa.array([MACHINE, *PEOPLE]))
    shown = pc.utf8_slice_codeunits(source, 0, _TOLD_SIGNS)
    of_others = pc.binary_join_element_wise("its Source is none of Open Images", shown, ": ")
    told = pc.if_else(pc.equal(source, ""), "its Source is empty", of_others)
    found = rows.drop_columns([_SOURCE, "confidence"])
    found = found.append_column("confidence", pc.if_else(is_known, rows["confidence"], None))
    return found.append_column(FAULT, pc.if_else(is_known, None, told))


def _has_sources(columns: tuple[str, ...]) -> bool:
    """Return whether a file of labels says of each who states it."""
    return _SOURCE in columns and bool(_confidence_column(columns)) and not _sides(columns)


def _fields(columns: tuple[str, ...]) -> dict[str, int]:
    """Return what the columns are that the statements of a file are read from, for `usual_rows`."""
    confidence = {column: Field.CONFIDENCE for column in (_confidence_column(columns),) if column}
    source = {_SOURCE: Field.SOURCE} if _has_sources(columns) else {}
    return {"ImageID": Field.IMAGE, "LabelName": Field.CLASS, **confidence, **source}


def _fields_of_boxes(columns: tuple[str, ...]) -> dict[str, int]:
    """Return what the columns are that the boxes of a file are read from, for `usual_rows`."""
    return {
        **_fields(columns),
        "MaskPath": Field.MASK,
        **dict(zip(_sides(columns), FIELD_OF_SIDE.values(), strict=True)),
        **{column: Field.FLAG + REGION_FLAGS.index(flag) for column, flag in _FLAG_COLUMNS.items()},
    }


def _confidence_column(columns: tuple[str, ...]) -> str:
    """Return the column of confidences, that of the challenge's predictions too; empty for a file without."""
    return next((name for name in ("Confidence", "Score") if name in columns), "")


def _of_box(column: str) -> str:
    """Return SQL for the text of a box's number, with a decimal point; 1 for a confidence that nobody wrote.

    A prediction without a score is a reject.
    """
    number = f"replace(trim({column}), ',', '.')"
    return f"coalesce(nullif({number}, ''), '1')" if column == "Confidence" else number


def _box_selection(columns: tuple[str, ...]) -> str:
    """Return SQL that selects the boxes of a file, null where a value is none.

    What nearly all rows have is asked for first: the other texts cost three times as much.
    """
    column = _confidence_column(columns)
    stated = confidences.sql_of_text(f"({_of_box(column)})")
    confidence = f"CASE WHEN {column} = '1' THEN 1::FLOAT ELSE {stated} END" if column else "1::FLOAT"
    flag_of = {flag: column for column, flag in _FLAG_COLUMNS.items() if column in columns}
    return ", ".join(
        (
            "SELECT ImageID AS image_id, LabelName AS class_id",
            *(
                f"coalesce({sql_of_double(column)}, {sql_of_double(_of_box(column))}) AS {side}"
                for side, column in zip(BOX, _sides(columns), strict=True)
            ),
            f"{confidence} AS confidence",
            *(f"{_flag(flag_of[flag]) if flag in flag_of else 'false'} AS {flag}" for flag in REGION_FLAGS),
            "coalesce(MaskPath, '') AS mask" if "MaskPath" in columns else "'' AS mask",
        )
    )


def _flag(column: str) -> str:
    text = f"lower(trim(coalesce({column}, '')))"
    return (
        f"CASE WHEN {column} = '0' THEN false WHEN {column} = '1' THEN true "
        f"WHEN {text} IN ('1', '1.0', 'true') THEN true "
        f"WHEN {text} IN ('', '0', '0.0', '-1', '-1.0', 'false') THEN false END"
    )


_NAMELESS = "no ImageID or no LabelName"
_BAD_CONFIDENCE = "its confidence is no number above 0 and up to 1"
_BAD_FLAG = "a flag is none of 1, 0 and -1"


def _batch(rows: pa.Table, path: Location, log: RejectLog) -> pa.RecordBatch:
    """Return the boxes of a block in the columns of `REGION`."""
    has_image = np.ones(rows.num_rows, np.bool_)
    has_image[without_id(pc.fill_null(rows["image_id"], ""))] = False
    named = pc.and_(pa.array(has_image), pc.not_equal(pc.fill_null(rows["class_id"], ""), ""))
    likely = pc.fill_null(pc.greater(rows["confidence"], 0), False)
    flagged = functools.reduce(pc.and_, (pc.is_valid(rows[flag]) for flag in REGION_FLAGS))
    faults = ((named, _NAMELESS), (likely, _BAD_CONFIDENCE), (flagged, _BAD_FLAG))
    good = functools.reduce(pc.and_, (is_good for is_good, _ in faults))

    def reject_of(row: dict[str, Any], what: str) -> Reject:
        text = ", ".join(str("" if row[name] is None else row[name]) for name in ("image_id", "class_id", *BOX))
        return Reject(as_text(str(path)), row["line"], what, text[:REJECT_CHARACTERS])

    kept = rows
    if not pc.all(good).as_py():
        kept = rows.filter(good)
        told = pa.array([""] * rows.num_rows)
        for is_good, what in reversed(faults):
            told = pc.if_else(is_good, told, what)
        bad = rows.append_column("told", told).filter(pc.invert(good))
        log.add([reject_of(row, row["told"]) for row in bad.slice(0, LISTED_REJECTS).to_pylist()], bad.num_rows)
    boxes = np.stack([kept[side].to_numpy() for side in BOX], axis=1)
    nothing = {"location": pa.repeat("", len(kept)), "outline": pa.repeat(False, len(kept))}
    columns = {name: kept[name].combine_chunks() for name in REGION.names if name in kept.column_names} | nothing
    return region_batch(columns, boxes, log, lambda at, what: reject_of(kept.slice(at, 1).to_pylist()[0], what))

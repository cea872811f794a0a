"""Statements of a block that have no image id, no class or no valid confidence; the first are told with places."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.image_ids import without_id
from mlimages_dataset.sources.rejects import LISTED_REJECTS, REJECT_CHARACTERS, Reject, RejectLog
from mlimages_dataset.sources.rows import has_texts, shown_values
from mlimages_dataset.sources.source import DOUBTED, FAULT, LISTED, NUMBERS, WRITTEN, refuse_other_scale
from mlimages_dataset.tables.arrays import arrow_of, texts
from mlimages_dataset.tables.confidences import beyond_one, how_to_write

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

    from mlimages_dataset.sources.pieces import Piece

NO_IMAGE, NO_CLASS, NO_CONFIDENCE = "no image id", "no class", "no confidence from 0 to 1"
OF_NO_CLASS = texts([LISTED, DOUBTED])
"""The classes of statements that name none."""
_LINE = NUMBERS[0]
_LOOKED_AT = 1 << 10
"""Characters of a row in which its confidence is looked for."""


def log_malformed(
    shown: duckdb.DuckDBPyConnection,
    rows: pa.Table,
    piece: Piece,
    log: RejectLog,
    bad: NDArray[np.bool_] | None = None,
) -> None:
    """Log the first statements of a block that cannot be used, until `LISTED_REJECTS` are logged.

    So many without image id are logged as `RejectLog.unplaced` too.

    Args:
        shown: the block, as `Source.observe` yields it.
        rows: its columns image_id, without nulls, class_id and confidence, and perhaps `FAULT`.
        piece: where it comes from.
        log: takes them.
        bad: what `unusable` returns of the rows, where the caller has it.
    """
    room, room_unplaced = (LISTED_REJECTS - len(some) for some in (log.malformed, log.unplaced))
    if max(room, room_unplaced) <= 0 or not piece.states:
        return
    found = np.flatnonzero(unusable(rows) if bad is None else bad).tolist()
    if not found:
        return
    without = set(without_id(rows["image_id"]))
    nameless = [row for row in found if row in without][:room_unplaced] if without else []
    listed = sorted({*found[:room], *nameless})
    rejects = _as_rejects(shown, rows, piece, log, listed, _reasons(rows.take(pa.array(listed))))
    of_row = dict(zip(listed, rejects, strict=True))
    log.malformed += [of_row[row] for row in found[:room]]
    log.unplaced += [of_row[row] for row in nameless]


def refuse_another_scale(shown: duckdb.DuckDBPyConnection, rows: pa.Table, piece: Piece, log: RejectLog | None) -> None:
    """Raise `DataError` if confidences of a block have another scale than 0 to 1, with the first row of such.

    Args:
        shown: the block, as in `log_malformed`.
        rows: its columns, as there.
        piece: where it comes from.
        log: knows places of rows.
    """
    if not rows["confidence"].null_count:
        return
    both = shown.sql("SELECT confidence, stated FROM observations").to_arrow_table().combine_chunks()
    row, numbers = beyond_one(pc.if_else(pc.is_null(both["confidence"]), both["stated"], None).combine_chunks())
    if numbers:
        log = RejectLog() if log is None else log
        (first,) = _as_rejects(shown, rows, piece, log, [row], [""])
        # Lines of a piece amid its file are counted from its start.
        line = first.line if first.line and not piece.start else None
        refuse_other_scale(numbers, piece.path, first=f"{first.what}{first.text!r}", line=line)


def _as_rejects(  # noqa: PLR0917 - what is known of a block
    shown: duckdb.DuckDBPyConnection,
    rows: pa.Table,
    piece: Piece,
    log: RejectLog,
    listed: list[int],
    reasons: list[str],
) -> list[Reject]:
    """Return some rows of a block with their places, each with its reason."""
    places = log.places(listed, rows.num_rows) if log.places is not None else None
    if places is not None:
        return [
            Reject(
                str(piece.path),
                line,
                _advised(reason, _confidence_in(text, piece)),
                text.strip()[:REJECT_CHARACTERS],
            )
            for reason, (line, text) in zip(reasons, places, strict=True)
        ]
    told = _told_of(shown, rows, listed)
    return [_reject(str(piece.path), reason, one) for reason, one in zip(reasons, told, strict=True)]


def _confidence_in(row: str, piece: Piece) -> str:
    """Return the cell of the confidence in a row of a delimited file; empty if it has none."""
    names = [name.casefold() for name in piece.columns]
    line = " ".join(row[:_LOOKED_AT].splitlines())
    cells = dict(zip(names, next(csv.reader([line], delimiter=piece.delimiter), []), strict=False))
    return cells.get("confidence", "")


def unusable(rows: pa.Table) -> NDArray[np.bool_]:
    """Return which of R rows, as `log_malformed` takes them, are statements that cannot be used, shape (R,).

    Those that only say that an image is listed state nothing, so nobody counts them.
    """
    found = np.zeros(rows.num_rows, np.bool_)
    for some in (_nulls(rows["confidence"]), _empty(rows["class_id"]), without_id(rows["image_id"])):
        found[some] = True
    at = np.flatnonzero(found)
    if len(at):
        of_none = pc.is_in(rows["class_id"].take(arrow_of(at)), OF_NO_CLASS)
        found[at[of_none.to_numpy(zero_copy_only=False)]] = False
    return found


def _reasons(rows: pa.Table) -> list[str]:
    """Return why each of some unusable rows cannot be used."""
    images, classes = rows["image_id"], rows["class_id"].to_pylist()
    faults = rows[FAULT].to_pylist() if FAULT in rows.column_names else [None] * rows.num_rows
    nameless = set(without_id(images))
    return [
        NO_IMAGE if row in nameless else (why or NO_CONFIDENCE) if class_id else NO_CLASS
        for row, (class_id, why) in enumerate(zip(classes, faults, strict=True))
    ]


def _nulls(column: pa.ChunkedArray) -> NDArray[np.int64]:
    if not column.null_count:
        return np.empty(0, np.int64)
    return _where(pc.is_null(column))


def _empty(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return the numbers of texts that are null or have no sign."""
    if has_texts(column):
        return np.empty(0, np.int64)
    return _where(pc.equal(pc.fill_null(pc.binary_length(column), 0), 0))


def _where(chosen: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return the numbers of the rows that a column of truth values chooses."""
    return np.flatnonzero(chosen.to_numpy()).astype(np.int64)


def _told_of(shown: duckdb.DuckDBPyConnection, rows: pa.Table, listed: list[int]) -> list[dict[str, object]]:
    """Return what is known of rows: image, class, confidence as a text, and perhaps the number of a line or row."""
    found: list[dict[str, object]] = (
        rows.select(["image_id", "class_id", "confidence"]).take(pa.array(listed)).to_pylist()
    )
    has = shown.sql("SELECT * FROM observations LIMIT 0").columns
    names = [name for name in (WRITTEN, *NUMBERS) if name in has] or ["stated AS written"]
    more = shown.sql(f"SELECT {', '.join(names)} FROM observations").to_arrow_table()
    if more.num_rows != rows.num_rows:
        return found
    return [{**one, **other} for one, other in zip(found, more.take(pa.array(listed)).to_pylist(), strict=True)]


def _reject(path: str, reason: str, told: dict[str, object]) -> Reject:
    confidence = told["confidence"] if told.get(WRITTEN) is None else told[WRITTEN]
    text = shown_values(told["image_id"], told["class_id"], confidence)
    line = told.get(_LINE)
    place = "".join(f"{name} {told[name]}: " for name in NUMBERS[1:] if told.get(name) is not None)
    reason = _advised(reason, "" if confidence is None else str(confidence))
    return Reject(path, line if isinstance(line, int) else 0, place + reason, text)


def _advised(reason: str, text: str) -> str:
    """Return why a row cannot be used, and how to write its confidence where that is another way to write one."""
    advice = how_to_write(text.strip()) if reason == NO_CONFIDENCE else ""
    return f"{reason} ({advice})" if advice else reason

"""Statements about images, mapped onto a vocabulary: one row per image, one label per category.

Legend: N images, L statements in all of them.
"""

from __future__ import annotations

import itertools
import unicodedata
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.malformed import OF_NO_CLASS, log_malformed, refuse_another_scale, unusable
from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.image_ids import are_ids, image_ids
from mlimages_dataset.sources.source import DOUBTED, FAULT, LISTED
from mlimages_dataset.tables.arrays import arrow_of, numpy_of, repeated, texts
from mlimages_dataset.tables.schemas import TableSchema
from mlimages_dataset.tables.text_numbers import numbered_texts
from mlimages_dataset.tables.texts import ordered_texts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    import duckdb
    from numpy.typing import NDArray

    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog
    from mlimages_dataset.sources.source import Shown, Source
    from mlimages_dataset.vocab.vocabulary import MappingRow, Vocabulary

_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
DROPPED = -1
UNKNOWN = -2
NAMELESS = -3
NOTHING = -4
"""The class of `source.LISTED`, which is none."""
AMBIGUOUS = -5
DOUBT = -6
"""The class of `source.DOUBTED`, which is none."""
CONFIDENCE_STEPS = 1 << 40
"""A statement's confidence is read as an integer number of steps of 2^-40, rounded up so that only 0 is verified
absence.

Every float32 of 2^-17 or more is such a number. Packed with its class into one integer, a statement takes one column.
"""
NO_CONFIDENCE = 2 * CONFIDENCE_STEPS - 1
WITH_BLANKS = NO_CONFIDENCE - 1
"""In place of a confidence: the statement's class is unknown, and is the code's class without the blanks around it."""
CONFIDENCE_BITS = 41
RUN_BATCH_IMAGES = 1 << 14
"""Rows per row group between the two passes: few, because a range of images needs few rows of each run."""
STATEMENTS = TableSchema(
    "statements",
    3,
    pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("statements", pa.list_(pa.field("element", pa.int64(), nullable=False)), nullable=False),
            pa.field("location", pa.string(), nullable=False),
            pa.field("other_location", pa.string(), nullable=False),
            pa.field("name", pa.string(), nullable=False),
        ]
    ),
)
"""The statements of one block about an image under one name, packed: the rows between the two passes. The location is
the least, and the other one the greatest if it is another; the name is empty if it is the id."""


def class_lookup(vocabulary: Vocabulary, source: Source, ids_of: str | None = None) -> dict[str, int]:
    """Return the class index of each id that statements of a source may use.

    It is `DROPPED` for a dropped class, and `AMBIGUOUS` for an id that means different categories in different lists.

    Args:
        vocabulary: the vocabulary.
        source: the source, which decides whose ids are used if `ids_of` does not.
        ids_of: the class list whose ids are meant; None for the source's own.

    Raises:
        UsageError: the vocabulary has no such class list.
    """
    if source.by_index:
        return {str(index): index for index in range(len(vocabulary))}
    known = dict.fromkeys(row.source for row in vocabulary.mapping)
    if ids_of is not None and ids_of not in known:
        raise UsageError(f"the vocabulary has no classes of {ids_of!r}", remedy=f"use one of {', '.join(known)}")
    lookup: dict[str, int] = {}
    for row in _rows_of(vocabulary, ids_of or source.ids_of):
        found = lookup.setdefault(row.source_id, row.class_index)
        is_other = found >= 0 <= row.class_index != found
        # A category is preferred to a dropped class.
        lookup[row.source_id] = AMBIGUOUS if found == AMBIGUOUS or is_other else max(found, row.class_index)
    # Letters with accents have two forms, and a list may have one where files or folders have the other.
    accented = [class_id for class_id in lookup if not class_id.isascii()]
    for form, class_id in itertools.product(_FORMS, accented):
        lookup.setdefault(unicodedata.normalize(form, class_id), lookup[class_id])
    return {**vocabulary.index_of_wnid, **lookup} if source.takes_wnids else lookup


def codes_of(class_ids: pa.StringArray, lookup: pa.Table, column: str = "code") -> NDArray[np.int64]:
    """Return the class index of each of N ids, `UNKNOWN` for one that is not in the lookup, shape (N,).

    Args:
        class_ids: ids without nulls.
        lookup: the columns that `lookup_table` makes.
        column: `code`, or `code_if_absent`.

    Raises:
        UsageError: an id is ambiguous.
    """
    found = pc.index_in(class_ids, lookup["class_id"].combine_chunks())
    at, code_of_class = numpy_of(found, -1), numpy_of(lookup[column].combine_chunks())
    codes: NDArray[np.int64] = np.where(at < 0, UNKNOWN, code_of_class[at])
    ambiguous = np.flatnonzero(codes == AMBIGUOUS)
    if len(ambiguous):
        raise UsageError(
            f"{class_ids[int(ambiguous[0])].as_py()!r} means one category in one class list and another in another",
            remedy="say which list's ids are meant (--ids-of; ids_of in a recipe), or give it one meaning in all lists",
        )
    return codes


def broader_ids(vocabulary: Vocabulary, source: Source, ids_of: str | None = None) -> frozenset[str]:
    """Return the ids of `class_lookup` whose category is only a parent of the class.

    An image without a stop sign may show another street sign, so absences of these classes are not used.
    """
    rows = () if source.by_index else _rows_of(vocabulary, ids_of or source.ids_of)
    return frozenset(row.source_id for row in rows if row.is_broader)


def _rows_of(vocabulary: Vocabulary, class_list: str | None) -> Iterable[MappingRow]:
    """Return what became of the classes of a list, None for all lists."""
    return (row for row in vocabulary.mapping if class_list in {None, row.source})


def packed_statements(
    shown: Shown, piece: Piece, lookup: pa.Table, log: RejectLog | None = None
) -> Iterator[pa.RecordBatch]:
    """Return a block's images, ascending, in the columns of `STATEMENTS` and `unknown`, the classes not found.

    DuckDB has read the rows when this returns; they are grouped when they are asked for, because DuckDB's lists take
    longer than all of this.

    Args:
        shown: the block, as `Source.observe` yields it.
        piece: where it comes from.
        lookup: the columns that `lookup_table` makes.
        log: lists the first statements that cannot be used.

    Raises:
        UsageError: a class id is ambiguous.
        DataError: confidences have another scale than 0 to 1.
    """
    if isinstance(shown, pa.RecordBatch):
        return _grouped(pa.Table.from_batches([shown]), piece, lookup) if shown.num_rows else iter(())
    location = ", nullif(location, '') AS location" if piece.places else ""
    rows = shown.sql(
        f"SELECT coalesce(image_id, '') AS image_id, class_id, confidence{location}{_fault(shown)} FROM observations"
    ).to_arrow_table()
    if not rows.num_rows:
        return iter(())
    refuse_another_scale(shown, rows, piece, log)
    if log is not None:
        log_malformed(shown, rows, piece, log)
    return _grouped(rows, piece, lookup)


def _fault(shown: duckdb.DuckDBPyConnection) -> str:
    """Return SQL for the column `FAULT` of a block behind others; empty if it has none."""
    return f", {FAULT}" if FAULT in shown.sql("SELECT * FROM observations LIMIT 0").columns else ""


def _grouped(rows: pa.Table, piece: Piece, lookup: pa.Table) -> Iterator[pa.RecordBatch]:
    number_of_row, names = numbered_texts(rows["image_id"].combine_chunks())
    ids = image_ids(names)
    if piece.root:  # one path in two folders names two pictures
        names = pc.binary_join_element_wise(piece.root, names, "/")
    if names.equals(ids):
        ascending, _ = ordered_texts(ids)
    else:
        by_id = [("id", "ascending"), ("name", "ascending")]
        ascending = numpy_of(pc.sort_indices(pa.table({"id": ids, "name": names}), sort_keys=by_id))
    rank = np.empty(len(ascending), np.int64)
    rank[ascending] = np.arange(len(ascending))
    image_of_row = rank[number_of_row]
    starts = np.append(0, np.cumsum(np.bincount(image_of_row, minlength=len(ascending))))
    order = np.empty(len(image_of_row), np.int64)
    _order_into(order, image_of_row, starts[:-1].copy())
    nowhere = repeated("", len(ascending))
    least, other = _locations(rows, image_of_row, starts) if piece.places else (nowhere, nowhere)
    table = pa.table(
        {
            "image_id": ids.take(arrow_of(ascending)),
            **_stated(rows, lookup, order, starts if piece.states else np.zeros_like(starts)),
            "location": least,
            "other_location": other,
            "name": pc.if_else(pc.equal(names, ids), repeated("", len(ids)), names).take(arrow_of(ascending)),
        }
    )
    yield from table.to_batches(RUN_BATCH_IMAGES)


def _stated(
    rows: pa.Table, lookup: pa.Table, order: NDArray[np.int64], starts: NDArray[np.int64]
) -> dict[str, pa.ListArray]:
    """Return the columns `statements` and `unknown` of N images from L rows.

    Args:
        rows: columns class_id and confidence, L rows.
        lookup: as in `packed_statements`.
        order: row numbers sorted by image, shape (L,).
        starts: the first index of each image in that order, and L at the end, shape (N + 1,); zeros without statements.
    """
    order = order[: starts[-1]]
    classes = rows["class_id"].combine_chunks().dictionary_encode()
    # One more entry, for a null index of -1.
    codes = np.stack(
        [np.append(codes_of(classes.dictionary, lookup, column), NAMELESS) for column in ("code", "code_if_absent")]
    )
    without_blanks = _codes_without_blanks(classes.dictionary, codes[0], lookup)
    confidence = numpy_of(rows["confidence"].combine_chunks(), np.nan)
    packed, is_unknown = np.empty(len(order), np.int64), np.empty(len(order), np.bool_)
    _pack(order, confidence, numpy_of(classes.indices, -1), codes, without_blanks, packed, is_unknown)
    unknown = classes.take(arrow_of(order[is_unknown])).dictionary_decode()
    ends_of_unknown = np.append(0, np.cumsum(is_unknown))[starts]
    return {
        "statements": pa.ListArray.from_arrays(arrow_of(starts.astype(np.int32)), arrow_of(packed)),
        "unknown": pa.ListArray.from_arrays(arrow_of(ends_of_unknown.astype(np.int32)), unknown),
    }


def _codes_without_blanks(class_ids: pa.StringArray, codes: NDArray[np.int64], lookup: pa.Table) -> NDArray[np.int64]:
    """Return the class index of each of N unknown ids without the blanks around it, else `UNKNOWN`, shape (N + 1,)."""
    found = np.full(len(codes), UNKNOWN, np.int64)
    unknown = np.flatnonzero(codes[:-1] == UNKNOWN)
    if len(unknown):
        at = pc.index_in(
            pc.utf8_trim_whitespace(class_ids.take(arrow_of(unknown))), lookup["class_id"].combine_chunks()
        )
        places = numpy_of(at, -1)
        found[unknown] = np.where(places < 0, UNKNOWN, numpy_of(lookup["code"].combine_chunks())[places])
    return found


@compiled
def _pack(  # noqa: PLR0917 - compiled code takes no keywords
    order: NDArray[np.int64],
    confidence: NDArray[np.float32],
    classes: NDArray[np.int32],
    codes: NDArray[np.int64],
    without_blanks: NDArray[np.int64],
    packed: NDArray[np.int64],
    is_unknown: NDArray[np.bool_],
) -> None:
    """Write the packed statement of each row in an order, and whether its class is unknown.

    Args:
        order: row numbers, shape (L,).
        confidence: of each row, NaN where it is no number, shape (L,).
        classes: the number of each row's class, -1 where it has none, shape (L,).
        codes: of each class, the last for none, if it is present, and if it is absent, shape (2, classes + 1).
        without_blanks: of each class that is unknown, and is a category without the blanks around it; else `UNKNOWN`.
        packed: is filled, shape (L,).
        is_unknown: is filled, shape (L,).
    """
    nameless = codes.shape[1] - 1
    for at in range(len(order)):
        row = order[at]
        steps = NO_CONFIDENCE
        if not np.isnan(confidence[row]):
            steps = int(np.ceil(confidence[row] * np.float32(CONFIDENCE_STEPS)))
        name = classes[row] if classes[row] >= 0 else nameless
        code = codes[1 if steps == 0 else 0, name]
        is_unknown[at] = code == UNKNOWN
        if code == UNKNOWN and without_blanks[name] >= 0:
            code = without_blanks[name]
            steps = max(steps, WITH_BLANKS)
        packed[at] = code * (1 << CONFIDENCE_BITS) + steps


def _locations(
    rows: pa.Table, image_of_row: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[pa.StringArray, pa.StringArray]:
    """Return the least location of each image in text order, empty if it has none, and the greatest.

    The greatest is empty where it is the least one. Both have the shape (N,).
    """
    of_row = pa.table({"image": image_of_row, "location": rows["location"]})
    keys = [("image", "ascending"), ("location", "ascending")]
    order = pc.sort_indices(of_row, sort_keys=keys).to_numpy()  # nulls come last
    n_valid = np.bincount(image_of_row, weights=pc.is_valid(rows["location"]).to_numpy(), minlength=len(starts) - 1)
    last = starts[:-1] + np.maximum(n_valid.astype(np.int64) - 1, 0)
    least, greatest = (
        rows["location"].take(arrow_of(order[at])).fill_null("").combine_chunks() for at in (starts[:-1], last)
    )
    return least, pc.if_else(pc.equal(least, greatest), "", greatest)


@compiled
def _order_into(order: NDArray[np.int64], group: NDArray[np.int64], place: NDArray[np.int64]) -> None:
    """Fill the row numbers sorted by group, in their order within a group, shape (L,).

    Args:
        order: is filled.
        group: that of each row, shape (L,).
        place: where each group begins, shape (N,); it is used up.
    """
    for row in range(len(group)):
        order[place[group[row]]] = row
        place[group[row]] += 1


def lookup_table(lookup: Mapping[str, int], broader: Collection[str] = ()) -> pa.Table:
    """Return a lookup's ids and indices as the columns class_id, code and code_if_absent; an empty id has no class.

    Args:
        lookup: class index of each id.
        broader: ids whose category is only a parent of the class, so that their absence is dropped.
    """
    codes = {**lookup, "": NAMELESS, LISTED: NOTHING, DOUBTED: DOUBT}
    if_absent = [DROPPED if class_id in broader else code for class_id, code in codes.items()]
    return pa.table(
        {
            "class_id": texts(list(codes)),
            "code": arrow_of(np.array(list(codes.values()), np.int64)),
            "code_if_absent": arrow_of(np.array(if_absent, np.int64)),
        }
    )


def raw_classes(
    shown: Shown, piece: Piece, log: RejectLog, *, absent: bool = False
) -> tuple[pa.StringArray | pa.DictionaryArray, pa.DictionaryArray]:
    """Return the image and the class of each statement of a block that says a class is present, perhaps repeated.

    Images are ids, or where names had to be made ids, a dictionary in which several names may have one id.

    Args:
        shown: the block, as `Source.observe` yields it.
        piece: where it comes from.
        log: counts statements that cannot be used, and lists the first.
        absent: take those that say a class is absent too.

    Raises:
        DataError: confidences have another scale than 0 to 1.
    """
    if isinstance(shown, pa.RecordBatch):
        rows = pa.Table.from_batches([shown])
        chosen = _says_of_class(rows, absent=absent)
    else:
        rows = _rows(shown)
        refuse_another_scale(shown, rows, piece, log)
        bad = unusable(rows)
        log_malformed(shown, rows, piece, log, bad)
        log.n_malformed += int(np.count_nonzero(bad))
        chosen = pc.and_not(pc.fill_null(_says_of_class(rows, absent=absent), False), arrow_of(bad))
    if not pc.all(chosen).as_py():
        rows = rows.filter(chosen)
    names, classes = (rows[name].combine_chunks() for name in ("image_id", "class_id"))
    if are_ids(names):
        return names, classes.dictionary_encode()
    numbers, distinct = numbered_texts(names)
    return pa.DictionaryArray.from_arrays(arrow_of(numbers), image_ids(distinct)), classes.dictionary_encode()


def _says_of_class(rows: pa.Table, *, absent: bool) -> pa.ChunkedArray:
    """Return which rows say that a class is present, or where wanted that it is absent; null where neither is clear."""
    if not absent:
        return pc.greater(rows["confidence"], 0)
    return pc.and_not(pc.greater_equal(rows["confidence"], 0), pc.is_in(rows["class_id"], OF_NO_CLASS))


def _rows(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the rows of a block."""
    # All of them: DuckDB computes confidences again for each condition, which takes as long as reading the file.
    return connection.sql(
        f"SELECT coalesce(image_id, '') AS image_id, class_id, confidence{_fault(connection)} FROM observations"
    ).to_arrow_table()

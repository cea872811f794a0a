"""The second of two passes over annotation files: statements of images become rows of a table.

Legend: N images, L statements in all of them, R rows of runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.annotation_counts import LISTED_NAMES, AnnotationCounts
from mlimages_dataset.augment.annotations import (
    CONFIDENCE_BITS,
    CONFIDENCE_STEPS,
    DOUBT,
    DROPPED,
    NAMELESS,
    NO_CONFIDENCE,
    NOTHING,
    UNKNOWN,
    WITH_BLANKS,
)
from mlimages_dataset.augment.completeness import EVERY_CLASS, Doubts, completed
from mlimages_dataset.core.compiled import compiled, sort_in_place
from mlimages_dataset.tables.arrays import arrow_of, numpy_of, repeated, scalar_of
from mlimages_dataset.tables.confidences import MOST
from mlimages_dataset.tables.label_columns import LabelColumns, array_of
from mlimages_dataset.tables.schemas import ANNOTATIONS, PREDICTIONS, Origin, TableSchema
from mlimages_dataset.tables.texts import extreme_texts, ordered_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mlimages_dataset.augment.completeness import Completeness

BATCH_IMAGES = 1 << 16
_MOST_STATEMENTS = 1 << 30
_MOST_TEXT = 1 << 30
"""Bytes of texts beyond which their places need 64 bits."""
_FATES = ("labels", "merged", "below_confidence", "dropped", "unknown", "malformed", "contradicted", "without_image")
"""The outcomes of a statement, in the order in which the compiled loop counts them; those of no image are malformed."""


def annotation_batches(
    statements: pa.Table,
    below: str,
    *,
    source: str,
    min_confidence: float,
    complete: Completeness | None = None,
    schema: TableSchema = ANNOTATIONS,
) -> Iterator[tuple[pa.Table, AnnotationCounts]]:
    """Yield rows of an `annotations` or `predictions` table, ascending by image id, and the counts of statements.

    Several statements of one category and image become one label: verified presence wins over verified absence, which
    wins over a machine's confidence, of which the highest counts.

    Args:
        statements: all rows of `STATEMENTS` of some images.
        below: only images with a smaller id are used.
        source: value of the table's source column.
        min_confidence: machine labels with a lower confidence are dropped; verified absence stays.
        complete: what images were checked for: what an image does not list of it is absent, unless a statement of it
            could not be used. Images without labels are kept then if a class is absent.
        schema: `ANNOTATIONS`, or `PREDICTIONS`, whose labels have that origin and are never verified.
    """
    for batch in _by_image(statements, below):
        yield _finished(batch, source, np.float32(min_confidence), schema, complete=complete)


def _by_image(statements: pa.Table, below: str) -> Iterator[pa.RecordBatch]:
    """Yield images of which something is said, ascending by id, with all statements of each.

    Their location and name are the least that is not empty, or empty; `last_location` and `last_name` are the greatest.
    """
    # Large: all statements together may be more than 2^31.
    lists = statements["statements"].cast(pa.large_list(pa.int64())).combine_chunks()
    ends, values = numpy_of(lists.offsets), numpy_of(lists.values)
    columns = ("image_id", "location", "other_location", "name")
    ids, locations, others, names = (_combined(statements[name]) for name in columns)
    order, starts = ordered_texts(ids)
    ids = ids.take(arrow_of(order[starts[:-1]]))
    n_said = np.add.reduceat(np.diff(ends)[order], starts[:-1]) if len(ids) else np.empty(0, np.int64)
    n_below = pc.sum(pc.less(ids, scalar_of(below).cast(ids.type))).as_py() or 0
    for images in _in_batches(np.flatnonzero(n_said[:n_below]), n_said):
        first, last = starts[images], starts[images + 1]
        offsets = np.append(0, np.cumsum(n_said[images]))
        joined = np.empty(offsets[-1], np.int64)
        _join(order, first, last, ends, values, joined)
        last_of_rows, last_of_others = (
            extreme_texts(some, order, first, last, greatest=True).cast(pa.string()) for some in (locations, others)
        )
        texts = {
            "image_id": ids.take(arrow_of(images)),
            "location": extreme_texts(locations, order, first, last),
            "last_location": pc.if_else(pc.greater(last_of_others, last_of_rows), last_of_others, last_of_rows),
            "name": extreme_texts(names, order, first, last),
            "last_name": extreme_texts(names, order, first, last, greatest=True),
        }
        stated = pa.ListArray.from_arrays(arrow_of(offsets.astype(np.int32)), arrow_of(joined))
        yield pa.record_batch({name: one.cast(pa.string()) for name, one in texts.items()} | {"statements": stated})


def _combined(texts: pa.ChunkedArray) -> pa.StringArray | pa.LargeStringArray:
    """Return all texts as one array; nothing is copied where all are empty."""
    if not pc.max(pc.binary_length(texts)).as_py():
        return repeated("", len(texts))
    return (texts.cast(pa.large_string()) if texts.nbytes > _MOST_TEXT else texts).combine_chunks()


def _in_batches(images: NDArray[np.int64], n_said: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield N images in batches of at most `BATCH_IMAGES`, and of one image or fewer than 2^30 statements."""
    said, at = np.cumsum(n_said[images]), 0
    while at < len(images):
        before = said[at - 1] if at else 0
        stop = min(at + BATCH_IMAGES, int(np.searchsorted(said, before + _MOST_STATEMENTS)))
        stop = max(stop, at + 1)
        yield images[at:stop]
        at = stop


@compiled
def _join(  # noqa: PLR0917 - compiled code takes no keywords
    order: NDArray[np.int64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    ends: NDArray[np.int64],
    values: NDArray[np.int64],
    joined: NDArray[np.int64],
) -> None:
    """Fill `joined` with the lists of the rows of each image, in turn.

    Args:
        order: row numbers, shape (R,).
        first: where the rows of each image begin among them, shape (N,).
        last: where they end, shape (N,).
        ends: where the list of each row begins, and the last ends, shape (R + 1,).
        values: of all lists.
        joined: is filled.
    """
    at = 0
    for image in range(len(first)):
        for place in range(first[image], last[image]):
            row = order[place]
            for value in range(ends[row], ends[row + 1]):
                joined[at] = values[value]
                at += 1


def _finished(
    batch: pa.RecordBatch,
    source: str,
    min_confidence: np.float32,
    schema: TableSchema,
    *,
    complete: Completeness | None,
) -> tuple[pa.Table, AnnotationCounts]:
    origin = Origin.MODEL_PREDICTION if schema is PREDICTIONS else Origin.ORIGINAL
    lists = batch.column("statements")
    start, stop = lists.offsets[0].as_py(), lists.offsets[-1].as_py()
    statements = numpy_of(lists.values.slice(start, stop - start))
    if schema is PREDICTIONS:
        statements = _of_a_model(statements)
    named = numpy_of(pc.binary_length(batch.column("image_id"))) > 0
    offsets, class_index, kept, doubts, counts = _merge(
        numpy_of(lists.offsets) - np.int32(start), statements, named, min_confidence, doubts=complete is not None
    )
    with_labels = np.diff(offsets) > 0
    codes, starts = statements >> CONFIDENCE_BITS, numpy_of(lists.offsets)[:-1] - start
    says = np.logical_or.reduceat(codes != NOTHING, starts)
    # Of a complete collection, all categories are absent but those that some statement may be about.
    unsure = np.logical_or.reduceat(np.isin(codes, (NAMELESS, DOUBT)), starts)
    kept_images = with_labels | (named & ~unsure) if complete is not None else with_labels
    columns = LabelColumns(
        np.concatenate((offsets[:1], offsets[1:][kept_images])),
        class_index,
        kept,
        np.full(len(class_index), origin, np.uint8),
    )
    absences = withheld = 0
    if complete is not None:
        stated = columns
        columns, withheld = completed(stated, complete.looked_for, complete.closure, doubts.only(kept_images))
        absences = len(columns.class_index) - len(stated.class_index)
        kept_images[kept_images] = np.diff(columns.offsets) > 0
        columns = replace(columns, offsets=np.unique(columns.offsets))
    images = batch.filter(arrow_of(kept_images))
    table = pa.Table.from_arrays(
        [
            images.column("image_id"),
            repeated(source, images.num_rows),
            images.column("location"),
            array_of(columns),
        ],
        schema=schema.arrow,
    )
    n_without = int((named & says & ~kept_images).sum())
    several = batch.filter(pc.not_equal(batch.column("name"), batch.column("last_name")))
    first_names = several.select(["name", "last_name"]).slice(0, LISTED_NAMES).to_pylist()
    apart = batch.filter(pc.not_equal(batch.column("location"), batch.column("last_location")))
    first_apart = apart.select(["image_id", "location", "last_location"]).slice(0, LISTED_NAMES).to_pylist()
    n_with_blanks, first_with_blanks = _with_blanks(batch)
    return table, AnnotationCounts(
        **dict(zip(_FATES, counts.tolist(), strict=True)),
        images=images.num_rows,
        images_without_labels=n_without,
        absences=absences,
        withheld=withheld,
        images_of_several_names=several.num_rows,
        first_names=tuple(f"{one['name']} and {one['last_name']}" for one in first_names),
        images_of_several_locations=apart.num_rows,
        first_locations=tuple(
            f"{one['image_id']}: {one['location']} and {one['last_location']}" for one in first_apart
        ),
        images_with_blanks=n_with_blanks,
        first_with_blanks=first_with_blanks,
    )


def _with_blanks(batch: pa.RecordBatch) -> tuple[int, tuple[str, ...]]:
    """Return how many images have a name with blanks at an end, and the first such names, in quotes."""
    ids, *named = (batch.column(name) for name in ("image_id", "name", "last_name"))
    names = [pc.if_else(pc.equal(one, scalar_of("")), ids, one) for one in named]  # empty where it is the id
    blank = [pc.not_equal(pc.utf8_trim_whitespace(one), one) for one in names]
    at = np.flatnonzero(numpy_of(pc.or_(*blank).cast(pa.uint8())))
    shown = pc.if_else(blank[0], *names).take(arrow_of(at[:LISTED_NAMES])).to_pylist()
    return len(at), tuple(map(repr, shown))


def _of_a_model(statements: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return statements without verified ones: 1 and 0 become the nearest other confidences; same shape."""
    steps = statements & NO_CONFIDENCE
    below_one = CONFIDENCE_STEPS - int(MOST * np.float32(CONFIDENCE_STEPS))
    return np.asarray(statements + (steps == 0) - (steps == CONFIDENCE_STEPS) * below_one)


def _merge(
    offsets: NDArray[np.int32],
    statements: NDArray[np.int64],
    named: NDArray[np.bool_],
    min_confidence: np.float32,
    *,
    doubts: bool,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], Doubts, NDArray[np.int64]]:
    """Return offsets, classes and confidences of merged labels, doubts, and numbers of statements by `_FATES`.

    Without `doubts`, none are noted.
    """
    out_offsets, counts = np.zeros(len(offsets), np.int32), np.zeros(len(_FATES), np.int64)
    out_class, out_confidence = np.empty(len(statements), np.int32), np.empty(len(statements), np.float32)
    of_image, doubted = np.zeros(len(offsets), np.int32), np.empty(len(statements) if doubts else 0, np.int32)
    _merge_into(
        out_offsets, out_class, out_confidence, of_image, doubted, counts,
        offsets, statements.copy(), named, min_confidence,
    )  # fmt: skip
    end = out_offsets[-1]
    return out_offsets, out_class[:end], out_confidence[:end], Doubts(of_image, doubted[: of_image[-1]]), counts


@compiled
def _merge_into(  # noqa: C901, PLR0917 - one loop, and compiled code takes no keywords
    out_offsets: NDArray[np.int32],
    out_class: NDArray[np.int32],
    out_confidence: NDArray[np.float32],
    doubt_offsets: NDArray[np.int32],
    doubted: NDArray[np.int32],
    counts: NDArray[np.int64],
    offsets: NDArray[np.int32],
    statements: NDArray[np.int64],
    named: NDArray[np.bool_],
    min_confidence: np.float32,
) -> None:
    """Fill the first six arrays with what `_merge` returns, and sort the statements of each image."""
    end = n_doubts = 0
    for image in range(len(offsets) - 1):
        at, last = int(offsets[image]), int(offsets[image + 1])
        sort_in_place(statements[at:last])
        while at < last:
            code = int(statements[at] >> CONFIDENCE_BITS)
            n_present = n_absent = n_machine = 0
            highest = np.float32(0)
            is_doubtful = code == DOUBT
            while at < last and statements[at] >> CONFIDENCE_BITS == code:
                steps = int(statements[at] & NO_CONFIDENCE)
                value = np.float32(steps / CONFIDENCE_STEPS)
                at += 1
                if code == NOTHING or code == DOUBT:  # noqa: PLR1714, SIM109 - a set takes Numba 1.7 s longer
                    continue
                if not named[image] or code == NAMELESS or steps == NO_CONFIDENCE:
                    counts[5] += 1
                    counts[7] += int(not named[image])
                    is_doubtful = code != UNKNOWN and code != DROPPED  # noqa: PLR1714 - as above
                elif code == UNKNOWN or steps == WITH_BLANKS:
                    counts[4] += 1
                    is_doubtful |= code != UNKNOWN
                elif code == DROPPED:
                    counts[3] += 1
                elif 0 < value < min_confidence:
                    counts[2] += 1
                    is_doubtful = True
                else:
                    n_present += int(value == 1)
                    n_absent += int(value == 0)
                    n_machine += int(0 < value < 1)
                    highest = max(highest, value)
            if is_doubtful and len(doubted):
                doubted[n_doubts] = code if code >= 0 else EVERY_CLASS
                n_doubts += 1
            n_statements = n_present + n_absent + n_machine
            if n_statements == 0:
                continue
            out_class[end] = code
            out_confidence[end] = 0 if n_absent and not n_present else highest
            end += 1
            contradicted = n_absent if n_present else 0
            counts[0] += 1
            counts[1] += n_statements - 1 - contradicted
            counts[6] += contradicted
        out_offsets[image + 1] = end
        doubt_offsets[image + 1] = n_doubts

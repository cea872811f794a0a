"""Statements about images, mapped onto a vocabulary: one row an image, one label a category.

Legend: N images, L statements in all of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.augment.compiled import compiled
from mlimages_dataset.augment.labels import LabelColumns, array_of
from mlimages_dataset.augment.observations import Format
from mlimages_dataset.errors import UsageError
from mlimages_dataset.schemas import ANNOTATIONS, PREDICTIONS, Origin, TableSchema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from mlimages_dataset.augment.observations import Observations
    from mlimages_dataset.manifest import Json
    from mlimages_dataset.vocab.vocabulary import Vocabulary

DROPPED = -1
UNKNOWN = -2
NAMELESS = -3
CONFIDENCE_STEPS = 1 << 40
"""A statement's confidence is read as a whole number of steps of 2^-40, rounded up so that only 0 is verified absence.

A float32 of 2^-17 or more is such a number. Packed with its class into one integer, a statement is grouped in
three quarters of the time that two columns take.
"""
_NO_CONFIDENCE = 2 * CONFIDENCE_STEPS - 1
_CONFIDENCE_BITS = 41
BATCH_IMAGES = 1 << 16


@dataclass(frozen=True, slots=True)
class AnnotationCounts:
    """What became of statements; counts of parts add up. Every statement is in exactly one of the first seven.

    Attributes:
        labels: became a label.
        merged: said a category once more of the same image (a repetition, or a synonym).
        below_confidence: a machine's, below the least confidence asked for.
        dropped: its class was left out of the vocabulary, for the reason in the mapping.
        unknown: its class is not in the mapping.
        malformed: no image id, no class, or a confidence that is no number from 0 to 1.
        contradicted: said absent where another statement of the same category and image verified presence.
        images: images with a label.
        images_without_labels: images that lost every statement.
    """

    labels: int = 0
    merged: int = 0
    below_confidence: int = 0
    dropped: int = 0
    unknown: int = 0
    malformed: int = 0
    contradicted: int = 0
    images: int = 0
    images_without_labels: int = 0

    def __add__(self, other: AnnotationCounts) -> AnnotationCounts:
        return AnnotationCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def summary(self) -> dict[str, Json]:
        """Return the counts by name."""
        return asdict(self)


_FATES = ("labels", "merged", "below_confidence", "dropped", "unknown", "malformed", "contradicted")
"""What may become of a statement, in the order in which the compiled loop counts them."""


def class_lookup(vocabulary: Vocabulary, form: Format, source: str | None = None) -> dict[str, int]:
    """Return the class index of each id that statements of a format may use, `DROPPED` for a dropped class.

    Args:
        vocabulary: the vocabulary.
        form: `tencent` statements use class indices; the others use a source's ids, `csv` and `parquet` also wnids.
        source: the source whose ids are meant; None for the format's own, or any source for `csv` and `parquet`.

    Raises:
        UsageError: the vocabulary has no such source, or an id means different categories in different sources.
    """
    if form is Format.TENCENT:
        return {str(index): index for index in range(len(vocabulary))}
    any_source = source is None and form in {Format.CSV, Format.PARQUET}
    known = dict.fromkeys(row.source for row in vocabulary.mapping)
    if source is not None and source not in known:
        raise UsageError(f"the vocabulary has no classes of {source!r}", remedy=f"use one of {', '.join(known)}")
    wanted = source or form.value
    lookup: dict[str, int] = {}
    for row in vocabulary.mapping:
        if not any_source and row.source != wanted:
            continue
        found = lookup.setdefault(row.source_id, row.class_index)
        if found >= 0 <= row.class_index != found:
            raise UsageError(
                f"{row.source_id!r} is one class in {row.source} and another in another source",
                remedy="say which source's ids are meant (--ids-of)",
            )
        lookup[row.source_id] = max(found, row.class_index)  # a category is better than none
    return lookup if form is Format.OPEN_IMAGES else {**vocabulary.index_of_wnid, **lookup}


def annotation_batches(
    observations: Observations,
    lookup: Mapping[str, int],
    source: str,
    min_confidence: float,
    schema: TableSchema = ANNOTATIONS,
) -> Iterator[tuple[pa.Table, AnnotationCounts]]:
    """Yield rows of an `annotations` or `predictions` table, ascending by image id, and what became of statements.

    Several statements of one category and image become one label: verified presence wins over verified absence, which
    wins over a machine's confidence, of which the highest counts.

    Args:
        observations: statements of files.
        lookup: class index of each id, `DROPPED` for a dropped class.
        source: name for the table's source column.
        min_confidence: machines' confidences below this are left out; verified absence stays.
        schema: `ANNOTATIONS`, or `PREDICTIONS`, whose labels have that origin.
    """
    connection = observations.connection
    codes = {**lookup, "": NAMELESS}
    connection.register("lookup", pa.table({"class_id": list(codes), "code": pa.array(codes.values(), pa.int64())}))
    # A string aggregate costs as much as all the rest, so it is taken only where the statements bring locations.
    said = ", max(o.location) AS location" if observations.has_locations else ""
    location, table = "g.location" if said else "''", ""
    if observations.has_image_table:
        location, table = "coalesce(l.location, '')", "LEFT JOIN image_locations AS l USING (image_id)"
    query = f"""
        SELECT coalesce(g.image_id, '') AS image_id, g.statements, {location} AS location
        FROM (
            SELECT o.image_id {said}, list(
                coalesce(c.code, CASE WHEN o.class_id IS NULL THEN {NAMELESS} ELSE {UNKNOWN} END)
                * {1 << _CONFIDENCE_BITS} + coalesce(ceil(o.confidence * {CONFIDENCE_STEPS})::BIGINT, {_NO_CONFIDENCE})
            ) AS statements
            FROM observations AS o LEFT JOIN lookup AS c USING (class_id) GROUP BY o.image_id
        ) AS g {table} ORDER BY image_id
    """
    for batch in connection.sql(query).to_arrow_reader(BATCH_IMAGES):
        yield _finished(batch, source, np.float32(min_confidence), schema)


def unknown_classes(observations: Observations, lookup: Mapping[str, int], limit: int = 10) -> list[tuple[str, int]]:
    """Return the ids outside the lookup with the most statements, and how many; reads the statements again."""
    connection = observations.connection
    connection.register("lookup", pa.table({"class_id": list(lookup)}))
    return connection.sql(
        "SELECT class_id, count(*) AS n FROM observations ANTI JOIN lookup USING (class_id) "
        f"WHERE class_id <> '' GROUP BY class_id ORDER BY n DESC, class_id LIMIT {limit}"
    ).fetchall()


def images_per_class(observations: Observations) -> list[tuple[str, int]]:
    """Return each raw class id and the images that it is said to be present in, ascending by id."""
    return observations.connection.sql(
        "SELECT class_id, count(DISTINCT image_id) FROM observations "
        "WHERE confidence > 0 AND class_id <> '' AND image_id <> '' "
        "GROUP BY class_id ORDER BY class_id"
    ).fetchall()


def _finished(
    batch: pa.RecordBatch, source: str, min_confidence: np.float32, schema: TableSchema
) -> tuple[pa.Table, AnnotationCounts]:
    origin = Origin.MODEL_PREDICTION if schema is PREDICTIONS else Origin.ORIGINAL
    lists = batch.column("statements")
    start, stop = lists.offsets[0].as_py(), lists.offsets[-1].as_py()
    statements = lists.values.slice(start, stop - start).to_numpy()
    named = np.asarray(batch.column("image_id").to_numpy(zero_copy_only=False) != "", bool)
    offsets, class_index, kept, counts = _merged(
        lists.offsets.to_numpy() - np.int32(start), statements, named, min_confidence
    )
    with_labels = np.diff(offsets) > 0
    columns = LabelColumns(
        np.concatenate((offsets[:1], offsets[1:][with_labels])),
        class_index,
        kept,
        np.full(len(class_index), origin, np.uint8),
    )
    images = batch.filter(pa.array(with_labels))
    table = pa.Table.from_arrays(
        [
            images.column("image_id"),
            pa.array([source] * images.num_rows, pa.string()),
            images.column("location"),
            array_of(columns),
        ],
        schema=schema.arrow,
    )
    n_images = int(with_labels.sum())
    n_without = int(named.sum()) - n_images
    return table, AnnotationCounts(
        **dict(zip(_FATES, counts.tolist(), strict=True)), images=n_images, images_without_labels=n_without
    )


@compiled
def _merged(
    offsets: NDArray[np.int32], statements: NDArray[np.int64], named: NDArray[np.bool_], min_confidence: np.float32
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]]:
    """Return offsets, classes and confidences of merged labels, and how many statements met each of `_FATES`."""
    counts = np.zeros(7, np.int64)
    out_offsets = np.zeros(len(offsets), np.int32)
    out_class = np.empty(len(statements), np.int32)
    out_confidence = np.empty(len(statements), np.float32)
    end = 0
    for image in range(len(offsets) - 1):
        ordered = np.sort(statements[offsets[image] : offsets[image + 1]])
        at = 0
        while at < len(ordered):
            code = int(ordered[at] >> _CONFIDENCE_BITS)
            n_present = n_absent = n_machine = 0
            highest = np.float32(0)
            while at < len(ordered) and ordered[at] >> _CONFIDENCE_BITS == code:
                steps = int(ordered[at] & _NO_CONFIDENCE)
                value = np.float32(steps / CONFIDENCE_STEPS)
                at += 1
                if not named[image] or code == NAMELESS or steps == _NO_CONFIDENCE:
                    counts[5] += 1
                elif code == UNKNOWN:
                    counts[4] += 1
                elif code == DROPPED:
                    counts[3] += 1
                elif 0 < value < min_confidence:
                    counts[2] += 1
                else:
                    n_present += int(value == 1)
                    n_absent += int(value == 0)
                    n_machine += int(0 < value < 1)
                    highest = max(highest, value)
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
    return out_offsets, out_class[:end], out_confidence[:end], counts

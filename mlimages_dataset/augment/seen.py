"""What a teacher says of the images of a part of annotations: only predictions that can add a label are held."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.tables.batches import checked_columns
from mlimages_dataset.tables.label_columns import LabelColumns, array_of, columns_of
from mlimages_dataset.tables.parquet import scan_table, table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS, PREDICTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mlimages_dataset.augment.rules import LabelRules
    from mlimages_dataset.core.locations import Location

_ROWS = pa.schema([LABELS.arrow.field("image_id"), LABELS.arrow.field("labels")])


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a teacher says of N images.

    Attributes:
        labels: its probabilities, none for an image without predictions.
        known: whether the image has predictions, bool, shape (N,).
    """

    labels: LabelColumns
    known: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SeenImages:
    """What a teacher says of some images: their ids, each once, and `labels` arrays in the same order."""

    ids: pa.StringArray
    labels: pa.ListArray

    def of(self, image_ids: pa.StringArray) -> Predicted:
        """Return what the teacher says of N images."""
        where = pc.index_in(image_ids, value_set=self.ids)
        known = pc.is_valid(where).to_numpy(zero_copy_only=False)
        rows = self.labels.take(where.fill_null(len(self.ids)))
        return Predicted(columns_of(rows), known)


@dataclass(frozen=True, slots=True)
class Teacher:
    """A teacher's predictions, and which of them rules need.

    Attributes:
        parts: files of a `predictions` table.
        least: below these probabilities of each category, no image can get it, float32, shape (C,).
        where: the table, for messages.
    """

    parts: tuple[Location, ...]
    least: NDArray[np.float32]
    where: Location

    def of_part(self, annotations: Location) -> SeenImages:
        """Return what is said of the images of a part of annotations; row groups of other images are not read.

        Raises:
            UsageError, DataError: a table is missing or damaged, or an image is predicted twice.
        """
        ids = pa.chunked_array(
            [batch.column(0) for batch in scan_table(annotations, ANNOTATIONS, columns=["image_id"])], pa.string()
        )
        span = pc.min_max(ids).as_py() if len(ids) else None
        wanted = ids.unique()
        tables = [_ROWS.empty_table()]
        for batch in () if span is None else self._batches(span["min"], span["max"]):
            rows = batch.filter(pc.is_in(batch.column("image_id"), value_set=wanted))
            labels = checked_columns(rows.column("labels"), len(self.least), self.where)
            kept = labels.only(labels.confidence >= self.least[labels.class_index])
            tables.append(pa.Table.from_arrays([rows.column("image_id"), array_of(kept)], schema=_ROWS))
        found = pa.concat_tables([*tables, _nothing()]).combine_chunks()  # the last row is that of all others
        seen = found["image_id"].combine_chunks()[:-1]
        if pc.count_distinct(seen).as_py() < len(seen):
            raise DataError("an image is predicted twice", where=self.where, remedy="keep one row per image")
        return SeenImages(seen, found["labels"].combine_chunks())

    def _batches(self, first: str, last: str) -> Iterator[pa.RecordBatch]:
        return (
            batch
            for part in self.parts
            for batch in scan_table(part, PREDICTIONS, columns=_ROWS.names, near=("image_id", first, last))
        )


@functools.cache
def _nothing() -> pa.Table:
    """Return a row without predictions, made when it is needed: Arrow imports pandas to read Python's lists."""
    return pa.table([pa.array([""]), pa.array([[]], _ROWS.field("labels").type)], schema=_ROWS)


def teacher_of(
    rules: LabelRules | None, predictions: Location | None, n_classes: int, *, where: Location | None
) -> Teacher | None:
    """Return the teacher whose predictions rules read; None if they read none.

    Args:
        rules: the rules; None for none.
        predictions: folder of a `predictions` table.
        n_classes: C.
        where: the file of the rules, for messages.

    Raises:
        UsageError: rules read predictions and none are given, or none read those given.
    """
    reads = rules is not None and rules.read_pictures
    if predictions is None and reads:
        raise UsageError(
            "these rules read a teacher's predictions of each image, and none are given",
            where=where,
            remedy="pass the folder of its predictions (--predictions)",
        )
    if predictions is not None and not reads and (rules is None or len(rules.consequents)):
        remedy = "leave them out, or learn rules with --rule image"
        raise UsageError("predictions are given, and no rule reads them", where=predictions, remedy=remedy)
    if predictions is None or rules is None:
        return None
    if not reads:  # rules that add nothing: none was right as often as wanted
        return None
    return Teacher(tuple(table_parts(predictions.absolute())), least_scores(rules, n_classes), predictions)


def least_scores(rules: LabelRules, n_classes: int) -> NDArray[np.float32]:
    """Return the probability of each category below which a prediction says nothing, float32, shape (C,).

    Below the start of a consequent's first ramp, the evidence is the same as without a prediction; categories that no
    ramp reads get 2, which no probability reaches.
    """
    found = np.full(n_classes, 2, np.float32)
    rises = rules.ramps.rises
    starts = np.where(rises > 0, rules.ramps.start, 2).min(axis=1, initial=2)
    found[rules.consequents] = starts
    return found

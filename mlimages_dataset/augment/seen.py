"""What a teacher says of the images of a part of annotations: only predictions that can add a label are held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.tables.arrays import texts
from mlimages_dataset.tables.batches import checked_columns
from mlimages_dataset.tables.parquet import scan_table, table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS, PREDICTIONS
from mlimages_dataset.tables.texts import compared, utf8_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from mlimages_dataset.augment.evidence import Seen
    from mlimages_dataset.augment.rules import LabelRules
    from mlimages_dataset.core.locations import Location


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a teacher says of N images, in S predictions of these and of others.

    Attributes:
        starts: the first prediction of each image, -1 for an image that is not predicted, int64, shape (N,).
        stops: the prediction after its last, int64, shape (N,).
        class_index: int32, shape (S,).
        scores: probabilities, float32, shape (S,).
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    class_index: NDArray[np.int32]
    scores: NDArray[np.float32]

    @classmethod
    def of_matrix(cls, scores: sp.csr_array) -> Predicted:
        """Return the probabilities of N predicted images, sparse, shape (N, C)."""
        bounds = scores.indptr.astype(np.int64)
        return cls(bounds[:-1], bounds[1:], scores.indices.astype(np.int32), scores.data.astype(np.float32))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether each image is predicted, also with nothing, shape (N,)."""
        return self.starts >= 0

    @property
    def arrays(self) -> Seen:
        """The arrays as loops read them."""
        return self.starts, self.stops, self.class_index, self.scores


@dataclass(frozen=True, slots=True)
class SeenImages:
    """What a teacher says of some images: their ids, ascending, each once, and their predictions in the same order."""

    ids: pa.LargeStringArray
    predicted: Predicted

    def of(self, image_ids: pa.StringArray) -> Predicted:
        """Return what the teacher says of N images."""
        at = places(image_ids, self.ids)
        starts, stops = (
            np.where(at < 0, -1, one[at]) if len(one) else np.full(len(at), -1)
            for one in (self.predicted.starts, self.predicted.stops)
        )
        return Predicted(starts, stops, self.predicted.class_index, self.predicted.scores)


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
        ids = _ids_of(annotations)
        starts, stops = np.full(len(ids), -1), np.full(len(ids), -1)
        classes, scores = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
        n_kept = 0
        for batch in self._batches(ids[0].as_py(), ids[-1].as_py()) if len(ids) else ():
            labels = checked_columns(batch.column("labels"), len(self.least), self.where)
            kept_classes, kept_scores = np.empty_like(labels.class_index), np.empty_like(labels.confidence)
            n = _keep(
                places(batch.column("image_id"), ids), labels.offsets, labels.class_index, labels.confidence,
                self.least, n_kept, starts, stops, kept_classes, kept_scores,
            )  # fmt: skip
            if n < 0:
                raise DataError("an image is predicted twice", where=self.where, remedy="keep one row per image")
            classes.append(kept_classes[:n].copy())
            scores.append(kept_scores[:n].copy())
            n_kept += n
        return SeenImages(ids, Predicted(starts, stops, np.concatenate(classes), np.concatenate(scores)))

    def _batches(self, first: str, last: str) -> Iterator[pa.RecordBatch]:
        return (
            batch
            for part in self.parts
            for batch in scan_table(part, PREDICTIONS, columns=["image_id", "labels"], near=("image_id", first, last))
        )


def _ids_of(annotations: Location) -> pa.LargeStringArray:
    """Return the ids of the images of a part, ascending, each once."""
    batches = scan_table(annotations, ANNOTATIONS, columns=["image_id"])
    # Large: all ids of a part may have more than 2 GiB.
    found = (one.column(0).cast(pa.large_string()) for one in batches)
    ids = pa.concat_arrays([texts([]).cast(pa.large_string()), *found])
    if _ascend(*utf8_of(ids)):
        return ids
    ids = ids.unique()
    return ids.take(pc.array_sort_indices(ids))


def places(ids: pa.StringArray, ascending: pa.LargeStringArray) -> NDArray[np.int64]:
    """Return where each of N ids is among ascending ones, each once; -1 for those that are not there, shape (N,)."""
    found = np.empty(len(ids), np.int64)
    _find(*utf8_of(ids.cast(pa.large_string())), *utf8_of(ascending), found)
    return found


@compiled
def _ascend(starts: NDArray[np.int64], text: NDArray[np.uint8]) -> bool:
    """Return whether each text is behind the one before it."""
    for i in range(len(starts) - 2):
        if compared(text, starts[i], starts[i + 1], text, starts[i + 1], starts[i + 2]) >= 0:
            return False
    return True


@compiled
def _find(
    starts: NDArray[np.int64],
    text: NDArray[np.uint8],
    ascending_starts: NDArray[np.int64],
    ascending: NDArray[np.uint8],
    found: NDArray[np.int64],
) -> None:
    """Write the places of texts; the one after the last found is looked at first, since tables mostly ascend."""
    n = len(ascending_starts) - 1
    near = 0
    for i in range(len(starts) - 1):
        first, last, at = 0, n, min(near, n - 1)
        found[i] = -1
        while first < last:
            order = compared(text, starts[i], starts[i + 1], ascending, ascending_starts[at], ascending_starts[at + 1])
            if order == 0:
                found[i], first = at, at
                break
            first, last = (at + 1, last) if order > 0 else (first, at)
            at = (first + last) // 2
        near = first + 1 if found[i] >= 0 else first


@compiled
def _keep(  # noqa: PLR0917 - compiled code takes no keywords
    at: NDArray[np.int64],
    offsets: NDArray[np.int32],
    class_index: NDArray[np.int32],
    confidence: NDArray[np.float32],
    least: NDArray[np.float32],
    n_before: int,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    kept_classes: NDArray[np.int32],
    kept_scores: NDArray[np.float32],
) -> int:
    """Write the predictions that rules need of images at places, and return how many; -1 if a place is taken."""
    n = 0
    for row in range(len(at)):
        if at[row] < 0:
            continue
        if starts[at[row]] >= 0:
            return -1
        starts[at[row]] = n_before + n
        for s in range(offsets[row], offsets[row + 1]):
            if confidence[s] > 0 and confidence[s] >= least[class_index[s]]:
                kept_classes[n], kept_scores[n] = class_index[s], confidence[s]
                n += 1
        stops[at[row]] = n_before + n
    return n


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

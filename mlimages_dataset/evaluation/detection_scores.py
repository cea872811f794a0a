"""Average precision of detections in files, or in tables of regions, by the metric of Open Images' challenge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.evaluation.detection import Detections, TrueBoxes, mean
from mlimages_dataset.evaluation.open_images import Hierarchy, ImageLabels, judged_by_challenge
from mlimages_dataset.sources.class_lists import parse_box_ancestors, parse_open_images_classes
from mlimages_dataset.sources.detection_rows import (
    DETECTIONS,
    IMAGE_LABELS,
    NAMES,
    SIDES,
    TRUE_BOXES,
    read_rows,
)
from mlimages_dataset.sources.rejects import first_lines
from mlimages_dataset.tables.files import read_lines
from mlimages_dataset.vocab.packaged import packaged_class_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.evaluation.detection import Judged
    from mlimages_dataset.sources.detection_rows import RowKind
    from mlimages_dataset.vocab.vocabulary import Vocabulary

_IMAGE, _LABEL = NAMES
_LISTED = 5


@dataclass(frozen=True, slots=True)
class DetectionScores:
    """Average precision of each class, and what became of the rows.

    Attributes:
        names: the classes, shape (C,).
        average_precisions: NaN where a class has no object, shape (C,).
        truths: number of objects to be found in each class, shape (C,).
        counts: numbers of rows, each by what they are.
        first_rejected_rows: the first rows that cannot be used, each with its file and the reason.
        warnings: what makes the result doubtful.
        notes: what the files leave unsaid.
        rejected: number of rows that cannot be used.
        titles: what people call a class, by its name, for classes of which this is known.
    """

    names: tuple[str, ...]
    average_precisions: NDArray[np.float64]
    truths: NDArray[np.int64]
    counts: dict[str, int]
    first_rejected_rows: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rejected: int = 0
    titles: Mapping[str, str] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """The mean over the classes that have objects; NaN if none has."""
        return mean(self.average_precisions)

    def to_json(self) -> dict[str, Json]:
        """Return the result with null where there is no number."""
        return {
            "mAP": number_or_none(self.mean),
            "ap": {
                name: number_or_none(value) for name, value in zip(self.names, self.average_precisions, strict=True)
            },
            "counts": dict(self.counts),
            "first_rejected_rows": list(self.first_rejected_rows),
            "names": {name: self.titles[name] for name in self.names if name in self.titles},
        }

    def lines(self) -> list[str]:
        """Return the result as lines: the classes that have objects, then the mean, then the counts."""
        known = np.flatnonzero(self.truths)
        return [
            *(f"{self.average_precisions[c]:8.4f}  {self.truths[c]:>8,}  {self._told(self.names[c])}" for c in known),
            f"{self.mean:8.4f}  mean over {len(known):,} classes with objects, of {len(self.names):,}",
            *(f"{n:>12,}  {what}" for what, n in self.counts.items() if n),
            *first_lines("rejected", self.first_rejected_rows, self.rejected),
        ]

    def _told(self, name: str) -> str:
        return f"{name}  {self.titles[name]}" if name in self.titles else name


def evaluate_challenge(
    boxes: Location, image_labels: Location, hierarchy: Location, predictions: Location
) -> DetectionScores:
    """Return what the metric of Open Images' challenge gives (`evaluation.open_images`).

    Args:
        boxes: true boxes with IsGroupOf, as stated: the hierarchy is applied here.
        image_labels: verified labels of the same images, of confidence 1 (present) and 0 (absent), as stated.
        hierarchy: bbox_labels_600_hierarchy.json, or that of a challenge.
        predictions: detections, which are taken as they are: no ancestors are added.

    Raises:
        UsageError, DataError: a file is missing or malformed, or no true box can be used.
    """
    classes = Hierarchy.of_paths(parse_box_ancestors("\n".join(read_lines(hierarchy)), str(hierarchy)))
    read = _RowCounts()
    truth, labels, found = (
        read.rows(what, path, kind)
        for what, path, kind in (
            ("boxes", boxes, TRUE_BOXES),
            ("image labels", image_labels, IMAGE_LABELS),
            ("detections", predictions, DETECTIONS),
        )
    )
    labels = read.those(labels, pc.is_in(labels["confidence"], pa.array([0.0, 1.0])), "image labels of machines")
    read.compare_images(truth, labels, found)
    images = _distinct(truth[_IMAGE], labels[_IMAGE])
    names = pa.array(classes.names)
    stated = {"boxes": truth, "image labels": labels, "detections": found}
    read.warnings += _strangers(stated, names)
    truth, labels, found = (
        read.those(rows, pc.is_in(rows[_LABEL], names), f"{what} of classes that are not in the hierarchy")
        for what, rows in stated.items()
    )
    if not len(truth):
        raise _no_boxes(boxes, stated["boxes"], classes)
    read.counts["image labels that say present and absent of one class"] = _contradictions(labels)
    found = read.those(found, pc.is_in(found[_IMAGE], images), "detections in images without boxes or labels")
    read.warnings += [] if len(labels) else [_NO_LABELS]
    read.warnings += [] if len(found) else [NO_DETECTIONS]
    of_images = ImageLabels(*_numbers(labels, images, names), labels["confidence"].to_numpy() == 1)
    result, unverified = judged_by_challenge(
        _true_boxes(truth, images, names), of_images, _detections(found, images, names), classes
    )
    read.of_challenge(result, unverified)
    return read.scores(classes.names, result, box_class_names())


def _no_boxes(path: Location, stated: pa.Table, classes: Hierarchy) -> DataError:
    """Return the error of a file without a box that can be used."""
    if not len(stated):
        return DataError(
            "has no row that can be used", where=path, remedy="check its rows, as shown by its first lines"
        )
    label, wanted = stated[_LABEL][0].as_py(), classes.names[0]
    return DataError(
        f"no box is of a class of the hierarchy: it has labels such as {label}, and the hierarchy such as {wanted}",
        where=path,
        remedy="give labels by the hierarchy's ids",
    )


def box_class_names() -> dict[str, str]:
    """Return the names of Open Images' box classes by their ids, from the packaged list."""
    path = packaged_class_list("open_images_boxable.csv")
    return {one.source_id: one.name for one in parse_open_images_classes(read_lines(path, ends=True), str(path))}


def _contradictions(labels: pa.Table) -> int:
    """Return the number of classes in images that verified labels say both present and absent, over all images."""
    both = labels.group_by(list(NAMES)).aggregate([("confidence", "min"), ("confidence", "max")])
    return pc.sum(pc.not_equal(both["confidence_min"], both["confidence_max"])).as_py() or 0


def _strangers(rows_of: dict[str, pa.Table], names: pa.Array) -> list[str]:
    """Return a sentence for each kind of rows of which some have classes that are not in the hierarchy."""
    told = []
    for what, rows in rows_of.items():
        others = rows.filter(pc.invert(pc.is_in(rows[_LABEL], names)))
        if len(others):
            told.append(
                f"{len(others):,} of {len(rows):,} {what} are of classes that are not in the hierarchy, such as "
                f"{others[_LABEL][0].as_py()} (the hierarchy has classes such as {names[0].as_py()}): they are left "
                "out; is the hierarchy that of these files?"
            )
    return told


def evaluate_regions(
    truth: pa.Table, labels: pa.Table, predictions: pa.Table, vocabulary: Vocabulary
) -> DetectionScores:
    """Return what the metric of Open Images' challenge gives for tables of this package, by wnid.

    Args:
        truth: `schemas.REGIONS` without added ancestors; `group_of` says which boxes are groups.
        labels: `schemas.ANNOTATIONS` of the same images, of which the confidences 1 and 0 are verified.
        predictions: `schemas.REGIONS`, whose confidences are the scores.
        vocabulary: that of all three; its roots are left out as ancestors.

    Raises:
        DataError: there is no true box, or a class is of another vocabulary.
    """
    classes, read = Hierarchy.of_vocabulary(vocabulary), _RowCounts()
    if not len(truth):
        raise DataError("there is no true box", remedy="pass a table of regions")
    flat = labels["labels"].combine_chunks()
    confidence, index = (pc.list_flatten(flat).field(name).to_numpy() for name in ("confidence", "class_index"))
    image_of_label = labels["image_id"].take(pc.list_parent_indices(flat))
    images = _distinct(truth["image_id"], image_of_label)
    is_known = pc.is_in(predictions["image_id"], images)
    found = read.those(predictions, is_known, "detections in images without boxes or labels")
    has_area = pc.and_(pc.less(found["xmin"], found["xmax"]), pc.less(found["ymin"], found["ymax"]))
    found = read.those(found, has_area, "detections without an area")
    is_verified = (confidence == 0) | (confidence == 1)
    stated = ImageLabels(
        _places(image_of_label, images)[is_verified], index.astype(np.int64)[is_verified], confidence[is_verified] == 1
    )
    result, unverified = judged_by_challenge(
        TrueBoxes(*_located(truth, images), truth["group_of"].to_numpy()),
        stated,
        Detections(*_located(found, images), found["confidence"].to_numpy().astype(np.float64)),
        classes,
    )
    read.of_challenge(result, unverified)
    read.warnings += [] if is_verified.any() else [_NO_LABELS]
    read.warnings += [] if len(found) else [NO_DETECTIONS]
    return read.scores(classes.names, result, {})


_NO_LABELS = (
    "there are no verified image labels: every detection of a class without a box in its image is ignored, "
    "so the result says nothing of false alarms"
)

NO_DETECTIONS = "no detection is left, so every object is missed: do the detections have the images' and classes' ids?"


@dataclass(slots=True)
class _RowCounts:
    """What became of the rows that were read so far."""

    counts: dict[str, int] = field(default_factory=dict)
    first: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rejected: int = 0

    def rows(self, what: str, path: Location, kind: RowKind) -> pa.Table:
        """Return the rows of a file that can be used; the others are counted."""
        read = read_rows(path, kind)
        self.counts[what] = len(read.rows)
        self.counts[f"rows of {what} that cannot be used"] = read.log.count
        self.rejected += read.log.count
        self.first += [str(one) for one in read.log.first[:_LISTED]]
        if not (len(read.rows) or read.log.count):
            if kind is TRUE_BOXES:
                raise DataError("has no rows", where=path, remedy="give it a row for each box")
            self.warnings.append(f"{path} has no rows")
        if read.outside:
            self.warnings.append(f"{read.outside:,} {what} are left out: sides far outside 0..1; are these pixels?")
        if read.other_names:
            self.warnings.append(
                f"{what} have {read.other_names:,} images under several names, such as a.jpg and a: each is one image"
            )
        if "isgroupof" in read.missing:
            self.notes.append(f"{path} has no column IsGroupOf: no box is of a group")
        return read.rows

    def compare_images(self, truth: pa.Table, labels: pa.Table, found: pa.Table) -> None:
        """Count and warn of the images that only one of the files names."""
        for what, rows, others, effect in (
            ("boxes", truth, {"image labels": labels, "detections": found}, "their objects are missed"),
            ("image labels", labels, {"boxes": truth, "detections": found}, "these labels change nothing"),
        ):
            images = pc.unique(rows[_IMAGE])
            elsewhere = _distinct(*(other[_IMAGE] for other in others.values()))
            alone = images.filter(pc.invert(pc.is_in(images, elsewhere)))
            without = f"without {' or '.join(others)}"
            self.counts[f"images with {what}, but {without}"] = len(alone)
            if len(alone):
                told = f"{what} of {len(alone):,} of {len(images):,} images {without}, such as {alone[0].as_py()}"
                self.warnings.append(f"{told}: {effect}; are the ids of images the same in all files?")

    def those(self, rows: pa.Table, chosen: pa.ChunkedArray, others: str) -> pa.Table:
        """Return some of the rows; the number of the others is counted under their name."""
        kept = rows.filter(chosen)
        self.counts[others] = len(rows) - len(kept)
        return kept

    def of_challenge(self, result: Judged, unverified: int) -> None:
        self.counts["detections of classes that nobody verified in their image"] = unverified
        self.counts["detections within groups, and beyond 10,000 a class and image"] = result.ignored

    def scores(self, names: Sequence[str], result: Judged, titles: Mapping[str, str]) -> DetectionScores:
        return DetectionScores(
            tuple(names),
            result.average_precisions(),
            result.truths,
            self.counts,
            tuple(self.first),
            tuple(self.warnings),
            tuple(self.notes),
            self.rejected,
            titles,
        )


def _distinct(*columns: pa.ChunkedArray) -> pa.Array:
    chunks = [chunk for column in columns for chunk in column.chunks]
    return pc.unique(pa.chunked_array(chunks, pa.string()))


def _places(names: pa.ChunkedArray, images: pa.Array) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = pc.index_in(names, images).to_numpy().astype(np.int64)
    return numbers


def _located(regions: pa.Table, images: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the image, the class and the sides of each row of `schemas.REGIONS`."""
    return (
        _places(regions["image_id"], images),
        regions["class_index"].to_numpy().astype(np.int64),
        _sides(regions).astype(np.float64),
    )


def _numbers(rows: pa.Table, images: pa.Array, names: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of each row's image, and that of its class."""
    return _places(rows[_IMAGE], images), _places(rows[_LABEL], names)


def _sides(rows: pa.Table) -> NDArray[np.float64]:
    return np.stack([rows[side].to_numpy() for side in SIDES], axis=1)


def _true_boxes(rows: pa.Table, images: pa.Array, names: pa.Array) -> TrueBoxes:
    return TrueBoxes(*_numbers(rows, images, names), _sides(rows), rows["isgroupof"].to_numpy() == 1)


def _detections(rows: pa.Table, images: pa.Array, names: pa.Array) -> Detections:
    return Detections(*_numbers(rows, images, names), _sides(rows), rows["score"].to_numpy())


def number_or_none(value: float) -> float | None:
    """Return a number for JSON, None for NaN."""
    return None if np.isnan(value) else float(value)

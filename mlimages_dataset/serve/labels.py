"""The labels of one image, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.api.reasons import reasons
from mlimages_dataset.api.tables import label_frame
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from mlimages_dataset.serve.build import ServedBuild

_EXPLAINED_ABSENCES = 50
"""Of the absences that follow from others: below an absent category there may be thousands."""


@dataclass(frozen=True, slots=True)
class ImageLabel:
    """One label: its category, its confidence, and where it comes from."""

    class_index: int
    confidence: float
    origin: Origin
    why: str


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """The labels of one row.

    Attributes:
        present: the most confident first; of these the deepest first.
        absent: annotated absences, then some of those that follow from them.
        n_absent: number of all absences.
    """

    present: tuple[ImageLabel, ...]
    absent: tuple[ImageLabel, ...]
    n_absent: int


def image_labels(table: pa.Table, build: ServedBuild) -> ImageLabels:
    """Return the labels of a label table's row, given as a table of one row."""
    frame = label_frame(table, build.vocabulary)
    absent = frame["confidence"] == 0
    stated = frame["origin"] == Origin.ORIGINAL
    followed = frame[absent & ~stated].head(_EXPLAINED_ABSENCES)
    # No label follows from an absence that itself follows from another: the reasons of the rest are the same.
    some = frame[~absent | stated | frame.index.isin(followed.index)]
    labels = _labels(some, build)
    categories = build.vocabulary.categories
    present = [label for label in labels if label.confidence > 0]
    present.sort(key=lambda label: (-label.confidence, label.origin, -categories[label.class_index].depth))
    missing = sorted((label for label in labels if label.confidence == 0), key=lambda label: label.origin)
    return ImageLabels(tuple(present), tuple(missing), int(absent.sum()))


def _labels(rows: pd.DataFrame, build: ServedBuild) -> list[ImageLabel]:
    columns = (rows["class_index"], rows["confidence"], rows["origin"], reasons(rows, build.vocabulary, build.pairs))
    return [
        ImageLabel(int(index), float(confidence), Origin(origin), why)
        for index, confidence, origin, why in zip(*columns, strict=True)
    ]

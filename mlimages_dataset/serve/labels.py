"""The labels of one image, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.augment.reasons import labels_of_row, reasons
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    import pyarrow as pa

    from mlimages_dataset.serve.build import ServedBuild

_EXPLAINED_ABSENCES = 50
"""Of the absences that follow from others: below an absent category there may be thousands."""


@dataclass(frozen=True, slots=True)
class ReasonedLabel:
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

    present: tuple[ReasonedLabel, ...]
    absent: tuple[ReasonedLabel, ...]
    n_absent: int


def image_labels(table: pa.Table, build: ServedBuild) -> ImageLabels:
    """Return the labels of a label table's row, given as a table of one row."""
    every = labels_of_row(table, 0, build.vocabulary)
    followed = [one for one in every if one.confidence == 0 and one.origin != Origin.ORIGINAL]
    # No label follows from an absence that itself follows from another: the reasons of the rest are the same.
    left_out = {one.class_index for one in followed[_EXPLAINED_ABSENCES:]}
    some = [one for one in every if one.class_index not in left_out]
    whys = reasons(some, build.vocabulary, build.pairs)
    labels = [
        ReasonedLabel(one.class_index, one.confidence, one.origin, why) for one, why in zip(some, whys, strict=True)
    ]
    categories = build.vocabulary.categories
    present = [label for label in labels if label.confidence > 0]
    present.sort(key=lambda label: (-label.confidence, label.origin, -categories[label.class_index].depth))
    missing = sorted((label for label in labels if label.confidence == 0), key=lambda label: label.origin)
    return ImageLabels(tuple(present), tuple(missing), sum(one.confidence == 0 for one in every))

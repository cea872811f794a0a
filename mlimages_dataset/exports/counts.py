"""Counts of an export: what it wrote, and what its format could not hold."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlimages_dataset.tables.label_columns import LabelColumns


@dataclass(frozen=True, slots=True)
class ExportCounts:
    """Counts of what was written and what the format could not hold; counts of parts add up.

    Attributes:
        images: images written.
        labels: labels written.
        absent_labels: labels of verified absence left out.
        images_without_labels: images left out because they have no label that the format can hold.
        unsayable_images: images left out because their address holds white space or is empty.
        regions: regions written.
        unsized_images: images left out because their size is not known.
        unsaid_masks: regions whose mask the format cannot say.
        unsaid_flags: regions of which the format cannot say that they are difficult or a crowd.
        pictures_without_regions: saved pictures without a region; nobody knows whether they were looked at.
        images_of_several_rows: ids that several rows have; the format does not say the source of a row.
    """

    images: int = 0
    labels: int = 0
    absent_labels: int = 0
    images_without_labels: int = 0
    unsayable_images: int = 0
    regions: int = 0
    unsized_images: int = 0
    unsaid_masks: int = 0
    unsaid_flags: int = 0
    images_of_several_rows: int = 0
    pictures_without_regions: int = 0

    @property
    def seen(self) -> int:
        """Images written and left out."""
        return self.images + self.images_without_labels + self.unsayable_images + self.unsized_images

    def lines(self) -> list[str]:
        """Return the counts as lines."""
        texts = {
            "images": "images",
            "labels": "labels",
            "absent_labels": "labels of verified absence left out: the format cannot hold them",
            "images_without_labels": "images left out: they have no label that the format can hold",
            "unsayable_images": "images left out: their address holds white space",
            "regions": "regions",
            "unsized_images": "images left out: their size is not known",
            "unsaid_masks": "regions whose mask the format cannot say",
            "unsaid_flags": "regions that are difficult or a crowd, which the format cannot say",
            "pictures_without_regions": "pictures left out: they have no region, and nobody knows whether they "
            "were looked at",
            "images_of_several_rows": "image ids of several rows: the format does not say the source of a row",
        }
        counts = {name: getattr(self, name) for name in texts}
        shown = "regions" if self.regions else "labels"
        return [f"{n:>12,}  {texts[name]}" for name, n in counts.items() if n or name in {"images", shown}]

    def __add__(self, other: ExportCounts) -> ExportCounts:
        return ExportCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def everything(columns: LabelColumns) -> ExportCounts:
    """Return the counts of rows that the format can hold completely."""
    return ExportCounts(images=len(columns), labels=len(columns.class_index))


def summed(counts: Iterable[ExportCounts]) -> ExportCounts:
    """Return the sum of the counts of parts."""
    return functools.reduce(operator.add, counts, ExportCounts())

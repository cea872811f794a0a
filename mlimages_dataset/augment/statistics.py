"""Statistics of label tables (Tencent ML-Images, section 3.3); those of parts add up.

Legend: N images, C categories.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mlimages_dataset.pipeline.records import Json
    from mlimages_dataset.tables.label_columns import LabelColumns

TRAINABLE_IMAGES = 100
"""A category with more images than this is trainable (section 3.3)."""


@dataclass(frozen=True, slots=True)
class LabelStatistics:
    """Counts over the present labels of images.

    Attributes:
        images: number of images.
        absent: number of absent labels.
        images_of_class: images with each category, int64, shape (C,).
        images_of_size: images with each number of present labels, int64, shape (longest + 1,),
            without zeros at its end.
        labels_of_origin: present labels of each `schemas.Origin`, int64, shape (4,).
    """

    images: int
    absent: int
    images_of_class: NDArray[np.int64]
    images_of_size: NDArray[np.int64]
    labels_of_origin: NDArray[np.int64]

    @classmethod
    def empty(cls, n_classes: int) -> LabelStatistics:
        """Return the statistics of no image."""
        return cls(0, 0, np.zeros(n_classes, np.int64), np.zeros(0, np.int64), np.zeros(len(Origin), np.int64))

    def __add__(self, other: LabelStatistics) -> LabelStatistics:
        sizes = np.zeros(max(len(self.images_of_size), len(other.images_of_size)), np.int64)
        for one in (self, other):
            sizes[: len(one.images_of_size)] += one.images_of_size
        return LabelStatistics(
            self.images + other.images,
            self.absent + other.absent,
            self.images_of_class + other.images_of_class,
            sizes,
            self.labels_of_origin + other.labels_of_origin,
        )

    def to_json(self) -> dict[str, Json]:
        """Return the counts by name, for a stage's journal."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value if isinstance(value, int) else value.tolist() for name, value in values.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Json]) -> LabelStatistics:
        """Return the counts that `to_json` wrote."""
        values: dict[str, Any] = {
            name: value if isinstance(value, int) else np.asarray(value, np.int64) for name, value in content.items()
        }
        return cls(**values)

    @property
    def labels(self) -> int:
        """Number of present labels."""
        return int(self.labels_of_origin.sum())

    def summary(self) -> dict[str, Json]:
        """Return the published statistics and the full distributions, for the manifest and the report."""
        sizes = np.flatnonzero(self.images_of_size)
        return {
            "images": self.images,
            "labels": self.labels,
            "absent_labels": self.absent,
            "labels_per_image_mean": self.labels / self.images if self.images else 0.0,
            "labels_per_image_min": int(sizes[0]) if len(sizes) else 0,
            "labels_per_image_max": int(sizes[-1]) if len(sizes) else 0,
            "categories_with_images": int(np.count_nonzero(self.images_of_class)),
            "trainable_categories": int(np.count_nonzero(self.images_of_class > TRAINABLE_IMAGES)),
            "largest_category_images": int(self.images_of_class.max(initial=0)),
            "labels_of_origin": {o.name.lower(): int(self.labels_of_origin[o]) for o in Origin},
            "images_of_size": self.images_of_size.tolist(),
            "images_of_class": self.images_of_class.tolist(),
        }


def label_statistics(labels: LabelColumns, n_classes: int) -> LabelStatistics:
    """Return the statistics of N images.

    Raises:
        IndexError: a class index is not in 0..C-1.
        ValueError: a confidence or an origin is outside its range.
    """
    labels.check(n_classes)
    images_of_class = np.zeros(n_classes, np.int64)
    images_of_size = np.zeros(int(np.diff(labels.offsets).max(initial=0)) + 1, np.int64)
    labels_of_origin = np.zeros(len(Origin), np.int64)
    absent = _count(
        labels.offsets,
        labels.class_index,
        labels.confidence,
        labels.origin,
        images_of_class,
        images_of_size,
        labels_of_origin,
    )
    return LabelStatistics(len(labels), absent, images_of_class, np.trim_zeros(images_of_size, "b"), labels_of_origin)


@compiled
def _count(  # noqa: PLR0917 - compiled code takes no keywords
    offsets: NDArray[np.int32],
    class_index: NDArray[np.int32],
    confidence: NDArray[np.float32],
    origin: NDArray[np.uint8],
    images_of_class: NDArray[np.int64],
    images_of_size: NDArray[np.int64],
    labels_of_origin: NDArray[np.int64],
) -> int:
    absent = 0
    for image in range(len(offsets) - 1):
        present = 0
        for k in range(offsets[image], offsets[image + 1]):
            if confidence[k] > 0:
                present += 1
                images_of_class[class_index[k]] += 1
                labels_of_origin[origin[k]] += 1
            else:
                absent += 1
        images_of_size[present] += 1
    return absent

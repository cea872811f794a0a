"""Statistics of label tables (Tencent ML-Images, section 3.3); those of parts add up.

Legend: N images, C categories.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the decoder reads it
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray  # noqa: TC002 - the decoder reads it

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    from mlimages_dataset.tables.label_columns import LabelColumns

TRAINABLE_IMAGES = 100
"""A category with more images than this is trainable (section 3.3)."""


@dataclass(frozen=True, slots=True)
class LabelStatistics:
    """Counts over the present labels of images.

    Attributes:
        images: number of images.
        absent_of_class: images in which each category is listed as verified absent, int64, shape (C,).
        images_of_class: images with each category, int64, shape (C,).
        images_of_size: images with each number of present labels, int64, shape (longest + 1,),
            without zeros at its end.
        labels_of_origin: present labels of each `schemas.Origin`, int64, shape (4,).
    """

    images: int
    absent_of_class: NDArray[np.int64]
    images_of_class: NDArray[np.int64]
    images_of_size: NDArray[np.int64]
    labels_of_origin: NDArray[np.int64]

    @classmethod
    def empty(cls, n_classes: int) -> LabelStatistics:
        """Return the statistics for no images."""
        none = np.zeros(n_classes, np.int64)
        return cls(0, none, none, np.zeros(0, np.int64), np.zeros(len(Origin), np.int64))

    def __add__(self, other: LabelStatistics) -> LabelStatistics:
        sizes = np.zeros(max(len(self.images_of_size), len(other.images_of_size)), np.int64)
        for one in (self, other):
            sizes[: len(one.images_of_size)] += one.images_of_size
        return LabelStatistics(
            self.images + other.images,
            self.absent_of_class + other.absent_of_class,
            self.images_of_class + other.images_of_class,
            sizes,
            self.labels_of_origin + other.labels_of_origin,
        )

    @property
    def labels(self) -> int:
        """Number of present labels."""
        return int(self.labels_of_origin.sum())

    @property
    def absent(self) -> int:
        """Number of absent labels."""
        return int(self.absent_of_class.sum())

    @property
    def unknown_of_class(self) -> NDArray[np.int64]:
        """Images of which nothing says whether they show each category, int64, shape (C,)."""
        return self.images - self.images_of_class - self.absent_of_class

    def summary(self) -> SplitSummary:
        """Return the published statistics and the full distributions, for the manifest and the report."""
        sizes = np.flatnonzero(self.images_of_size)
        return SplitSummary(
            images=self.images,
            labels=self.labels,
            absent_labels=self.absent,
            labels_per_image_mean=self.labels / self.images if self.images else 0.0,
            labels_per_image_min=int(sizes[0]) if len(sizes) else 0,
            labels_per_image_max=int(sizes[-1]) if len(sizes) else 0,
            categories_with_images=int(np.count_nonzero(self.images_of_class)),
            trainable_categories=int(np.count_nonzero(self.images_of_class > TRAINABLE_IMAGES)),
            largest_category_images=int(self.images_of_class.max(initial=0)),
            labels_of_origin={o.name.lower(): int(self.labels_of_origin[o]) for o in Origin},
            images_of_size=self.images_of_size,
            images_of_class=self.images_of_class,
            absent_of_class=self.absent_of_class,
        )


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """The published statistics of one split, and their distributions; see `LabelStatistics`."""

    images: int
    labels: int
    absent_labels: int
    labels_per_image_mean: float
    labels_per_image_min: int
    labels_per_image_max: int
    categories_with_images: int
    trainable_categories: int
    largest_category_images: int
    labels_of_origin: Mapping[str, int]
    images_of_size: NDArray[np.int64]
    images_of_class: NDArray[np.int64]
    absent_of_class: NDArray[np.int64]

    def __post_init__(self) -> None:
        of_origin = {f"labels_of_origin.{name}": count for name, count in self.labels_of_origin.items()}
        for name, count in {"images": self.images, **of_origin}.items():
            if count > np.iinfo(np.int64).max:  # they are computed with as arrays
                raise ValueError(f"{name} is {count}, more than int64 can hold")

    def line(self) -> str:
        """Return the statistics as a sentence."""
        return (
            f"{self.images:,} images, {self.labels:,} labels, {self.labels_per_image_mean:.2f} per image "
            f"({self.labels_per_image_min} to {self.labels_per_image_max}), {self.absent_labels:,} absences, "
            f"{self.trainable_categories:,} categories with more than {TRAINABLE_IMAGES} images"
        )

    def statistics(self) -> LabelStatistics:
        """Return the counts of this summary.

        Raises:
            KeyError: the labels of an origin are missing.
        """
        origins = np.array([self.labels_of_origin[origin.name.lower()] for origin in Origin], np.int64)
        return LabelStatistics(self.images, self.absent_of_class, self.images_of_class, self.images_of_size, origins)


def label_statistics(labels: LabelColumns, n_classes: int) -> LabelStatistics:
    """Return the statistics of N images.

    Raises:
        IndexError: a class index is not in 0..C-1.
        ValueError: a confidence or an origin is outside its range.
    """
    images_of_class, absent_of_class = np.zeros(n_classes, np.int64), np.zeros(n_classes, np.int64)
    images_of_size = np.zeros(int(np.diff(labels.offsets).max(initial=0)) + 1, np.int64)
    labels_of_origin = np.zeros(len(Origin), np.int64)
    if not _count(
        labels.offsets,
        labels.class_index,
        labels.confidence,
        labels.origin,
        images_of_class,
        absent_of_class,
        images_of_size,
        labels_of_origin,
    ):
        labels.check(n_classes)  # says what is wrong
    sizes = np.trim_zeros(images_of_size, "b")
    return LabelStatistics(len(labels), absent_of_class, images_of_class, sizes, labels_of_origin)


@compiled
def _count(  # noqa: PLR0917 - compiled code takes no keywords
    offsets: NDArray[np.int32],
    class_index: NDArray[np.int32],
    confidence: NDArray[np.float32],
    origin: NDArray[np.uint8],
    images_of_class: NDArray[np.int64],
    absent_of_class: NDArray[np.int64],
    images_of_size: NDArray[np.int64],
    labels_of_origin: NDArray[np.int64],
) -> bool:
    """Count, and return whether all values are in their range, as `LabelColumns.check` has it; stop at another."""
    for image in range(len(offsets) - 1):
        present = 0
        for k in range(offsets[image], offsets[image + 1]):
            fits = 0 <= class_index[k] < len(images_of_class) and origin[k] < len(labels_of_origin)
            if not (fits and 0 <= confidence[k] <= 1):
                return False
            if confidence[k] > 0:
                present += 1
                images_of_class[class_index[k]] += 1
                labels_of_origin[origin[k]] += 1
            else:
                absent_of_class[class_index[k]] += 1
        images_of_size[present] += 1
    return True

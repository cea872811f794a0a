"""Pascal VOC's metric of segmentation: the mean over classes of intersection over union of their pixels.

Of class c, the intersection is the number of pixels that both the truth and the result call c, the union those that one
of them does, each over all images together. Pixels whose truth is 255 are not judged.

Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 5.3, and its VOCevalseg.m.

Legend: C classes, H and W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from mlimages_dataset.sources.label_maps import IGNORED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlimages_dataset.sources.label_maps import LabelMap


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Numbers of judged pixels by their true class and their class in the result; `+` merges images, shards and ranks.

    Attributes:
        pixels: int64, shape (C, C) at (true class, class in the result).
    """

    pixels: NDArray[np.int64]

    @classmethod
    def empty(cls, n_classes: int) -> Self:
        """Return the confusion of no image."""
        return cls(np.zeros((n_classes, n_classes), np.int64))

    @classmethod
    def of(cls, truth: LabelMap, result: LabelMap, n_classes: int) -> Self:
        """Return the confusion of an image.

        Args:
            truth: classes 0..C-1, or 255 for what is not judged, shape (H, W).
            result: classes 0..C-1, shape (H, W); what stands where the truth is 255 is not read.
            n_classes: C.

        Raises:
            ValueError: the shapes differ, or a class is not in 0..C-1.
        """
        if truth.shape != result.shape:
            raise ValueError(f"a truth of shape {truth.shape} and a result of shape {result.shape}")
        judged = truth != IGNORED
        rows, columns = truth[judged].astype(np.int64), result[judged].astype(np.int64)
        if max(rows.max(initial=0), columns.max(initial=0)) >= n_classes:
            raise ValueError(f"a class is not in 0..{n_classes - 1}")
        counts = np.bincount(rows * n_classes + columns, minlength=n_classes**2)
        return cls(counts.reshape(n_classes, n_classes).astype(np.int64))

    def __add__(self, other: Self) -> Self:
        """Return the confusion of both parts of the images."""
        return type(self)(self.pixels + other.pixels)

    def intersection_over_union(self) -> NDArray[np.float64]:
        """Return the value of each class, NaN where neither truth nor result has a pixel of it, shape (C,)."""
        both = np.diagonal(self.pixels)
        either = self.pixels.sum(axis=0) + self.pixels.sum(axis=1) - both
        values: NDArray[np.float64] = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)
        return values

    def mean_intersection_over_union(self) -> float:
        """Return the mean over the classes that have a value; NaN if none has."""
        values = self.intersection_over_union()
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else float("nan")

    def pixel_accuracy(self) -> float:
        """Return the share of the judged pixels that have their true class; NaN if there are none."""
        total = int(self.pixels.sum())
        return int(np.trace(self.pixels)) / total if total else float("nan")

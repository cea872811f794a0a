"""Label columns: the labels of many images as four flat arrays, the form in which this package computes.

Legend: N images, L labels in all of them, C categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.tables.arrays import arrow_of, numpy_of
from mlimages_dataset.tables.schemas import LABELS, Origin

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """The labels of N images, each image's ascending by class and without repeats. Arrays may be read-only.

    Attributes:
        offsets: the index of each image's first label, and the end, int32, shape (N + 1,).
        class_index: int32, shape (L,).
        confidence: 1 verified present, 0 verified absent, a machine's in between, float32, shape (L,).
        origin: a `schemas.Origin`, uint8, shape (L,).
    """

    offsets: NDArray[np.int32]
    class_index: NDArray[np.int32]
    confidence: NDArray[np.float32]
    origin: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def images(self) -> NDArray[np.int64]:
        """Row number of the image of each label, shape (L,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def only(self, chosen: NDArray[np.bool_]) -> LabelColumns:
        """Return the chosen labels of every image; `chosen` has shape (L,). If all are, nothing is copied."""
        if chosen.all():
            return self
        before = np.concatenate(([0], np.cumsum(chosen, dtype=np.int32)))
        columns = (self.class_index[chosen], self.confidence[chosen], self.origin[chosen])
        return LabelColumns(before[self.offsets].astype(np.int32), *columns)

    def joined(
        self,
        images: NDArray[np.integer],
        classes: NDArray[np.int32],
        confidence: NDArray[np.float32],
        origin: Origin,
    ) -> LabelColumns:
        """Return the labels with more of one origin, which their images do not list; each array has shape (more,)."""
        keys, more = _keys(self.images, self.class_index), _keys(images, classes)
        order = np.argsort(more, kind="stable")  # fast where they ascend
        at = np.searchsorted(keys, more[order])
        counts = np.bincount(images, minlength=len(self))
        return LabelColumns(
            self.offsets + np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
            np.insert(self.class_index, at, classes[order]),
            np.insert(self.confidence, at, confidence[order]),
            np.insert(self.origin, at, np.uint8(origin)),
        )

    def check(self, n_classes: int) -> None:
        """Refuse values outside their range, with which compiled code would read and write beyond its arrays.

        Raises:
            IndexError: a class index is not in 0..C-1.
            ValueError: a confidence is not in 0..1, or an origin is not a `schemas.Origin`.
        """
        if not len(self.class_index):
            return
        if not 0 <= self.class_index.min() <= self.class_index.max() < n_classes:
            raise IndexError(f"a class index is not in 0..{n_classes - 1}")
        if not 0 <= self.confidence.min() <= self.confidence.max() <= 1:  # NaN fails every comparison
            raise ValueError("a confidence is not in 0..1")
        if self.origin.max() >= len(Origin):
            raise ValueError(f"an origin is not in 0..{len(Origin) - 1}")


def _keys(images: NDArray[np.integer], classes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return numbers in the order of images, and of the classes of each."""
    return np.asarray(images.astype(np.int64) << 32 | classes)


def columns_of(labels: pa.ListArray) -> LabelColumns:
    """Return the columns of a table's `labels` array; labels are not copied."""
    start, stop = labels.offsets[0].as_py(), labels.offsets[-1].as_py()
    values = labels.values
    class_index, confidence, origin = (numpy_of(values.field(i).slice(start, stop - start)) for i in range(3))
    offsets = numpy_of(labels.offsets)
    if start:
        offsets = offsets - np.int32(start)
        offsets.flags.writeable = False  # as Arrow's arrays are: for another type, Numba compiles its loops again
    return LabelColumns(offsets, class_index, confidence, origin)


def array_of(columns: LabelColumns) -> pa.ListArray:
    """Return the columns as a table's `labels` array; nothing is copied."""
    fields = list(LABELS.arrow.field("labels").type.value_type)
    values = pa.StructArray.from_arrays(
        [arrow_of(columns.class_index), arrow_of(columns.confidence), arrow_of(columns.origin)], fields=fields
    )
    return pa.ListArray.from_arrays(arrow_of(columns.offsets), values, type=LABELS.arrow.field("labels").type)

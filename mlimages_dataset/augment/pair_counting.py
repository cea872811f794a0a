"""How many images have category i of one table and category j of another: a product of sparse matrices of ones.

The images of each category j are listed, and for each of them one is added at every category i that the image has.
The sums of one j are a row of C integers, which stays in the processor's cache.
Source: Gustavson 1978, Two fast algorithms for sparse matrices, ACM TOMS 4:250.

Legend: N images, L labels in all of them, C categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core import sparse as sp
from mlimages_dataset.core.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.tables.label_columns import LabelColumns


@dataclass(frozen=True, slots=True)
class CategoryLists:
    """Some categories of each of N images.

    Attributes:
        offsets: the index of each image's first category, and the end, int64, shape (N + 1,).
        classes: class indices, int32, shape (L,).
    """

    offsets: NDArray[np.int64]
    classes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, labels: LabelColumns, chosen: NDArray[np.bool_]) -> CategoryLists:
        """Return the categories of the chosen labels of each image; `chosen` has shape (L,)."""
        offsets, classes = np.empty(len(labels) + 1, np.int64), np.empty(len(chosen), np.int32)
        n = _choose(_fixed(labels.offsets), _fixed(labels.class_index), chosen, offsets, classes)
        return cls(offsets, classes[:n])

    @classmethod
    def joined(cls, parts: Sequence[CategoryLists]) -> CategoryLists:
        """Return the lists of the images of all parts."""
        if len(parts) == 1:
            return parts[0]
        ends = np.cumsum([0, *(part.offsets[-1] for part in parts)])
        offsets = [part.offsets[1:] + end for part, end in zip(parts, ends[:-1].tolist(), strict=True)]
        classes = [part.classes for part in parts]
        return cls(np.concatenate([np.zeros(1, np.int64), *offsets]), np.concatenate([np.empty(0, np.int32), *classes]))

    def at(self, rows: NDArray[np.int64]) -> CategoryLists:
        """Return the lists of the images in these rows, none for a row of -1."""
        offsets = np.empty(len(rows) + 1, np.int64)
        _measure(self.offsets, rows, offsets)
        classes = np.empty(offsets[-1], np.int32)
        _gather(self.offsets, self.classes, rows, offsets, classes)
        return CategoryLists(offsets, classes)


def images_of_pairs(left: CategoryLists, right: CategoryLists, n_classes: int) -> sp.csr_array:
    """Return the images that have category i of `left` and j of `right`, int64 sparse, shape (C, C), indices ascending.

    Both list the same N images in the same order; class indices must be in 0..C-1.

    Raises:
        ValueError: the numbers of images differ.
    """
    if len(left) != len(right):
        raise ValueError(f"one side has {len(left)} images, the other {len(right)}")
    ends, rows, counts = _product(left.offsets, left.classes, right.offsets, right.classes, n_classes)
    # Reading it by the other axis sorts the indices.
    return sp.csc_array((counts, rows, ends), shape=(n_classes, n_classes)).tocsr()


def _fixed(array: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the array read-only, as Arrow's are: for another type, Numba compiles its loops again."""
    view = array.view()
    view.flags.writeable = False
    return view


@compiled
def _choose(
    offsets: NDArray[np.int32],
    class_index: NDArray[np.int32],
    chosen: NDArray[np.bool_],
    kept_offsets: NDArray[np.int64],
    kept: NDArray[np.int32],
) -> int:
    n = 0
    kept_offsets[0] = 0
    for image in range(len(offsets) - 1):
        for k in range(offsets[image], offsets[image + 1]):
            if chosen[k]:
                kept[n] = class_index[k]
                n += 1
        kept_offsets[image + 1] = n
    return n


@compiled
def _measure(offsets: NDArray[np.int64], rows: NDArray[np.int64], result: NDArray[np.int64]) -> None:
    result[0] = 0
    for x in range(len(rows)):
        row = rows[x]
        result[x + 1] = result[x] + (offsets[row + 1] - offsets[row] if row >= 0 else 0)


@compiled
def _gather(
    offsets: NDArray[np.int64],
    classes: NDArray[np.int32],
    rows: NDArray[np.int64],
    new_offsets: NDArray[np.int64],
    result: NDArray[np.int32],
) -> None:
    for x in range(len(rows)):
        start = new_offsets[x]
        for k in range(new_offsets[x + 1] - start):
            result[start + k] = classes[offsets[rows[x]] + k]


@compiled
def _images_of_classes(
    offsets: NDArray[np.int64], classes: NDArray[np.int32], n_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return where the images of each class begin, shape (C + 1,), and the images by class, shape (L,)."""
    starts = np.zeros(n_classes + 1, np.int64)
    for k in range(len(classes)):
        starts[classes[k] + 1] += 1
    for c in range(n_classes):
        starts[c + 1] += starts[c]
    at = starts[:-1].copy()
    images = np.empty(len(classes), np.int32)
    for image in range(len(offsets) - 1):
        for k in range(offsets[image], offsets[image + 1]):
            images[at[classes[k]]] = image
            at[classes[k]] += 1
    return starts, images


@compiled
def _product(
    left_offsets: NDArray[np.int64],
    left_classes: NDArray[np.int32],
    right_offsets: NDArray[np.int64],
    right_classes: NDArray[np.int32],
    n_classes: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Return where the pairs of each right class end, their left classes in no order, and their images."""
    starts, images = _images_of_classes(right_offsets, right_classes, n_classes)
    ends = np.zeros(n_classes + 1, np.int64)
    rows, counts = np.empty(1024, np.int32), np.empty(1024, np.int64)
    sums, met = np.zeros(n_classes, np.int64), np.empty(n_classes, np.int32)
    n = 0
    for right in range(n_classes):
        n_met = 0
        for at in range(starts[right], starts[right + 1]):
            image = images[at]
            for k in range(left_offsets[image], left_offsets[image + 1]):
                left = left_classes[k]
                if sums[left] == 0:
                    met[n_met] = left
                    n_met += 1
                sums[left] += 1
        if n + n_met > len(rows):
            more_rows, more_counts = np.empty(2 * (n + n_met), np.int32), np.empty(2 * (n + n_met), np.int64)
            for x in range(n):
                more_rows[x], more_counts[x] = rows[x], counts[x]
            rows, counts = more_rows, more_counts
        for x in range(n_met):
            rows[n] = met[x]
            counts[n] = sums[met[x]]
            sums[met[x]] = 0
            n += 1
        ends[right + 1] = n
    return ends, rows[:n], counts[:n]

"""Absences that follow from what a collection is complete for: a class that its annotators looked for and did not list.

Annotators of COCO checked every picture for each of 80 categories. Where a collection says so of a class list, a
category of the list that an image does not list is verified absent in it, unless a present label lies below it. It
stays unknown if the collection says something of it, or of a category below it, that could not be used.

Legend: N images, L labels in all of them, C categories, K categories that were looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core import sparse as sp
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.tables.label_columns import LabelColumns
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlimages_dataset.vocab.vocabulary import Vocabulary

EVERY_CLASS = -1
"""The class of a doubt where nobody knows which class a statement is about."""
_MOST_CELLS = 1 << 24
"""Images times categories that are looked at together."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """What every image of a collection was checked for.

    Attributes:
        looked_for: class indices, ascending, shape (K,).
        closure: the reflexive ancestor matrix, shape (C, C).
    """

    looked_for: NDArray[np.int32]
    closure: sp.csr_array

    @classmethod
    def for_list(cls, vocabulary: Vocabulary, class_list: str | None) -> Completeness:
        """Return that images were checked for all classes of a list; classes kept only as their parent do not count.

        Args:
            vocabulary: the vocabulary.
            class_list: its name; None for the only list of the vocabulary.

        Raises:
            UsageError: the vocabulary has several lists, or none of that name.
        """
        lists = list(dict.fromkeys(row.source for row in vocabulary.mapping))
        if class_list is None and len(lists) > 1:
            raise UsageError(
                "a collection is complete for one class list, and none is named",
                remedy=f"name one of {', '.join(lists)} (--ids-of; ids_of in a recipe)",
            )
        chosen = lists[0] if class_list is None else class_list
        rows = (row for row in vocabulary.mapping if row.source == chosen and row.is_kept and not row.is_broader)
        return cls(np.array(sorted({row.class_index for row in rows}), np.int32), vocabulary.closure)


@dataclass(frozen=True, slots=True)
class Doubts:
    """Classes of images of which a collection states something that could not be used.

    Attributes:
        offsets: the index of each image's first, and the end, int32, shape (N + 1,).
        class_index: of each, or `EVERY_CLASS`, int32.
    """

    offsets: NDArray[np.int32]
    class_index: NDArray[np.int32]

    def only(self, chosen: NDArray[np.bool_]) -> Doubts:
        """Return those of the chosen images; `chosen` has shape (N,)."""
        lengths = np.diff(self.offsets)
        offsets = np.append(0, np.cumsum(lengths[chosen])).astype(np.int32)
        return Doubts(offsets, self.class_index[np.repeat(chosen, lengths)])


def completed(
    labels: LabelColumns, looked_for: NDArray[np.int32], closure: sp.csr_array, doubts: Doubts | None = None
) -> tuple[LabelColumns, int]:
    """Return labels with an original, verified absence for each category that was looked for and not found.

    The number is that of categories not found of which nobody knows whether they are absent, by `doubts`.

    Args:
        labels: of N images.
        looked_for: class indices, ascending, shape (K,).
        closure: the reflexive ancestor matrix, shape (C, C).
        doubts: of the N images; None for none.
    """
    step = max(1, _MOST_CELLS // max(1, len(looked_for)))
    above = closure[:, looked_for].astype(np.int32)  # row c: the categories looked for that a label c implies
    rows, columns, withheld = [np.empty(0, np.int64)], [np.empty(0, np.int32)], 0
    for start in range(0, len(labels), step):
        known = _known(_images(labels, start, start + step), looked_for, above)
        if doubts is not None and len(doubts.class_index):
            offsets = doubts.offsets[start : start + step + 1]
            doubtful = _doubtful(np.diff(offsets), doubts.class_index[offsets[0] : offsets[-1]], above) & ~known
            withheld += int(doubtful.sum())
            known |= doubtful
        row, column = np.nonzero(~known)
        rows.append(row + start)
        columns.append(looked_for[column])
    images, absent = np.concatenate(rows), np.concatenate(columns)
    return labels.joined(images, absent, np.zeros(len(images), np.float32), Origin.ORIGINAL), withheld


def _doubtful(lengths: NDArray[np.int32], classes: NDArray[np.int32], above: sp.csr_array) -> NDArray[np.bool_]:
    """Return whether a doubt is about each category or one below it, shape (N, K); `lengths` are doubts per image."""
    images, is_one = np.repeat(np.arange(len(lengths)), lengths), classes != EVERY_CLASS
    ones = np.ones(int(is_one.sum()), np.int32)
    shape = (len(lengths), above.shape[0])
    found = (sp.csr_array((ones, (images[is_one], classes[is_one])), shape=shape) @ above).toarray() > 0
    found[images[~is_one]] = True
    return np.asarray(found)


def _images(labels: LabelColumns, start: int, stop: int) -> LabelColumns:
    """Return the labels of images start..stop-1."""
    offsets = labels.offsets[start : stop + 1]
    part = slice(offsets[0], offsets[-1])
    columns = (labels.class_index[part], labels.confidence[part], labels.origin[part])
    return LabelColumns(offsets - offsets[0], *columns)


def _known(labels: LabelColumns, looked_for: NDArray[np.int32], above: sp.csr_array) -> NDArray[np.bool_]:
    """Return whether each category is listed in an image or implied by a present label, shape (N, K)."""
    images, classes, present = labels.images, labels.class_index, labels.confidence > 0
    ones = np.ones(int(present.sum()), np.int32)
    implying = sp.csr_array((ones, (images[present], classes[present])), shape=(len(labels), above.shape[0]))
    known = (implying @ above).toarray() > 0
    if len(looked_for):
        at = np.searchsorted(looked_for, classes).clip(max=len(looked_for) - 1)
        listed = looked_for[at] == classes
        known[images[listed], at[listed]] = True
    return np.asarray(known)

"""Absences that follow from what a collection is complete for: a class that its annotators looked for and did not list.

Annotators of COCO checked every picture for each of 80 categories. Where a collection says so of a class list, a
category of the list that an image does not list is verified absent in it, unless a present label lies below it.

Legend: N images, L labels in all of them, C categories, K categories that were looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core import sparse as sp
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.tables.label_columns import LabelColumns, array_of, columns_of
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from mlimages_dataset.vocab.vocabulary import Vocabulary

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
                remedy=f"name one of {', '.join(lists)} (--ids-of)",
            )
        chosen = lists[0] if class_list is None else class_list
        rows = (row for row in vocabulary.mapping if row.source == chosen and row.is_kept and not row.is_broader)
        return cls(np.array(sorted({row.class_index for row in rows}), np.int32), vocabulary.closure)

    def completed(self, table: pa.Table) -> tuple[pa.Table, int]:
        """Return rows of a label table with the absences, and the number of these."""
        labels = columns_of(table["labels"].combine_chunks())
        done = completed(labels, self.looked_for, self.closure)
        at = table.schema.get_field_index("labels")
        added = len(done.class_index) - len(labels.class_index)
        return table.set_column(at, table.schema.field(at), array_of(done)), added


def completed(labels: LabelColumns, looked_for: NDArray[np.int32], closure: sp.csr_array) -> LabelColumns:
    """Return labels with an original, verified absence for each category that was looked for and not found.

    Args:
        labels: of N images.
        looked_for: class indices, ascending, shape (K,).
        closure: the reflexive ancestor matrix, shape (C, C).
    """
    step = max(1, _MOST_CELLS // max(1, len(looked_for)))
    above = closure[:, looked_for].astype(np.int32)  # row c: the categories looked for that a label c implies
    rows, columns = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    for start in range(0, len(labels), step):
        row, column = np.nonzero(~_known(_images(labels, start, start + step), looked_for, above))
        rows.append(row + start)
        columns.append(looked_for[column])
    images, absent = np.concatenate(rows), np.concatenate(columns)
    return labels.joined(images, absent, np.zeros(len(images), np.float32), Origin.ORIGINAL)


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

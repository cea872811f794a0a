"""Labels of complete annotations hidden at random, to learn or to measure how well the rest tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.hashing import GAMMA, mixed
from mlimages_dataset.tables.label_columns import LabelColumns

if TYPE_CHECKING:
    from numpy.typing import NDArray

HIDDEN_SHARE = 0.5
"""The probability of hiding a label, unless another is stated."""


def with_hidden(labels: LabelColumns, draws: NDArray[np.uint64], share: float) -> LabelColumns:
    """Return the labels that are not hidden; each image keeps at least the one with the highest draw.

    Args:
        labels: the labels of N images.
        draws: a draw for each image, shape (N,); with the class it gives the draw of each label.
        share: the probability of hiding a label, from 0 to 1.
    """
    images = labels.images
    with np.errstate(over="ignore"):
        of_label = mixed(draws[images] + labels.class_index.astype(np.uint64) * np.uint64(GAMMA))
    order = np.lexsort((of_label, images))
    highest = np.zeros(len(order), bool)
    sizes = np.diff(labels.offsets)
    highest[order[labels.offsets[1:][sizes > 0] - 1]] = True
    # As fractions of 2**64: a float64 threshold of 1 is beyond every uint64.
    return as_listed(labels, highest | (of_label / 2.0**64 >= share))


def as_listed(labels: LabelColumns, chosen: NDArray[np.bool_]) -> LabelColumns:
    """Return some labels of every image as original annotations of confidence 1; `chosen` has shape (L,)."""
    kept = labels.only(chosen)
    n_chosen = len(kept.class_index)
    return LabelColumns(kept.offsets, kept.class_index, np.ones(n_chosen, np.float32), np.zeros(n_chosen, np.uint8))

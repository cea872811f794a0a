"""Strong co-occurrence between annotated and predicted categories (Tencent ML-Images, section 3.2).

For category i of the annotations and j of the predictions, n_i is the number of images annotated i, n_ij the number of
those that are predicted j with more than a probability, and CO(i, j) = n_ij / n_i. The pair is strong if CO(i, j) is
more than a strength and neither category is an ancestor of the other. Both comparisons are strict.

Counts of parts of the images add up. Legend: N images, C categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from mlimages_dataset.schemas import IMPLICATIONS, PAIR_COUNTS, Origin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlimages_dataset.augment.labels import LabelColumns

PROBABILITY = 0.95
STRENGTH = 0.5


@dataclass(frozen=True, slots=True)
class PairCounts:
    """How often categories are annotated, and annotated and predicted together.

    Attributes:
        n_left: images annotated i, int64, shape (C,).
        n_both: images annotated i and predicted j, int64 sparse, shape (C, C).
    """

    n_left: NDArray[np.int64]
    n_both: sp.csr_array

    @classmethod
    def empty(cls, n_classes: int) -> PairCounts:
        """Return the counts of no image."""
        return cls(np.zeros(n_classes, np.int64), sp.csr_array((n_classes, n_classes), dtype=np.int64))

    def __add__(self, other: PairCounts) -> PairCounts:
        return PairCounts(self.n_left + other.n_left, sp.csr_array(self.n_both + other.n_both))


def count_pairs(
    annotations: LabelColumns, predictions: LabelColumns, n_classes: int, probability: float = PROBABILITY
) -> PairCounts:
    """Return the counts over N images, whose annotations and predictions stand in the same order.

    Only original, present labels count as annotated. An image without predictions counts towards n_i.
    """
    annotated = _incidence(
        annotations, n_classes, (annotations.confidence > 0) & (annotations.origin == Origin.ORIGINAL)
    )
    predicted = _incidence(predictions, n_classes, predictions.confidence > np.float32(probability))
    return PairCounts(np.asarray(annotated.sum(axis=0)).ravel(), sp.csr_array(annotated.T @ predicted))


def strong_implications(counts: PairCounts, closure: sp.csr_array, strength: float = STRENGTH) -> sp.csr_array:
    """Return CO(i, j) of the strong pairs, float64 sparse, shape (C, C), indices ascending.

    Args:
        counts: pair counts.
        closure: reflexive ancestor matrix, bool, shape (C, C).
        strength: what CO must exceed.
    """
    pairs = counts.n_both.tocoo()
    ratio = pairs.data / counts.n_left[pairs.row]
    related = (closure + closure.T).tocsr()
    strong = (ratio > strength) & ~np.asarray(related[pairs.row, pairs.col]).ravel().astype(bool)
    found = sp.csr_array((ratio[strong], (pairs.row[strong], pairs.col[strong])), shape=counts.n_both.shape)
    found.sort_indices()
    return found


def pair_counts_table(counts: PairCounts) -> pa.Table:
    """Return the `pair_counts` table of the pairs that occur, ascending by left and right."""
    ordered = sp.csr_array(counts.n_both)
    ordered.sort_indices()
    pairs = ordered.tocoo()
    return pa.table(
        {"left": pairs.row, "right": pairs.col, "n_left": counts.n_left[pairs.row], "n_both": pairs.data},
        schema=PAIR_COUNTS.arrow,
    )


def implications_table(implications: sp.csr_array, counts: PairCounts) -> pa.Table:
    """Return the `implications` table, ascending by antecedent and consequent; support is n_ij."""
    pairs = implications.tocoo()
    return pa.table(
        {
            "antecedent": pairs.row,
            "consequent": pairs.col,
            "probability": pairs.data.astype(np.float32),
            "support": np.asarray(counts.n_both[pairs.row, pairs.col]).ravel(),
        },
        schema=IMPLICATIONS.arrow,
    )


def implications_of(table: pa.Table, n_classes: int) -> sp.csr_array:
    """Return P(consequent | antecedent) of an `implications` table, float32 sparse, shape (C, C)."""
    row, column, value = (table[name].to_numpy() for name in ("antecedent", "consequent", "probability"))
    return sp.csr_array((value, (row, column)), shape=(n_classes, n_classes))


def _incidence(labels: LabelColumns, n_classes: int, chosen: NDArray[np.bool_]) -> sp.csr_array:
    """Return which image has which chosen label, int64 sparse of ones, shape (N, C)."""
    rows, columns = labels.images[chosen], labels.class_index[chosen]
    return sp.csr_array((np.ones(len(rows), np.int64), (rows, columns)), shape=(len(labels), n_classes))

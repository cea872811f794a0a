"""Strong co-occurrence between annotated and predicted categories (Tencent ML-Images, section 3.2).

For category i of the annotations and j of the predictions, n_i is the number of images annotated i, n_ij the number of
those that are predicted j with more than a probability, and CO(i, j) = n_ij / n_i. The pair is strong if CO(i, j) is
more than a strength and neither category is an ancestor of the other. Both comparisons are strict.

Counts of parts of the images add up. Legend: N images, C categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from mlimages_dataset.errors import DataError
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

    Only original, present labels count as annotated. An image without predictions counts towards n_i. Probabilities
    are compared as the float32 that tables hold, so a prediction of 0.95 is not more than 0.95.

    Raises:
        IndexError: a class index is not in 0..C-1.
        ValueError: a confidence or an origin is outside its range, or the numbers of images differ.
    """
    annotations.check(n_classes)
    predictions.check(n_classes)
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
    strong = (ratio > strength) & ~_values_at(closure + closure.T, pairs.row, pairs.col)
    return sp.csr_array((ratio[strong], (pairs.row[strong], pairs.col[strong])), shape=counts.n_both.shape)


def pair_counts_table(counts: PairCounts) -> pa.Table:
    """Return the `pair_counts` table of the pairs that occur, ascending by left and right."""
    pairs = counts.n_both.sorted_indices().tocoo()
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
            "support": _values_at(counts.n_both, pairs.row, pairs.col),
        },
        schema=IMPLICATIONS.arrow,
    )


def implications_of(table: pa.Table, n_classes: int, *, where: object = None) -> sp.csr_array:
    """Return P(consequent | antecedent) of an `implications` table, float32 sparse, shape (C, C).

    Args:
        table: an `implications` table.
        n_classes: C.
        where: the table's file, for messages.

    Raises:
        DataError: a category is not in 0..C-1, a pair is repeated, or a probability is not over 0 and up to 1.
    """
    row, column, value = (table[name].to_numpy() for name in ("antecedent", "consequent", "probability"))
    if len(table) and not 0 <= min(row.min(), column.min()) <= max(row.max(), column.max()) < n_classes:
        problem = f"names a category that is not in 0..{n_classes - 1}"
    elif not np.all((value > 0) & (value <= 1)):
        problem = "holds a probability that is not over 0 and up to 1"
    else:
        implications = sp.csr_array((value, (row, column)), shape=(n_classes, n_classes))
        if implications.nnz == len(table):
            return implications
        problem = "names a pair twice"
    raise DataError(problem, where=where, remedy="build the implications again with this vocabulary")


def _values_at(matrix: sp.csr_array, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[Any]:
    """Return the matrix's value, of its own type, at each (row, column)."""
    # Indexing with no rows gives a sparse array, not a dense one.
    return np.asarray(matrix[rows, columns]) if len(rows) else np.empty(0, matrix.dtype)


def _incidence(labels: LabelColumns, n_classes: int, chosen: NDArray[np.bool_]) -> sp.csr_array:
    """Return which image has which chosen label, int64 sparse of ones, shape (N, C)."""
    rows, columns = labels.images[chosen], labels.class_index[chosen]
    return sp.csr_array((np.ones(len(rows), np.int64), (rows, columns)), shape=(len(labels), n_classes))

"""Strong co-occurrence between annotated and predicted categories (Tencent ML-Images, section 3.2).

For a category i of the annotations and j of the predictions, n_i is the number of images annotated with i, n_ij the
number of these for which j is predicted above a given probability, and CO(i, j) = n_ij / n_i. The pair is strong if
CO(i, j) exceeds a given strength and neither category is an ancestor of the other. Both comparisons are strict.

A share of few images is uncertain, so each strong pair has its support n_ij and the lower end of the 95 % Wilson score
interval of CO(i, j).

Counts of parts of the images add up. Legend: N images, L labels in all of them, C categories, P strong pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mlimages_dataset.augment.pair_counting import CategoryLists, images_of_pairs
from mlimages_dataset.core import sparse as sp
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.confidences import rounded
from mlimages_dataset.tables.schemas import IMPLICATIONS, PAIR_COUNTS, Origin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlimages_dataset.tables.label_columns import LabelColumns

PROBABILITY = 0.95
STRENGTH = 0.5
_Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Counts of annotated categories, and of pairs of an annotated and a predicted category.

    Attributes:
        n_left: images annotated with i, int64, shape (C,).
        n_both: images annotated with i and predicted to show j, int64 sparse, shape (C, C).
    """

    n_left: NDArray[np.int64]
    n_both: sp.csr_array

    @classmethod
    def empty(cls, n_classes: int) -> PairCounts:
        """Return the counts for no images."""
        return cls(np.zeros(n_classes, np.int64), sp.csr_array((n_classes, n_classes), dtype=np.int64))

    @classmethod
    def of(cls, left: CategoryLists, right: CategoryLists, n_classes: int) -> PairCounts:
        """Return the counts over images whose annotated and predicted categories are in the same order."""
        n_left = np.bincount(left.classes, minlength=n_classes).astype(np.int64)
        return cls(n_left, images_of_pairs(left, right, n_classes))

    def __add__(self, other: PairCounts) -> PairCounts:
        return PairCounts(self.n_left + other.n_left, sp.csr_array(self.n_both + other.n_both))


@dataclass(frozen=True, slots=True)
class StrongPair:
    """One strong pair of categories.

    Attributes:
        antecedent: class index of the annotated category i.
        consequent: class index of the predicted category j.
        probability: CO(i, j).
        support: n_ij, images annotated with i and predicted to show j.
        images: n_i, images annotated with i.
        lower_bound: lower end of the 95 % Wilson score interval of CO(i, j).
    """

    antecedent: int
    consequent: int
    probability: float
    support: int
    images: int
    lower_bound: float


def annotated_labels(annotations: LabelColumns) -> NDArray[np.bool_]:
    """Return which labels count as annotated, shape (L,): those that are present and original."""
    return np.asarray((annotations.confidence > 0) & (annotations.origin == Origin.ORIGINAL))


def predicted_labels(predictions: LabelColumns, probability: float = PROBABILITY) -> NDArray[np.bool_]:
    """Return which labels count as predicted, shape (L,).

    Probabilities are compared as float32, as tables hold them, so a prediction of 0.95 is not more than 0.95.
    """
    return np.asarray(predictions.confidence > np.float32(probability))


def count_pairs(
    annotations: LabelColumns, predictions: LabelColumns, n_classes: int, probability: float = PROBABILITY
) -> PairCounts:
    """Return the counts over N images, whose annotations and predictions are in the same order.

    An image without predictions counts towards n_i.

    Raises:
        IndexError: a class index is not in 0..C-1.
        ValueError: a confidence or an origin is outside its range, or the numbers of images differ.
    """
    annotations.check(n_classes)
    predictions.check(n_classes)
    annotated = CategoryLists.of(annotations, annotated_labels(annotations))
    predicted = CategoryLists.of(predictions, predicted_labels(predictions, probability))
    return PairCounts.of(annotated, predicted, n_classes)


def strong_implications(counts: PairCounts, closure: sp.csr_array, strength: float = STRENGTH) -> sp.csr_array:
    """Return CO(i, j) of the strong pairs, float64 sparse, shape (C, C), indices ascending.

    Args:
        counts: pair counts.
        closure: reflexive ancestor matrix, bool, shape (C, C).
        strength: CO must exceed this.
    """
    pairs = counts.n_both.tocoo()
    ratio = pairs.data / counts.n_left[pairs.row]
    often = ratio > strength
    ratio, rows, columns = ratio[often], pairs.row[often], pairs.col[often]
    strong = ~_values_at(closure + closure.T, rows, columns)
    return sp.csr_array((ratio[strong], (rows[strong], columns[strong])), shape=counts.n_both.shape)


def pair_counts_table(counts: PairCounts) -> pa.Table:
    """Return the `pair_counts` table of the pairs that occur, ascending by left and right."""
    both = counts.n_both if counts.n_both.has_sorted_indices else counts.n_both.sorted_indices()
    pairs = both.tocoo()
    return pa.table(
        {"left": pairs.row, "right": pairs.col, "n_left": counts.n_left[pairs.row], "n_both": pairs.data},
        schema=PAIR_COUNTS.arrow,
    )


def implications_table(implications: sp.csr_array, counts: PairCounts) -> pa.Table:
    """Return the `implications` table, ascending by antecedent and consequent; support is n_ij."""
    pairs = implications.tocoo()
    support = _values_at(counts.n_both, pairs.row, pairs.col)
    return pa.table(
        {
            "antecedent": pairs.row,
            "consequent": pairs.col,
            "probability": rounded(pairs.data),
            "support": support,
            "lower_bound": wilson_lower_bound(support, counts.n_left[pairs.row]).astype(np.float32),
        },
        schema=IMPLICATIONS.arrow,
    )


def wilson_lower_bound(successes: NDArray[np.int64], trials: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the lower end of the 95 % Wilson score interval of each proportion, shape (P,).

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference, JASA 22:209-212.
    """
    share, z_squared = successes / trials, _Z_95**2
    spread = _Z_95 * np.sqrt(share * (1 - share) / trials + z_squared / (4 * trials**2))
    return np.asarray((share + z_squared / (2 * trials) - spread) / (1 + z_squared / trials))


def strong_pairs(implications: pa.Table, pair_counts: pa.Table, *, where: object = None) -> list[StrongPair]:
    """Return the pairs of an `implications` table, those with the highest lower bound first.

    Args:
        implications: an `implications` table.
        pair_counts: the `pair_counts` table of the same images.
        where: the tables' folder, for messages.

    Raises:
        DataError: the counts lack an antecedent.
    """
    antecedent, consequent, probability, support, lower_bound = (
        implications[name].to_numpy() for name in IMPLICATIONS.arrow.names
    )
    annotated, first = np.unique(pair_counts["left"].to_numpy(), return_index=True)
    images_of = dict(zip(annotated.tolist(), pair_counts["n_left"].to_numpy()[first].tolist(), strict=True))
    if not images_of.keys() >= set(antecedent.tolist()):
        raise DataError(
            "the pair counts do not belong to the implications", where=where, remedy="run cooccurrence again"
        )
    return [
        StrongPair(
            int(antecedent[at]),
            int(consequent[at]),
            float(probability[at]),
            int(support[at]),
            images_of[int(antecedent[at])],
            float(lower_bound[at]),
        )
        for at in np.lexsort((consequent, antecedent, -support, -lower_bound)).tolist()
    ]


def implications_of(table: pa.Table, n_classes: int, *, where: object = None) -> sp.csr_array:
    """Return P(consequent | antecedent) of an `implications` table, float32 sparse, shape (C, C).

    Args:
        table: an `implications` table.
        n_classes: C.
        where: the table's file, for messages.

    Raises:
        DataError: a category is not in 0..C-1, a pair is repeated, or a probability is not above 0 and at most 1.
    """
    row, column, value = (table[name].to_numpy() for name in ("antecedent", "consequent", "probability"))
    if len(table) and not 0 <= min(row.min(), column.min()) <= max(row.max(), column.max()) < n_classes:
        problem = f"names a category that is not in 0..{n_classes - 1}"
    elif not np.all((value > 0) & (value <= 1)):
        problem = "holds a probability that is not above 0 and at most 1"
    else:
        implications = sp.csr_array((value, (row, column)), shape=(n_classes, n_classes))
        if implications.nnz == len(table):
            return implications
        problem = "holds a pair twice"
    raise DataError(problem, where=where, remedy="build the implications again with this vocabulary")


def _values_at(matrix: sp.csr_array, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[Any]:
    """Return the matrix's value, of its own type, at each (row, column)."""
    # Indexing with empty rows gives a sparse array, not a dense one.
    return np.asarray(matrix[rows, columns]) if len(rows) else np.empty(0, matrix.dtype)

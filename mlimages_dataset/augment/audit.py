"""Checks whether label lists made elsewhere are consistent with a vocabulary's hierarchy.

Legend: N images, L labels in all of them, C categories, A entries of the closure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray  # noqa: TC002 - the decoder reads it

from mlimages_dataset.core.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse as sp

    from mlimages_dataset.tables.label_columns import LabelColumns


@dataclass(frozen=True, slots=True)
class AuditCounts:
    """Counts of an audit; counts of parts add up.

    Attributes:
        rows: rows seen.
        closed: rows in which every ancestor of every present label is present.
        monotone: rows in which no ancestor that is present has a lower confidence than a label below it.
        unknown: labels whose index is not in the vocabulary.
            the vocabulary.
        repeated_labels: labels that occur twice in their row.
        missing: for each entry (c, a) of the closure, rows with c and without a, int64, shape (A,).
        lower: for each entry (c, a), rows in which a's confidence is below c's, int64, shape (A,).
    """

    rows: int
    closed: int
    monotone: int
    unknown: int
    repeated_labels: int
    missing: NDArray[np.int64]
    lower: NDArray[np.int64]

    @classmethod
    def empty(cls, closure: sp.csr_array) -> AuditCounts:
        """Return the counts for no rows."""
        return cls(0, 0, 0, 0, 0, np.zeros(closure.nnz, np.int64), np.zeros(closure.nnz, np.int64))

    def __add__(self, other: AuditCounts) -> AuditCounts:
        return AuditCounts(
            self.rows + other.rows,
            self.closed + other.closed,
            self.monotone + other.monotone,
            self.unknown + other.unknown,
            self.repeated_labels + other.repeated_labels,
            self.missing + other.missing,
            self.lower + other.lower,
        )


def audit_rows(labels: LabelColumns, closure: sp.csr_array) -> AuditCounts:
    """Return the audit of N rows, whose labels may be in any order, repeated, or unknown.

    Args:
        labels: the rows' labels.
        closure: reflexive ancestor matrix, shape (C, C), true at (category, ancestor).
    """
    missing, lower = np.zeros((2, closure.nnz), np.int64)
    alone = np.zeros(closure.shape[0], np.int64)
    # Made here: Numba takes longer to compile the making of an array than a loop over it.
    row_of, judged_in = np.full((2, closure.shape[0]), -1, np.int64)
    value_of = np.zeros(closure.shape[0], np.float32)
    closed, monotone, unknown, repeated = _audit(
        labels.offsets,
        labels.class_index,
        labels.confidence,
        closure.indptr,
        closure.indices,
        missing,
        lower,
        row_of,
        judged_in,
        value_of,
        alone,
    )
    return AuditCounts(len(labels), closed, monotone, unknown, repeated, missing, lower)


@dataclass(frozen=True, slots=True)
class Consistency:
    """The consistency of rows, by ancestor: small enough to send from each part; counts of parts add up.

    Attributes:
        rows: rows seen.
        closed: rows in which every ancestor of every present label is present.
        monotone: rows in which no ancestor that is present has a lower confidence than a label below it.
        missing: for each category, the number of present labels below it in rows without it, int64, shape (C,).
        lower: for each category, the number of labels below it whose confidence is higher, int64, shape (C,).
    """

    rows: int
    closed: int
    monotone: int
    missing: NDArray[np.int64]
    lower: NDArray[np.int64]

    @classmethod
    def of(cls, counts: AuditCounts, closure: sp.csr_array) -> Consistency:
        """Return the counts of an audit against a closure, by ancestor."""
        return cls(
            counts.rows,
            counts.closed,
            counts.monotone,
            _sums_by_ancestor(counts.missing, closure),
            _sums_by_ancestor(counts.lower, closure),
        )

    def __add__(self, other: Consistency) -> Consistency:
        return Consistency(
            self.rows + other.rows,
            self.closed + other.closed,
            self.monotone + other.monotone,
            self.missing + other.missing,
            self.lower + other.lower,
        )

    def summary(self, names: Sequence[str], limit: int = 5) -> AuditedRows:
        """Return the counts, and the most often missing ancestors with their counts.

        Args:
            names: of the categories.
            limit: how many ancestors.
        """
        most = np.argsort(-self.missing, kind="stable")[:limit].tolist()
        return AuditedRows(
            rows=self.rows,
            closed_rows=self.closed,
            monotone_rows=self.monotone,
            missing_ancestors=int(self.missing.sum()),
            lower_ancestors=int(self.lower.sum()),
            most_missing=tuple((names[a], int(self.missing[a])) for a in most if self.missing[a]),
        )


@dataclass(frozen=True, slots=True)
class AuditedRows:
    """The consistency of one source's rows, for people and the report.

    Attributes:
        rows: rows seen.
        closed_rows: rows in which every ancestor of every present label is present.
        monotone_rows: rows in which no ancestor that is present has a lower confidence than a label below it.
        missing_ancestors: ancestors that were missing.
        lower_ancestors: ancestors with a lower confidence than a label below them.
        most_missing: the most often missing ancestors, each as its wnid and a count.
    """

    rows: int
    closed_rows: int
    monotone_rows: int
    missing_ancestors: int
    lower_ancestors: int
    most_missing: tuple[tuple[str, int], ...]

    def line(self) -> str:
        """Return the counts as a sentence."""
        return (
            f"{self.closed_rows:,} of {self.rows:,} rows listed all parent categories; "
            f"{self.missing_ancestors:,} parents were added"
        )


def _sums_by_ancestor(counts: NDArray[np.int64], closure: sp.csr_array) -> NDArray[np.int64]:
    """Return the sum of the counts of each ancestor over the closure's entries, int64, shape (C,)."""
    # Weights are float64, which counts exactly up to 2^53.
    return np.bincount(closure.indices, weights=counts, minlength=closure.shape[1]).astype(np.int64)


def most_frequent(counts: NDArray[np.int64], closure: sp.csr_array, limit: int) -> list[tuple[int, int, int]]:
    """Return (category, ancestor, rows) for the closure's entries with the most rows, most first."""
    order = np.argsort(-counts, kind="stable")[:limit]
    category = np.searchsorted(closure.indptr, order, side="right") - 1
    found = zip(category.tolist(), closure.indices[order].tolist(), counts[order].tolist(), strict=True)
    return [entry for entry in found if entry[2]]


@compiled
def _audit(  # noqa: C901, PLR0912, PLR0917 - one pass over rows, and compiled code takes no keywords
    offsets: NDArray[np.int32],
    class_index: NDArray[np.int32],
    confidence: NDArray[np.float32],
    up_ptr: NDArray[np.int32],
    up: NDArray[np.int32],
    missing: NDArray[np.int64],
    lower: NDArray[np.int64],
    row_of: NDArray[np.int64],
    judged_in: NDArray[np.int64],
    value_of: NDArray[np.float32],
    alone: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    # `row_of` and `judged_in` hold the last row that listed and judged each category, `value_of` its confidence there;
    # `alone` counts the rows with nothing but that category, which lack every ancestor of it.
    n_classes = len(value_of)
    closed = monotone = unknown = repeated = 0
    for row in range(len(offsets) - 1):
        if offsets[row + 1] - offsets[row] == 1:
            c = class_index[offsets[row]]
            known = 0 <= c < n_classes
            present = known and confidence[offsets[row]] > 0
            unknown += not known
            closed += not present or up_ptr[c + 1] - up_ptr[c] == 1
            monotone += 1
            if present:
                alone[c] += 1
            continue
        for k in range(offsets[row], offsets[row + 1]):
            c = class_index[k]
            if not 0 <= c < n_classes:
                unknown += 1
            elif row_of[c] == row:
                repeated += 1
                value_of[c] = max(value_of[c], confidence[k])
            else:
                row_of[c] = row
                value_of[c] = confidence[k]
        row_closed = row_monotone = True
        for k in range(offsets[row], offsets[row + 1]):
            c = class_index[k]
            if not 0 <= c < n_classes or judged_in[c] == row or value_of[c] <= 0:
                continue
            judged_in[c] = row
            for at in range(up_ptr[c], up_ptr[c + 1]):
                a = up[at]
                if row_of[a] != row or value_of[a] <= 0:
                    missing[at] += 1
                    row_closed = False
                elif value_of[a] < value_of[c]:
                    lower[at] += 1
                    row_monotone = False
        closed += row_closed
        monotone += row_monotone
    for c in range(n_classes):
        for at in range(up_ptr[c], up_ptr[c + 1]):
            if up[at] != c:
                missing[at] += alone[c]
    return closed, monotone, unknown, repeated

"""Likely labels: what the known labels of an image say together of one that it does not have.

For each consequent j, a logistic regression estimates the probability that an image without j shows it:

    logit p(j) = w_j + sum over known i of c(i) w(i, j) + sum over known i, k of c(i) c(k) w(i, k, j)

with c the confidence of the image's original labels. j is added with the confidence p(j) if p(j) is at least a limit
and the known labels together raise it, unless j is known, implied by a known label, or, itself or an ancestor,
verified absent. `augment.rule_fit` learns weights and limit.

Legend: N images, L labels in all of them, C categories, K consequents, P terms of two antecedents, Q candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.confidences import of_a_model
from mlimages_dataset.tables.schemas import RULES, Origin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlimages_dataset.tables.label_columns import LabelColumns

_NONE = -1


@dataclass(frozen=True, slots=True)
class LabelRules:
    """The rules of K consequents.

    Attributes:
        consequents: class indices, ascending, int32, shape (K,).
        intercepts: float64, shape (K,).
        singles: the weight of each antecedent, float64 sparse, shape (C, K).
        together: the class indices of the terms of two antecedents, int32, shape (P, 2).
        joint: the weights of these terms, float64 sparse, shape (P, K).
        least: a consequent is added if its estimate is at least this.
    """

    consequents: NDArray[np.int32]
    intercepts: NDArray[np.float64]
    singles: sp.csr_array
    together: NDArray[np.int32]
    joint: sp.csr_array
    least: float


@dataclass(frozen=True, slots=True)
class Candidates:
    """Consequents that images may show: their images and numbers in 0..K-1, and the log-odds, each of shape (Q,).

    Attributes:
        image: row of the image.
        consequent: place of the consequent among those of the rules.
        evidence: what the known labels add to the intercept.
        logit: evidence and intercept.
    """

    image: NDArray[np.int32]
    consequent: NDArray[np.int32]
    evidence: NDArray[np.float64]
    logit: NDArray[np.float64]


def candidates(known: sp.csr_array, rules: LabelRules) -> Candidates:
    """Return the consequents on which an image's known labels have any say.

    Args:
        known: confidences of the original labels, float64 sparse, shape (N, C).
        rules: the rules.
    """
    first, second = rules.together.T
    both = sp.csr_array(known[:, first].multiply(known[:, second]))
    evidence = sp.coo_array(known @ rules.singles + both @ rules.joint)
    image, consequent = evidence.coords
    return Candidates(image, consequent, evidence.data, evidence.data + rules.intercepts[consequent])


def likely_labels(labels: LabelColumns, rules: LabelRules, closure: sp.csr_array) -> tuple[LabelColumns, int]:
    """Return the labels with the likely ones, as co-occurrences, and how many were not added as verified absent.

    Args:
        labels: of N images.
        rules: the rules.
        closure: reflexive ancestor matrix, bool, shape (C, C).
    """
    if not len(rules.consequents):
        return labels, 0
    present = labels.confidence > 0
    found = candidates(incidence(labels, present & (labels.origin == Origin.ORIGINAL), closure.shape[0]), rules)
    from scipy.special import expit  # noqa: PLC0415 - it takes 0.1 s, and labels without rules need none

    estimate = of_a_model(expit(found.logit))
    chosen = (estimate >= np.float32(rules.least)) & (found.evidence > 0)
    image, consequent, estimate = found.image[chosen], found.consequent[chosen], estimate[chosen]
    implied = incidence(labels, present, closure.shape[0]) @ closure[:, rules.consequents]
    absent = incidence(labels, ~present, closure.shape[0]) @ closure[rules.consequents].T
    unknown = ~_at(implied, image, consequent)
    blocked = unknown & _at(absent, image, consequent)
    added = unknown & ~blocked
    joined = labels.joined(image[added], rules.consequents[consequent[added]], estimate[added], Origin.CO_OCCURRENCE)
    return joined, int(blocked.sum())


def incidence(labels: LabelColumns, chosen: NDArray[np.bool_], n_classes: int) -> sp.csr_array:
    """Return the confidence of each chosen label, 1 for an absence, float64 sparse, shape (N, C)."""
    confidence = labels.confidence[chosen].astype(np.float64)
    values = np.where(confidence > 0, confidence, 1)
    return sp.csr_array((values, (labels.images[chosen], labels.class_index[chosen])), shape=(len(labels), n_classes))


def rules_table(rules: LabelRules) -> pa.Table:
    """Return the `rules` table, by consequent: first the intercept, then the terms by their antecedents."""
    singles, joint = rules.singles.tocoo(), rules.joint.tocoo()
    first = (np.full(len(rules.consequents), _NONE), singles.row, rules.together[joint.row, 0])
    second = (np.full(len(rules.consequents) + singles.nnz, _NONE), rules.together[joint.row, 1])
    place = np.concatenate((np.arange(len(rules.consequents)), singles.col, joint.col))
    antecedent, together_with = np.concatenate(first), np.concatenate(second)
    order = np.lexsort((together_with, antecedent, place))
    weight = np.concatenate((rules.intercepts, singles.data, joint.data))
    columns = {
        "antecedent": antecedent[order].astype(np.int32),
        "together_with": together_with[order].astype(np.int32),
        "consequent": rules.consequents[place[order]],
        "weight": weight[order].astype(np.float32),
        "least": np.full(len(order), rules.least, np.float32),
    }
    return pa.table(columns, schema=RULES.arrow)


def rules_of(table: pa.Table, n_classes: int, *, where: object = None) -> LabelRules:
    """Return the rules that a `rules` table states.

    Args:
        table: a `rules` table.
        n_classes: C.
        where: the table's file, for messages.

    Raises:
        DataError: a category is not in 0..C-1, a term is repeated, a consequent has not one intercept, a weight is not
            finite, or the limits differ or are not in 0..1.
    """
    antecedent, together_with, consequent, weight, least = (table[name].to_numpy() for name in RULES.arrow.names)
    problem = _problem(antecedent, together_with, consequent, weight, least, n_classes)
    if problem:
        raise DataError(problem, where=where, remedy="learn the rules again with this vocabulary")
    consequents, place = np.unique(consequent, return_inverse=True)
    is_intercept, is_joint = antecedent == _NONE, together_with != _NONE
    is_single = ~is_intercept & ~is_joint
    together, term = np.unique(
        np.stack((antecedent[is_joint], together_with[is_joint]), axis=1), axis=0, return_inverse=True
    )
    intercepts = np.zeros(len(consequents))
    intercepts[place[is_intercept]] = weight[is_intercept]
    weights = weight.astype(np.float64)
    return LabelRules(
        consequents.astype(np.int32),
        intercepts,
        _sparse(weights[is_single], antecedent[is_single], place[is_single], (n_classes, len(consequents))),
        together.astype(np.int32),
        _sparse(weights[is_joint], term.ravel(), place[is_joint], (len(together), len(consequents))),
        float(least[0]) if len(table) else 1.0,
    )


def _problem(  # noqa: PLR0917 - the table's columns
    antecedent: NDArray[np.int32],
    together_with: NDArray[np.int32],
    consequent: NDArray[np.int32],
    weight: NDArray[np.float32],
    least: NDArray[np.float32],
    n_classes: int,
) -> str:
    """Return what is wrong with the columns of a `rules` table, empty if nothing is."""
    if not len(consequent):
        return ""
    classes = np.concatenate((consequent, antecedent[antecedent != _NONE], together_with[together_with != _NONE]))
    terms = np.stack((antecedent, together_with, consequent), axis=1)
    intercepts = antecedent == _NONE
    wrong = {
        f"names a category that is not in 0..{n_classes - 1}": not 0 <= classes.min() <= classes.max() < n_classes,
        "holds a weight that is not a finite number": not np.isfinite(weight).all(),
        "holds different limits, or one that is not in 0..1": not (np.all(least == least[0]) and 0 <= least[0] <= 1),
        "holds a term twice": len(np.unique(terms, axis=0)) < len(terms),
        "holds a consequent without an intercept": (together_with[intercepts] != _NONE).any()
        or len(np.unique(consequent)) > intercepts.sum(),
    }
    return next((problem for problem, is_so in wrong.items() if is_so), "")


def _sparse(
    values: NDArray[np.float64], rows: NDArray[np.integer], columns: NDArray[np.integer], shape: tuple[int, int]
) -> sp.csr_array:
    return sp.csr_array((values, (rows, columns)), shape=shape)


def _at(matrix: sp.csr_array, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return whether the matrix is not 0 at each (row, column)."""
    # Indexing with empty rows gives a sparse array, not a dense one.
    return np.asarray(matrix[rows, columns] != 0, bool) if len(rows) else np.empty(0, bool)

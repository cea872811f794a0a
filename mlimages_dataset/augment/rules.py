"""Likely labels: what the known labels of an image, and a teacher that sees it, say together of one that it lacks.

For each consequent j, a logistic regression estimates the probability that an image without j shows it:

    logit p(j) = w_j + sum over known i of c(i) w(i, j) + sum over known i, k of c(i) c(k) w(i, k, j)

                         + sum over ramps r of w(r, j) ramp_r(s(j))

with c the confidence of the image's original labels. s(j) is the probability that a teacher gives j in this image; a
ramp is 0 up to one probability, 1 from a second one on, and between them linear in the log-odds of s(j). j is added
with the confidence p(j) if p(j) is at least a limit and the evidence raises it, unless j is known, implied by a known
label, or, itself or an ancestor, verified absent. Rules with ramps add nothing to an image without predictions.
`augment.rule_fit` learns weights and limit.

Legend: N images, L labels in all of them, C categories, K consequents, P terms of two antecedents, R ramps of a
consequent, Q candidates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.augment.evidence import Terms, ascending_pairs, gathered, rows_of
from mlimages_dataset.core import sparse as sp
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.arrays import numpy_of
from mlimages_dataset.tables.confidences import LEAST, MOST, of_a_model
from mlimages_dataset.tables.schemas import RULES, Origin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlimages_dataset.augment.seen import Predicted
    from mlimages_dataset.tables.label_columns import LabelColumns

INTERCEPT, PICTURE = -1, -2
"""The antecedents of an intercept and of a ramp."""
_NONE = -1
_LOWEST, _ROUNDING = 1e-6, 1e-5
"""An estimate that every candidate has, and what rounding changes in log-odds."""


@dataclass(frozen=True, slots=True)
class Ramps:
    """What a teacher's probability of each consequent says; each array has the shape (K, R).

    Attributes:
        start, end: probabilities, float32; 0 and 1 if there are fewer ramps.
        rises: the weights, float64; 0 if there are fewer ramps.
    """

    start: NDArray[np.float32]
    end: NDArray[np.float32]
    rises: NDArray[np.float64]

    @classmethod
    def none(cls, n_consequents: int) -> Ramps:
        """Return no ramp for each consequent."""
        empty = np.zeros((n_consequents, 0))
        return cls(empty.astype(np.float32), empty.astype(np.float32), empty)

    def only(self, kept: NDArray[np.bool_], slope: float) -> Ramps:
        """Return the ramps of some consequents, shape (K,), with their weights multiplied."""
        return Ramps(self.start[kept], self.end[kept], self.rises[kept] * slope)


def log_odds(score: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the log-odds of a model's probabilities, which are finite; same shape."""
    p = score.astype(np.float64).clip(float(LEAST), float(MOST))
    return np.asarray(np.log(p) - np.log1p(-p))


def ramp(
    at: NDArray[np.float64], start: NDArray[np.float32] | np.float32, end: NDArray[np.float32] | np.float32
) -> NDArray[np.float64]:
    """Return the share of the way from one probability to another, in 0..1; `at` are log-odds of shape (Q,)."""
    first, last = log_odds(np.asarray(start)), log_odds(np.asarray(end))
    return np.asarray(((at - first) / (last - first)).clip(0, 1))


@dataclass(frozen=True, slots=True)
class LabelRules:
    """The rules of K consequents; those that read a teacher's predictions have ramps.

    Attributes:
        consequents: class indices, ascending, int32, shape (K,).
        intercepts: float64, shape (K,).
        singles: the weight of each antecedent, float64 sparse, shape (C, K).
        together: the class indices of the terms of two antecedents, int32, shape (P, 2).
        joint: the weights of these terms, float64 sparse, shape (P, K).
        least: a consequent is added if its estimate is at least this.
        ramps: what a teacher's probabilities say.
    """

    consequents: NDArray[np.int32]
    intercepts: NDArray[np.float64]
    singles: sp.csr_array
    together: NDArray[np.int32]
    joint: sp.csr_array
    least: float
    ramps: Ramps

    @property
    def read_pictures(self) -> bool:
        """Whether they read a teacher's predictions."""
        return bool(self.ramps.rises.shape[1])


@dataclass(frozen=True, slots=True)
class Candidates:
    """Consequents that images may show: their images and numbers in 0..K-1, and the log-odds, each of shape (Q,).

    Attributes:
        image: row of the image.
        consequent: place of the consequent among those of the rules.
        evidence: what the known labels and the teacher add to the intercept.
        logit: evidence and intercept.
    """

    image: NDArray[np.int32]
    consequent: NDArray[np.int32]
    evidence: NDArray[np.float64]
    logit: NDArray[np.float64]


def candidates(known: sp.csr_array, rules: LabelRules, seen: Predicted | None = None, least: float = 0.0) -> Candidates:
    """Return the consequents on which an image's known labels, or a teacher, have any say.

    Args:
        known: confidences of the original labels, float64 sparse, shape (N, C).
        rules: the rules.
        seen: what the teacher says of the same images; None without a teacher.
        least: candidates with a lower estimate may be left out.
    """
    none = np.zeros(known.shape[0], np.int64)
    said = (none, none, np.empty(0, np.int32), np.empty(0, np.float32)) if seen is None else seen.arrays
    found = gathered(rows_of(known), said, _terms(rules, known.shape[1], least))
    image, consequent, evidence = found
    return Candidates(image, consequent, evidence, evidence + rules.intercepts[consequent])


def _terms(rules: LabelRules, n_classes: int, least: float) -> Terms:
    """Return rules as the compiled loop reads them; candidates with a lower estimate are left out."""
    numbers, joint = ascending_pairs(rules.together, rules.joint, n_classes)
    place = np.full(n_classes, -1, np.int32)
    place[rules.consequents] = np.arange(len(rules.consequents))
    # Rounding to float32 may lift an estimate to the limit.
    lowest = -math.inf if least <= _LOWEST else float(log_odds(np.array(least))) - _ROUNDING
    ramps = (log_odds(rules.ramps.start), log_odds(rules.ramps.end), rules.ramps.rises)
    starts = rules.ramps.start
    return Terms(rows_of(rules.singles), numbers, rows_of(joint), rules.intercepts, place, ramps, starts, lowest)


def likely_labels(
    labels: LabelColumns, rules: LabelRules, closure: sp.csr_array, predicted: Predicted | None = None
) -> tuple[LabelColumns, int]:
    """Return the labels with the likely ones, as co-occurrences, and how many were not added as verified absent.

    Args:
        labels: of N images.
        rules: the rules.
        closure: reflexive ancestor matrix, bool, shape (C, C).
        predicted: what a teacher says of the same images, for rules that read it.
    """
    if not len(rules.consequents):
        return labels, 0
    n_classes = closure.shape[0]
    known = incidence(labels, (labels.confidence > 0) & (labels.origin == Origin.ORIGINAL), n_classes)
    found = candidates(known, rules, predicted, rules.least)
    with np.errstate(over="ignore"):  # of the least, which become 0
        estimate = of_a_model(1 / (1 + np.exp(-found.logit)))
    chosen = (estimate >= np.float32(rules.least)) & (found.evidence > 0)
    if predicted is not None:
        chosen &= predicted.known[found.image]
    image, consequent, estimate = found.image[chosen], rules.consequents[found.consequent[chosen]], estimate[chosen]
    unknown, absent = _unknown(labels, closure, image, consequent)
    added = unknown & ~absent
    joined = labels.joined(image[added], consequent[added], estimate[added], Origin.CO_OCCURRENCE)
    return joined, int((unknown & absent).sum())


def _unknown(
    labels: LabelColumns, closure: sp.csr_array, image: NDArray[np.int32], classes: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether categories of images are not implied by a present label, and whether they are absent.

    Each array has the shape (Q,).
    """
    sizes = np.diff(labels.offsets)[image]
    which = np.repeat(np.arange(len(image)), sizes)
    at = np.arange(len(which)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + labels.offsets[image][which]
    listed, present = labels.class_index[at], labels.confidence[at] > 0
    child = np.where(present, listed, classes[which])
    parent = np.where(present, classes[which], listed)
    related = _at(closure, child, parent)
    implied, absent = (np.bincount(which[related & one], minlength=len(image)) > 0 for one in (present, ~present))
    return ~implied, absent


def incidence(labels: LabelColumns, chosen: NDArray[np.bool_], n_classes: int) -> sp.csr_array:
    """Return the confidence of each chosen label, 1 for an absence, float64 sparse, shape (N, C)."""
    kept = labels.only(chosen)
    confidence = kept.confidence.astype(np.float64)
    values = np.where(confidence > 0, confidence, 1)
    return sp.csr_array((values, kept.class_index, kept.offsets), shape=(len(labels), n_classes))


def scores_of(predictions: LabelColumns, n_classes: int) -> sp.csr_array:
    """Return a teacher's probabilities of N images, float64 sparse, shape (N, C)."""
    return incidence(predictions, predictions.confidence > 0, n_classes)


def rules_table(rules: LabelRules) -> pa.Table:
    """Return the `rules` table, by consequent: first the ramps and the intercept, then the terms by antecedents."""
    singles, joint, ramps = rules.singles.tocoo(), rules.joint.tocoo(), rules.ramps
    rising = ramps.rises != 0
    if rising.size and not rising.any():
        rising[0, 0] = True  # for `LabelRules.read_pictures`
    ramped, of_ramp = np.nonzero(rising)
    alone = len(rules.consequents) + singles.nnz
    first = (np.full(len(rules.consequents), INTERCEPT), singles.row, rules.together[joint.row, 0])
    second = (np.full(alone, _NONE), rules.together[joint.row, 1], np.full(len(ramped), _NONE))
    place = np.concatenate((np.arange(len(rules.consequents)), singles.col, joint.col, ramped))
    antecedent = np.concatenate((*first, np.full(len(ramped), PICTURE)))
    together_with = np.concatenate(second)
    none = np.zeros(alone + joint.nnz, np.float32)
    start, end = (np.concatenate((none, one[ramped, of_ramp])) for one in (ramps.start, ramps.end))
    order = np.lexsort((start, together_with, antecedent, place))
    weight = np.concatenate((rules.intercepts, singles.data, joint.data, ramps.rises[ramped, of_ramp]))
    columns = {
        "antecedent": antecedent[order].astype(np.int32),
        "together_with": together_with[order].astype(np.int32),
        "consequent": rules.consequents[place[order]],
        "weight": weight[order].astype(np.float32),
        "least": np.full(len(order), rules.least, np.float32),
        "score_from": start[order],
        "score_to": end[order],
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
            finite, the limits differ or are not in 0..1, or the probabilities of a ramp do not ascend in 0..1.
    """
    antecedent, together_with, consequent, weight, least, start, end = (
        numpy_of(table[name].combine_chunks()) for name in RULES.arrow.names
    )
    problem = _problem(antecedent, together_with, consequent, weight, least, n_classes) or _ramp_problem(
        antecedent == PICTURE, weight, start, end
    )
    if problem:
        raise DataError(problem, where=where, remedy="learn the rules again with this vocabulary")
    consequents, place = np.unique(consequent, return_inverse=True)
    is_intercept, is_joint = antecedent == INTERCEPT, together_with != _NONE
    is_ramp = antecedent == PICTURE
    is_single = ~is_intercept & ~is_joint & ~is_ramp
    # As one number each: to sort rows is ten times as slow.
    number = antecedent[is_joint].astype(np.int64) * n_classes + together_with[is_joint]
    numbers, term = np.unique(number, return_inverse=True)
    together = np.stack(np.divmod(numbers, n_classes), axis=1)
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
        _ramps_of(place[is_ramp], start[is_ramp], end[is_ramp], weights[is_ramp], len(consequents)),
    )


def _ramps_of(
    place: NDArray[np.integer],
    start: NDArray[np.float32],
    end: NDArray[np.float32],
    rises: NDArray[np.float64],
    n_consequents: int,
) -> Ramps:
    """Return the ramps of each consequent from those of all."""
    order = np.lexsort((start, place))
    row = place[order]
    number = np.arange(len(row)) - np.searchsorted(row, row)
    shape = (n_consequents, int(number.max(initial=-1)) + 1)
    found = Ramps(np.zeros(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape))
    for values, of_all in ((found.start, start), (found.end, end), (found.rises, rises)):
        values[row, number] = of_all[order]
    return found


def _ramp_problem(
    is_ramp: NDArray[np.bool_], weight: NDArray[np.float32], start: NDArray[np.float32], end: NDArray[np.float32]
) -> str:
    """Return what is wrong with the ramps of a `rules` table, empty if nothing is."""
    first, last = start[is_ramp], end[is_ramp]
    if not ((first >= 0) & (first < last) & (last <= 1)).all():
        return "holds a teacher's probabilities that do not ascend in 0..1"
    return (
        "says that a teacher's higher probability makes a category less likely" if (weight[is_ramp] < 0).any() else ""
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
    named = antecedent[(antecedent != INTERCEPT) & (antecedent != PICTURE)]
    classes = np.concatenate((consequent, named, together_with[together_with != _NONE]))
    size = np.int64(n_classes + 1)
    terms = ((antecedent.astype(np.int64) + 1) * size + together_with + 1) * size + consequent
    terms = terms[antecedent != PICTURE]
    intercepts = antecedent == INTERCEPT
    wrong = {
        f"names a category that is not in 0..{n_classes - 1}": not 0 <= classes.min() <= classes.max() < n_classes,
        "holds a weight that is not a finite number": not np.isfinite(weight).all(),
        "holds different limits, or one that is not in 0..1": not (np.all(least == least[0]) and 0 <= least[0] <= 1),
        "holds a term twice": len(np.unique(terms)) < len(terms),
        "holds a teacher's probability together with a category": (together_with[antecedent == PICTURE] != _NONE).any(),
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

"""Learning what known labels say of another one: a logistic regression for each consequent, and its calibration.

An example is an image with the labels that are known of it and the labels that are true. For each consequent j, only
the images count in which j is neither known nor implied by a known label: there the question is whether j is missing.
Antecedents are the labels that are often known, and two that are often known together; neither an ancestor nor a
descendant of j is one. The weights minimise

    sum of the negative log-likelihood + PENALTY / 2 * sum of squared weights (not of the intercept)

over four fifths of the images. On the last fifth, which the weights have not seen, the estimates of all consequents are
made true again by one slope and one shift of their log-odds (Platt 1999, Probabilistic outputs for support vector
machines), and the limit is the lowest at which the labels above it are right as often as wanted.

Legend: N examples, C categories, F features (antecedents, alone and two together), K consequents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from mlimages_dataset.augment.rules import LabelRules, candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

PENALTY = 5.0
"""Of squared weights, for one example of an image: compared in docs/decisions/0015-rules.md."""
LEAST_KNOWN = 20
"""Examples in which an antecedent is known."""
LEAST_TOGETHER = 30
"""Examples in which two antecedents are known."""
MOST_TOGETHER = 2000
"""Terms of two antecedents, the most frequent ones."""
LEAST_MISSING = 20
"""Examples in which a consequent is missing."""
_STEPS = 60
_LEAST_WEIGHT = 1e-3
_LEAST_JUDGED = 30
"""Labels of held-out images from which a limit or a calibration is learned."""
_LEAST_CALIBRATED = 0.2
"""Estimates below this are not made to fit: no wanted precision would add them."""


@dataclass(frozen=True, slots=True)
class Examples:
    """What is known and what is true of images.

    Attributes:
        known: 1 at known labels, float64 sparse, shape (N, C).
        true: 1 at true labels, float64 sparse, shape (N, C).
        held_out: images for calibration, shape (N,).
        copies: examples of one image.
    """

    known: sp.csr_array
    true: sp.csr_array
    held_out: NDArray[np.bool_]
    copies: int = 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """What rules give on held-out images.

    Attributes:
        slope, shift: of the log-odds.
        least: the limit; None if no limit gives the wanted precision.
        added: labels of held-out images above it.
        right: of these.
        missing: true labels of held-out images that are not known.
    """

    slope: float
    shift: float
    least: float | None
    added: int
    right: int
    missing: int


def learned_rules(examples: Examples, closure: sp.csr_array, precision: float) -> tuple[LabelRules, Calibration]:
    """Return calibrated rules, and what they give on the held-out images; no rule if none is right often enough.

    Args:
        examples: images.
        closure: reflexive ancestor matrix, bool, shape (C, C).
        precision: the share of the added labels that is to be right, in 0..1.
    """
    raw = fitted(examples, closure)
    calibration, kept = _calibrated(examples, raw, closure, precision)
    if calibration.least is None:
        kept[:] = False
    return _rescaled(raw, calibration, kept), calibration


def fitted(examples: Examples, closure: sp.csr_array) -> LabelRules:
    """Return the rules of every consequent, as fitted to the images that are not held out; their limit is 0."""
    known, true = examples.known[~examples.held_out], examples.true[~examples.held_out]
    related = sp.csr_array(closure + closure.T)
    alone = np.flatnonzero(np.asarray(known.sum(axis=0)).ravel() >= LEAST_KNOWN * examples.copies)
    together = _together(known, related, LEAST_TOGETHER * examples.copies)
    both = sp.csr_array(known[:, together[:, 0]].multiply(known[:, together[:, 1]]))
    features = sp.csr_array(sp.hstack((known[:, alone], both)))
    present = sp.csr_array(true @ closure).tocsc()
    implied = sp.csr_array(known @ closure).tocsc()
    consequents, intercepts, weights = [], [], []
    for j in np.flatnonzero(np.asarray(true.sum(axis=0)).ravel()).tolist():
        asked = np.ones(known.shape[0], bool)
        asked[_rows_of(implied, j)] = False
        missing = np.zeros(known.shape[0], bool)
        missing[_rows_of(present, j)] = True
        if (missing & asked).sum() < LEAST_MISSING * examples.copies:
            continue
        near = np.zeros(closure.shape[0], bool)
        near[related.indices[related.indptr[j] : related.indptr[j + 1]]] = True
        allowed = np.flatnonzero(np.concatenate((~near[alone], ~near[together].any(axis=1))))
        intercept, weight = _regression(features[asked][:, allowed], missing[asked], examples.copies)
        of_all = np.zeros(features.shape[1])
        of_all[allowed] = np.where(np.abs(weight) < _LEAST_WEIGHT, 0, weight)
        consequents.append(j)
        intercepts.append(intercept)
        weights.append(of_all)
    matrix = np.array(weights).reshape(len(weights), features.shape[1]).T
    singles = np.zeros((closure.shape[0], len(weights)))
    singles[alone] = matrix[: len(alone)]
    return LabelRules(
        np.array(consequents, np.int32),
        np.array(intercepts, np.float64),
        sp.csr_array(singles),
        together.astype(np.int32),
        sp.csr_array(matrix[len(alone) :]),
        0.0,
    )


def _together(known: sp.csr_array, related: sp.csr_array, least: int) -> NDArray[np.int64]:
    """Return the antecedents that are known together in enough examples, neither above the other, shape (P, 2)."""
    counts = sp.coo_array(sp.triu(known.T @ known, 1))
    first, second = counts.coords
    often = counts.data >= least
    first, second, number = first[often], second[often], counts.data[often]
    apart = np.asarray(related[first, second] == 0, bool).ravel() if len(first) else np.empty(0, bool)
    first, second, number = first[apart], second[apart], number[apart]
    most = np.sort(np.lexsort((second, first, -number))[:MOST_TOGETHER])
    return np.stack((first[most], second[most]), axis=1).astype(np.int64)


def _regression(features: sp.csr_array, missing: NDArray[np.bool_], copies: int) -> tuple[float, NDArray[np.float64]]:
    """Return intercept and weights, shape (F,), of the penalised logistic regression."""
    from scipy.optimize import minimize  # noqa: PLC0415 - it takes 0.2 s, and who only reads rules needs none
    from scipy.special import expit  # noqa: PLC0415 - as above

    transposed, target = sp.csr_array(features.T), missing.astype(np.float64)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = parameters[1:]
        logit = features @ weights + parameters[0]
        residual = expit(logit) - target
        value = float((np.logaddexp(0, logit) - target * logit).sum()) / copies + PENALTY / 2 * float(weights @ weights)
        gradient = np.concatenate(([residual.sum()], transposed @ residual)) / copies
        gradient[1:] += PENALTY * weights
        return value, gradient

    share = (target.sum() + 0.5) / (len(target) + 1)
    start = np.zeros(features.shape[1] + 1)
    start[0] = np.log(share / (1 - share))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    return float(found[0]), found[1:]


def _calibrated(
    examples: Examples, raw: LabelRules, closure: sp.csr_array, precision: float
) -> tuple[Calibration, NDArray[np.bool_]]:
    """Return the calibration on the held-out images, and which consequents it leaves, shape (K,)."""
    from scipy.special import expit  # noqa: PLC0415 - as above

    known, true = examples.known[examples.held_out], examples.true[examples.held_out]
    implied = sp.csr_array(known @ closure)
    missing = sp.csr_array(true - true.multiply(implied.astype(bool)))
    found = candidates(known, raw)
    asked = (found.evidence > 0) & ~_nonzero(implied, found.image, raw.consequents[found.consequent])
    logit, consequent = found.logit[asked], found.consequent[asked]
    right = _nonzero(sp.csr_array(true @ closure), found.image[asked], raw.consequents[consequent])
    slope, shift = _platt(logit, right)
    estimate = expit(slope * logit + shift)
    least, added, n_right = _limit(estimate, right, precision)
    kept = np.zeros(len(raw.consequents), bool)
    if least is not None:
        kept[consequent[estimate >= least]] = True
    n_missing = int((missing.data != 0).sum())
    return Calibration(slope, shift, least, added, n_right, n_missing), kept


def _platt(logit: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the slope and the shift of log-odds with which they fit best; 1 and 0 for too few labels."""
    from scipy.optimize import minimize  # noqa: PLC0415 - as above
    from scipy.special import expit  # noqa: PLC0415 - as above

    fits = expit(logit) >= _LEAST_CALIBRATED
    if fits.sum() < _LEAST_JUDGED or right[fits].all() or not right[fits].any():
        return 1.0, 0.0
    one, target = logit[fits], right[fits].astype(np.float64)

    def loss(parameters: NDArray[np.float64]) -> float:
        moved = parameters[0] * one + parameters[1]
        return float((np.logaddexp(0, moved) - target * moved).sum())

    slope, shift = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(0.05, 20), (-20, 20)]).x
    return float(slope), float(shift)


def _limit(estimate: NDArray[np.float64], right: NDArray[np.bool_], precision: float) -> tuple[float | None, int, int]:
    """Return the lowest limit above which labels are right as often as wanted, and how many are added and right."""
    order = np.argsort(-estimate, kind="stable")
    n_right = np.cumsum(right[order])
    n_added = np.arange(1, len(order) + 1)
    # A limit takes all labels of one estimate: images with the same known labels have the same.
    ends = np.append(np.diff(estimate[order]) < 0, True)[: len(order)]
    enough = np.flatnonzero(ends & (n_right >= precision * n_added) & (n_added >= min(_LEAST_JUDGED, len(order))))
    if not len(enough):
        return None, 0, 0
    last = enough[-1]
    return float(estimate[order[last]]), int(n_added[last]), int(n_right[last])


def _rescaled(raw: LabelRules, calibration: Calibration, kept: NDArray[np.bool_]) -> LabelRules:
    """Return the kept consequents' rules with calibrated weights and the limit."""
    used = np.flatnonzero(np.diff(raw.joint[:, kept].tocsr().indptr))
    least = 1.0 if calibration.least is None else float(np.nextafter(np.float32(calibration.least), np.float32(0)))
    return LabelRules(
        raw.consequents[kept],
        calibration.slope * raw.intercepts[kept] + calibration.shift,
        sp.csr_array(raw.singles[:, kept] * calibration.slope),
        raw.together[used],
        sp.csr_array(raw.joint[used][:, kept] * calibration.slope),
        least,
    )


def _rows_of(columns: sp.csc_array, column: int) -> NDArray[np.int32]:
    """Return the rows in which a column is not 0."""
    return np.asarray(columns.indices[columns.indptr[column] : columns.indptr[column + 1]])


def _nonzero(matrix: sp.csr_array, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[np.bool_]:
    return np.asarray(matrix[rows, columns] != 0, bool) if len(rows) else np.empty(0, bool)

"""Learning what known labels say of another one: a logistic regression for each consequent, and its calibration.

An example is an image with the labels that are known of it and the labels that are true. For each consequent j, only
the images count in which j is neither known nor implied by a known label: there the question is whether j is missing.
Antecedents are the labels that are often known, and two that are often known together; neither an ancestor nor a
descendant of j is one. The weights minimise

    sum of the negative log-likelihood + PENALTY / 2 * sum of squared weights (not of the intercept)

over four fifths of the images. A teacher's probabilities of j join as ramps, whose weights are at least 0 and are drawn
towards those of one slope of the log-odds for all classes (so a rare class leans on the others), with

    RAMP_PENALTY / 2 * sum of (weight - slope * width of the ramp)^2

beside the penalty above. On the last fifth, which the weights have not seen, the estimates of all consequents are
made true again by one slope and one shift of their log-odds (Platt 1999, Probabilistic outputs for support vector
machines), and the limit is the lowest at which the labels above it are right as often as wanted.

Legend: N examples, C categories, F features (antecedents, alone and two together), K consequents, R ramps.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.augment.rules import LabelRules, Ramps, candidates, log_odds, ramp
from mlimages_dataset.augment.seen import Predicted
from mlimages_dataset.core import sparse as sp

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
RAMP_PENALTY = 1.0
"""Of squared differences of a ramp's weight from that of all classes."""
_KNOTS = (0.02, 0.15, 0.35, 0.55, 0.75, 0.9)
"""Shares of the images with a missing consequent that a teacher gives a lower probability: where ramps meet."""
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
        seen: a teacher's probabilities, float64 sparse, shape (N, C); None without a teacher.
    """

    known: sp.csr_array
    true: sp.csr_array
    held_out: NDArray[np.bool_]
    copies: int = 1
    seen: sp.csr_array | None = None


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


def images_short(examples: Examples, closure: sp.csr_array, n_missing: int) -> float:
    """Return how many times as many images would be needed at least to learn a rule; at most 1 if there are enough.

    Some category must be missing in `LEAST_MISSING` of those learned from, and enough labels in those held out.

    Args:
        examples: images.
        closure: reflexive ancestor matrix, bool, shape (C, C).
        n_missing: true labels of held-out images that are not known.
    """
    known, true = examples.known[~examples.held_out], examples.true[~examples.held_out]
    implied = sp.csr_array(known @ closure).astype(bool)
    missing = sp.csr_array(true - true.multiply(implied)).sum(axis=0)
    most = float(np.max(missing, initial=0)) / examples.copies
    return max(LEAST_MISSING / most, _LEAST_JUDGED / n_missing) if most and n_missing else 0.0


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
    seen = None if examples.seen is None else examples.seen[~examples.held_out].tocsc()
    slope = 0.0 if seen is None else _slope_of_all(seen, present)
    consequents, intercepts, weights, ramps = [], [], [], []
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
        of_labels, target = features[asked][:, allowed], missing[asked]
        ramped, of_pictures = _ramps(seen, j, asked, missing)
        expected = slope * (log_odds(ramped.end) - log_odds(ramped.start))[0]
        intercept, weight = _regression(of_labels, target, examples.copies, of_pictures, expected)
        rises = weight[len(allowed) :]
        weight = weight[: len(allowed)]
        of_all = np.zeros(features.shape[1])
        of_all[allowed] = np.where(np.abs(weight) < _LEAST_WEIGHT, 0, weight)
        consequents.append(j)
        intercepts.append(intercept)
        weights.append(of_all)
        ramps.append(Ramps(ramped.start, ramped.end, np.where(rises < _LEAST_WEIGHT, 0, rises)[None]))
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
        _joined(ramps),
    )


def _slope_of_all(seen: sp.csc_array, present: sp.csc_array) -> float:
    """Return the slope with which a teacher's log-odds fit what images show, over all classes together."""
    score = seen.tocoo()
    shown = _nonzero(present.tocsr(), *score.coords)
    at, target = log_odds(score.data), shown.astype(np.float64)
    if target.all() or not target.any():
        return 1.0
    return float(_line(at, target)[0])


def _ramps(
    seen: sp.csc_array | None, j: int, asked: NDArray[np.bool_], missing: NDArray[np.bool_]
) -> tuple[Ramps, sp.csr_array]:
    """Return ramps of a consequent without weights, and their values in the images asked, shape (asked, R)."""
    none = Ramps.none(1), sp.csr_array((int(asked.sum()), 0))
    if seen is None:
        return none
    rows = _rows_of(seen, j)
    score = seen.data[seen.indptr[j] : seen.indptr[j + 1]].astype(np.float32)
    of_asked = asked[rows]
    rows, score = rows[of_asked], score[of_asked]
    shown = score[missing[rows]]
    if len(shown) < LEAST_MISSING:
        return none
    inner = np.quantile(shown, _KNOTS, method="lower")
    knots = np.unique(np.concatenate(([score.min()], inner, [score.max()])).astype(np.float32))
    if len(knots) == 1:
        return none
    found = Ramps(knots[None, :-1], knots[None, 1:], np.zeros((1, len(knots) - 1)))
    place = np.cumsum(asked) - 1
    at = log_odds(score)
    values = np.stack([ramp(at, start, end) for start, end in itertools.pairwise(knots)], axis=1)
    image, number = np.nonzero(values)
    shape = (int(asked.sum()), len(knots) - 1)
    return found, sp.csr_array((values[image, number], (place[rows[image]], number)), shape=shape)


def _joined(ramps: list[Ramps]) -> Ramps:
    """Return the ramps of consequents, each of shape (1, R), as those of all."""
    most = max((one.rises.shape[1] for one in ramps), default=0)
    shape = (len(ramps), most)
    found = Ramps(np.zeros(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape))
    for row, one in enumerate(ramps):
        n = one.rises.shape[1]
        for values, of_one in ((found.start, one.start), (found.end, one.end), (found.rises, one.rises)):
            values[row, :n] = of_one[0]
    return found


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


def _regression(
    of_labels: sp.csr_array,
    missing: NDArray[np.bool_],
    copies: int,
    of_pictures: sp.csr_array,
    rises: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """Return intercept and weights, shape (F + R,), of the penalised logistic regression.

    Args:
        of_labels: the values of antecedents, shape (N, F).
        missing: whether the consequent is missing, shape (N,).
        copies: examples of one image.
        of_pictures: the values of ramps, shape (N, R).
        rises: the expected weights of the ramps, shape (R,).
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - it takes 0.2 s, and who only reads rules needs none
    from scipy.special import expit  # noqa: PLC0415 - as above

    features = sp.csr_array(sp.hstack((of_labels, of_pictures))) if len(rises) else of_labels
    expected = np.concatenate((np.zeros(of_labels.shape[1]), rises))
    penalty = np.concatenate((np.full(of_labels.shape[1], PENALTY), np.full(len(rises), RAMP_PENALTY)))
    transposed, target = sp.csr_array(features.T), missing.astype(np.float64)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = parameters[1:]
        logit = features @ weights + parameters[0]
        residual = expit(logit) - target
        beyond = weights - expected
        value = float((np.logaddexp(0, logit) - target * logit).sum()) / copies + float(penalty @ beyond**2) / 2
        gradient = np.concatenate(([residual.sum()], transposed @ residual)) / copies
        gradient[1:] += penalty * beyond
        return value, gradient

    share = (target.sum() + 0.5) / (len(target) + 1)
    # Where ramps lift few images, this intercept gives their expected number.
    raised = np.log(np.exp(features @ expected).mean()) if len(rises) else 0.0
    start = np.concatenate(([np.log(share / (1 - share)) - raised], expected))
    bounds = [(None, None)] * (1 + of_labels.shape[1]) + [(0, None)] * len(rises)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS}).x
    return float(found[0]), found[1:]


def _calibrated(
    examples: Examples, raw: LabelRules, closure: sp.csr_array, precision: float
) -> tuple[Calibration, NDArray[np.bool_]]:
    """Return the calibration on the held-out images, and which consequents it leaves, shape (K,)."""
    from scipy.special import expit  # noqa: PLC0415 - as above

    known, true = examples.known[examples.held_out], examples.true[examples.held_out]
    implied = sp.csr_array(known @ closure)
    missing = sp.csr_array(true - true.multiply(implied.astype(bool)))
    seen = None if examples.seen is None else Predicted.of_matrix(examples.seen[examples.held_out])
    found = candidates(known, raw, seen)
    asked = (found.evidence > 0) & ~_nonzero(implied, found.image, raw.consequents[found.consequent])
    logit, consequent = found.logit[asked], found.consequent[asked]
    right = _nonzero(sp.csr_array(true @ closure), found.image[asked], raw.consequents[consequent])
    slope, shift = _platt(logit, right)
    estimate = expit(slope * logit + shift)
    least, added, n_right = lowest_limit(estimate, right, precision)
    kept = np.zeros(len(raw.consequents), bool)
    if least is not None:
        kept[consequent[estimate >= least]] = True
    n_missing = int((missing.data != 0).sum())
    return Calibration(slope, shift, least, added, n_right, n_missing), kept


def _platt(logit: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the slope and the shift of log-odds with which they fit best; 1 and 0 for too few labels."""
    from scipy.special import expit  # noqa: PLC0415 - as above

    fits = expit(logit) >= _LEAST_CALIBRATED
    if fits.sum() < _LEAST_JUDGED or right[fits].all() or not right[fits].any():
        return 1.0, 0.0
    return _line(logit[fits], right[fits].astype(np.float64))


def _line(logit: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[float, float]:
    """Return the slope and the shift of log-odds that fit targets of 0 and 1 best."""
    from scipy.optimize import minimize  # noqa: PLC0415 - as above

    def loss(parameters: NDArray[np.float64]) -> float:
        moved = parameters[0] * logit + parameters[1]
        return float((np.logaddexp(0, moved) - target * moved).sum())

    slope, shift = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(0.05, 20), (-20, 20)]).x
    return float(slope), float(shift)


def lowest_limit(
    estimate: NDArray[np.float64], right: NDArray[np.bool_], precision: float
) -> tuple[float | None, int, int]:
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
        raw.ramps.only(kept, calibration.slope),
    )


def _rows_of(columns: sp.csc_array, column: int) -> NDArray[np.int32]:
    """Return the rows in which a column is not 0."""
    return np.asarray(columns.indices[columns.indptr[column] : columns.indptr[column + 1]])


def _nonzero(matrix: sp.csr_array, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[np.bool_]:
    return np.asarray(matrix[rows, columns] != 0, bool) if len(rows) else np.empty(0, bool)

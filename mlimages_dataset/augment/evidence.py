"""What the known labels of images and a teacher say of consequents: the sums of `augment.rules`, as compiled loops.

Legend: N images, L labels in all of them, C categories, K consequents, P terms of two antecedents, R ramps of a
consequent, Q candidates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core import sparse as sp
from mlimages_dataset.core.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Rows = tuple["NDArray[np.int32]", "NDArray[np.int32]", "NDArray[np.float64]"]
"""A compressed sparse matrix: where rows start, columns, values."""
Seen = tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.int32]", "NDArray[np.float32]"]
"""A teacher's predictions: where those of each image start and stop, of shape (N,), their classes and probabilities."""
_AT_ONCE = 1 << 18
"""Candidates of one call of the compiled loop, and at least one image's."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of rules, as the loop reads them.

    Attributes:
        singles: the weights of antecedents, shape (C, K).
        pairs: first antecedent * C + second, ascending, shape (P,).
        joint: the weights of these pairs, shape (P, K).
        intercepts: shape (K,).
        place: the consequent of each category, -1 for others, shape (C,).
        ramps: starts and ends as log-odds, and weights; each of shape (K, R).
        score_from: the probabilities at which ramps start, ascending up to the last that has a weight, shape (K, R).
        least: log-odds of a candidate.
    """

    singles: _Rows
    pairs: NDArray[np.int64]
    joint: _Rows
    intercepts: NDArray[np.float64]
    place: NDArray[np.int32]
    ramps: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    score_from: NDArray[np.float32]
    least: float


def rows_of(matrix: sp.csr_array) -> _Rows:
    """Return the arrays of a matrix in the types that the loop takes."""
    return matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data.astype(np.float64)


def ascending_pairs(
    together: NDArray[np.int32], joint: sp.csr_array, n_classes: int
) -> tuple[NDArray[np.int64], sp.csr_array]:
    """Return the numbers of pairs of antecedents, ascending, and their weights in this order."""
    ordered = np.sort(together.astype(np.int64), axis=1)
    numbers = ordered[:, 0] * n_classes + ordered[:, 1]
    order = np.argsort(numbers, kind="stable")
    return numbers[order], sp.csr_array(joint[order])


def gathered(
    known: _Rows, seen: Seen, terms: Terms
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Return image, consequent and evidence of each candidate, by image and consequent, each of shape (Q,).

    Args:
        known: confidences of the known labels, shape (N, C), classes of an image ascending.
        seen: what a teacher says.
        terms: of the rules.
    """
    seen_from, seen_to, classes, scores = seen
    n_images, size = len(known[0]) - 1, len(terms.intercepts)
    room = max(_AT_ONCE, size)
    sums = np.zeros(size)
    found = []
    image = 0
    while image < n_images:
        images, consequents = np.empty(room, np.int32), np.empty(room, np.int32)
        evidence = np.empty(room)
        image, n = _gather(
            image, *known, seen_from, seen_to, classes, scores, *terms.singles, terms.pairs,
            *terms.joint, terms.intercepts, terms.place, *terms.ramps, terms.score_from, terms.least,
            sums, images, consequents, evidence,
        )  # fmt: skip
        found.append((images[:n], consequents[:n], evidence[:n]))
    if not found:
        return np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0)
    images, consequents, evidence = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return images, consequents, evidence


@compiled
def _gather(  # noqa: C901, PLR0912, PLR0917 - one loop, and compiled code takes no keywords
    first: int,
    known_starts: NDArray[np.int32],
    known: NDArray[np.int32],
    confidences: NDArray[np.float64],
    seen_starts: NDArray[np.int64],
    seen_stops: NDArray[np.int64],
    seen: NDArray[np.int32],
    scores: NDArray[np.float32],
    single_starts: NDArray[np.int32],
    singles: NDArray[np.int32],
    single_weights: NDArray[np.float64],
    pairs: NDArray[np.int64],
    joint_starts: NDArray[np.int32],
    joint: NDArray[np.int32],
    joint_weights: NDArray[np.float64],
    intercepts: NDArray[np.float64],
    place: NDArray[np.int32],
    ramp_starts: NDArray[np.float64],
    ramp_ends: NDArray[np.float64],
    rises: NDArray[np.float64],
    score_from: NDArray[np.float32],
    least: float,
    sums: NDArray[np.float64],
    images: NDArray[np.int32],
    consequents: NDArray[np.int32],
    evidence: NDArray[np.float64],
) -> tuple[int, int]:
    """Write the candidates of some images, and return the next image and how many they are."""
    written, n_images = 0, len(known_starts) - 1
    for image in range(first, n_images):
        if written + len(intercepts) > len(images):
            return image, written
        for a in range(known_starts[image], known_starts[image + 1]):
            for t in range(single_starts[known[a]], single_starts[known[a] + 1]):
                k = singles[t]
                sums[k] += confidences[a] * single_weights[t]
            for b in range(a, known_starts[image + 1]) if len(pairs) else range(0):
                number = np.int64(known[a]) * len(place) + known[b]
                at = np.searchsorted(pairs, number)
                if at < len(pairs) and pairs[at] == number:
                    for t in range(joint_starts[at], joint_starts[at + 1]):
                        k = joint[t]
                        sums[k] += confidences[a] * confidences[b] * joint_weights[t]
        for s in range(seen_starts[image], seen_stops[image]):
            k = place[seen[s]]
            if k < 0:
                continue
            most = sums[k]
            for r in range(rises.shape[1]):
                if scores[s] <= score_from[k, r]:
                    break
                most += rises[k, r]
            if most + intercepts[k] < least or most == sums[k]:
                continue  # so most predictions need no logarithm
            score = np.float64(scores[s])
            log_odds = math.log(score) - math.log1p(-score)
            for r in range(rises.shape[1]):
                if log_odds <= ramp_starts[k, r]:
                    continue
                share = (log_odds - ramp_starts[k, r]) / (ramp_ends[k, r] - ramp_starts[k, r])
                sums[k] += rises[k, r] * min(share, 1.0)
        for k in range(len(intercepts)):  # nearly all: a fitted antecedent says something of each consequent
            if sums[k] != 0 and sums[k] + intercepts[k] >= least:
                images[written], consequents[written], evidence[written] = image, k, sums[k]
                written += 1
            sums[k] = 0.0
    return n_images, written

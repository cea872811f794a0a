"""Turns logits into calibrated probabilities: of labels with a probability of 0.95, 95 in 100 are present.

A loss that weights positives more than negatives teaches the network odds that are too high by a known factor; the odds
are divided by it first (Elkan 2001, The foundations of cost-sensitive learning, theorem 2). The rest is fitted on
held-out images by Platt scaling (Platt 1999, Probabilistic outputs for support vector machines): for class j,

    p_j = sigmoid(slope_j * x_j + offset_j).

One slope and offset are fitted for all classes together, then those of each class, held near the common ones by a
normal
prior: a class with few positives among the held-out images stays close to the common fit, one with many follows its own
images. The data are the histograms that evaluation makes anyway, so memory does not grow with the images.

Legend: C classes, N held-out images, x logits, b a bin of the histogram.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from mlimages_dataset.train.metrics import SCORE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlimages_dataset.train.metrics import ScoreHistogram

SLOPE_DEVIATION = 0.25
"""Prior standard deviation of a class's slope about the common one, as a share of the common one."""
OFFSET_DEVIATION = 1.0
"""Prior standard deviation of a class's offset about the common one, in log-odds."""
ENOUGH_POSITIVES = 10
"""Number of positives from which a class counts as fitted on its own images."""
_CLASSES_AT_A_TIME = 512
_ITERATIONS = 50
_HALVINGS = 8
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Calibration:
    """From the logits of each class to probabilities.

    Attributes:
        slope: float32, above 0, shape (C,).
        offset: float32, shape (C,).
        odds_factor: factor by which the loss's weights raised each class's odds, float32, shape (C,).
        n_images: held-out images of the fit; 0 if only the loss's weights are undone.
        n_own: classes with at least 10 positives among them.
    """

    slope: Tensor
    offset: Tensor
    odds_factor: Tensor
    n_images: int = 0
    n_own: int = 0

    @classmethod
    def of_weights(cls, odds_factor: Tensor) -> Calibration:
        """Return the calibration that only divides the odds by the loss's factor, shape (C,)."""
        return cls(torch.ones_like(odds_factor), -odds_factor.log(), odds_factor)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Calibration:
        """Return the calibration with the tensors that `state` returned."""
        n_images, n_own = state["counts"].tolist()
        return cls(state["slope"], state["offset"], state["odds_factor"], n_images, n_own)

    def state(self) -> dict[str, Tensor]:
        """Return the calibration as tensors, for a checkpoint."""
        counts = torch.tensor([self.n_images, self.n_own], dtype=torch.int64)
        tensors = {"slope": self.slope, "offset": self.offset, "odds_factor": self.odds_factor}
        return {**{name: tensor.cpu() for name, tensor in tensors.items()}, "counts": counts}

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each class, float32, shape (B, C), of logits of that shape.

        Logits beyond the histograms' limit count as the limit, as they did in the fit.
        """
        slope, offset = self.slope.to(logits.device), self.offset.to(logits.device)
        return torch.addcmul(offset, logits.to(torch.float32).clamp(-SCORE_LIMIT, SCORE_LIMIT), slope).sigmoid()


def fit_in(state: Mapping[str, Tensor]) -> Calibration | None:
    """Return the fit with the tensors of `Calibration.state`; None for no tensors, or if only weights are undone."""
    kept = Calibration.from_state(state) if state else None
    return kept if kept is not None and kept.n_images else None


def above(scores: ScoreHistogram, calibration: Calibration, probability: float) -> tuple[int, int]:
    """Return how many entries have a higher probability, by the middle of their bins, and how many are present."""
    centres = scores.centres()
    n_entries = n_present = 0
    for classes, counts in _parts(scores):
        sure = _inputs(calibration, classes, centres).sigmoid() > probability
        n_entries += int(counts.sum(0)[sure].sum())
        n_present += int(counts[1][sure].sum())
    return n_entries, n_present


def expected_labels(scores: ScoreHistogram, calibration: Calibration) -> float:
    """Return the sum of the probabilities of all entries in histograms."""
    centres = scores.centres()
    total = 0.0
    for classes, counts in _parts(scores):
        total += float((_inputs(calibration, classes, centres).sigmoid() * counts.sum(0)).sum())
    return total


Reliability: TypeAlias = tuple[tuple[float, float, int], ...]
"""Mean predicted probability, share present, and number of entries, for each interval of [0, 1] that has any."""


def reliability(scores: ScoreHistogram, calibration: Calibration, n_intervals: int = 10) -> Reliability:
    """Return the mean probability, the share present and the number of entries for each interval of [0, 1]."""
    centres, sums = scores.centres(), torch.zeros(3, n_intervals, dtype=torch.float64, device=scores.counts.device)
    for classes, counts in _parts(scores):
        p = _inputs(calibration, classes, centres).sigmoid().flatten()
        interval = (p * n_intervals).long().clamp(max=n_intervals - 1)
        n_entries, n_present = counts.sum(0).flatten(), counts[1].flatten()
        for row, weights in enumerate((p * n_entries, n_present, n_entries)):
            sums[row].index_add_(0, interval, weights)
    rows = [(said, present, n) for said, present, n in sums.T.tolist() if n > 0]
    return tuple((said / n, present / n, int(n)) for said, present, n in rows)


def fit_calibration(scores: ScoreHistogram, weights: Calibration, n_images: int) -> Calibration:
    """Return the calibration of a network on held-out images.

    Args:
        scores: histograms of the logits of N held-out images.
        weights: the calibration that undoes the weights of its loss, see `Calibration.of_weights`.
        n_images: N.

    Returns:
        the calibration; `weights` if, over all classes, positives do not have higher scores than negatives.
    """
    centres = scores.centres()
    parts = []
    common = _common(scores, weights, centres)
    for classes, counts in _parts(scores):
        held = counts.sum((0, 1)) > 0
        parts.append(_fit(_inputs(weights, classes, centres[held]), counts[:, :, held], prior=common))
    if not common[0] > 0:  # scores that contradict the labels: there is nothing to fit
        return weights
    own = torch.cat(parts)
    slope, offset = torch.where(own[:, :1] > 0, own, common).unbind(
        1
    )  # a class may have few images, which contradict its logits
    n_positives = scores.counts[1].sum(1)
    return Calibration(
        slope=(slope * weights.slope.to(slope)).float(),
        offset=(slope * weights.offset.to(slope) + offset).float(),
        odds_factor=weights.odds_factor,
        n_images=n_images,
        n_own=int((n_positives >= ENOUGH_POSITIVES).sum()),
    )


def _parts(scores: ScoreHistogram) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield groups of classes, int64, with their counts, float64, shape (2, classes, bins)."""
    for classes in torch.arange(scores.counts.shape[1], device=scores.counts.device).split(_CLASSES_AT_A_TIME):
        yield classes, scores.counts[:, classes].double()


def _inputs(weights: Calibration, classes: Tensor, centres: Tensor) -> Tensor:
    """Return the log-odds of each bin of some classes with the weights undone, float64, shape (classes, bins)."""
    slope, offset = (of_all.to(centres)[classes] for of_all in (weights.slope, weights.offset))
    return slope[:, None] * centres + offset[:, None]


def _common(scores: ScoreHistogram, weights: Calibration, centres: Tensor) -> Tensor:
    """Return the slope and the offset that fit all classes together best, shape (2,)."""
    # The non-empty bins of all classes as bins of one class.
    inputs, counts = [], []
    for classes, of_part in _parts(scores):
        held = of_part.sum(0) > 0
        inputs.append(_inputs(weights, classes, centres)[held])
        counts.append(of_part[:, held])
    start = torch.tensor([1.0, 0.0], dtype=torch.float64, device=centres.device)
    return _fit(torch.cat(inputs)[None], torch.cat(counts, 1)[:, None], prior=start)[0]


def _fit(inputs: Tensor, counts: Tensor, *, prior: Tensor) -> Tensor:
    """Return the most probable slope and offset of each class, float64, shape (classes, 2).

    Newton's method on a convex function; steps that do not decrease it are halved.

    Args:
        inputs: log-odds z of each bin, shape (classes, bins).
        counts: negatives and positives of each bin, shape (2, classes, bins).
        prior: mean of slope and offset, shape (2,).
    """
    of_slope = SLOPE_DEVIATION * prior[0].abs().clamp(min=0.1)
    precision = torch.stack((of_slope, torch.full_like(of_slope, OFFSET_DEVIATION))) ** -2
    found = prior.expand(len(inputs), 2).clone()
    value = _cost(found, inputs, counts, prior, precision)
    for _ in range(_ITERATIONS):
        step = _newton_step(found, inputs, counts, prior, precision)
        size = torch.ones(len(inputs), 1).to(inputs)
        for _ in range(_HALVINGS):
            new = found - size * step
            new_value = _cost(new, inputs, counts, prior, precision)
            goes_down = new_value < value
            if bool((goes_down | (new_value == value)).all()):
                break
            size = torch.where(goes_down[:, None], size, size / 2)
        found = torch.where(goes_down[:, None], new, found)
        gain = (value - new_value).clamp(min=0)
        value = torch.minimum(value, new_value)
        if bool((gain <= _TOLERANCE * (1 + value)).all()):
            break
    return found


def _cost(found: Tensor, inputs: Tensor, counts: Tensor, prior: Tensor, precision: Tensor) -> Tensor:
    """Return the negative logarithm of each class's posterior, up to a constant, shape (classes,)."""
    x = found[:, :1] * inputs + found[:, 1:]
    negatives, positives = counts
    of_images: Tensor = (negatives * functional.softplus(x) + positives * functional.softplus(-x)).sum(1)
    return of_images + ((found - prior) ** 2 * precision).sum(1) / 2


def _newton_step(found: Tensor, inputs: Tensor, counts: Tensor, prior: Tensor, precision: Tensor) -> Tensor:
    """Return the inverse Hessian times the gradient of `_cost`, shape (classes, 2)."""
    p = (found[:, :1] * inputs + found[:, 1:]).sigmoid()
    negatives, positives = counts
    slack = negatives * p - positives * (1 - p)
    curvature = (negatives + positives) * p * (1 - p)
    gradient = torch.stack(((slack * inputs).sum(1), slack.sum(1)), 1) + (found - prior) * precision
    mixed = (curvature * inputs).sum(1)
    slopes, offsets = (curvature * inputs**2).sum(1) + precision[0], curvature.sum(1) + precision[1]
    determinant = slopes * offsets - mixed**2
    of_slope, of_offset = gradient.unbind(1)
    step = torch.stack((offsets * of_slope - mixed * of_offset, slopes * of_offset - mixed * of_slope), 1)
    newton: Tensor = step / determinant.unsqueeze(1)
    return newton

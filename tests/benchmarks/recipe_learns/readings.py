"""The losses that are compared, among them the plausible readings of equations 1 and 2 and section 4.1.3 of paper 000.

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mlimages_dataset.train.baseline_losses import AsymmetricLoss, BinaryCrossEntropyLoss, FocalLoss
from mlimages_dataset.train.draws import draw_uniform
from mlimages_dataset.train.loss import (
    BatchWeights,
    LabelCounts,
    MLImagesLoss,
    negative_coefficient,
    next_streak,
    positive_coefficient,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Times(nn.Module):
    """A loss times a number: with the number of classes, a mean over classes becomes their sum."""

    def __init__(self, loss: nn.Module, factor: float) -> None:
        super().__init__()
        self.loss = loss
        self.factor = factor

    def forward(self, logits: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        loss: Tensor = self.loss(logits, targets, known)
        return loss * self.factor


class ByStatus(MLImagesLoss):
    """Equation 1 summed over the classes, with both terms of a class weighed by its status in the batch.

    The published code's weights with the text's floor of 0.01, and the text's five negatives a positive, or all.
    """

    @torch.no_grad()
    def observe(self, counts: LabelCounts) -> BatchWeights:
        """Return the weights of the batch."""
        positive = counts.present > 0
        selected = ~positive & (draw_uniform(self._key(0), self.n_classes) < self.absent_class_rate)
        streak = next_streak(self.streak, positive, ~positive)
        batches = streak.abs()
        weight = torch.where(positive, positive_coefficient(batches), selected * negative_coefficient(batches))
        thinned, windows, negatives = torch.zeros_like(weight), None, counts.known - counts.present
        kept = negatives
        if self.negatives_per_positive is not None:
            wanted = counts.present.to(torch.float64) * self.negatives_per_positive
            is_thinned = positive & (wanted < negatives)
            kept = torch.where(is_thinned, wanted, negatives)
            thinned = torch.where(is_thinned, weight, 0)
            windows = self._windows(counts, torch.where(is_thinned, wanted, 0), slice(0, counts.n_images))
        self.streak.copy_(streak)
        self.step += 1
        of_positives = self.positive_weight * weight
        self.weighed += torch.stack((of_positives * counts.present, counts.present, weight * kept, negatives))
        return BatchWeights(of_positives, weight - thinned, thinned, windows)


@dataclass(frozen=True, slots=True)
class Reading:
    """A loss by name.

    Attributes:
        name: as in the table.
        says: what it is.
        make: makes it for C classes.
    """

    name: str
    says: str
    make: Callable[[int], nn.Module]


READINGS = (
    Reading("paper", "the literal text: mean over classes, r by entry, 5 negatives", MLImagesLoss),
    Reading("paper, sum", "the same, summed over classes", lambda n: Times(MLImagesLoss(n), n)),
    Reading(
        "paper, sum, all negatives",
        "the same, no negatives left out",
        lambda n: Times(MLImagesLoss(n, negatives_per_positive=None), n),
    ),
    Reading("by status, 5 negatives", "sum, r by the class's status, floor 0.01", ByStatus),
    Reading(
        "by status, all negatives",
        "the same, no negatives left out",
        lambda n: ByStatus(n, negatives_per_positive=None),
    ),
    Reading("released", "the published code", lambda n: MLImagesLoss(n, "released")),
    Reading("released, eta 1", "the same, positives not weighed up", lambda n: MLImagesLoss(n, "released", 1.0)),
    Reading("binary-cross-entropy", "mean over entries", lambda _: BinaryCrossEntropyLoss()),
    Reading("binary-cross-entropy, sum", "summed over classes", lambda n: Times(BinaryCrossEntropyLoss(), n)),
    Reading("focal, sum", "summed over classes", lambda n: Times(FocalLoss(), n)),
    Reading("asymmetric, sum", "summed over classes", lambda n: Times(AsymmetricLoss(), n)),
)


def odds_factor(loss: nn.Module, n_classes: int) -> Tensor:
    """Return by how much the loss's weights multiply each class's odds, shape (C,); 1 where it is not known."""
    inner = loss.loss if isinstance(loss, Times) else loss
    return inner.odds_factor() if isinstance(inner, MLImagesLoss) else torch.ones(n_classes)

"""The compared losses, among them the plausible readings of equations 1 and 2 and section 4.1.3 of Wu et al. 2019.

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from mlimages_dataset.train.losses.adaptive_weights import negative_coefficient, next_streak, positive_coefficient
from mlimages_dataset.train.losses.baseline_losses import AsymmetricLoss, BinaryCrossEntropyLoss, FocalLoss
from mlimages_dataset.train.losses.draws import draw_uniform
from mlimages_dataset.train.losses.ml_images import MLImagesLoss
from mlimages_dataset.train.losses.weighted_sigmoid import BatchWeights

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.train.losses.label_counts import LabelCounts


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


MakeLoss: TypeAlias = "Callable[[int], nn.Module]"
"""Makes a loss for C classes."""

READINGS: dict[str, MakeLoss] = {
    "released": MLImagesLoss,
    "paper": lambda n: MLImagesLoss(n, "paper"),
    "paper, sum": lambda n: Times(MLImagesLoss(n, "paper"), n),
    "paper, sum, all negatives": lambda n: Times(MLImagesLoss(n, "paper", negatives_per_positive=None), n),
    "by status, 5 negatives": ByStatus,
    "by status, all negatives": lambda n: ByStatus(n, negatives_per_positive=None),
    "released, eta 1": lambda n: MLImagesLoss(n, positive_weight=1.0),
    "binary-cross-entropy": lambda _: BinaryCrossEntropyLoss(),
    "binary-cross-entropy, sum": lambda _: BinaryCrossEntropyLoss(sum_classes=True),
    "focal, sum": lambda _: FocalLoss(sum_classes=True),
    "asymmetric, sum": lambda _: AsymmetricLoss(sum_classes=True),
}
"""`sum` adds the classes up where the loss is their mean; `by status` weighs both terms of a class by its status."""
MEANS = ("paper", "binary-cross-entropy")
"""Those that divide by the number of classes."""


def odds_factor(loss: nn.Module, n_classes: int) -> Tensor:
    """Return by how much the loss's weights multiply each class's odds, shape (C,); 1 where it is not known."""
    inner = loss.loss if isinstance(loss, Times) else loss
    return inner.odds_factor() if isinstance(inner, MLImagesLoss) else torch.ones(n_classes)

"""Losses to compare with: binary cross-entropy, focal and asymmetric loss, called as `loss(logits, targets, known)`.

Legend: B images in a batch, C classes, x logits, y targets in [0, 1], p = sigmoid(x).

Each is the mean over all B * C entries, where unknown entries add nothing. Dividing by the known entries alone would
weigh an image by how little is known of the others in its batch, and the mean over ranks would not be that of the joint
batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlimages_dataset.train.loss import check_shapes


class BinaryCrossEntropyLoss(nn.Module):
    """Binary cross-entropy, -y log p - (1 - y) log(1 - p)."""

    def forward(self, logits: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the mean over entries, a float32 scalar; arguments as of `MLImagesLoss`."""
        check_shapes(logits, targets, known)
        weight = None if known is None else known.to(torch.float32)
        return functional.binary_cross_entropy_with_logits(logits.to(torch.float32), targets.to(torch.float32), weight)


class FocalLoss(nn.Module):
    """Focal loss (Lin et al. 2017, eq. 5), -alpha_t (1 - p_t)^gamma log p_t.

    p_t is p for positives and 1 - p for negatives, alpha_t likewise; a soft target y counts as a positive of weight y
    and a negative of weight 1 - y.
    """

    def __init__(self, gamma: float = 2.0, alpha: float = 0.25) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, logits: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the mean over entries, a float32 scalar; arguments as of `MLImagesLoss`."""
        check_shapes(logits, targets, known)
        x, y = logits.to(torch.float32), targets.to(torch.float32)
        p = x.sigmoid()
        of_positive = -self.alpha * (1 - p) ** self.gamma * functional.logsigmoid(x)
        of_negative = -(1 - self.alpha) * p**self.gamma * functional.logsigmoid(-x)
        return _mean_of_known(y * of_positive + (1 - y) * of_negative, known)


class AsymmetricLoss(nn.Module):
    """Asymmetric loss (Ridnik et al. 2021, eq. 4 to 7).

    -y (1 - p)^gamma_positive log p - (1 - y) p_m^gamma_negative log(1 - p_m), with p_m = max(p - margin, 0): easy
    negatives fade with their probability, and those below the margin vanish.
    """

    def __init__(self, gamma_positive: float = 0.0, gamma_negative: float = 4.0, margin: float = 0.05) -> None:
        super().__init__()
        self.gamma_positive = gamma_positive
        self.gamma_negative = gamma_negative
        self.margin = margin

    def forward(self, logits: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the mean over entries, a float32 scalar; arguments as of `MLImagesLoss`."""
        check_shapes(logits, targets, known)
        x, y = logits.to(torch.float32), targets.to(torch.float32)
        p = x.sigmoid()
        shifted = (p - self.margin).clamp(min=0)
        of_positive = -((1 - p) ** self.gamma_positive) * functional.logsigmoid(x)
        # Without a margin, 1 - p rounds to 0 for large logits; with one, 1 - p_m is at least the margin.
        log_absent = torch.log1p(-shifted) if self.margin > 0 else functional.logsigmoid(-x)
        of_negative = -(shifted**self.gamma_negative) * log_absent
        return _mean_of_known(y * of_positive + (1 - y) * of_negative, known)


def _mean_of_known(losses: Tensor, known: Tensor | None) -> Tensor:
    """Return the sum over known entries divided by the number of all."""
    return losses.mean() if known is None else torch.where(known, losses, 0).mean()

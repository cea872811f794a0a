"""The loss of images with one label each (Wu et al. 2019, section 5.1: "the standard softmax loss")."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mlimages_dataset.train.losses.definition import LossDefinition
from mlimages_dataset.train.losses.multi_label import MultiLabelLoss, check_shapes


class SoftmaxLoss(MultiLabelLoss):
    """Cross-entropy over all classes, for images with one label each.

    An image's targets are scaled to add up to 1, so the confidence of a single label is of no effect, and several
    labels share the image. An image without a label adds nothing. What is not known of an image counts as absent:
    that it has one label says so of all others.
    """

    def forward(self, logits: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the mean over images, a float32 scalar; arguments as of `MLImagesLoss`.

        Raises:
            UsageError: the shapes do not fit.
        """
        check_shapes(logits, targets, known)
        present = targets.float() if known is None else targets.float() * known
        shares = present / present.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        return -(shares * functional.log_softmax(logits.float(), 1)).sum(1).mean()


SOFTMAX = LossDefinition(make=lambda run, n_classes, rates: SoftmaxLoss(), one_label=True, compares_classes=True)  # noqa: ARG005 - as `make` is called

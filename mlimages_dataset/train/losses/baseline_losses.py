"""Losses to compare with, of each class for itself, called as `loss(logits, targets, known)`.

Binary cross-entropy, the same without classes that are often labelled together, focal and asymmetric loss.

Legend: B images in a batch, C classes, x logits, y targets in [0, 1], p = sigmoid(x).

Each is the mean over the images of the mean, or the sum, over their classes; unknown entries add nothing. If the sum
were divided by the known entries only, an image would weigh more the less is known of the others in its batch, and the
mean over ranks would not be that of the joint batch. With thousands of classes, a mean over them makes gradients so
small that usual learning rates have no effect (docs/losses.md).
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from mlimages_dataset.train.losses.definition import LossDefinition
from mlimages_dataset.train.losses.multi_label import MultiLabelLoss, check_shapes
from mlimages_dataset.train.losses.pair_rates import WithPairRates, check_rates

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.train.config import Run


class BaselineLoss(MultiLabelLoss, abc.ABC):
    """A loss in which each entry depends on its own logit and target only.

    Args:
        sum_classes: sum over the classes instead of their mean.
    """

    def __init__(self, *, sum_classes: bool = False) -> None:
        super().__init__()
        self.sum_classes = sum_classes

    def forward(self, logits: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the loss, a float32 scalar; arguments as of `MLImagesLoss`."""
        check_shapes(logits, targets, known)
        mean = self.mean(logits.to(torch.float32), targets.to(torch.float32), known)
        return mean * logits.shape[1] if self.sum_classes else mean

    @abc.abstractmethod
    def mean(self, x: Tensor, y: Tensor, known: Tensor | None) -> Tensor:
        """Return the sum over known entries divided by the number of all; x and y are float32, shape (B, C)."""


class BinaryCrossEntropyLoss(BaselineLoss):
    """Binary cross-entropy, -y log p - (1 - y) log(1 - p)."""

    def mean(self, x: Tensor, y: Tensor, known: Tensor | None) -> Tensor:
        """See `BaselineLoss`: PyTorch's own, which keeps no loss of an entry."""
        return _cross_entropy(x, y, known)


class CoBinaryCrossEntropyLoss(WithPairRates, BaselineLoss):
    """Binary cross-entropy that leaves out absent classes which are often labelled together with a present one.

    Akiba et al. 2018 (https://arxiv.org/abs/1809.00778) leave out the class of a part, such as "arm", in boxes inside
    an object of the whole, such as "person". Here a class is left out if it is labelled for at least `least_rate` of
    the objects of a class that is present: a loss sees the classes of one box and not what lies around it.
    """

    _often: Tensor

    def __init__(
        self, rates: Tensor, presence_threshold: float = 0.7, least_rate: float = 0.1, *, sum_classes: bool = False
    ) -> None:
        """Make the loss.

        Args:
            rates: of `concurrent_rates`, or any sparse or dense matrix of shape (C, C) in [0, 1].
            presence_threshold: the confidence from which a label is present.
            least_rate: the rate from which a class is left out; Peng et al. 2020 (section 3) call pairs "severely
                confused" from 0.1 on.
            sum_classes: sum over the classes instead of their mean.

        Raises:
            UsageError: rates are not a square matrix of values in [0, 1].
        """
        super().__init__(sum_classes=sum_classes)
        self.keep_rates(rates)
        self.presence_threshold = presence_threshold
        often = self.rates.indices()[:, self.rates.values() >= least_rate].flip(0)
        at = torch.sparse_coo_tensor(often, torch.ones(often.shape[1]), self.rates.shape, check_invariants=True)
        self.register_buffer("_often", at.coalesce(), persistent=False)

    def mean(self, x: Tensor, y: Tensor, known: Tensor | None) -> Tensor:
        """See `BaselineLoss`."""
        present = y >= self.presence_threshold
        named = present if known is None else present & known
        counted = present | (torch.sparse.mm(self._often, named.float().T).T == 0)
        return _cross_entropy(x, y, counted if known is None else counted & known)


class FocalLoss(BaselineLoss):
    """Focal loss (Lin et al. 2017, eq. 5), -alpha_t (1 - p_t)^gamma log p_t.

    p_t is p for positives and 1 - p for negatives, alpha_t likewise; a soft target y counts as a positive of weight y
    and a negative of weight 1 - y.
    """

    def __init__(self, gamma: float = 2.0, alpha: float = 0.25, *, sum_classes: bool = False) -> None:
        super().__init__(sum_classes=sum_classes)
        self.gamma = gamma
        self.alpha = alpha

    def mean(self, x: Tensor, y: Tensor, known: Tensor | None) -> Tensor:
        """See `BaselineLoss`."""
        log_present, log_absent = functional.logsigmoid(x), functional.logsigmoid(-x)
        of_positive = -self.alpha * (self.gamma * log_absent).exp() * log_present
        of_negative = -(1 - self.alpha) * (self.gamma * log_present).exp() * log_absent
        return _mean_of_known(y * of_positive + (1 - y) * of_negative, known)


class AsymmetricLoss(BaselineLoss):
    """Asymmetric loss (Ridnik et al. 2021, eq. 4 to 7).

    -y (1 - p)^gamma_positive log p - (1 - y) p_m^gamma_negative log(1 - p_m), with p_m = max(p - margin, 0): easy
    negatives fade with their probability, and those below the margin vanish.
    """

    def __init__(
        self,
        gamma_positive: float = 0.0,
        gamma_negative: float = 4.0,
        margin: float = 0.05,
        *,
        sum_classes: bool = False,
    ) -> None:
        super().__init__(sum_classes=sum_classes)
        self.gamma_positive = gamma_positive
        self.gamma_negative = gamma_negative
        self.margin = margin

    def mean(self, x: Tensor, y: Tensor, known: Tensor | None) -> Tensor:
        """See `BaselineLoss`."""
        log_present, log_absent = functional.logsigmoid(x), functional.logsigmoid(-x)
        of_positive = -(self.gamma_positive * log_absent).exp() * log_present
        if self.margin > 0:
            shifted = x.sigmoid() - self.margin
            faded = shifted <= 0  # they have neither loss nor gradient; that of a root would be infinite at 0
            shifted = shifted.masked_fill(faded, 0.5)
            of_negative = -(shifted**self.gamma_negative * torch.log1p(-shifted)).masked_fill(faded, 0)
        else:
            of_negative = -(self.gamma_negative * log_present).exp() * log_absent
        return _mean_of_known(y * of_positive + (1 - y) * of_negative, known)


def _cross_entropy(x: Tensor, y: Tensor, known: Tensor | None) -> Tensor:
    return functional.binary_cross_entropy_with_logits(x, y, None if known is None else known.to(torch.float32))


def _mean_of_known(losses: Tensor, known: Tensor | None) -> Tensor:
    """Return the sum over known entries divided by the number of all."""
    return losses.mean() if known is None else torch.where(known, losses, 0).mean()


def _maker(kind: type[BaselineLoss]) -> Callable[[Run, int, Tensor | None], BaselineLoss]:
    return lambda run, n_classes, rates: kind(sum_classes=run.loss.sum_classes)  # noqa: ARG005 - as `make` is called


def _with_rates(run: Run, n_classes: int, rates: Tensor | None) -> CoBinaryCrossEntropyLoss:
    found = torch.zeros(n_classes, n_classes, layout=torch.sparse_coo) if rates is None else rates
    return CoBinaryCrossEntropyLoss(found, run.loss.presence_threshold, sum_classes=run.loss.sum_classes)


BINARY_CROSS_ENTROPY = LossDefinition(make=_maker(BinaryCrossEntropyLoss))
FOCAL = LossDefinition(make=_maker(FocalLoss))
ASYMMETRIC = LossDefinition(make=_maker(AsymmetricLoss))
CO_BINARY_CROSS_ENTROPY = LossDefinition(make=_with_rates, check_state=check_rates)

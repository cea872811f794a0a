"""Concurrent softmax (Peng et al. 2020, Large-Scale Object Detection in the Wild from Imbalanced Multi-Labels, 4.1.1).

Legend: B images in a batch, C classes, z logits, y targets in [0, 1], i and j classes, K the classes present in an
image, r_ij the concurrent rate: the share of the images of class i that are also labelled j.

A softmax in which classes that are present together, or are often confused, do not suppress each other.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlimages_dataset.train.losses.definition import LossDefinition
from mlimages_dataset.train.losses.multi_label import MultiLabelLoss, check_shapes
from mlimages_dataset.train.losses.pair_rates import WithPairRates, check_rates, rates_of_state

if TYPE_CHECKING:
    from mlimages_dataset.train.config import Run
    from mlimages_dataset.train.losses.definition import Change, State


class ConcurrentSoftmaxLoss(WithPairRates, MultiLabelLoss):
    """Concurrent softmax loss (eq. 3), averaged over the images of the batch.

        L = -sum_{i in K} y_i log sigma_i,   sigma_i = e^{z_i} / (sum_{j not in K} (1 - r_ij) e^{z_j} + e^{z_i})

    Unknown classes are left out of both sums. The matrix product with 1 - r runs over the classes that are present in
    the batch, so it takes B * C * (present classes) multiplications and a dense matrix of (present classes, C). The
    state dict has the rates, so that a checkpoint's scores need no table.
    """

    def __init__(self, rates: Tensor, presence_threshold: float = 0.7) -> None:
        """Make the loss.

        Args:
            rates: of `concurrent_rates`, or any sparse or dense matrix of shape (C, C) in [0, 1].
            presence_threshold: the confidence from which a label is present.

        Raises:
            UsageError: rates are not a square matrix of values in [0, 1].
        """
        super().__init__()
        self.keep_rates(rates)
        self.presence_threshold = presence_threshold

    def forward(self, logits: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the batch's loss, a float32 scalar; arguments as of `MLImagesLoss`.

        Raises:
            UsageError: the shapes do not fit.
        """
        check_shapes(logits, targets, known, self.rates.shape[0])
        present = targets >= self.presence_threshold
        counted = torch.ones_like(present) if known is None else known
        present = present & counted
        rival = counted & ~present
        z = logits.to(torch.float32)
        # By the largest rival, not by a present class: beside that, rivals of the other present ones would underflow.
        z = z - z.detach().masked_fill(~rival, -torch.inf).amax(1, keepdim=True).nan_to_num(neginf=0.0)
        classes = present.any(0).nonzero().squeeze(1)
        suppression = torch.where(rival, z, -torch.inf).exp() @ self._suppressing(classes).T
        own = z[:, classes]
        # Without rivals that suppress it, a class has no loss; the logarithm of zero would have no gradient.
        without = suppression == 0
        log_denominator = torch.logaddexp(
            suppression.masked_fill(without, 1).log().masked_fill(without, -torch.inf), own
        )
        weight = torch.where(present, targets, 0)[:, classes].to(torch.float32)
        return (weight * (log_denominator - own)).sum() / len(logits)

    def _suppressing(self, classes: Tensor) -> Tensor:
        """Return 1 - r of some rows, dense, shape (len(classes), C)."""
        return 1 - self.rates.index_select(0, classes).to_dense()


def concurrent_probabilities(logits: Tensor, rates: Tensor) -> Tensor:
    """Return sigma_i = e^{z_i} / sum_j (1 - r_ij) e^{z_j}, the scores at inference (eq. 5), shape (B, C).

    Args:
        logits: shape (B, C).
        rates: sparse or dense, shape (C, C); a class does not make way to itself: its r_ii is 0.
    """
    return concurrent_log_odds(logits, rates).sigmoid()


def concurrent_log_odds(logits: Tensor, rates: Tensor) -> Tensor:
    """Return log(sigma / (1 - sigma)) of the scores at inference, float32, shape (B, C); arguments as above.

    It ascends with the score and, unlike that, still tells those apart that are nearly 0 or nearly 1. The rivals of a
    class are summed without those that it makes way to: they may be larger by more than a float64 tells apart. That is
    a matrix product with 1 - r, of B * C * C multiplications. A class without rivals has the odds of one whose rivals
    are 708 below the largest logit.
    """
    z = logits.to(torch.float64)
    z = z - z.amax(1, keepdim=True)
    powers = z.exp()
    classes = torch.arange(z.shape[1], device=z.device)
    rivals = torch.cat([powers @ _rivalry(rates, some).T for some in classes.split(_CLASSES_AT_A_TIME)], 1)
    return (z - rivals.clamp(min=torch.finfo(torch.float64).tiny).log()).to(torch.float32)


_CLASSES_AT_A_TIME = 512
"""Rows of a dense matrix of rates that are in memory together."""


def _rivalry(rates: Tensor, classes: Tensor) -> Tensor:
    """Return 1 - r of some classes, 0 for a class itself, dense, float64, shape (len(classes), C)."""
    kept = 1 - rates.index_select(0, classes).to_dense().to(torch.float64)
    return kept.scatter_(1, classes[:, None], 0)


def _make(run: Run, n_classes: int, rates: Tensor | None) -> ConcurrentSoftmaxLoss:
    none = torch.zeros(n_classes, n_classes, layout=torch.sparse_coo)
    return ConcurrentSoftmaxLoss(none if rates is None else rates, run.loss.presence_threshold)


def _scores(state: State, n_classes: int, where: object) -> Change:
    on_device = functools.cache(rates_of_state(state, n_classes, where=where).to)
    return lambda logits: concurrent_log_odds(logits, on_device(logits.device))


CONCURRENT_SOFTMAX = LossDefinition(
    make=_make,
    compares_classes=True,
    score="a score is the log-odds of concurrent softmax, computed from all logits and the rates of the loss",
    scores=_scores,
    check_state=check_rates,
)

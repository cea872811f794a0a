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

    It ascends with the score and, unlike that, still tells those apart that are nearly 0 or nearly 1, however far
    logits lie apart. A class without rivals has the odds of one whose rivals are 708 below the smallest logit. There is
    no gradient.
    """
    return _log_odds(logits, _concurrence(rates))


_LOST = 2.0**-23
"""What is left of a difference of float64 sums is exact to 1e-6 if it is above this share of them."""


def _concurrence(rates: Tensor) -> Tensor:
    """Return the rates with r_ii = 1, as a class is no rival of itself: sparse COO float64, shape (C, C)."""
    sparse = rates.to_sparse_coo().coalesce()
    (left, right), classes = sparse.indices(), torch.arange(len(rates), device=rates.device)
    apart = left != right
    pairs = torch.cat((torch.stack((left, right))[:, apart], classes.expand(2, -1)), 1)
    shares = torch.cat((sparse.values()[apart].to(torch.float64), torch.ones_like(classes, dtype=torch.float64)))
    return torch.sparse_coo_tensor(pairs, shares, rates.shape, check_invariants=True).coalesce()


def _log_odds(logits: Tensor, concurrence: Tensor) -> Tensor:
    """Return `concurrent_log_odds`, by what `_concurrence` makes of the rates."""
    z = logits.detach().to(torch.float64).T.contiguous()
    return (z - torch.maximum(_log_rivals(z, concurrence), z.amin(0) - 708)).T.to(torch.float32)


def _log_rivals(z: Tensor, concurrence: Tensor) -> Tensor:
    """Return log sum_j (1 - r_ij) e^{z_j}, -inf for a class without rivals; both of shape (C, B).

    A class makes way to few others, so the sum is that of all classes without sum_j r_ij e^{z_j}, a sparse product.
    Where next to nothing is left of the difference, it is lost in rounding. But there the class makes way to all of the
    largest classes, as a rival among them would leave more. These are added term by term, and the difference is taken
    anew of the smaller classes, on their own scale. Each round leaves classes of at most 2^-22 of the round's sum.
    """
    log_sums = torch.full_like(z, -torch.inf)
    classes, images = (torch.arange(n, device=z.device) for n in z.shape)
    pending = _with_rivals(concurrence)[:, None].expand(z.shape)
    while True:
        top = z.amax(0).nan_to_num(neginf=0.0)
        powers = (z - top).exp()
        total = powers.sum(0)
        rivals = total - torch.sparse.mm(concurrence, powers)
        lost = pending & (rivals <= _LOST * total) & (total > 0)
        found = torch.where(pending & ~lost, rivals, 0).log() + top
        log_sums[classes[:, None], images] = log_sums[classes[:, None], images].logaddexp(found)
        rows, columns = (lost.any(side).nonzero().squeeze(1) for side in (1, 0))
        if not len(rows):
            return log_sums
        classes, images, pending = classes[rows], images[columns], lost[rows[:, None], columns]
        concurrence = concurrence.index_select(0, rows).coalesce()
        z, powers, top, total = z[:, columns], powers[:, columns], top[columns], total[columns]
        large = powers >= (2 * _LOST * total).clamp(max=1)
        of_large = torch.sparse.mm(_remainders(concurrence), powers * large)
        found = torch.where(pending, of_large, 0).log() + top
        log_sums[classes[:, None], images] = log_sums[classes[:, None], images].logaddexp(found)
        z = z.masked_fill(large, -torch.inf)


def _remainders(concurrence: Tensor) -> Tensor:
    """Return 1 - r of the pairs of classes that have a rate."""
    return torch.sparse_coo_tensor(
        concurrence.indices(), 1 - concurrence.values(), concurrence.shape, is_coalesced=True, check_invariants=True
    )


def _with_rivals(concurrence: Tensor) -> Tensor:
    """Return which classes do not wholly make way to all others, bool, shape (C,)."""
    wholly = concurrence.indices()[0, concurrence.values() == 1]
    return torch.bincount(wholly, minlength=len(concurrence)) < len(concurrence)


def _make(run: Run, n_classes: int, rates: Tensor | None) -> ConcurrentSoftmaxLoss:
    none = torch.zeros(n_classes, n_classes, layout=torch.sparse_coo)
    return ConcurrentSoftmaxLoss(none if rates is None else rates, run.loss.presence_threshold)


def _scores(state: State, n_classes: int, where: object) -> Change:
    on_device = functools.cache(_concurrence(rates_of_state(state, n_classes, where=where)).to)
    return lambda logits: _log_odds(logits, on_device(logits.device))


CONCURRENT_SOFTMAX = LossDefinition(
    make=_make,
    compares_classes=True,
    score="a score is the log-odds of concurrent softmax, computed from all logits and the rates of the loss",
    scores=_scores,
    check_state=check_rates,
)

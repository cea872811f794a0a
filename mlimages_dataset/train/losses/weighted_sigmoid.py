"""One sum over the entries of a batch with weights per class, and its gradient; see `losses.ml_images`.

Legend: B images in a batch, C classes, N images in the global batch, x logits, y targets in [0, 1], u and v weights of
the positive and the negative term, j a class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mlimages_dataset.train.losses.fused_loss import compiled, loss_sum, slopes
from mlimages_dataset.train.losses.label_counts import labelled_entries
from mlimages_dataset.train.losses.row_chunks import row_chunks


@dataclass(frozen=True, slots=True)
class BatchWeights:
    """The weights of one global batch; those of classes are equal on every rank.

    Attributes:
        positive: u_j, float32, shape (C,).
        negative: v_j of the classes whose negatives all count, 0 elsewhere, float32, shape (C,).
        thinned: v_j of the classes whose negatives are down-sampled, 0 elsewhere, float32, shape (C,).
        windows: which images the down-sampled classes keep.
        fused: where all entries are computed, compute them by compiled kernels.
    """

    positive: Tensor
    negative: Tensor
    thinned: Tensor
    windows: Windows | None
    fused: bool = False


@dataclass(frozen=True, slots=True)
class Windows:
    """A random subset of the N images for each class: a window into one random order of them, cyclic.

    Which images come together is decided by one permutation; where a class's window begins, by its own draw. So each
    class gets a uniformly random subset of exactly the wanted size, for C + N random numbers instead of C * N.

    Attributes:
        start: first place of each class's window, int64, shape (C,).
        length: its number of places, 0 to N, int64, shape (C,).
        position: place in the random order of each image of this rank, int64, shape (images of this rank,).
        n_images: N.
    """

    start: Tensor
    length: Tensor
    position: Tensor
    n_images: int

    def entries(self, rows: slice) -> Tensor:
        """Return the selected entries of some images of this rank as row * C + class, int64, ascending by class.

        Args:
            rows: the images among those of this rank; rows count from its start.
        """
        places, row_at = self.position[rows].sort()
        twice = torch.cat((places, places + self.n_images))
        first = torch.searchsorted(places, self.start)
        n_selected = torch.searchsorted(twice, self.start + self.length) - first
        n_classes, n_rows = len(self.start), len(places)
        class_of = torch.repeat_interleave(torch.arange(n_classes, device=places.device), n_selected)
        before = n_selected.cumsum(0) - n_selected
        nth = torch.arange(len(class_of), device=places.device) - before[class_of]
        return row_at[(first[class_of] + nth) % n_rows] * n_classes + class_of


def weighted_sigmoid_loss(
    logits: Tensor, targets: Tensor, known: Tensor | None, weights: BatchWeights, first_row: int = 0
) -> Tensor:
    """Return the loss of the module's head, a float32 scalar, differentiable in the logits.

    Most entries have no weight: no label, and a class whose negatives are down-sampled or do not count. So where labels
    are sparse, only the classes with v_j > 0 are computed in full, and of the others the entries with a label and the
    sampled ones. A logit without weight is not looked at then, even if it is not finite.

    Neither direction keeps an intermediate result of the size of the logits: both go through the batch in chunks of
    rows, and the gradient is written once, after scaling, in the logits' own precision. (Kept from the forward pass in
    float16, before the gradient scaler's factor, most of it would underflow.)

    Args:
        logits: shape (B, C), of any floating type; computed in float32 (float64 stays).
        targets: shape (B, C), in [0, 1]; what unknown entries hold must be finite and is of no effect.
        known: bool, shape (B, C); None where everything is known.
        weights: of the global batch.
        first_row: place of the first image among those of this rank, where gradients are accumulated.
    """
    rows = slice(first_row, first_row + len(logits))
    sampled = None if weights.windows is None else weights.windows.entries(rows)
    classes, labelled = _with_weight(targets, weights.negative)
    loss: Tensor = _WeightedSigmoidLoss.apply(
        *(logits, targets, known, weights.positive, weights.negative, weights.thinned, classes, labelled, sampled),
        weights.fused and classes is None,
    )
    return loss


def _with_weight(targets: Tensor, negative: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Return the classes all of whose entries are computed, and the entries with labels of the others.

    Both int64, ascending; both None where all entries of all classes had better be computed.
    """
    labelled = labelled_entries(targets)
    if labelled is None:  # before anything that a GPU's host would wait for
        return None, None
    is_full = negative > 0
    (classes,) = torch.nonzero(is_full, as_tuple=True)
    if 2 * len(classes) > len(negative):
        return None, None
    return classes, labelled[~is_full[labelled % len(negative)]]


class _WeightedSigmoidLoss(torch.autograd.Function):
    """`weighted_sigmoid_loss` and its gradient."""

    @staticmethod
    def forward(  # noqa: PLR0917  # torch passes no keywords
        ctx: Any,  # torch declares no type that takes attributes
        logits: Tensor,
        targets: Tensor,
        known: Tensor | None,
        positive: Tensor,
        negative: Tensor,
        thinned: Tensor,
        classes: Tensor | None,
        labelled: Tensor | None,
        sampled: Tensor | None,
        fused: bool,  # noqa: FBT001 - torch passes no keywords
    ) -> Tensor:
        ctx.fused = fused
        ctx.save_for_backward(logits, targets, known, positive, negative, thinned, classes, labelled, sampled)
        entries = _Entries(logits, targets, known)
        sums = [compiled(loss_sum)(logits, targets, known, positive, negative)] if fused else []
        for rows in () if fused else row_chunks(logits, logits.shape[1] if classes is None else len(classes)):
            x, of_both, of_positive = entries.of_classes(rows, classes, positive, negative)
            sums.append(_dot(functional.softplus(x), of_both) - _dot(of_positive, x))
        if labelled is not None:
            x, weight = entries.labelled(labelled, positive)
            sums.append(_dot(functional.softplus(-x), weight))
        if sampled is not None:
            x, weight = entries.sampled(sampled, thinned)
            sums.append(_dot(functional.softplus(x), weight))
        return torch.stack(sums).sum() / len(logits)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        logits, targets, known, positive, negative, thinned, classes, labelled, sampled = ctx.saved_tensors
        scale = gradient / len(logits)
        positive, negative, thinned = positive * scale, negative * scale, thinned * scale
        entries = _Entries(logits, targets, known)
        if ctx.fused:
            result = compiled(slopes)(logits, targets, known, positive, negative).contiguous()
        else:
            new = torch.empty_like if classes is None else torch.zeros_like
            result = new(logits, memory_format=torch.contiguous_format)
        for rows in () if ctx.fused else row_chunks(logits, logits.shape[1] if classes is None else len(classes)):
            x, of_both, of_positive = entries.of_classes(rows, classes, positive, negative)
            of_rows = x.sigmoid().mul_(of_both).sub_(of_positive)
            if classes is None:
                result[rows] = of_rows
            else:
                result[rows].index_copy_(1, classes, of_rows.to(result.dtype))
        flat = result.view(-1)
        if labelled is not None:
            x, weight = entries.labelled(labelled, positive)
            flat[labelled] = -((-x).sigmoid() * weight).to(flat.dtype)
        if sampled is not None:
            x, weight = entries.sampled(sampled, thinned)
            flat[sampled] += (x.sigmoid() * weight).to(flat.dtype)
        return result, *(None,) * 9


@dataclass(frozen=True, slots=True)
class _Entries:
    """The entries of a batch, all of shape (B, C)."""

    logits: Tensor
    targets: Tensor
    known: Tensor | None

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the computation."""
        return torch.float64 if self.logits.dtype == torch.float64 else torch.float32

    def of_classes(
        self, rows: slice, classes: Tensor | None, positive: Tensor, negative: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return x, u * y + v * (1 - y), and u * y, of some rows and classes; None for all classes."""

        def taken(matrix: Tensor) -> Tensor:
            return (matrix[rows] if classes is None else matrix[rows].index_select(1, classes)).to(self.dtype)

        if classes is not None:
            positive, negative = positive[classes], negative[classes]
        y = taken(self.targets)
        of_both, of_positive = torch.addcmul(negative, y, positive - negative), y * positive
        if self.known is not None:
            is_known = taken(self.known)
            of_both *= is_known
            of_positive *= is_known
        return taken(self.logits), of_both, of_positive

    def labelled(self, entries: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of some entries, and the weights u * y of their positive terms."""
        x, y, known = self._at(entries)
        return x, positive[entries % len(positive)] * y * known

    def sampled(self, entries: Tensor, thinned: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the entries that down-sampling keeps, and the weights of their negative terms."""
        x, y, known = self._at(entries)
        return x, thinned[entries % len(thinned)] * (1 - y) * known

    def _at(self, entries: Tensor) -> tuple[Tensor, Tensor, Tensor | float]:
        x, y = self.logits.reshape(-1)[entries].to(self.dtype), self.targets.reshape(-1)[entries].to(self.dtype)
        return x, y, 1.0 if self.known is None else self.known.reshape(-1)[entries].to(self.dtype)


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """Return the sum of the products of all elements."""
    return torch.dot(left.reshape(-1), right.reshape(-1))

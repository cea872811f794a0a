"""Quality of predictions: instance-level precision, recall and F1 at k, and average precision for each class.

Legend: B images in a batch, C classes, N images, K the numbers of predictions asked for.

An unknown entry counts neither as positive nor as negative. An image that is not valid, such as padding of the last
batch, does not count at all. Sums have `+` and an empty element; `merged` sums over ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlimages_dataset.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    Reduce = Callable[[Tensor], Tensor]

SCORE_LIMIT = 16.0
"""Histograms do not distinguish scores beyond this limit, on either side of 0."""
_CHUNK_ELEMENTS = 1 << 20
_CLASSES_AT_A_TIME = 512


@dataclass(frozen=True, slots=True)
class InstanceScores:
    """Means over images for one k (section 4.2, eq. 3 to 5)."""

    k: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class InstanceSums:
    """Sums over images of their precision, recall and F1 at each k.

    Attributes:
        ks: numbers of predictions.
        sums: float64, shape (K, 3): precision, recall, F1.
        n_images: images counted, int64 scalar: those with at least one label, for without one there is no recall.
    """

    ks: tuple[int, ...]
    sums: Tensor
    n_images: Tensor

    @classmethod
    def empty(cls, ks: tuple[int, ...], device: torch.device | str = "cpu") -> InstanceSums:
        """Return the sums over no images."""
        return cls(
            ks,
            torch.zeros(len(ks), 3, dtype=torch.float64, device=device),
            torch.zeros((), dtype=torch.int64, device=device),
        )

    def __add__(self, other: InstanceSums) -> InstanceSums:
        if self.ks != other.ks:
            raise UsageError(
                f"scores at k = {self.ks} and at k = {other.ks} cannot be added", remedy="use the same list of k"
            )
        return InstanceSums(self.ks, self.sums + other.sums, self.n_images + other.n_images)

    def merged(self, reduce: Reduce) -> InstanceSums:
        """Return the sums over all ranks; `reduce` sums a tensor over them."""
        return InstanceSums(self.ks, reduce(self.sums), reduce(self.n_images))

    def compute(self) -> tuple[InstanceScores, ...]:
        """Return the means, one per entry of ks; NaN if no image was counted."""
        means = (self.sums / self.n_images).tolist()
        return tuple(InstanceScores(k, *mean) for k, mean in zip(self.ks, means, strict=True))


@torch.no_grad()
def instance_sums(
    logits: Tensor,
    targets: Tensor,
    known: Tensor | None = None,
    valid: Tensor | None = None,
    *,
    ks: tuple[int, ...] = (5, 10),
    presence_threshold: float = 0.7,
) -> InstanceSums:
    """Return the sums over a batch of precision, recall and F1 of the k classes with the highest logits.

    With h hits among k predictions and n labels: P = h / k (eq. 3), R = h / n (eq. 4), F1 = 2 P R / (P + R) =
    2 h / (k + n) (eq. 5). Predictions are the k highest of the known classes, or all of them if fewer are known.

    Args:
        logits: shape (B, C).
        targets: confidences, shape (B, C); a label has at least the threshold.
        known: bool, shape (B, C); None where everything is known.
        valid: bool, shape (B,); None where every image counts.
        ks: numbers of predictions.
        presence_threshold: the confidence from which a label is present.
    """
    n_classes = logits.shape[1]
    present = targets >= presence_threshold
    scores = logits.to(torch.float32)
    if known is None:
        n_known = torch.full_like(present[:, 0], n_classes, dtype=torch.int64)
    else:
        present = present & known
        scores = scores.masked_fill(~known, -torch.inf)
        n_known = known.sum(1)
    best = scores.topk(min(max(ks), n_classes), dim=1).indices
    n_hits_within = present.gather(1, best).cumsum(1)
    n_labels = present.sum(1)
    counted = n_labels > 0 if valid is None else valid & (n_labels > 0)
    sums = []
    for k in ks:
        n_hits = n_hits_within[:, min(k, n_classes) - 1].to(torch.float64)
        n_predicted = n_known.clamp(1, k)
        by_image = torch.stack(
            (n_hits / n_predicted, n_hits / n_labels.clamp(min=1), 2 * n_hits / (n_predicted + n_labels)), dim=1
        )
        sums.append(by_image[counted].sum(0))
    return InstanceSums(ks, torch.stack(sums), counted.sum())


@dataclass(frozen=True, slots=True)
class TopHits:
    """Numbers of images with a present label among their k highest logits, for images with one label each.

    As torchvision's reference evaluation counts them, so that its accuracies are the same on the same logits:
    https://github.com/pytorch/vision/blob/main/references/classification/utils.py (`accuracy`). Of equal logits,
    `topk` decides there and here, which is why the largest k is asked for in both.

    Attributes:
        ks: numbers of classes, ascending; none for a network whose images have several labels.
        hits: int64, shape (K,).
        n_images: images counted, int64 scalar: those with a label.
    """

    ks: tuple[int, ...]
    hits: Tensor
    n_images: Tensor

    @classmethod
    def empty(cls, ks: tuple[int, ...], device: torch.device | str = "cpu") -> TopHits:
        """Return the numbers for no images."""
        none = torch.zeros(len(ks) + 1, dtype=torch.int64, device=device)
        return cls(ks, none[1:], none[0])

    def __add__(self, other: TopHits) -> TopHits:
        if self.ks != other.ks:
            raise UsageError(f"hits at k = {self.ks} and at k = {other.ks} cannot be added", remedy="use the same k")
        return TopHits(self.ks, self.hits + other.hits, self.n_images + other.n_images)

    def merged(self, reduce: Reduce) -> TopHits:
        """Return the numbers over all ranks; `reduce` sums a tensor over them."""
        return TopHits(self.ks, reduce(self.hits), reduce(self.n_images))

    def accuracies(self) -> dict[int, float]:
        """Return the share of the images that were hit, by k; NaN if no image was counted."""
        return dict(zip(self.ks, (self.hits.double() / self.n_images).tolist(), strict=True))

    @torch.no_grad()
    def updated(
        self, logits: Tensor, targets: Tensor, valid: Tensor | None = None, *, presence_threshold: float = 0.7
    ) -> TopHits:
        """Return the numbers with one more batch; arguments as for `instance_sums`."""
        if not self.ks:
            return self
        present = targets >= presence_threshold
        counted = present.any(1) if valid is None else valid & present.any(1)
        best = logits.topk(self.ks[-1], dim=1).indices
        is_hit = present.gather(1, best).cumsum(1)[counted] > 0
        return TopHits(
            self.ks, self.hits + torch.stack([is_hit[:, k - 1].sum() for k in self.ks]), self.n_images + counted.sum()
        )


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """Average precision of each class, between two bounds.

    Attributes:
        lower: the minimum over all orders within the bins, float64, shape (C,), NaN without positives.
        upper: the maximum, likewise.
        n_positives: positives of each class, int64, shape (C,).
    """

    lower: Tensor
    upper: Tensor
    n_positives: Tensor

    @property
    def estimate(self) -> Tensor:
        """The middle of the bounds, shape (C,); its error is at most half their distance."""
        return (self.lower + self.upper) / 2


@dataclass(frozen=True, slots=True)
class ScoreHistogram:
    """Histograms of every class's logits, separately for positives and negatives.

    They replace N * C scores (4 GB in float32 for 90,000 images of 11,166 classes) by 2 * C * bins counts (91 MB) that
    add up over ranks. Average precision needs only the order of the scores. The default bins are 1/32 wide from -16
    to 16, the resolution of bfloat16 between 4 and 8.

    Attributes:
        counts: int32, shape (2, C, bins): negatives, then positives; bins ascend, and the outer ones are open.
        limit: the bins divide [-limit, limit].
    """

    counts: Tensor
    limit: float

    @classmethod
    def empty(
        cls, n_classes: int, n_bins: int = 1024, limit: float = SCORE_LIMIT, device: torch.device | str = "cpu"
    ) -> ScoreHistogram:
        """Return the histograms for no images."""
        return cls(torch.zeros(2, n_classes, n_bins, dtype=torch.int32, device=device), limit)

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        if self.counts.shape != other.counts.shape or self.limit != other.limit:
            raise UsageError("histograms with different bins cannot be added", remedy="make both with the same options")
        return ScoreHistogram(self.counts + other.counts, self.limit)

    def merged(self, reduce: Reduce) -> ScoreHistogram:
        """Return the histograms over all ranks; `reduce` sums a tensor over them."""
        return ScoreHistogram(reduce(self.counts), self.limit)

    def centres(self) -> Tensor:
        """Return the middle of each bin, float64, shape (bins,)."""
        n_bins = self.counts.shape[2]
        places = torch.arange(n_bins, dtype=torch.float64, device=self.counts.device)
        return (places + 0.5) * (2 * self.limit / n_bins) - self.limit

    @torch.no_grad()
    def update(
        self,
        logits: Tensor,
        targets: Tensor,
        known: Tensor | None = None,
        valid: Tensor | None = None,
        *,
        presence_threshold: float = 0.7,
    ) -> None:
        """Add a batch in place; arguments as for `instance_sums`. A NaN logit counts as the lowest."""
        _, n_classes, n_bins = self.counts.shape
        flat = self.counts.view(-1)
        first_bin = torch.arange(n_classes, device=flat.device) * n_bins
        n_rows = max(1, _CHUNK_ELEMENTS // n_classes)
        for first in range(0, len(logits), n_rows):
            rows = slice(first, first + n_rows)
            scaled = (logits[rows].to(torch.float32) + self.limit) * (n_bins / (2 * self.limit))
            bins = scaled.nan_to_num(nan=0.0).clamp_(0, n_bins - 1).to(torch.int64)
            of_positives = (targets[rows] >= presence_threshold).to(torch.int64) * (n_classes * n_bins)
            counted = torch.ones_like(bins, dtype=torch.int32)
            if known is not None:
                counted *= known[rows]
            if valid is not None:
                counted *= valid[rows, None]
            flat.scatter_add_(0, (bins + first_bin + of_positives).flatten(), counted.flatten())

    @torch.no_grad()
    def compute(self) -> AveragePrecision:
        """Return the bounds of each class's average precision.

        Average precision is the mean over positives of TP / (TP + FP) at the positive's rank. The i-th of p positives
        in a bin with n negatives, after P positives and M negatives in higher bins, has TP = P + i, and FP from M (its
        bin's negatives all below it) to M + n (all above it). The sum over i of (P + i) / (P + i + FP) is
        p - FP * (digamma(P + p + FP + 1) - digamma(P + FP + 1)). The bounds hold for distinct scores, and for equal
        ones in any order.
        """
        parts = [self._bounds(classes) for classes in self.counts.split(_CLASSES_AT_A_TIME, dim=1)]
        n_positives = self.counts[1].sum(1, dtype=torch.int64)
        lower, upper = (torch.cat(bounds) / n_positives for bounds in zip(*parts, strict=True))
        return AveragePrecision(lower, upper, n_positives)

    @staticmethod
    def _bounds(counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the minimum and the maximum sum of precisions over the positives of some classes."""
        # From the highest bin down.
        negatives, positives = counts.flip(2).to(torch.float64)
        classes, bins = positives.nonzero(as_tuple=True)
        n_bin_positives = positives[classes, bins]
        before = positives.cumsum(1)[classes, bins] - n_bin_positives
        most_false = negatives.cumsum(1)[classes, bins]
        least_false = most_false - negatives[classes, bins]
        sums = [
            n_bin_positives
            - false * (torch.digamma(before + n_bin_positives + false + 1) - torch.digamma(before + false + 1))
            for false in (most_false, least_false)
        ]
        zeros = torch.zeros(len(positives), dtype=torch.float64, device=counts.device)
        lower, upper = (zeros.index_add(0, classes, one) for one in sums)
        return lower, upper


@torch.no_grad()
def average_precision(scores: Tensor, present: Tensor, known: Tensor | None = None) -> Tensor:
    """Return the exact average precision of each class, float64, shape (C,), NaN without positives.

    The sum over thresholds of (recall gained) * precision, equal scores being one threshold, as scikit-learn's
    `average_precision_score`. Takes several matrices of (N, C): for sets that fit into memory.

    Args:
        scores: finite, shape (N, C).
        present: bool, shape (N, C).
        known: bool, shape (N, C); None where everything is known.
    """
    if known is not None:
        scores, present = scores.masked_fill(~known, -torch.inf), present & known
    ordered, order = scores.sort(dim=0, descending=True)
    is_positive = present.gather(0, order)
    rank = torch.arange(1, len(scores) + 1, device=scores.device)[:, None]
    is_last = torch.ones_like(is_positive)
    is_last[:-1] = ordered[:-1] != ordered[1:]
    # The rank at which each score's run of equal scores ends: the least such rank from here on.
    ends = torch.where(is_last, rank, len(scores)).flip(0).cummin(0).values.flip(0)
    true_positives = is_positive.cumsum(0).gather(0, ends - 1)
    precision = true_positives.to(torch.float64) / ends
    return torch.where(is_positive, precision, 0).sum(0) / present.sum(0)

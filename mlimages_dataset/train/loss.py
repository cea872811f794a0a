"""The weighted sigmoid cross-entropy of Tencent ML-Images (Wu et al. 2019, sections 4.1.1 and 4.1.3), in two variants.

Legend: B images in a batch, C classes, N images in the global batch (all ranks, all accumulated micro-batches),
x logits, y targets in [0, 1], p = sigmoid(x), j a class, i an image.

Both variants are one sum over entries with weights per class,

    loss = 1/B * sum_ij known_ij * ( u_j * y_ij * softplus(-x_ij) + v_j * s_ij * (1 - y_ij) * softplus(x_ij) )
    d loss / d x_ij = 1/B * known_ij * ( w_ij * p_ij - u_j * y_ij ),   w_ij = u_j * y_ij + v_j * s_ij * (1 - y_ij)

with softplus(-x) = -log p and softplus(x) = -log(1 - p). They differ in the weights u_j of the positive term and v_j of
the negative term, and in the selection s_ij of negatives: see `paper_weights` and `released_weights`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train import distributed
from mlimages_dataset.train.draws import draw_below, draw_positions, draw_uniform, stream_key
from mlimages_dataset.train.fused_loss import compiled, loss_sum, present_counts, slopes

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOOR = 0.01
"""The least adaptive weight (section 4.1.1)."""
RELEASED_FLOOR = 0.001
"""The least weight of a class without positives in the published code."""

_CHUNK_ELEMENTS_CORE = 1 << 18
"""Entries computed at a time by one thread: 1 MiB of float32, so that intermediate results stay in a core's cache."""
_CHUNK_ELEMENTS_CORES = 1 << 19
"""The same for each of several threads, which wait for each other after every operation: fewer and longer ones."""
_CHUNK_ELEMENTS_GPU = 1 << 22
"""Enough to fill a GPU; intermediate results take 16 MiB each, whatever the batch."""
_BLOCK = 64
"""Entries that are looked at together for labels: a cache line of bytes, or four of float32."""
_CLASSES_STREAM, _ORDER_STREAM, _WINDOWS_STREAM, _ROUNDING_STREAM = range(4)


class Variant(enum.StrEnum):
    """Which arithmetic."""

    PAPER = "paper"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """What the labels of some images say about each class; counts of micro-batches and of ranks add up.

    Attributes:
        present: images with the class present, int64, shape (C,).
        known: images in which the class is known, int64, shape (C,).
        n_images: number of images.
    """

    present: Tensor
    known: Tensor
    n_images: int

    def __add__(self, other: LabelCounts) -> LabelCounts:
        return LabelCounts(self.present + other.present, self.known + other.known, self.n_images + other.n_images)


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


def count_labels(
    targets: Tensor, known: Tensor | None, presence_threshold: float, *, fused: bool = False
) -> LabelCounts:
    """Return the images with each class present, target >= threshold and known, and with each class known."""
    n_images, n_classes = targets.shape
    labelled = labelled_entries(targets)
    if labelled is None and fused:
        present = compiled(present_counts)(targets, known, presence_threshold)
    elif labelled is None:
        present = _count_in_chunks(targets, known, presence_threshold)
    else:
        is_present = targets.reshape(-1)[labelled].to(torch.float32) >= presence_threshold
        if known is not None:
            is_present &= known.reshape(-1)[labelled]
        present = torch.bincount(labelled[is_present] % n_classes, minlength=n_classes)
    if known is None:
        return LabelCounts(present, torch.full_like(present, n_images), n_images)
    # As bytes: a sum over booleans takes several times as long.
    return LabelCounts(present, known.view(torch.uint8).sum(0, dtype=torch.int32).to(torch.int64), n_images)


def _count_in_chunks(targets: Tensor, known: Tensor | None, presence_threshold: float) -> Tensor:
    """Return the images with each class present, int64, shape (C,), by looking at every entry."""
    present = torch.zeros(targets.shape[1], dtype=torch.int64, device=targets.device)
    for rows in _row_chunks(targets, targets.shape[1]):
        # In place on floats: comparisons that write booleans, and sums over booleans, take several times as long.
        is_present = targets[rows].to(torch.float32, copy=True).ge_(presence_threshold)
        if known is not None:
            is_present *= known[rows].to(torch.float32)
        present += is_present.sum(0).to(torch.int64)
    return present


def labelled_entries(targets: Tensor) -> Tensor | None:
    """Return the entries above 0 as row * C + class, int64, ascending; None where listing them would not pay.

    Labels are few: most blocks of 64 entries hold none, and one pass that takes the maximum of each block tells which.
    It pays where at most half of the blocks hold any, on a CPU: a GPU's host would wait for the number of entries. NaN
    is listed.
    """
    if targets.device.type != "cpu":
        return None
    flat = targets.reshape(-1)
    n_blocks = len(flat) // _BLOCK
    tail = n_blocks * _BLOCK
    blocks = flat[:tail].view(n_blocks, _BLOCK)
    (kept,) = _above_zero(blocks.amax(1))
    if 2 * len(kept) > n_blocks:
        return None
    nth, within = _above_zero(blocks[kept])
    (behind,) = _above_zero(flat[tail:])
    return torch.cat((kept[nth] * _BLOCK + within, behind + tail))


def _above_zero(values: Tensor) -> tuple[Tensor, ...]:
    return torch.nonzero(~(values <= 0), as_tuple=True)  # so written, NaN is above


def next_streak(streak: Tensor, positive: Tensor, counted: Tensor) -> Tensor:
    """Return each class's streak after one more batch, shape (C,).

    A streak of t batches with positives is +t, one of t batches without is -t; a change of status begins at 1.

    Args:
        streak: the streaks before, 0 before the first batch, integers, shape (C,).
        positive: classes with a positive in the batch, bool, shape (C,).
        counted: classes whose batch without positives counts, bool, shape (C,).
    """
    return torch.where(positive, streak.clamp(min=0) + 1, streak.clamp(max=0) - counted.to(streak.dtype))


def positive_coefficient(batches: Tensor) -> Tensor:
    """Return r^1 = max(0.01, log10(10 / (0.01 + t))) (section 4.1.1) after t batches."""
    return torch.log10(10 / (0.01 + batches)).clamp(min=FLOOR)


def negative_coefficient(batches: Tensor, floor: float = FLOOR) -> Tensor:
    """Return r^0 = log10(10 / (8 + t)) (section 4.1.1) after t batches, or the floor where it is at most 0.01."""
    coefficient = torch.log10(10 / (8 + batches))
    return torch.where(coefficient > FLOOR, coefficient, floor)


def paper_weights(streak: Tensor, positive: Tensor, selected: Tensor, positive_weight: float) -> tuple[Tensor, Tensor]:
    """Return u and v of eq. 1, each of shape (C,): u_j = eta * r^1 / C and v_j = r^0 / C.

    The weight depends on the entry's own label. Classes without positives have both if selected, else neither.
    """
    active = (positive | selected).to(torch.float32) / len(streak)
    batches = streak.abs()
    return active * positive_weight * positive_coefficient(batches), active * negative_coefficient(batches)


def released_weights(
    streak: Tensor, positive: Tensor, selected: Tensor, positive_weight: float
) -> tuple[Tensor, Tensor]:
    """Return u and v of the published code, each of shape (C,): u_j = eta * a_j and v_j = a_j.

    One coefficient a_j per class weighs both terms: r^1 if it has positives in the batch; r^0, with the floor 0.001, if
    it has none and is selected; 0 otherwise. There is no division by the number of classes.
    """
    batches = streak.abs()
    without_positives = selected * negative_coefficient(batches, RELEASED_FLOOR)
    coefficient = torch.where(positive, positive_coefficient(batches), without_positives)
    return positive_weight * coefficient, coefficient


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


class MLImagesLoss(nn.Module):
    """The loss of Tencent ML-Images, averaged over the images of the batch.

    In training, each call is one batch: it counts the batch's labels over all ranks, moves the streaks on and draws the
    selections. Where gradients are accumulated, count the micro-batches first and `observe` their sum once:

        weights = loss.observe(sum of count_labels(...) of the micro-batches)
        for micro-batch k:  weighted_sigmoid_loss(logits, targets, known, weights, first_row=images before k) / n

    In evaluation mode, a batch is weighed as the next one would be, and leaves no trace.

    Attributes:
        streak: signed number of batches since the last change of status, see `next_streak`; int64, shape (C,).
        step: number of batches so far, int64 scalar.
        seed: of the selections, int64 scalar. With `step` it determines every draw, so all are buffers: a checkpoint
            holds them, and a resumed run draws what the uninterrupted one would have.
        weighed: of each class so far: sum of the weights of its positives, their number, and the same of its negatives
            (see `odds_factor`); float64, shape (4, C).
    """

    streak: Tensor
    step: Tensor
    seed: Tensor
    weighed: Tensor

    def __init__(  # noqa: PLR0917  # hyper-parameters, most often given by name
        self,
        n_classes: int,
        variant: str = Variant.RELEASED,
        positive_weight: float = 12.0,
        absent_class_rate: float = 0.1,
        negatives_per_positive: float | None = 5,
        presence_threshold: float = 0.7,
        seed: int = 0,
        *,
        fused: bool = False,
    ) -> None:
        """Make the loss of n_classes classes.

        Args:
            n_classes: C.
            variant: a value of `Variant`.
            positive_weight: eta, the cost of positives (12 in section 4.1.1).
            absent_class_rate: probability that a class without positives in the batch is updated (0.1 in 4.1.3).
            negatives_per_positive: negatives kept for each positive of a class that has positives (5 in 4.1.3); None
                keeps all. The published code does not down-sample: of no effect in the `released` variant.
            presence_threshold: the confidence from which a label is present.
            seed: of the random selections.
            fused: compute by compiled kernels what else goes through a batch in chunks: all entries, on a GPU.

        Raises:
            UsageError: a value is outside its range.
        """
        super().__init__()
        if variant not in list(Variant):
            raise UsageError(f"no loss variant {variant!r}", remedy=f"choose from {', '.join(Variant)}")
        if not 0 <= absent_class_rate <= 1:
            raise UsageError(f"absent_class_rate is {absent_class_rate}", remedy="give a probability, 0 to 1")
        if not 0 < presence_threshold <= 1:
            raise UsageError(
                f"presence_threshold is {presence_threshold}", remedy="give a confidence, above 0 and at most 1"
            )
        if negatives_per_positive is not None and negatives_per_positive <= 0:
            raise UsageError(
                f"negatives_per_positive is {negatives_per_positive}",
                remedy="give a positive number, or none to keep all",
            )
        self.n_classes = n_classes
        self.variant = Variant(variant)
        self.positive_weight = positive_weight
        self.absent_class_rate = absent_class_rate
        self.negatives_per_positive = negatives_per_positive
        self.presence_threshold = presence_threshold
        self.fused = fused
        self.register_buffer("streak", torch.zeros(n_classes, dtype=torch.int64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seed", torch.tensor(seed, dtype=torch.int64))
        self.register_buffer("weighed", torch.zeros(4, n_classes, dtype=torch.float64))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        state_dict.setdefault(f"{prefix}weighed", torch.zeros_like(self.weighed))  # checkpoints of before lack it
        super()._load_from_state_dict(state_dict, prefix, *others)

    def forward(self, logits: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the batch's loss, a float32 scalar.

        Args:
            logits: shape (B, C).
            targets: confidence of each label, 0 to 1, shape (B, C).
            known: bool, shape (B, C): an entry where it is false adds neither loss nor gradient nor presence.

        Raises:
            UsageError: the shapes do not fit.
        """
        check_shapes(logits, targets, known, self.n_classes)
        weights = self.observe(count_labels(targets, known, self.presence_threshold, fused=self.fused))
        return weighted_sigmoid_loss(logits, targets, known, weights)

    @torch.no_grad()
    def observe(self, counts: LabelCounts) -> BatchWeights:
        """Return the weights of the batch whose labels this rank counted; in training, move on by one batch.

        A collective call: every rank makes it, once a batch.
        """
        everywhere, first_row = _over_ranks(counts)
        positive = everywhere.present > 0
        selected = ~positive & (draw_uniform(self._key(_CLASSES_STREAM), self.n_classes) < self.absent_class_rate)
        released = self.variant is Variant.RELEASED
        streak = next_streak(self.streak, positive, selected if released else ~positive)
        weigh = released_weights if released else paper_weights
        of_positives, of_negatives = weigh(streak, positive, selected, self.positive_weight)
        thinned, windows = torch.zeros_like(of_negatives), None
        negatives = kept = everywhere.known - everywhere.present
        if not released and self.negatives_per_positive is not None:
            # Where there are no more negatives than wanted, all are kept.
            wanted = everywhere.present.to(torch.float64) * self.negatives_per_positive
            is_thinned = positive & (wanted < negatives)
            kept = torch.where(is_thinned, wanted, negatives)
            thinned = torch.where(is_thinned, of_negatives, 0)
            rows = slice(first_row, first_row + counts.n_images)
            windows = self._windows(everywhere, torch.where(is_thinned, wanted, 0), rows)
        if self.training:
            self.streak.copy_(streak)
            self.step += 1
            present = everywhere.present
            self.weighed += torch.stack((of_positives * present, present, of_negatives * kept, negatives))
        return BatchWeights(of_positives, of_negatives - thinned, thinned, windows, self.fused)

    def odds_factor(self) -> Tensor:
        """Return by what factor the weights raise the odds of each class, float32, shape (C,).

        The loss of a class is least at the true odds p / (1 - p) times the mean weight of its positives over that of
        its negatives. This is eta where both always count, and more where negatives count in few batches. It is 1 for a
        class that has had no positive or no weighed negative.
        """
        of_positives, positives, of_negatives, negatives = self.weighed
        factor = (of_positives / positives) / (of_negatives / negatives)
        return torch.where(torch.isfinite(factor) & (factor > 0), factor, 1).to(torch.float32)

    def extra_repr(self) -> str:
        """Return the options, for the module's representation."""
        return (
            f"{self.n_classes}, variant={self.variant.value!r}, positive_weight={self.positive_weight}, "
            f"absent_class_rate={self.absent_class_rate}, negatives_per_positive={self.negatives_per_positive}, "
            f"presence_threshold={self.presence_threshold}"
        )

    def _windows(self, counts: LabelCounts, wanted: Tensor, rows: slice) -> Windows:
        """Return which of the N images each class keeps, so that `wanted` negatives (C,) are expected among them.

        An image is drawn whatever its label, so N / negatives times as many are drawn as negatives are wanted, rounded
        up or down at random.
        """
        rounding = draw_uniform(self._key(_ROUNDING_STREAM), self.n_classes)
        negatives = (counts.known - counts.present).clamp(min=1)
        length = (wanted * counts.n_images / negatives + rounding).to(torch.int64).clamp(max=counts.n_images)
        start = draw_below(self._key(_WINDOWS_STREAM), self.n_classes, counts.n_images)
        position = draw_positions(self._key(_ORDER_STREAM), counts.n_images)[rows]
        return Windows(start, length, position, counts.n_images)

    def _key(self, stream: int) -> Tensor:
        return stream_key(self.seed, self.step, stream)


def prior_bias(class_counts: Tensor, n_images: int) -> Tensor:
    """Return the head's initial bias, the log-odds of each class's prior, float32, shape (C,).

    With it the network starts from the classes' frequencies and not from one half (Lin et al. 2017, section 4.1). The
    empirical logit log((n + 1/2) / (N - n + 1/2)) is finite for classes that no image or every image has.

    Args:
        class_counts: training images with each class, shape (C,).
        n_images: training images.

    Raises:
        UsageError: a class has more images than there are.
    """
    counts = class_counts.to(torch.float64)
    if bool((counts > n_images).any() | (counts < 0).any()):
        raise UsageError(
            f"a class has {int(counts.max())} of {n_images} images", remedy="count classes and images on the same table"
        )
    return ((counts + 0.5) / (n_images - counts + 0.5)).log().to(torch.float32)


def check_shapes(logits: Tensor, targets: Tensor, known: Tensor | None, n_classes: int | None = None) -> None:
    """Refuse a batch whose parts do not fit together.

    Raises:
        UsageError: logits, targets and known are not all of one shape (B, C), B is 0, or C is another number of
            classes.
    """
    if len(logits) == 0:
        raise UsageError("the batch has no images", remedy="leave out empty batches")
    shapes = {tuple(logits.shape), tuple(targets.shape)} | (set() if known is None else {tuple(known.shape)})
    if len(shapes) != 1 or logits.ndim != 2:  # noqa: PLR2004  # a matrix
        raise UsageError(
            f"logits are of shape {tuple(logits.shape)}, targets of {tuple(targets.shape)}"
            + ("" if known is None else f", known of {tuple(known.shape)}"),
            remedy="give all of them one row an image and one column a class",
        )
    if n_classes is not None and logits.shape[1] != n_classes:
        raise UsageError(
            f"logits of {logits.shape[1]} classes for a loss of {n_classes}",
            remedy="make the model and the loss for the same vocabulary",
        )


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
        for rows in () if fused else _row_chunks(logits, logits.shape[1] if classes is None else len(classes)):
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
        for rows in () if ctx.fused else _row_chunks(logits, logits.shape[1] if classes is None else len(classes)):
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


def _row_chunks(matrix: Tensor, n_columns: int) -> Iterator[slice]:
    """Return slices that cover a matrix's rows, each of about as many entries as are computed at a time.

    Args:
        matrix: shape (rows, any).
        n_columns: columns that are computed.
    """
    n_rows = max(1, _chunk_elements(matrix.device) // max(1, n_columns))
    return (slice(first, first + n_rows) for first in range(0, len(matrix), n_rows))


def _chunk_elements(device: torch.device) -> int:
    """Return how many entries are computed at a time on a device."""
    if device.type != "cpu":
        return _CHUNK_ELEMENTS_GPU
    n_threads = torch.get_num_threads()
    return _CHUNK_ELEMENTS_CORE if n_threads == 1 else _CHUNK_ELEMENTS_CORES * n_threads


def _over_ranks(counts: LabelCounts) -> tuple[LabelCounts, int]:
    """Return the counts of the global batch, and the place of this rank's first image in it."""
    if distributed.n_ranks() == 1:
        return counts, 0
    rank = distributed.rank()
    images_of_rank = torch.zeros(distributed.n_ranks(), dtype=torch.int64, device=counts.present.device)
    images_of_rank[rank] = counts.n_images
    # One message: latency, not size, is what a small reduction costs.
    total = distributed.sum_over_ranks(torch.cat((counts.present, counts.known, images_of_rank)))
    n_classes = len(counts.present)
    present, known, images = total.split((n_classes, n_classes, len(images_of_rank)))
    n_images = images.tolist()
    return LabelCounts(present, known, sum(n_images)), sum(n_images[:rank])

"""The weighted sigmoid cross-entropy of Tencent ML-Images (Wu et al. 2019, sections 4.1.1 and 4.1.3), in two variants.

Legend: B images in a batch, C classes, N images in the global batch (all ranks, all accumulated micro-batches),
x logits, y targets in [0, 1], p = sigmoid(x), j a class, i an image.

Both variants are one sum over entries with weights per class,

    loss = 1/B * sum_ij known_ij * ( u_j * y_ij * softplus(-x_ij) + v_j * s_ij * (1 - y_ij) * softplus(x_ij) )
    d loss / d x_ij = 1/B * known_ij * ( w_ij * p_ij - u_j * y_ij ),   w_ij = u_j * y_ij + v_j * s_ij * (1 - y_ij)

with softplus(-x) = -log p and softplus(x) = -log(1 - p). They differ in the weights u_j of the positive term and v_j of
the negative term, and in the selection s_ij of negatives: see `adaptive_weights`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.losses.adaptive_weights import next_streak, paper_weights, released_weights
from mlimages_dataset.train.losses.definition import LossDefinition
from mlimages_dataset.train.losses.draws import draw_below, draw_positions, draw_uniform, seed_scalar, stream_key
from mlimages_dataset.train.losses.label_counts import LabelCounts, count_labels, counts_over_ranks
from mlimages_dataset.train.losses.multi_label import MultiLabelLoss, check_shapes
from mlimages_dataset.train.losses.weighted_sigmoid import BatchWeights, Windows, weighted_sigmoid_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.train.config import Run
    from mlimages_dataset.train.losses.definition import State
    from mlimages_dataset.train.losses.multi_label import BatchLabels
    from mlimages_dataset.train.losses.task_loss import PassLoss

_CLASSES_STREAM, _ORDER_STREAM, _WINDOWS_STREAM, _ROUNDING_STREAM = range(4)


class Variant(enum.StrEnum):
    """Which arithmetic."""

    PAPER = "paper"
    RELEASED = "released"


class MLImagesLoss(MultiLabelLoss):
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
        self.register_buffer("seed", seed_scalar(seed))
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
        everywhere, first_row = counts_over_ranks(counts)
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

    def of_passes(self, n_passes: int, targets: Callable[[int], BatchLabels]) -> PassLoss:
        """See `TaskLoss`: classes are weighed by the labels of the whole batch, so several passes are counted first."""
        if n_passes == 1:
            return super().of_passes(n_passes, targets)
        counts = [count_labels(*targets(number), self.presence_threshold) for number in range(n_passes)]
        weights = self.observe(sum(counts[1:], start=counts[0]))
        first_row = [sum(one.n_images for one in counts[:number]) for number in range(n_passes)]
        return lambda logits, number: weighted_sigmoid_loss(logits, *targets(number), weights, first_row[number])

    def odds_factor(self) -> Tensor:
        """Return by what factor the weights raise the odds of each class, float32, shape (C,); see `odds_factor`."""
        return odds_factor(self.weighed)

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


def odds_factor(weighed: Tensor) -> Tensor:
    """Return by what factor a loss's weights raise the odds of each class, float32, shape (C,).

    The loss of a class is least at the true odds p / (1 - p) times the mean weight of its positives over that of its
    negatives. This is eta where both always count, and more where negatives count in few batches. It is 1 for a class
    that has had no positive or no weighed negative.

    Args:
        weighed: see `MLImagesLoss`.
    """
    of_positives, positives, of_negatives, negatives = weighed
    factor = (of_positives / positives) / (of_negatives / negatives)
    return torch.where(torch.isfinite(factor) & (factor > 0), factor, 1).to(torch.float32)


def _make(run: Run, n_classes: int, rates: Tensor | None) -> MLImagesLoss:  # noqa: ARG001 - as `make` is called
    options = run.loss
    return MLImagesLoss(
        n_classes,
        variant=options.name.value,
        positive_weight=options.positive_weight,
        absent_class_rate=options.absent_class_rate,
        negatives_per_positive=options.negatives_per_positive,
        presence_threshold=options.presence_threshold,
        seed=run.seed,
        fused=run.execution.fused_loss,
    )


def _odds_factor(state: State, n_classes: int) -> Tensor:  # noqa: ARG001 - as `odds_factor` is called
    return odds_factor(cast("Tensor", state["weighed"]))


RELEASED = LossDefinition(make=_make, weighs_positives=True, odds_factor=_odds_factor)
PAPER = LossDefinition(
    make=_make,
    weighs_positives=True,
    odds_factor=_odds_factor,
    remedy='the loss "paper" does not learn at the published rate: write loss.name = "released"',
)

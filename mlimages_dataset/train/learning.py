"""Detects in the first steps of a run whether it learns, from figures of a few of its own images.

After a few early steps, the images of the first batch, at most 32 per rank, go through the network again, in training
mode but without side effects. Because the images stay the same, even a small change is certain: the logits of different
batches differ by more than a slow run changes them in a hundred steps.

Legend: B probe images, C classes, x logits, y targets in [0, 1], x0 the logits before the first step.

The limits below were measured, with a linear head at 11,010 classes and small networks from random weights, for every
loss; docs/training.md has the figures. They are wide, because a false warning costs more than a late one.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from mlimages_dataset.train import distributed
from mlimages_dataset.train.losses.registry import LOSSES
from mlimages_dataset.train.schedule import learning_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from mlimages_dataset.loaders import Batch
    from mlimages_dataset.loaders.batch import ImageBatch
    from mlimages_dataset.train.config import Run
    from mlimages_dataset.train.losses.definition import LossDefinition
    from mlimages_dataset.train.losses.multi_label import BatchLabels

LOOKS = (10, 20, 50, 100, 200)
"""Steps after which the images are checked, besides the start."""
JUDGED_FROM = 50
"""Step by which even a run that learns slowly, or is in its warm-up, shows progress."""
_CERTAIN_FROM = 10
"""Step from which certain signs are reported: logits that are equal to the last bit, no label at all."""
LEAST_JUDGED = 20
"""Least number of steps of a meaningful trial."""
_N_IMAGES = 32
_TOP = 5

_STILL_LOGITS = 0.1
"""Logits that changed by less, and by less than they differed between images at the start, do not change..."""
_REACHED_LOGITS = 0.7
"""...unless they would change by this within `_AHEAD_STEPS` at the rate after the warm-up."""
_AHEAD_STEPS = 1000
_KNOWS_RANK, _KNOWING_SHARE = 0.7, 0.1
"""For a trained network whose labels outrank so many classes, the two limits are multiplied by this."""
_EVERY_SHARE = 0.8
_MANY_LABELS = 1 / 3
_NONE_SHARE = 1 / 20
_ALIKE_SHARE = 1 / 20
_ALIKE_LOGITS = 0.02
_FAR_LOGITS = 1.0
_BETTER = 0.05
"""Least improvement of the rank of labels, and of F1, that counts as progress."""
_FLAT_SHARE = 0.97


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of the probe images' logits after a step, over all ranks.

    Attributes:
        step: number of steps since the start.
        rates: sum of the learning rates of these steps.
        classes: mean number of known classes per image.
        labels: mean number of present classes per image, the sum of its targets.
        predicted: mean number of predicted classes per image, the sum of its probabilities.
        moved: mean absolute change of the logits since the start, over all classes or over the labels, whichever is
            larger: a softmax changes few classes, a sigmoid with many negatives changes the others first.
        spread: standard deviation over images of a class's logit.
        rank: share of the other classes that a label outranks in its image; one half by chance.
        f1: F1 at 5.
        loss: mean of the steps since the last check; at the start, that of the first step.
        labels_seen: number of labels in all batches so far.
    """

    step: int
    rates: float
    classes: float
    labels: float
    predicted: float
    moved: float
    spread: float
    rank: float
    f1: float
    loss: float
    labels_seen: float

    def to_log(self) -> dict[str, float]:
        """Return the figures for the log."""
        kept = ("labels", "predicted", "moved", "spread", "rank", "f1", "loss")
        return {name: getattr(self, name) for name in kept}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Properties of a run that decide how its figures are judged.

    Attributes:
        loss: name of the loss.
        positive_weight: factor by which the loss raises the odds; 1 for unweighted losses.
        peak_rate: the highest learning rate of the run.
        steps: steps of the run, from the first check on.
        trained: whether it starts from a trained network.
        mean_over_classes: whether the loss is a mean over classes that could be a sum.
        begun: steps that the run had taken before the first check.
    """

    loss: LossDefinition
    positive_weight: float
    peak_rate: float
    steps: int
    trained: bool = False
    mean_over_classes: bool = False
    begun: int = 0


class Sign(enum.Enum):
    """Signs that a run does not learn."""

    NO_LABELS = "there are no labels"
    STILL = "the logits do not change"
    EVERY_CLASS = "nearly every class is predicted"
    NO_CLASS = "hardly any class is predicted"
    ALIKE = "all images get the same predictions"
    FLAT = "the loss does not fall"


@dataclass(frozen=True, slots=True)
class LearningFault:
    """The finding that a run does not learn.

    Attributes:
        sign: the sign.
        first: figures at the start.
        last: the figures that show it.
        expected: the properties of the run.
    """

    sign: Sign
    first: Figures
    last: Figures
    expected: Expected

    def sentence(self) -> str:
        """Return the sign, its figures and the remedy as a sentence."""
        return (
            f"after {self.expected.begun + self.last.step} steps, {self.sign.value}: {self._figure()}; {self._remedy()}"
        )

    def _figure(self) -> str:
        first, last = self.first, self.last
        ranked = f"labels outrank {last.rank:.0%} of the other classes"
        predicted = f"the network predicts {last.predicted:,.1f} of {last.classes:,.0f} classes per image"
        return {
            Sign.NO_LABELS: "no image had a label",
            Sign.STILL: f"logits changed by {last.moved:.2g} on average, and {ranked}",
            Sign.EVERY_CLASS: f"{predicted}, and the labels list {last.labels:,.1f}",
            Sign.NO_CLASS: f"{predicted}, and the labels list {last.labels:,.1f}",
            Sign.ALIKE: f"a class's logit differs by {last.spread:.2g} between images (first by {first.spread:.2g})",
            Sign.FLAT: f"the loss was {first.loss:.4g} and is {last.loss:.4g}, and {ranked} (first {first.rank:.0%})",
        }[self.sign]

    def _remedy(self) -> str:
        if self.sign is Sign.STILL and self.last.moved == 0:
            return "raise schedule.learning_rate, or check optimizer.layer_rates for rates of 0"
        if self.sign in {Sign.STILL, Sign.EVERY_CLASS} and self.expected.loss.remedy:
            return self.expected.loss.remedy
        if self.sign is Sign.STILL and self.expected.mean_over_classes:
            return "this loss is a mean over the classes: write loss.sum_classes = true"
        return _REMEDIES[self.sign]


_REMEDIES = {
    Sign.NO_LABELS: "check that data.labels are the labels of data.images",
    Sign.STILL: "raise schedule.learning_rate",
    Sign.EVERY_CLASS: "lower loss.positive_weight or the learning rate, or write loss.prior_bias = true",
    Sign.NO_CLASS: "lower schedule.learning_rate, or begin with a warm-up",
    Sign.ALIKE: "lower schedule.learning_rate, or begin with a warm-up",
    Sign.FLAT: "lower schedule.learning_rate, or begin with a warm-up",
}


def expected_of(run: Run, steps: int, *, begun: int, trained: bool) -> Expected:
    """Return how the figures of a run with `steps` steps are judged; other arguments as in `Expected`."""
    loss = LOSSES[run.loss.name]
    return Expected(
        loss=loss,
        positive_weight=run.loss.positive_weight if loss.weighs_positives else 1.0,
        peak_rate=max(learning_rate(run, epoch) for epoch in range(run.epochs)),
        steps=steps,
        trained=trained,
        begun=begun,
        mean_over_classes=run.loss.is_mean_over_classes,
    )


def finding(looks: Sequence[Figures], expected: Expected, *, judged_from: int = JUDGED_FROM) -> LearningFault | None:
    """Return the first sign that a run does not learn, in the order of `Sign`; None without any.

    Args:
        looks: figures of the start and of later steps, at least one, ascending.
        expected: the properties of the run.
        judged_from: the step from which signs count that a learning run may show in its first steps.
    """
    last = looks[-1]
    if last.step < _CERTAIN_FROM or len(looks) < 2:  # noqa: PLR2004 - a change needs two checks
        return None
    shown = (sign for sign in Sign if _SHOWS[sign](looks, expected, last.step >= judged_from))
    sign = next(shown, None)
    return None if sign is None else LearningFault(sign, looks[0], last, expected)


def _no_labels(looks: Sequence[Figures], expected: Expected, judged: bool) -> bool:  # noqa: ARG001, FBT001 - one shape for all signs
    return looks[-1].labels_seen == 0


def _stands_still(looks: Sequence[Figures], expected: Expected, judged: bool) -> bool:  # noqa: FBT001 - one shape for all signs
    before, last = looks[-2:]
    if last.moved == 0:
        return True
    share = _KNOWING_SHARE if expected.trained and looks[0].rank > _KNOWS_RANK else 1.0
    still = last.moved < share * min(_STILL_LOGITS, looks[0].spread)
    return (
        judged
        and still
        and not last.f1 > looks[0].f1 + _BETTER
        and _reach(before, last, expected) < share * _REACHED_LOGITS
    )


def _reach(before: Figures, last: Figures, expected: Expected) -> float:
    """Return how far logits will have moved `_AHEAD_STEPS` later, or at the run's end, at the pace of the last steps.

    It grows with the sum of the rates, because a warm-up is meant to be slow. Rates that add nothing move nothing.
    """
    pace = max(last.moved - before.moved, 0.0) / ((last.rates - before.rates) or math.inf)
    return last.moved + pace * expected.peak_rate * min(_AHEAD_STEPS, expected.steps - last.step)


def _predicts_every_class(looks: Sequence[Figures], expected: Expected, judged: bool) -> bool:  # noqa: FBT001 - one shape for all signs
    last = looks[-1]
    share = last.labels / last.classes if last.classes else 1.0
    if expected.loss.compares_classes or share > _MANY_LABELS or not judged:
        return False
    # A weight w of positives multiplies the odds: at best, a share s is predicted as w s / (1 + (w - 1) s).
    weight = expected.positive_weight
    at_best = weight * share / (1 + (weight - 1) * share)
    return last.predicted / last.classes > max(_EVERY_SHARE, (1 + at_best) / 2)


def _predicts_no_class(looks: Sequence[Figures], expected: Expected, judged: bool) -> bool:  # noqa: FBT001 - one shape for all signs
    if expected.loss.compares_classes or not judged:
        return False
    return all(look.labels > 0 and look.predicted < _NONE_SHARE * look.labels for look in looks[-2:])


def _sees_all_alike(looks: Sequence[Figures], expected: Expected, judged: bool) -> bool:  # noqa: ARG001, FBT001 - one shape for all signs
    limit = min(_ALIKE_LOGITS, _ALIKE_SHARE * looks[0].spread)
    return judged and all(look.spread < limit for look in looks[-2:])


def _is_flat(looks: Sequence[Figures], expected: Expected, judged: bool) -> bool:  # noqa: ARG001, FBT001 - one shape for all signs
    return judged and all(_is_no_better(looks[0], look) for look in looks[-2:])


def _is_no_better(first: Figures, last: Figures) -> bool:
    """Return whether logits have changed much without an improvement of the loss or of the order of the classes."""
    ordered = last.rank > first.rank + _BETTER or last.f1 > first.f1 + _BETTER
    return last.moved > _FAR_LOGITS and last.loss > _FLAT_SHARE * first.loss and not ordered


_SHOWS: dict[Sign, Callable[[Sequence[Figures], Expected, bool], bool]] = {
    Sign.NO_LABELS: _no_labels,
    Sign.STILL: _stands_still,
    Sign.EVERY_CLASS: _predicts_every_class,
    Sign.NO_CLASS: _predicts_no_class,
    Sign.ALIKE: _sees_all_alike,
    Sign.FLAT: _is_flat,
}


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over images from which `Figures` are computed; those of ranks add up.

    Attributes:
        values: float64, shape (11,), in the order of `of_logits`.
    """

    values: Tensor

    @classmethod
    def of_logits(cls, logits: Tensor, start: Tensor, targets: Tensor, known: Tensor | None) -> Sums:
        """Return the sums of some images.

        Args:
            logits: x, shape (B, C).
            start: x0, shape (B, C).
            targets: y, shape (B, C).
            known: bool, shape (B, C); None where everything is known.
        """
        x, x0 = logits.double(), start.double()
        is_known = torch.ones_like(x) if known is None else known.double()
        y = targets.double() * is_known
        n_images, n_classes = x.shape
        outranked = x.argsort(1).argsort(1).double() / max(n_classes - 1, 1)
        best = x.topk(min(_TOP, n_classes), 1).indices
        moved = (x - x0).abs()
        n_more = n_images - 1
        squares = x.var(0).sum() * n_more if n_more else x.new_zeros(())
        parts = [is_known.sum(), y.sum(), (x.sigmoid() * is_known).sum(), moved.sum(), (moved * y).sum()]
        parts += [(outranked * y).sum(), y.gather(1, best).sum(), squares]
        counts = x.new_tensor([n_images, n_more * n_classes, n_images * n_classes])
        return cls(torch.cat((torch.stack(parts), counts)))

    def figures(self, *, step: int, rates: float, loss: float, labels_seen: float) -> Figures:
        """Return the figures made from the sums, on the CPU."""
        known, labels, predicted, moved, moved_labels, rank, hits, squares, n, n_more, entries = self.values.tolist()
        some = labels or math.inf
        return Figures(
            step=step,
            rates=rates,
            classes=known / n,
            labels=labels / n,
            predicted=predicted / n,
            moved=max(moved / entries, moved_labels / some),
            spread=math.sqrt(max(squares, 0.0) / n_more) if n_more else math.inf,
            rank=rank / some,
            f1=2 * hits / (min(_TOP, entries / n) * n + labels),
            loss=loss,
            labels_seen=labels_seen,
        )


@dataclass(frozen=True, slots=True)
class Probe:
    """The probe images of this rank, which are checked several times.

    Attributes:
        images: on the device, as in a batch.
        targets: shape (B, C).
        known: shape (B, C); None where everything is known.
        start: logits before the first step, shape (B, C).
    """

    images: Tensor
    targets: Tensor
    known: Tensor | None
    start: Tensor


_Batch_contra = TypeVar("_Batch_contra", bound="ImageBatch", contravariant=True)


class Looks(Protocol[_Batch_contra]):
    """Watches a run's first steps; each rank calls both methods at every step."""

    looks: list[Figures]

    def before(self, batches: Sequence[_Batch_contra]) -> None:
        """Note this rank's batches before a step."""

    def after(self, batches: Sequence[_Batch_contra], loss: Tensor, rate: float) -> LearningFault | None:
        """Return the finding after a step that the run does not learn, the same on every rank; None without one.

        Args:
            batches: this rank's of the step, on the host.
            loss: this rank's, on the device.
            rate: of the step.
        """


class NoLooks:
    """Watches nothing: for tasks without such figures."""

    def __init__(self) -> None:
        self.looks: list[Figures] = []

    def before(self, batches: Sequence[ImageBatch]) -> None:
        """See `Looks`."""

    def after(self, batches: Sequence[ImageBatch], loss: Tensor, rate: float) -> None:
        """See `Looks`."""


class EarlyLooks:
    """Watches a run's first steps, and reports once, the same on every rank, if it does not learn."""

    def __init__(
        self,
        expected: Expected,
        logits: Callable[[Tensor], Tensor],
        labels: Callable[[Batch], BatchLabels],
        device: torch.device,
        *,
        at: Sequence[int] = LOOKS,
        judged_from: int = JUDGED_FROM,
    ) -> None:
        """Prepare to watch.

        Args:
            expected: the properties of the run.
            logits: returns the logits of a batch's images in training mode, without side effects.
            labels: returns the labels of a batch, as for the loss.
            device: device on which the images are kept.
            at: steps after which to check; empty for never.
            judged_from: see `finding`.
        """
        self._expected = expected
        self._logits = logits
        self._labels_of = labels
        self._device = device
        self._at = tuple(at)
        self._judged_from = judged_from
        self._probe: Probe | None = None
        self._step, self._rates, self._labels = 0, 0.0, 0
        self._losses = torch.zeros(2, dtype=torch.float64, device=device)
        self.looks: list[Figures] = []

    @property
    def is_over(self) -> bool:
        """Whether no check remains."""
        return self._step >= max(self._at, default=0)

    def before(self, batches: Sequence[Batch]) -> None:
        """Keep some of the first step's images; each rank calls it before every step."""
        if self._probe is None and not self.is_over:
            self._probe = self._kept(batches[0])

    def after(self, batches: Sequence[Batch], loss: Tensor, rate: float) -> LearningFault | None:
        """Count a step and return the finding of a check after it; each rank calls it after every step.

        Args:
            batches: this rank's of the step, on the host.
            loss: this rank's, on the device.
            rate: of the step.
        """
        if self._probe is None or self.is_over:
            return None
        self._labels += sum(int((batch.confidence > 0).sum()) for batch in batches)
        self._losses += torch.stack((loss.double(), torch.ones_like(loss, dtype=torch.float64)))
        if self._step == 0:
            self.looks.append(self._look(self._probe, self._probe.start))
        self._step += 1
        self._rates += rate
        if self._step not in self._at:
            return None
        self.looks.append(self._look(self._probe, self._logits(self._probe.images)))
        self._losses = torch.zeros_like(self._losses)
        found = finding(self.looks, self._expected, judged_from=self._judged_from)
        if found is not None or self.is_over:
            self._probe, self._at = None, ()
        return found

    def _kept(self, batch: Batch) -> Probe:
        targets, known = self._labels_of(batch)
        images = batch.images[:_N_IMAGES].to(self._device)
        return Probe(
            images,
            targets[:_N_IMAGES].to(self._device),
            None if known is None else known[:_N_IMAGES].to(self._device),
            self._logits(images),
        )

    def _look(self, probe: Probe, logits: Tensor) -> Figures:
        sums = Sums.of_logits(logits, probe.start, probe.targets, probe.known)
        labels = torch.tensor([float(self._labels)], dtype=torch.float64, device=self._device)
        joint = distributed.sum_over_ranks(torch.cat((sums.values, self._losses, labels))).cpu()
        loss, steps, seen = joint[-3:].tolist()
        return Sums(joint[:-3]).figures(step=self._step, rates=self._rates, loss=loss / steps, labels_seen=seen)

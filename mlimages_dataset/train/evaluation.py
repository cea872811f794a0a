"""The evaluation of a multi-label classifier over many batches and ranks, by root, depth and frequency of the classes.

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mlimages_dataset.augment.cooccurrence import PROBABILITY
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.calibration import above, expected_labels, fit_calibration
from mlimages_dataset.train.metrics import (
    AveragePrecision,
    InstanceScores,
    InstanceSums,
    ScoreHistogram,
    TopHits,
    instance_sums,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa
    from torch import Tensor

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.train.calibration import Calibration
    from mlimages_dataset.train.metrics import Reduce

PUBLISHED_KS = (5, 10)
"""Table 1."""
EVALUATED_KS = (1, 5, 10)
TOP_KS = (1, 5)
"""Of the accuracies `top1` and `top5` of networks whose images have one label (Wu et al. 2019, table 3)."""

NO_LABEL = "says of none of these pictures what is present"


def _logits(logits: Tensor) -> Tensor:
    return logits


@dataclass(frozen=True, slots=True)
class GroupMean:
    """Mean average precision over the classes of a group that have positives.

    Attributes:
        kind: property by which the classes are grouped.
        group: the group's name.
        mean: mean of the classes' average precisions, NaN if none has positives.
        n_classes: classes with positives.
    """

    kind: str
    group: str
    mean: float
    n_classes: int


@dataclass(frozen=True, slots=True)
class EvaluationSummary:
    """The result of an evaluation.

    Attributes:
        n_images: number of images with at least one label.
        instance: precision, recall and F1 at each k.
        mean_average_precision: mean over the classes with positives, NaN without any.
        error: distance of the bounds from the mean, on either side.
        n_classes: classes with positives.
        groups: the same mean for groups of classes.
        chance: approximate mean average precision of images in random order: the mean share of images with a class.
        chance_precision: the precision at any k of classes drawn at random: the share of known entries present.
        labels: mean number of present labels per image.
        labels_said: mean sum of an image's probabilities, which equals `labels` if these are calibrated; NaN without
            probabilities.
        sure: entries whose probability is above 0.95, the threshold of co-occurrence (Wu et al. 2019, section 3.2).
        sure_present: those of them that are present.
        top: accuracy by k, of a network whose images have one label; see `metrics.TopHits`.
    """

    n_images: int
    instance: tuple[InstanceScores, ...]
    mean_average_precision: float
    error: float
    n_classes: int
    groups: tuple[GroupMean, ...]
    chance: float
    chance_precision: float
    labels: float
    labels_said: float
    sure: int
    sure_present: int
    top: Mapping[int, float]

    @property
    def bounds(self) -> tuple[float, float]:
        """The lower and the upper bound of the mean average precision."""
        return self.mean_average_precision - self.error, self.mean_average_precision + self.error

    def to_json(self) -> dict[str, Json]:
        """Return the values by name."""
        values = {name: value for name, value in asdict(self).items() if name != "top"}
        return {**values, **_named(self.top), "mean_average_precision_bounds": list(self.bounds)}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Sums over batches.

    Attributes:
        instance: sums over images.
        scores: histograms of the classes' logits.
        images: number of all images, also those without a label, int64 scalar.
        presence_threshold: the confidence from which a label is present.
        scores_of: turns float32 logits into the scores that rank classes and images, both of shape (B, C).
        top: hits of networks whose images have one label.
    """

    instance: InstanceSums
    scores: ScoreHistogram
    images: Tensor
    top: TopHits
    presence_threshold: float = 0.7
    scores_of: Callable[[Tensor], Tensor] = _logits

    @classmethod
    def empty(
        cls,
        n_classes: int,
        *,
        ks: tuple[int, ...] = PUBLISHED_KS,
        top_ks: tuple[int, ...] = (),
        presence_threshold: float = 0.7,
        device: torch.device | str = "cpu",
        scores_of: Callable[[Tensor], Tensor] = _logits,
    ) -> Evaluation:
        """Return the evaluation for no images."""
        return cls(
            InstanceSums.empty(ks, device),
            ScoreHistogram.empty(n_classes, device=device),
            torch.zeros((), dtype=torch.int64, device=device),
            TopHits.empty(top_ks, device),
            presence_threshold,
            scores_of,
        )

    def __add__(self, other: Evaluation) -> Evaluation:
        if self.presence_threshold != other.presence_threshold:
            raise UsageError("evaluations of different presence thresholds do not add up", remedy="use one threshold")
        return dataclasses.replace(
            self,
            instance=self.instance + other.instance,
            scores=self.scores + other.scores,
            images=self.images + other.images,
            top=self.top + other.top,
        )

    def updated(
        self, logits: Tensor, targets: Tensor, known: Tensor | None = None, valid: Tensor | None = None
    ) -> Evaluation:
        """Return the evaluation with one more batch; the histograms are updated in place and shared with the result.

        Args:
            logits: shape (B, C).
            targets: confidences, shape (B, C).
            known: bool, shape (B, C); None where everything is known.
            valid: bool, shape (B,): false for images that only pad the batch; None where every image counts.
        """
        scores = self.scores_of(logits)
        self.scores.update(scores, targets, known, valid, presence_threshold=self.presence_threshold)
        batch = instance_sums(
            scores, targets, known, valid, ks=self.instance.ks, presence_threshold=self.presence_threshold
        )
        images = self.images + (len(logits) if valid is None else valid.sum())
        top = self.top.updated(logits, targets, valid, presence_threshold=self.presence_threshold)
        return dataclasses.replace(self, instance=self.instance + batch, images=images, top=top)

    def merged(self, reduce: Reduce) -> Evaluation:
        """Return the evaluation over all ranks; `reduce` sums a tensor over them."""
        return dataclasses.replace(
            self,
            instance=self.instance.merged(reduce),
            scores=self.scores.merged(reduce),
            images=reduce(self.images),
            top=self.top.merged(reduce),
        )

    @property
    def lacking(self) -> str:
        """See `tasks.task.Measures`."""
        return "" if self.instance.n_images else NO_LABEL

    def calibration(self, weights: Calibration) -> Calibration:
        """Return the calibration that is fitted on these images; see `fit_calibration`."""
        return fit_calibration(self.scores, weights, int(self.images))

    def summary(
        self, groups: Mapping[str, Sequence[str]] | None = None, calibration: Calibration | None = None
    ) -> EvaluationSummary:
        """Return the means.

        Args:
            groups: for each way of grouping, the name of every class's group, such as `groups_of_categories`.
            calibration: turns scores into probabilities; None for a network without probabilities of single classes.
        """
        precision = self.scores.compute()
        mean, error, n_classes = _mean_with_error(precision)
        estimate = precision.estimate.cpu().numpy()
        n_images = max(int(self.images), 1)
        known, present = self.scores.counts.sum((0, 2), dtype=torch.float64), precision.n_positives.double()
        with_positives = present > 0
        said = math.nan if calibration is None else expected_labels(self.scores, calibration)
        sure, sure_present = (0, 0) if calibration is None else above(self.scores, calibration, PROBABILITY)
        return EvaluationSummary(
            chance=float((present / known)[with_positives].mean()),
            chance_precision=float(present.sum() / known.sum()),
            labels=float(present.sum()) / n_images,
            labels_said=said / n_images,
            sure=sure,
            sure_present=sure_present,
            top=self.top.accuracies(),
            n_images=int(self.instance.n_images),
            instance=self.instance.compute(),
            mean_average_precision=mean,
            error=error,
            n_classes=n_classes,
            groups=tuple(
                one
                for kind, group_of_class in (groups or {}).items()
                for one in group_means(kind, group_of_class, estimate)
            ),
        )


def measure_names(n_classes: int, *, one_label: bool = False) -> tuple[str, ...]:
    """Return the names of `measures_of` a network of n_classes, whose images may have one label each."""
    at_k = (f"{name}@{k}" for k in evaluated_ks(n_classes) for name in ("precision", "recall", "f1"))
    top = _named(dict.fromkeys(evaluated_ks(n_classes, TOP_KS), 0.0)) if one_label else ()
    return (*top, *at_k, "map")


def measures_of(summary: EvaluationSummary) -> dict[str, float]:
    """Return an evaluation's means by name: accuracies, those of k, and the mean average precision."""
    by_k = {
        f"{name}@{scores.k}": value
        for scores in summary.instance
        for name, value in (("precision", scores.precision), ("recall", scores.recall), ("f1", scores.f1))
    }
    return {**_named(summary.top), **by_k, "map": summary.mean_average_precision}


def evaluated_ks(n_classes: int, ks: tuple[int, ...] = EVALUATED_KS) -> tuple[int, ...]:
    """Return the values of k at which a network of n_classes is evaluated."""
    return tuple(k for k in ks if k <= n_classes)


def _named(top: Mapping[int, float]) -> dict[str, float]:
    return {f"top{k}": accuracy for k, accuracy in top.items()}


def group_means(kind: str, group_of_class: Sequence[str], values: Iterable[float]) -> tuple[GroupMean, ...]:
    """Return the mean of each group's values that are numbers, in the order in which the groups first appear.

    Raises:
        ValueError: the numbers of groups and values differ.
    """
    members: defaultdict[str, list[float]] = defaultdict(list)
    for group, value in zip(group_of_class, values, strict=True):
        members[group].append(value)
    return tuple(_group_mean(kind, group, np.asarray(of_group)) for group, of_group in members.items())


def groups_of_categories(categories: pa.Table) -> dict[str, list[str]]:
    """Return each class's root, depth and frequency band by name.

    Args:
        categories: a `categories` table.
    """
    names = [
        f"{wnid} {name}"
        for wnid, name in zip(categories["wnid"].to_pylist(), categories["name"].to_pylist(), strict=True)
    ]
    return {
        "root": [names[root] for root in categories["root"].to_pylist()],
        "depth": [str(depth) for depth in categories["depth"].to_pylist()],
        "images": [frequency_band(images) for images in categories["images"].to_pylist()],
    }


def frequency_band(n_images: int) -> str:
    """Return the decade of a number of training images.

    >>> frequency_band(0), frequency_band(7), frequency_band(1000)
    ('0', '1 to 9', '1,000 to 9,999')
    """
    if n_images == 0:
        return "0"
    least = 10 ** (len(str(n_images)) - 1)
    return f"{least:,} to {10 * least - 1:,}"


def _group_mean(kind: str, group: str, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> GroupMean:
    values = values[~np.isnan(values)]
    return GroupMean(kind, group, float(values.mean()) if len(values) else float("nan"), len(values))


def _mean_with_error(precision: AveragePrecision) -> tuple[float, float, int]:
    """Return the mean over classes with positives, how far its bounds are, and the number of those classes."""
    with_positives = precision.n_positives > 0
    half = (precision.upper - precision.lower)[with_positives].mean() / 2
    return float(precision.estimate[with_positives].mean()), float(half), int(with_positives.sum())

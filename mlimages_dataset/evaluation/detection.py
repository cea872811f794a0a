"""What a detector finds: sums over images that merge over shards and ranks, and average precision from them.

Legend: G true boxes, D detections, K judged detections, C classes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TrueBoxes:
    """Boxes that are in images.

    Attributes:
        image: number of each box's image, shape (G,).
        label: its class, 0..C-1, shape (G,).
        sides: xmin, ymin, xmax, ymax, float64, shape (G, 4).
        special: whether it is a group of objects, or difficult: what the metric treats in another way, shape (G,).
    """

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    sides: NDArray[np.float64]
    special: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes that a detector found.

    Attributes:
        image: number of each box's image, shape (D,).
        label: its class, 0..C-1, shape (D,).
        sides: xmin, ymin, xmax, ymax, float64, shape (D, 4).
        score: float64, shape (D,).
    """

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    sides: NDArray[np.float64]
    score: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.score)

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Detections:
        """Return some of the detections, by a mask or in an order."""
        return Detections(self.image[chosen], self.label[chosen], self.sides[chosen], self.score[chosen])


class Interpolation(enum.Enum):
    """How precision at a recall is read off: the highest precision at that recall or a higher one, in both cases."""

    AREA = "area"
    """The area under that curve (VOC since 2010, Open Images)."""
    ELEVEN_POINTS = "11-point"
    """Its mean at the recalls 0, 0.1, ..., 1 (VOC 2007)."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Detections that were compared with the true boxes of their images; those of several shards are added.

    Attributes:
        truths: number of objects to be found in each class, shape (C,).
        label: class of each judged detection, shape (K,).
        score: its score, shape (K,).
        hit: whether it is a true positive, shape (K,).
        ignored: number of detections that count neither way.
    """

    truths: NDArray[np.int64]
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    hit: NDArray[np.bool_]
    ignored: int = 0

    @classmethod
    def none(cls, n_classes: int) -> Judged:
        """Return the sum of no shard."""
        nothing = np.empty(0, np.int64)
        return cls(np.zeros(n_classes, np.int64), nothing, np.empty(0), np.empty(0, np.bool_))

    def __add__(self, other: Judged) -> Judged:
        return Judged(
            self.truths + other.truths,
            np.concatenate([self.label, other.label]),
            np.concatenate([self.score, other.score]),
            np.concatenate([self.hit, other.hit]),
            self.ignored + other.ignored,
        )

    def average_precisions(self, interpolation: Interpolation = Interpolation.AREA) -> NDArray[np.float64]:
        """Return the average precision of each class, NaN for a class without an object, shape (C,).

        Of detections with one score the misses come first, so that the order of shards does not matter.

        Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 3.4.1.
        """
        order = np.lexsort((self.hit, -self.score, self.label))
        hits = self.hit[order]
        ends = np.searchsorted(self.label[order], np.arange(len(self.truths) + 1))
        found = np.full(len(self.truths), np.nan)
        for c in np.flatnonzero(self.truths):
            found[c] = average_precision(hits[ends[c] : ends[c + 1]], int(self.truths[c]), interpolation)
        return found


def average_precision(hits: NDArray[np.bool_], truths: int, interpolation: Interpolation) -> float:
    """Return the average precision of one class.

    Args:
        hits: whether each detection is a true positive, the surest first, shape (K,).
        truths: number of objects to be found, above 0.
        interpolation: how the curve is read.
    """
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if interpolation is Interpolation.AREA:
        return float(envelope[hits].sum() / truths)
    recall = found / truths
    at = np.searchsorted(recall, np.arange(11) / 10)
    return float(np.append(envelope, 0.0)[at].mean())


def mean(values: NDArray[np.float64]) -> float:
    """Return the mean over the classes that have objects, NaN if none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


@dataclass(frozen=True, slots=True)
class Rule:
    """How a metric compares boxes.

    Attributes:
        groups: special boxes are groups: any detection mostly within one belongs to it; else they are difficult ones,
            whose detections count neither way.
        overlap: a detection finds a box if their intersection over union is at least this.
        strict: it must be above.
        pixel: 1 where both ends of a side belong to the box, as in VOC, else 0.
        most: the surest detections of a class in an image that count.
    """

    groups: bool
    overlap: float = 0.5
    strict: bool = False
    pixel: float = 0.0
    most: int = 1 << 62


def refuse_other_classes(n_classes: int, *labels: NDArray[np.int64]) -> None:
    """Raise `DataError` for a class that is not in 0..n_classes-1."""
    for label in labels:
        if len(bad := label[(label < 0) | (label >= n_classes)]):
            raise DataError(f"class {bad[0]} is not in 0..{n_classes - 1}", remedy="use the classes of one hierarchy")


def judged(truth: TrueBoxes, found: Detections, n_classes: int, rule: Rule) -> Judged:
    """Return detections compared with the true boxes of the same class and image.

    The surest detection that overlaps a box most with it finds it; any other one of that box is a miss. Of detections
    with one score in an image and a class, the first given comes first.

    Raises:
        DataError: a class is not in 0..C-1.
    """
    refuse_other_classes(n_classes, truth.label, found.label)
    of_truth, of_found = truth.image * n_classes + truth.label, found.image * n_classes + found.label
    by_group = np.argsort(of_truth, kind="stable")
    order = np.lexsort((-found.score, of_found))
    sure = found.select(order)
    groups, starts = np.unique(of_found[order], return_index=True)
    first, last = (np.searchsorted(of_truth[by_group], groups, side) for side in ("left", "right"))
    outcome, group_score = _compared(
        sure.sides,
        sure.score,
        np.append(starts, len(order)),
        truth.sides[by_group],
        truth.special[by_group],
        np.stack([first, last], axis=1),
        rule.groups,
        rule.overlap,
        rule.strict,
        rule.pixel,
        rule.most,
    )
    counts = np.flatnonzero(outcome != _IGNORED)
    of_group = np.flatnonzero(group_score > 0)  # as in the official evaluator, a score of 0 finds no group
    counted = truth.label if rule.groups else truth.label[~truth.special]
    return Judged(
        np.bincount(counted, minlength=n_classes),
        np.concatenate([sure.label[counts], truth.label[by_group][of_group]]),
        np.concatenate([sure.score[counts], group_score[of_group]]),
        np.concatenate([outcome[counts] == _HIT, np.ones(len(of_group), np.bool_)]),
        int(len(found) - len(counts) - len(of_group)),
    )


_MISS, _HIT, _IGNORED = 0, 1, 2


@compiled
def _intersection(one: NDArray[np.float64], other: NDArray[np.float64], pixel: float) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0]) + pixel
    height = min(one[3], other[3]) - max(one[1], other[1]) + pixel
    return float(max(width, 0.0) * max(height, 0.0))


@compiled
def _area(box: NDArray[np.float64], pixel: float) -> float:
    return float((box[2] - box[0] + pixel) * (box[3] - box[1] + pixel))


@compiled
def nearest(  # noqa: PLR0917 - compiled code takes no keywords
    box: NDArray[np.float64],
    truth: NDArray[np.float64],
    taken: NDArray[np.bool_],
    first: int,
    last: int,
    pixel: float,
    over_union: bool,  # noqa: FBT001 - compiled code takes arguments by place
) -> tuple[int, float]:
    """Return the first box of those not taken, in [first, last), that overlaps most, and how much; -1 if there is none.

    The overlap is over the union, or else over the area of `box`.
    """
    at, most = -1, -1.0
    own = _area(box, pixel)
    for g in range(first, last):
        if taken[g]:
            continue
        both = _intersection(box, truth[g], pixel)
        share = both / (own + _area(truth[g], pixel) - both) if over_union else both / own
        if share > most:
            at, most = g, share
    return at, most


@compiled
def _compared(  # noqa: PLR0917 - compiled code takes no keywords
    sides: NDArray[np.float64],
    score: NDArray[np.float64],
    starts: NDArray[np.int64],
    truth: NDArray[np.float64],
    special: NDArray[np.bool_],
    places: NDArray[np.int64],
    groups: bool,  # noqa: FBT001 - compiled code takes arguments by place
    overlap: float,
    strict: bool,  # noqa: FBT001 - as above
    pixel: float,
    most: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the outcome of each detection, shape (D,), and the best score within each group of objects, shape (G,).

    Args:
        sides: sides of detections by image and class, the surest first, shape (D, 4).
        score: their scores, shape (D,).
        starts: the first detection of each image and class, and D, shape (N + 1,).
        truth: sides of true boxes by image and class, shape (G, 4).
        special: as in `TrueBoxes`.
        places: the true boxes of each image and class: the first, and the one behind the last, shape (N, 2).
        groups: as in `Rule`, like the rest.
        overlap: as above.
        strict: as above.
        pixel: as above.
        most: as above.
    """
    outcome = np.zeros(len(sides), np.int64)
    group_score = np.zeros(len(truth), np.float64)
    found = np.zeros(len(truth), np.bool_)
    nobody = np.zeros(len(truth), np.bool_)
    passed_over = special if groups else nobody
    single = ~special
    for n in range(len(starts) - 1):
        first, last = places[n, 0], places[n, 1]
        for d in range(starts[n], starts[n + 1]):
            if d - starts[n] >= most:
                outcome[d] = _IGNORED
                continue
            at, share = nearest(sides[d], truth, passed_over, first, last, pixel, True)
            if at >= 0 and (share > overlap or (share == overlap and not strict)):
                if special[at]:
                    outcome[d] = _IGNORED
                elif not found[at]:
                    found[at] = True
                    outcome[d] = _HIT
            if groups and outcome[d] == _MISS:
                at, share = nearest(sides[d], truth, single, first, last, pixel, False)
                if at >= 0 and share >= overlap:
                    outcome[d] = _IGNORED
                    group_score[at] = max(group_score[at], score[d])
    return outcome, group_score

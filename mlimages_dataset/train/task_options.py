"""The sections of a run file that only one task has; see `config`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlimages_dataset.core.config import check_at_least, check_share

PYRAMID_LEVELS = 5
MOST_CLASSES = 255
"""Values of a label map, less the one that is ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A detector: Faster R-CNN on a classification network.

    Attributes:
        pyramid: features of all scales (FPN); otherwise those of the third stage, with the fourth as box head (C4).
        pyramid_channels: channels of each level of a pyramid.
        head_features: features of a region in the box head of a pyramid.
        long_side: most pixels of an image's long side; `image_size` of the phase is its short side.
        flip: probability that a training image is mirrored.
        short_sides: short sides of which one is drawn for each training image; empty for the phase's `image_size`.
        anchor_sizes: sides of the square anchors in pixels; a pyramid has one on each of its five levels.
        anchors_of_image: anchors that an image learns from.
        regions_of_image: proposals that an image learns from.
        positive_share: largest share of proposals with an object among these.
        candidates: surest anchors that become candidates, in training and in evaluation; a pyramid has so many of each
            level.
        proposals: candidates that remain without doubles, in training and in evaluation.
        learn_difficult: learn boxes that are marked as difficult, as a group or as a crowd.
        ancestors: learn the boxes of the categories above those stated, too.
        frozen_norms: the network's normalisations are not learnt; `model.frozen_statistics` keeps their statistics.
        least_score: a box with a lower score is left out.
        suppression_overlap: a box that overlaps a surer one of its class by more is left out.
        most_detections: boxes kept of an image.
    """

    pyramid: bool = False
    pyramid_channels: int = 256
    head_features: int = 1024
    long_side: int = 1000
    flip: float = 0.5
    short_sides: tuple[int, ...] = ()
    anchor_sizes: tuple[int, ...] = (128, 256, 512)
    anchors_of_image: int = 256
    regions_of_image: int = 256
    positive_share: float = 0.25
    candidates: tuple[int, int] = (12000, 6000)
    proposals: tuple[int, int] = (2000, 300)
    learn_difficult: bool = False
    ancestors: bool = False
    frozen_norms: bool = True
    least_score: float = 0.05
    suppression_overlap: float = 0.3
    most_detections: int = 100

    def __post_init__(self) -> None:
        of_network = ("pyramid_channels", "head_features")
        for name in (*of_network, "long_side", "anchors_of_image", "regions_of_image", "most_detections"):
            check_at_least(name, getattr(self, name), 1)
        for name in ("flip", "positive_share", "least_score", "suppression_overlap"):
            check_share(name, getattr(self, name))
        check_at_least("short_sides", min(self.short_sides, default=1), 1)
        for name in ("anchor_sizes", "candidates", "proposals"):
            check_at_least(name, min(getattr(self, name), default=0), 1)
        if self.pyramid and len(self.anchor_sizes) != PYRAMID_LEVELS:
            raise ValueError(f"anchor_sizes has {len(self.anchor_sizes)} sizes, and a pyramid {PYRAMID_LEVELS} levels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """A network for the class of every pixel: DeepLab's ASPP-L (Chen et al. 2018, figure 7).

    Attributes:
        classes: names of the classes of the maps' values 0, 1, 2, ...; empty for Pascal VOC's. The value 255 counts
            neither in training nor in evaluation.
        rates: dilations of the branches, whose outputs are summed.
        scales: smallest and largest scale drawn for a training image, before a square of the phase's `image_size` is
            cut out.
        flip: probability that a training image is mirrored.
        whole: resize whole training images to that square instead, as the paper's text has it; evaluation sees pictures
            at their own size.
        frozen_norms: as for detection.
    """

    classes: tuple[str, ...] = ()
    rates: tuple[int, ...] = (6, 12, 18, 24)
    scales: tuple[float, float] = (0.5, 1.5)
    flip: float = 0.5
    whole: bool = False
    frozen_norms: bool = False

    def __post_init__(self) -> None:
        check_at_least("rates", min(self.rates, default=0), 1)
        check_share("flip", self.flip)
        if len(self.classes) > MOST_CLASSES:
            raise ValueError(f"classes has {len(self.classes)} names, and a map room for {MOST_CLASSES}")
        if not 0 < self.scales[0] <= self.scales[1] < math.inf:
            raise ValueError(f"scales = {list(self.scales)} are not two finite numbers that ascend from above 0")

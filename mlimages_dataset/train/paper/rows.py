"""The rows of tables 3 to 6 of Wu et al. 2019 (section 5): what is trained, and the paper's figures."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mlimages_dataset.core.decoding import PACKAGED
from mlimages_dataset.core.errors import UsageError

TOP1, TOP5 = "top1", "top5"
MEAN_AP, MEAN_AP_11 = "map50", "map50_11_points"
MEAN_IOU = "miou"


class Collection(enum.Enum):
    """What a row is measured on."""

    IMAGENET = "ImageNet"
    CALTECH = "Caltech-256"
    VOC_DETECTION = "VOC detection"
    VOC_SEGMENTATION = "VOC segmentation"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the paper.

    Attributes:
        weights: what the network was trained on before; empty where the row itself says so.
        measure: name of the measure, as an evaluation names it.
        percent: its value.
        image_size: side of the evaluation's images in pixels; 0 for the run's own.
    """

    weights: str
    measure: str
    percent: float
    image_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table.

    Attributes:
        name: its name in the command, and that of its recipe.
        table: number of the table.
        collection: what it is measured on.
        what: the run in words.
        images: training images.
        measured_on: images that it is measured on.
        from_weights: whether it starts from trained weights.
        figures: the paper's.
    """

    name: str
    table: int
    collection: Collection
    what: str
    images: int
    measured_on: int
    from_weights: bool = True
    figures: tuple[Figure, ...]

    @property
    def recipe(self) -> str:
        """Its packaged run file."""
        return f"{PACKAGED}{self.name}.toml"

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """The sizes of images that the paper evaluates at."""
        return tuple(dict.fromkeys(figure.image_size for figure in self.figures))

    def lines(self) -> list[str]:
        """Return the row and the paper's figures."""
        told = [f"{self.name:16}  table {self.table}: {self.what}"]
        return told + [f"{'':18}{label(figure)} {figure.percent:g} %" for figure in self.figures]


def label(figure: Figure) -> str:
    """Return the name of what a figure measures, and of the weights.

    >>> label(Figure("ImageNet", TOP1, 77.8, 224))
    'top1 at 224, from ImageNet'
    """
    size = f" at {figure.image_size}" if figure.image_size else ""
    return f"{figure.measure}{size}" + (f", from {figure.weights}" if figure.weights else "")


def _imagenet(checkpoint: int, what: str, figures: dict[int, tuple[float, float]]) -> Row:
    return Row(
        name=f"imagenet-{checkpoint}",
        table=3,
        collection=Collection.IMAGENET,
        what=what,
        images=1_281_167,
        measured_on=50_000,
        from_weights=checkpoint > 1,
        figures=tuple(
            Figure("", measure, value, size)
            for size, both in figures.items()
            for measure, value in zip((TOP1, TOP5), both, strict=True)
        ),
    )


_ON_IMAGENET, _ON_ML_IMAGES = "ImageNet", "Tencent ML-Images"
_ON_BOTH = f"{_ON_ML_IMAGES}, then ImageNet"
_TUNED = f"{_ON_ML_IMAGES}, fine-tuned on ImageNet with"
ROWS = (
    _imagenet(1, "ImageNet from scratch at 224", {224: (77.8, 93.9), 299: (79.0, 94.5)}),
    _imagenet(2, f"{_TUNED} one learning rate", {224: (74.7, 92.6)}),
    _imagenet(3, f"{_TUNED} layer-wise rates at 224", {224: (78.8, 94.5), 299: (79.5, 94.9)}),
    _imagenet(4, f"{_TUNED} layer-wise rates at 224 to 299", {224: (78.3, 94.2), 299: (80.73, 95.5)}),
    _imagenet(5, f"{_TUNED} layer-wise rates at 299", {224: (75.8, 92.7), 299: (79.6, 94.6)}),
    Row(
        name="caltech-256",
        table=4,
        collection=Collection.CALTECH,
        what="a linear SVM on the features of Caltech-256",
        images=0,
        measured_on=0,
        figures=tuple(
            Figure(weights, "accuracy", percent)
            for weights, percent in ((_ON_IMAGENET, 86.0), (_ON_ML_IMAGES, 83.6), (_ON_BOTH, 86.5))
        ),
    ),
    Row(
        name="voc-detection",
        table=5,
        collection=Collection.VOC_DETECTION,
        what="Faster R-CNN on VOC 2007 and 2012 trainval, measured on VOC 2007 test",
        images=16_551,
        measured_on=4_952,
        figures=(Figure(_ON_IMAGENET, MEAN_AP_11, 80.1), Figure(_ON_BOTH, MEAN_AP_11, 81.5)),
    ),
    Row(
        name="voc-segmentation",
        table=6,
        collection=Collection.VOC_SEGMENTATION,
        what="DeepLab ASPP-L on VOC 2012's augmented list, measured on VOC 2012 val",
        images=10_582,
        measured_on=1_449,  # the paper's 1,149 is a slip: VOC 2012 has no such list
        figures=(Figure(_ON_IMAGENET, MEAN_IOU, 74.0), Figure(_ON_BOTH, MEAN_IOU, 76.3)),
    ),
)
"""Our rows of the tables, in the paper's order; not those of other papers."""


def row_named(name: str) -> Row:
    """Return the row with a name.

    Raises:
        UsageError: there is none.
    """
    for row in ROWS:
        if row.name == name:
            return row
    raise UsageError(f"there is no row {name!r}", remedy=f"use one of {', '.join(row.name for row in ROWS)}")

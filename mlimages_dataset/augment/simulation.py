"""A simulated sample of annotations and predictions, for tests and benchmarks of every stage.

It has the form of real data, not their contents: single-label images of some ImageNet categories, Open Images rows
with verified presence, verified absence and machine confidences, and a teacher's predictions for the ImageNet images,
in which some categories appear with another more often than not. Every source name says that it is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.confidences import of_a_model
from mlimages_dataset.tables.label_columns import LabelColumns
from mlimages_dataset.tables.schemas import Origin
from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.vocab.vocabulary import MappingRow, Vocabulary

_IMAGES_OF_CATEGORY = 20
_COMPANIONS = 2
_CONFIDENCES = (0.5, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """How much to simulate.

    Attributes:
        imagenet_images: single-label images, 20 per category.
        open_images: multi-label images.
        seed: seed of `numpy.random.default_rng`.
    """

    imagenet_images: int = 4000
    open_images: int = 3000
    seed: int = 2019

    def __post_init__(self) -> None:
        for name in ("imagenet_images", "open_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, which is less than 1")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, which is less than 0")


@dataclass(frozen=True, slots=True)
class SimulatedSample:
    """A simulated sample.

    Attributes:
        imagenet_lines: an ImageNet file list.
        open_images_rows: image-level labels: ImageID, Source, LabelName, Confidence.
        predicted_ids: the ImageNet images, in the order of `predictions`.
        predictions: what a teacher would predict for them.
    """

    imagenet_lines: tuple[str, ...]
    open_images_rows: tuple[tuple[str, str, str, str], ...]
    predicted_ids: tuple[str, ...]
    predictions: LabelColumns


def simulate(vocabulary: Vocabulary, how: Simulation) -> SimulatedSample:
    """Return a sample over a vocabulary that was built from ImageNet and Open Images lists.

    Raises:
        DataError: the vocabulary has no classes of one of the two.
    """
    rng = np.random.default_rng(how.seed)
    imagenet = [row for row in vocabulary.mapping if row.source == IMAGENET and row.class_index >= 0]
    boxable = [row for row in vocabulary.mapping if row.source == OPEN_IMAGES and row.class_index >= 0]
    if not imagenet or not boxable:
        raise DataError("a simulation needs classes of imagenet and open-images", remedy="add both lists to the recipe")
    n_categories = -(-how.imagenet_images // _IMAGES_OF_CATEGORY)
    chosen = [imagenet[i] for i in rng.choice(len(imagenet), min(n_categories, len(imagenet)), replace=False)]
    ids = [f"{chosen[k % len(chosen)].source_id}_simulated{k:06d}" for k in range(how.imagenet_images)]
    return SimulatedSample(
        imagenet_lines=tuple(f"{image_id.split('_')[0]}/{image_id}.JPEG" for image_id in ids),
        open_images_rows=tuple(_open_images_rows(boxable, how.open_images, rng)),
        predicted_ids=tuple(ids),
        predictions=_predictions(len(ids), len(chosen), [row.class_index for row in boxable], rng),
    )


def _open_images_rows(
    classes: Sequence[MappingRow], n_images: int, rng: np.random.Generator
) -> list[tuple[str, str, str, str]]:
    popularity = 1 / np.arange(1, len(classes) + 1)
    popularity = rng.permutation(popularity / popularity.sum())
    rows = []
    for number in range(n_images):
        image_id = f"simulated{number:07x}"
        n_labels = min(int(rng.integers(1, 6)), len(classes))
        for at in rng.choice(len(classes), n_labels, replace=False, p=popularity):
            kind = rng.random()
            if kind < 0.5:  # noqa: PLR2004 - half verified present, an eighth verified absent, the rest a machine's
                source, confidence = "verification", 1.0
            elif kind < 0.625:  # noqa: PLR2004 - as above
                source, confidence = "verification", 0.0
            else:
                source, confidence = "machine", float(rng.choice(_CONFIDENCES))
            rows.append((image_id, source, classes[at].source_id, f"{confidence:g}"))
    return rows


def _predictions(n_images: int, n_categories: int, classes: Sequence[int], rng: np.random.Generator) -> LabelColumns:
    """Return predictions in which each category appears with companions, each in its own share of the images."""
    distinct = np.unique(np.asarray(classes, np.int32))
    companions = np.stack(
        [rng.choice(distinct, min(_COMPANIONS, len(distinct)), replace=False) for _ in range(n_categories)]
    )
    share = rng.random(companions.shape)
    of_image = np.sort(companions[np.arange(n_images) % n_categories], axis=1)
    order = np.argsort(companions, axis=1)
    seen = rng.random(of_image.shape) < np.take_along_axis(share, order, axis=1)[np.arange(n_images) % n_categories]
    probability = np.where(seen, rng.uniform(0.951, 1, of_image.shape), rng.uniform(0.05, 0.949, of_image.shape))
    n_labels = of_image.shape[1]
    return LabelColumns(
        np.arange(0, n_images * n_labels + 1, n_labels, dtype=np.int32),
        of_image.ravel().astype(np.int32),
        of_a_model(probability.ravel()),
        np.full(n_images * n_labels, Origin.MODEL_PREDICTION, np.uint8),
    )

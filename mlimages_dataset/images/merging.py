"""Merging the labels of copies into those of the picture that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.tables.label_columns import LabelColumns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """The labels of one image, ascending by class and without repeats; see `LabelColumns`, all of shape (L,)."""

    class_index: NDArray[np.int32]
    confidence: NDArray[np.float32]
    origin: NDArray[np.uint8]


def labels_of(columns: LabelColumns, image: int) -> ImageLabels:
    """Return the labels of one image."""
    own = slice(columns.offsets[image], columns.offsets[image + 1])
    return ImageLabels(columns.class_index[own], columns.confidence[own], columns.origin[own])


def merged(copies: Sequence[ImageLabels]) -> ImageLabels:
    """Return the union of the labels of copies.

    If copies differ on a category, verified presence wins over verified absence, and that over machine confidences, of
    which the highest wins; of equal labels the most direct origin is kept.
    """
    class_index = np.concatenate([copy.class_index for copy in copies])
    confidence = np.concatenate([copy.confidence for copy in copies])
    origin = np.concatenate([copy.origin for copy in copies])
    weight = np.where(confidence == 1, 3, np.where(confidence == 0, 2, confidence))
    order = np.lexsort((origin, -weight, class_index))
    first = order[np.unique(class_index[order], return_index=True)[1]]
    return ImageLabels(class_index[first], confidence[first], origin[first])


def with_labels(columns: LabelColumns, replaced: Mapping[int, ImageLabels]) -> LabelColumns:
    """Return the labels of all images, with those of some images replaced."""
    lengths = np.diff(columns.offsets)
    pieces: list[tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8]]] = []
    done = 0
    for image, labels in sorted(replaced.items()):
        before = slice(done, columns.offsets[image])
        pieces.append((columns.class_index[before], columns.confidence[before], columns.origin[before]))
        pieces.append((labels.class_index, labels.confidence, labels.origin))
        lengths[image] = len(labels.class_index)
        done = columns.offsets[image + 1]
    pieces.append((columns.class_index[done:], columns.confidence[done:], columns.origin[done:]))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return LabelColumns(
        offsets,
        np.concatenate([piece[0] for piece in pieces]),
        np.concatenate([piece[1] for piece in pieces]),
        np.concatenate([piece[2] for piece in pieces]),
    )

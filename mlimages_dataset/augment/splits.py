"""Splitting images into training and validation by hash, under quotas (Tencent ML-Images, section 3.1).

An image's draw is a 64-bit hash of its id and a salt: a fixed random number that does not depend on other images. An
image is eligible for validation if its draw is below the (K + 1)th lowest of each category that it is originally
annotated with, so no category has more than K validation images, even if an image is repeated; the N eligible images
with the lowest draws are the validation set. Both conditions are thresholds on the draw, so parts of the images can be
processed separately, and adding images moves an old one only if a quota requires it.

Legend: N images, C categories, K images per category.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from mlimages_dataset.tables.label_columns import LabelColumns

MOST_PER_CATEGORY = 1000
"""Limit of validation images per category: this many draws per category are held in memory."""
_NEVER = np.uint64(2**64 - 1)
_FNV_OFFSET, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


@dataclass(frozen=True, slots=True)
class LowestDraws:
    """The K + 1 lowest draws of each category, ascending, uint64, shape (C, K + 1); `+` merges those of parts."""

    draws: NDArray[np.uint64]

    @classmethod
    def empty(cls, n_classes: int, per_category: int) -> LowestDraws:
        """Return the lowest draws for no images."""
        return cls(np.full((n_classes, per_category + 1), _NEVER))

    def __add__(self, other: LowestDraws) -> LowestDraws:
        merged = np.sort(np.concatenate([self.draws, other.draws], axis=1), axis=1)
        return LowestDraws(merged[:, : self.draws.shape[1]])

    @property
    def limits(self) -> NDArray[np.uint64]:
        """The draw below which an eligible image must be in each category, shape (C,)."""
        return self.draws[:, -1]


def draws_of(image_ids: pa.StringArray, salt: str) -> NDArray[np.uint64]:
    """Return the draw of each image, uint64, shape (N,): FNV-1a over the salt and the id, then MurmurHash3's finalizer.

    http://www.isthe.com/chongo/tech/comp/fnv (FNV-1a alone leaves the high bits of similar ids alike),
    https://github.com/aappleby/smhasher (fmix64).
    """
    _, offsets, content = image_ids.buffers()
    starts = np.frombuffer(offsets, np.int32)[image_ids.offset : image_ids.offset + len(image_ids) + 1]
    letters = np.frombuffer(content, np.uint8) if content is not None else np.empty(0, np.uint8)
    draws = np.empty(len(starts) - 1, np.uint64)
    _hash(np.frombuffer(salt.encode() + b"\0", np.uint8), starts, letters, draws)
    return draws


def lowest_draws(draws: NDArray[np.uint64], labels: LabelColumns, n_classes: int, per_category: int) -> LowestDraws:
    """Return the K + 1 lowest draws of each category among N images.

    Raises:
        IndexError: a class index is not in 0..C-1.
        ValueError: a confidence or an origin is outside its range.
    """
    labels.check(n_classes)
    lowest = LowestDraws.empty(n_classes, per_category).draws
    _lower(draws, labels.offsets, labels.class_index, _original(labels), lowest)
    return LowestDraws(lowest)


def eligible(draws: NDArray[np.uint64], labels: LabelColumns, limits: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return whether each image has a category and is below the limit of each of them, bool, shape (N,).

    Raises:
        IndexError: a class index is not in 0..C-1.
        ValueError: a confidence or an origin is outside its range.
    """
    labels.check(len(limits))
    result = np.zeros(len(draws), np.bool_)
    _judge(draws, labels.offsets, labels.class_index, _original(labels), np.ascontiguousarray(limits), result)
    return result


def _original(labels: LabelColumns) -> NDArray[np.bool_]:
    return np.asarray((labels.confidence > 0) & (labels.origin == Origin.ORIGINAL))


@compiled
def _lower(
    draws: NDArray[np.uint64],
    offsets: NDArray[np.int32],
    class_index: NDArray[np.int32],
    chosen: NDArray[np.bool_],
    lowest: NDArray[np.uint64],
) -> None:
    for image in range(len(draws)):
        draw = draws[image]
        for k in range(offsets[image], offsets[image + 1]):
            row = lowest[class_index[k]]
            if not chosen[k] or draw >= row[-1]:
                continue
            at = len(row) - 1
            while at > 0 and row[at - 1] > draw:
                row[at] = row[at - 1]
                at -= 1
            row[at] = draw


@compiled
def _judge(  # noqa: PLR0917 - compiled code takes no keywords
    draws: NDArray[np.uint64],
    offsets: NDArray[np.int32],
    class_index: NDArray[np.int32],
    chosen: NDArray[np.bool_],
    limits: NDArray[np.uint64],
    result: NDArray[np.bool_],
) -> None:
    for image in range(len(draws)):
        for k in range(offsets[image], offsets[image + 1]):
            if chosen[k]:
                result[image] = draws[image] < limits[class_index[k]]
                if not result[image]:
                    break


@compiled
def _hash(
    salt: NDArray[np.uint8], starts: NDArray[np.int32], letters: NDArray[np.uint8], result: NDArray[np.uint64]
) -> None:
    seed = _FNV_OFFSET
    for byte in salt:
        seed = (seed ^ np.uint64(byte)) * _FNV_PRIME
    for i in range(len(result)):
        h = seed
        for at in range(starts[i], starts[i + 1]):
            h = (h ^ np.uint64(letters[at])) * _FNV_PRIME
        h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
        h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
        result[i] = h ^ (h >> np.uint64(33))

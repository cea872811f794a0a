"""Ranges of image ids that hold about equally many images, whatever the order of the images and the cut into files.

The images with the lowest draws are a uniform sample of all images, and how low its draws are says how many there are
(Bar-Yossef et al. 2002, "Counting distinct elements in a data stream", algorithm 2). Samples of parts merge, so no part
needs to see another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.augment.splits import draws_of

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLE_IMAGES = 1 << 13
"""With 18 ranges, one holds 5 % more or fewer images than asked for (standard deviation)."""
_SALT = "ranges"


@dataclass(frozen=True, slots=True)
class ImageSample:
    """The ids of the images with the lowest draws, all of them where they are few; samples of parts merge with `+`.

    Attributes:
        image_ids: ids, ascending by draw.
        last: the greatest of all ids, empty for no image.
    """

    image_ids: tuple[str, ...] = ()
    last: str = ""

    @classmethod
    def of(cls, image_ids: pa.StringArray) -> ImageSample:
        """Return the sample of images, which may repeat, their ids ascending."""
        if not len(image_ids):
            return cls()
        draws, at = np.unique(draws_of(image_ids, _SALT), return_index=True)
        chosen = image_ids.take(pa.array(at[: min(len(draws), SAMPLE_IMAGES)]))
        return cls(tuple(chosen.to_pylist()), image_ids[-1].as_py())

    def __add__(self, other: ImageSample) -> ImageSample:
        both = ImageSample.of(pa.array(sorted({*self.image_ids, *other.image_ids}), pa.string()))
        return ImageSample(both.image_ids, max(self.last, other.last))

    @property
    def images(self) -> float:
        """How many images there are: exact while all are in the sample, else estimated."""
        if len(self.image_ids) < SAMPLE_IMAGES:
            return len(self.image_ids)
        highest = int(draws_of(pa.array(self.image_ids[-1:]), _SALT)[0])
        return (SAMPLE_IMAGES - 1) * 2.0**64 / highest

    def ranges(self, images: int) -> list[tuple[str, str]]:
        """Return half-open ranges of ids, ascending and without gaps, with about so many images each."""
        ascending = sorted(self.image_ids)
        step = images * len(ascending) / max(self.images, 1)
        at = np.arange(max(step, 1), len(ascending), max(step, 1)).round().astype(int)
        inner: Sequence[str] = [ascending[i] for i in at.tolist() if i < len(ascending)]
        # No string lies between `last` and the same with a zero behind it.
        return list(zip(["", *inner], [*inner, self.last + "\0"], strict=True)) if ascending else []

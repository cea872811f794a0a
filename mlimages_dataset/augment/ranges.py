"""Ranges of image ids with about equal numbers of images, for any order of the images and any division into files.

The images with the lowest draws are a uniform sample of all images, and the highest draw of the sample gives an
estimate of their number (Bar-Yossef et al. 2002, "Counting distinct elements in a data stream", algorithm 2). Samples
of parts can be merged, so no part needs to see another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.tables.arrays import arrow_of, texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

SAMPLE_IMAGES = 1 << 13
"""Size of the sample: with 18 ranges, their sizes have a standard deviation of 5 %."""
_SALT = "ranges"


@dataclass(frozen=True, slots=True)
class ImageSample:
    """The ids of the images with the lowest draws (of all images if they are few); `+` merges samples of parts.

    Attributes:
        image_ids: ids, ascending by draw.
        last: the greatest of all ids, empty if there are no images.
    """

    image_ids: tuple[str, ...] = ()
    last: str = ""

    @classmethod
    def of(cls, image_ids: pa.StringArray) -> ImageSample:
        """Return the sample of images with these ids, ascending and perhaps repeated."""
        if not len(image_ids):
            return cls()
        distinct = pc.run_end_encode(image_ids).values
        draws, at = np.unique(draws_of(distinct, _SALT), return_index=True)
        chosen = distinct.take(arrow_of(at[: min(len(draws), SAMPLE_IMAGES)]))
        return cls(tuple(chosen.to_pylist()), image_ids[-1].as_py())

    def __add__(self, other: ImageSample) -> ImageSample:
        both = ImageSample.of(texts(sorted({*self.image_ids, *other.image_ids})))
        return ImageSample(both.image_ids, max(self.last, other.last))

    @property
    def images(self) -> float:
        """Number of images: exact if all are in the sample, else estimated."""
        if len(self.image_ids) < SAMPLE_IMAGES:
            return len(self.image_ids)
        highest = int(draws_of(texts(self.image_ids[-1:]), _SALT)[0])
        return (SAMPLE_IMAGES - 1) * 2.0**64 / highest

    def ranges(self, images: int) -> list[tuple[str, str]]:
        """Return half-open ranges of ids, ascending and without gaps, with about `images` images each."""
        ascending = sorted(self.image_ids)
        step = images * len(ascending) / max(self.images, 1)
        at = np.arange(max(step, 1), len(ascending), max(step, 1)).round().astype(int)
        inner: Sequence[str] = [ascending[i] for i in at.tolist() if i < len(ascending)]
        # No string is between `last` and `last` followed by a zero byte.
        return list(zip(["", *inner], [*inner, self.last + "\0"], strict=True)) if ascending else []

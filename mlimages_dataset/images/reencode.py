"""Smaller JPEGs of pictures, for those who cannot hold the originals."""

from __future__ import annotations

import dataclasses
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mlimages_dataset.images.check import inspect
from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from mlimages_dataset.images.check import Inspection

_DETAIL_CHARACTERS = 200
_REDUCING_GAP = 3.0
"""Pillow's own advice: reducing by whole factors first, down to this many times the final size, costs no quality."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrinking:
    """How pictures are made smaller.

    Attributes:
        short_edge: pixels of the shorter edge; pictures are never enlarged.
        quality: libjpeg's, 1 to 100.
    """

    short_edge: int
    quality: int = 90

    def __post_init__(self) -> None:
        if self.short_edge < 1:
            raise ValueError(f"an edge of {self.short_edge} pixels is none")
        if not 1 <= self.quality <= 100:  # noqa: PLR2004 - libjpeg's range
            raise ValueError(f"a quality of {self.quality} is not within 1 and 100")


def shrink(content: bytes, short_edge: int, quality: int) -> bytes:
    """Return a picture as a JPEG whose shorter edge has `short_edge` pixels, or itself where it is no larger.

    The pixels are those that a decoder sees which ignores EXIF; colour profiles and metadata are left out, and of an
    animation the first frame is kept. JPEGs are decoded near the wanted size (libjpeg's scaling by eighths).

    Raises:
        Exception: of any kind, where Pillow cannot decode it; `check.inspect` finds out before.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            if min(width, height) <= short_edge:
                return content
            scale = short_edge / min(width, height)
            size = max(short_edge, round(width * scale)), max(short_edge, round(height * scale))
            # Not below twice the size: libjpeg's scaled inverse transform is coarser than Lanczos.
            image.draft(None, (2 * size[0], 2 * size[1]))
            smaller = _eight_bits(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    encoded = io.BytesIO()
    smaller.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()


def shrunken(content: bytes, found: Inspection, shrinking: Shrinking) -> tuple[Inspection, bytes | None]:
    """Return what a picture is once it is made smaller, and its bytes, None where the given ones stay.

    Args:
        content: a picture.
        found: what its inspection found, which may have decoded it at another size or not at all.
        shrinking: the wanted size.
    """
    try:
        smaller = shrink(content, shrinking.short_edge, shrinking.quality)
    except Exception as error:  # noqa: BLE001 - decoders raise of every kind
        return dataclasses.replace(found, status=Status.BROKEN, detail=str(error)[:_DETAIL_CHARACTERS]), None
    if smaller is content:
        return found, None
    return dataclasses.replace(inspect(smaller, decode=False), detail=found.detail), smaller


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a picture in grey or RGB of 8 bits a channel."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return Image.fromarray((np.asarray(image).clip(0, 0xFFFF) >> 8).astype(np.uint8))
    return image if image.mode == "L" else image.convert("RGB")

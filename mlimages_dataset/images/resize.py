"""Re-encoding pictures as smaller JPEGs."""

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
"""Pillow first reduces by whole factors to this many times the final size; by its documentation no quality is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeOptions:
    """The size and quality that larger pictures are re-encoded with.

    Attributes:
        short_edge: pixels of the shorter edge; smaller pictures stay as they are.
        quality: of libjpeg, 1 to 100.
    """

    short_edge: int
    quality: int = 90

    def __post_init__(self) -> None:
        if self.short_edge < 1:
            raise ValueError(f"short_edge is {self.short_edge}, not at least 1")
        if not 1 <= self.quality <= 100:  # noqa: PLR2004 - libjpeg's range
            raise ValueError(f"quality is {self.quality}, not within 1 to 100")


def resized_jpeg(content: bytes, short_edge: int, quality: int) -> bytes:
    """Return a picture as a JPEG whose shorter edge has `short_edge` pixels; one that is no larger is returned itself.

    EXIF's rotation is not applied; colour profiles and metadata are dropped; of an animation the first frame is kept.
    JPEGs are decoded near the wanted size (libjpeg scales by eighths).

    Raises:
        Exception: of any kind, if Pillow cannot decode the picture; `check.inspect` tells before.
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


def resized(content: bytes, found: Inspection, resize: ResizeOptions) -> tuple[Inspection, bytes | None]:
    """Return the inspection of the re-encoded picture and its bytes; None for bytes that stay as they are.

    Args:
        content: an encoded picture.
        found: its inspection, which need not have decoded it.
        resize: the wanted size.
    """
    try:
        smaller = resized_jpeg(content, resize.short_edge, resize.quality)
    except Exception as error:  # noqa: BLE001 - decoders raise exceptions of every kind
        return dataclasses.replace(found, status=Status.BROKEN, detail=str(error)[:_DETAIL_CHARACTERS]), None
    if smaller is content:
        return found, None
    return dataclasses.replace(inspect(smaller, decode=False), detail=found.detail), smaller


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a picture in grey or RGB with 8 bits per channel."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return Image.fromarray((np.asarray(image).clip(0, 0xFFFF) >> 8).astype(np.uint8))
    return image if image.mode == "L" else image.convert("RGB")

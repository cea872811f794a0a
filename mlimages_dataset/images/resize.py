"""Re-encoding pictures as JPEGs: smaller, and upright."""

from __future__ import annotations

import dataclasses
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from mlimages_dataset.images.check import PILLOW_FORMATS, inspect
from mlimages_dataset.images.depth import eight_bits
from mlimages_dataset.images.orientation import (
    NO_ROTATION,
    UPRIGHT,
    orientation_note,
    orientation_of,
    orientation_of_rotation,
    rotation_note,
    upright_image,
)
from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from mlimages_dataset.images.check import Inspection

TURNED = "turned upright: "
"""Begins the note in `detail` on a picture whose stored pixels are not those of its source, but upright."""
_DETAIL_CHARACTERS = 200
_REDUCING_GAP = 3.0
"""Pillow first reduces by whole factors to this many times the final size; by its documentation no quality is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeOptions:
    """Which pictures are re-encoded, and how. All that are re-encoded become upright.

    Attributes:
        short_edge: pixels of the shorter edge of larger pictures, smaller ones stay as they are; 0 for any size.
        quality: of libjpeg, 1 to 100.
        upright: also re-encode pictures that are not stored upright, whatever their size.
    """

    short_edge: int = 0
    quality: int = 90
    upright: bool = False

    def __post_init__(self) -> None:
        if self.short_edge < (0 if self.upright else 1):
            raise ValueError(f"short_edge is {self.short_edge}, not at least 1")
        if not 1 <= self.quality <= 100:  # noqa: PLR2004 - libjpeg's range
            raise ValueError(f"quality is {self.quality}, not within 1 to 100")


def resized_jpeg(content: bytes, options: ResizeOptions, rotation: int = NO_ROTATION) -> tuple[bytes, int]:
    """Return a picture as a JPEG of the wanted size, upright, and the orientation that it was stored in.

    A picture that needs no change is returned itself. Colour profiles and metadata are dropped; of an animation
    the first frame is kept. JPEGs are decoded near the wanted size (libjpeg scales by eighths).

    Args:
        content: an encoded picture.
        options: what is re-encoded.
        rotation: the degrees, counterclockwise, by which its list says that it has to be turned: 0, 90, 180 or 270. It
            tells of the stored pixels, as EXIF does, so EXIF's orientation then does not count.

    Raises:
        Exception: of any kind, if Pillow cannot decode the picture; `check.inspect` tells before.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as image:
            orientation = orientation_of(image) if rotation == NO_ROTATION else orientation_of_rotation(rotation)
            larger = 0 < options.short_edge < min(image.size)
            if not larger and not (options.upright and orientation != UPRIGHT):
                return content, orientation
            stored = _scaled(image, options.short_edge) if larger else eight_bits(image)
            upright = upright_image(stored, orientation)
    encoded = io.BytesIO()
    upright.save(encoded, "JPEG", quality=options.quality)
    return encoded.getvalue(), orientation


def _scaled(image: Image.Image, short_edge: int) -> Image.Image:
    width, height = image.size
    scale = short_edge / min(width, height)
    size = max(short_edge, round(width * scale)), max(short_edge, round(height * scale))
    # Not below twice the size: libjpeg's scaled inverse transform is coarser than Lanczos.
    image.draft(None, (2 * size[0], 2 * size[1]))
    return eight_bits(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)


def resized(
    content: bytes, found: Inspection, options: ResizeOptions, rotation: int = NO_ROTATION
) -> tuple[Inspection, bytes | None]:
    """Return the inspection of the re-encoded picture and its bytes; None for bytes that stay as they are.

    Args:
        content: an encoded picture.
        found: its inspection, which need not have decoded it.
        options: what is re-encoded.
        rotation: as for `resized_jpeg`.
    """
    try:
        smaller, orientation = resized_jpeg(content, options, rotation)
    except Exception as error:  # noqa: BLE001 - decoders raise exceptions of every kind
        return dataclasses.replace(found, status=Status.BROKEN, detail=str(error)[:_DETAIL_CHARACTERS]), None
    if smaller is content:
        return found, None
    why = orientation_note(orientation) if rotation == NO_ROTATION else rotation_note(rotation)
    notes = [one for one in found.detail.split("; ") if one not in {"", why, orientation_note(found.orientation)}]
    notes += [TURNED + why] if orientation != UPRIGHT else []
    return dataclasses.replace(inspect(smaller, decode=False), detail="; ".join(notes)), smaller


def turned_lines(turned: int) -> list[str]:
    """Return a summary's line on pictures that were turned, if there are any."""
    return [f"{turned:>12,}  of the saved ones were turned upright"] if turned else []

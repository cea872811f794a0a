"""Which way up a picture is stored, and turning it upright.

An orientation is a number from 1 to 8 as in EXIF: 1 is upright, 2 to 8 say how the stored rows and columns have to be
turned or mirrored (CIPA DC-008, Exif 2.32, tag 0x0112; https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf).

Open Images' column `Rotation` states the degrees, counterclockwise, by which a stored picture and its boxes have to be
turned: 0, 90, 180 or 270, and nothing where it is unknown.
https://storage.googleapis.com/openimages/web/2018-05-17-rotation-information.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import ExifTags, Image

from mlimages_dataset.core.decimals import nearest_float

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Scalar = TypeVar("_Scalar", bound=np.generic)
    _Length = TypeVar("_Length", int, float)

UPRIGHT = 1
NO_ROTATION = -1
"""The degrees of a picture whose list states no rotation."""

_OF_ROTATION = {0: UPRIGHT, 90: 8, 180: 3, 270: 6}
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS = frozenset({5, 6, 7, 8})
"""Orientations in which stored rows are columns of the upright picture."""
_FROM_THE_END = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (-1, 1), 7: (-1, -1), 8: (1, -1)}
"""The direction in which stored rows and columns are read."""
_OF_PNG = (b"eXIf", b"exif", b"tiff:Orientation", b"XML:com.adobe.xmp")
"""One of these is in every PNG that states an orientation; XMP may be compressed, but has its keyword before it."""


def stated_rotation(text: str) -> int | None:
    """Return the degrees of a value of `Rotation`: 0, 90, 180 or 270, or `NO_ROTATION`; None if it is none of these.

    >>> stated_rotation("270.0"), stated_rotation("nan"), stated_rotation("45")
    (270, -1, None)
    """
    if text.strip().lower() in {"", "nan"}:
        return NO_ROTATION
    degrees = nearest_float(text)
    return int(degrees) if degrees in _OF_ROTATION else None


def orientation_of_rotation(degrees: int) -> int:
    """Return the orientation of a picture that has to be turned by 0, 90, 180 or 270 degrees counterclockwise."""
    return _OF_ROTATION[degrees]


def orientation_of(image: Image.Image, *, decoded: bool = True) -> int:
    """Return the orientation that an opened picture states, in EXIF, XMP or AVIF's own boxes; upright if it is damaged.

    Args:
        image: the picture; Pillow turns TIFFs itself while it decodes them, so these are upright.
        decoded: read it to its end if only that tells. Some PNGs have EXIF behind their pixels.
    """
    if image.format == "TIFF":
        return UPRIGHT
    try:
        exif = image.getexif() if decoded else Image.Image.getexif(image)
        stated = exif.get(ExifTags.Base.Orientation)
        return int(stated) if stated in _TRANSPOSES else UPRIGHT
    except Exception:  # noqa: BLE001 - damaged metadata raise SyntaxError, struct.error and others; the pixels are whole
        return UPRIGHT


def may_state_orientation(content: bytes) -> bool:
    """Return whether encoded bytes may state an orientation; only for PNG, where to ask Pillow is to decode it."""
    return not content.startswith(b"\x89PNG") or any(mark in content for mark in _OF_PNG)


def orientation_note(orientation: int) -> str:
    """Return the words in `detail` for stored pixels whose file states that they are not upright."""
    return f"EXIF orientation {orientation}"


def rotation_note(degrees: int) -> str:
    """Return the words in `detail` for stored pixels whose list states that they have to be turned."""
    return f"Rotation {degrees}"


def upright_size(height: _Length, width: _Length, orientation: int) -> tuple[_Length, _Length]:
    """Return height and width of a picture when it is upright, from those of its stored pixels."""
    return (width, height) if orientation in _SWAPS else (height, width)


def upright_image(image: Image.Image, orientation: int) -> Image.Image:
    """Return a picture upright."""
    return image if orientation == UPRIGHT else image.transpose(_TRANSPOSES[orientation])


def upright_pixels(pixels: NDArray[_Scalar], orientation: int) -> NDArray[_Scalar]:
    """Return pixels upright, C-contiguous, from stored ones of shape (H, W, channels)."""
    rows, columns = _FROM_THE_END[orientation]
    turned = pixels[::rows, ::columns]
    return np.ascontiguousarray(turned.swapaxes(0, 1) if orientation in _SWAPS else turned)


def mirrored_axes(orientation: int) -> tuple[bool, bool]:
    """Return whether the rows, and whether the columns, of the upright picture run against the stored ones."""
    rows, columns = (step < 0 for step in _FROM_THE_END[orientation])
    return (columns, rows) if orientation in _SWAPS else (rows, columns)

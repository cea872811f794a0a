"""Decoding pictures, no more pixels of them than a crop needs.

First the header of a JPEG is read for its size. When the crop has been drawn, the rows down to the end of the crop are
decoded, at the smallest scale that still has as many pixels as the resized crop. libjpeg-turbo scales inside the
inverse DCT (https://libjpeg-turbo.org, `scaling factors`): scale M/8 gives M x M pixels per block. Only 1/8, 1/4, 1/2
and 1 are used: other scales have no vector code and take longer than decoding in full.

Pillow decodes everything else at full size: other formats, CMYK, what the JPEG decoder complains of. A picture whose
missing pixels decoders fill in is broken, as for `images ingest` and `images verify`; of a JPEG, only the rows that a
crop needs are looked at. Pixels come as they are stored, as in the recipe's own code and in torchvision;
`read_orientation` says how to turn them (Pillow turns TIFFs itself).

Legend: H, W pixels of the stored picture.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.images.check import PILLOW_FORMATS, Limits, filled_fault, inspect
from mlimages_dataset.images.depth import eight_bits
from mlimages_dataset.images.orientation import UPRIGHT, may_state_orientation, orientation_of
from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS = Limits().pixels
"""Larger pictures are refused before they are decoded."""

_BLOCK = 8
_START_OF_FRAME = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive: Huffman-coded, which is what libjpeg reads
_PROGRESSIVE = 0xC2
_START_OF_SCAN = 0xDA
_MARKER = 0xFF  # begins every marker; may be repeated before one
_END_OF_IMAGE = b"\xff\xd9"
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD8))
# The decoder's complaint about the rest of a scan whose header was changed to fewer rows.
_ROWS_LEFT = re.compile(r"Corrupt JPEG data: \d+ extraneous bytes before marker 0xd[0-79]")


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a picture before it is decoded.

    Attributes:
        height: H.
        width: W.
        height_at: the offset of the height in the header of a JPEG whose decoding can stop early, that is, a
            sequential one with one scan; 0 for all others.
        is_plain: whether the JPEG decoder can read it, and its end marker is there.
    """

    height: int
    width: int
    height_at: int = 0
    is_plain: bool = False


def read_header(content: bytes) -> Header:
    """Return the header of a picture in any format that `images.check` accepts.

    Raises:
        DataError: it is not a picture, or has more than `MAX_PIXELS`.
    """
    header = _jpeg_header(content) or _other_header(content)
    if header.height * header.width > MAX_PIXELS:
        raise _error(f"the picture has {header.width} x {header.height} pixels, more than {MAX_PIXELS:,}")
    return header


def read_orientation(content: bytes) -> int:
    """Return the orientation that a picture states of its stored pixels, 1 to 8, see `images.orientation`."""
    if not may_state_orientation(content):
        return UPRIGHT
    try:
        with _opened(content) as image:
            return orientation_of(image)
    except DataError:  # the JPEG decoder may read more than Pillow does
        return UPRIGHT


def decode(content: bytes, header: Header, *, bottom: int | None = None, eighths: int = _BLOCK) -> NDArray[np.uint8]:
    """Return a picture's RGB pixels, shape (rows, ceil(W * M / 8), 3), where M is `eighths` or 8.

    M is 8 if the picture cannot be scaled while it is decoded, which the width shows. There may be rows after `bottom`.

    Args:
        content: the bytes of the file.
        header: what `read_header` returned for them.
        bottom: the number of rows of the stored picture that are needed, from the top; None for all.
        eighths: the scale, 1, 2, 4 or 8.

    Raises:
        DataError: the bytes cannot be decoded.
    """
    if not header.is_plain:
        return _decode_by_pillow(content)
    rows = _rows_to_decode(header, bottom, eighths)
    shown = content if rows == header.height else _with_height(content, header, rows)
    pixels = np.empty((-(-rows * eighths // _BLOCK), -(-header.width * eighths // _BLOCK), 3), np.uint8)
    try:
        simplejpeg.decode_jpeg(shown, "RGB", min_height=pixels.shape[0], min_width=pixels.shape[1], buffer=pixels)
    except ValueError as error:
        # The decoder reports its first complaint. If it is this one, all decoded rows are correct.
        if rows == header.height or not _ROWS_LEFT.match(str(error)):
            return _decode_by_pillow(content)
    return pixels


def eighths_for(height: float, width: float, size: int, header: Header) -> int:
    """Return the smallest fast scale M/8 at which height x width pixels are still at least size x size."""
    if min(header.height, header.width) < _BLOCK:
        return _BLOCK
    return next((m for m in (1, 2, 4) if min(height, width) * m >= size * _BLOCK), _BLOCK)


def _rows_to_decode(header: Header, bottom: int | None, eighths: int) -> int:
    if bottom is None or not header.height_at:
        return header.height
    # Subsampled chroma is interpolated from the row below too: two more rows make the last needed row exact.
    return min(bottom + 2 * _BLOCK // eighths, header.height)


def _with_height(content: bytes, header: Header, rows: int) -> bytearray:
    shown = bytearray(content)
    shown[header.height_at : header.height_at + 2] = rows.to_bytes(2, "big")
    return shown


def _jpeg_header(content: bytes) -> Header | None:
    """Return the header of a JPEG that the JPEG decoder can read; None for other files.

    Markers and frames: ITU-T T.81, B.1 and B.2.2 (https://www.w3.org/Graphics/JPEG/itu-t81.pdf).
    """
    if content[:2] != b"\xff\xd8":
        return None
    at, frame, end = 2, 0, len(content)
    while at + 10 < end and content[at] == _MARKER:
        marker = content[at + 1]
        if marker in _START_OF_FRAME:
            frame = at
        elif marker == _START_OF_SCAN:
            return _frame(content, frame, at) if frame else None
        if marker == _MARKER:
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None


def _frame(content: bytes, at: int, scan: int) -> Header | None:
    precision, components = content[at + 4], content[at + 9]
    height, width = int.from_bytes(content[at + 5 : at + 7], "big"), int.from_bytes(content[at + 7 : at + 9], "big")
    is_whole = content.rfind(_END_OF_IMAGE, scan) >= 0
    if precision != _BLOCK or components not in (1, 3) or not (height and width and is_whole):
        return None
    is_one_scan = content[at + 1] != _PROGRESSIVE and content[scan + 4] == components
    return Header(height, width, at + 5 if is_one_scan else 0, is_plain=True)


def _other_header(content: bytes) -> Header:
    with _opened(content) as image:
        return Header(image.height, image.width)


def _decode_by_pillow(content: bytes) -> NDArray[np.uint8]:
    with _opened(content) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fault = filled_fault(content, image)
            pixels = np.array(eight_bits(image).convert("RGB"))
        except Exception as error:
            raise _error(f"the picture cannot be decoded ({error})") from error
    if fault:
        raise _error(f"the picture is broken ({fault})")
    return pixels


def _opened(content: bytes) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns of large pictures, which are refused elsewhere, and of odd metadata, which does not matter.
        warnings.simplefilter("ignore")
        try:
            return Image.open(io.BytesIO(content), formats=PILLOW_FORMATS)
        except UnidentifiedImageError as error:
            found = inspect(content, decode=False)
            told = f" ({found.detail})" if found.status is Status.UNSUPPORTED else ""
            raise _error(f"{len(content):,} bytes are not a picture in an accepted format{told}") from error
        except Exception as error:
            raise _error(f"{len(content):,} bytes are not a picture ({error})") from error


def _error(what: str) -> DataError:
    return DataError(what, remedy="take the image out of the list, or fetch it again")

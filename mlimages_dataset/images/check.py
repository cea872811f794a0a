"""Whether bytes are a whole picture: by their first bytes, by the header, and by decoding to the end."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError, features

from mlimages_dataset.images.blocks import CUT, is_cut
from mlimages_dataset.images.depth import unread_depth
from mlimages_dataset.images.filled import jpeg_fault, lacks_rows
from mlimages_dataset.images.formats import AVIF, kind_of, not_decoded_jpeg
from mlimages_dataset.images.jpeg import whole_size
from mlimages_dataset.images.orientation import UPRIGHT, orientation_note, orientation_of
from mlimages_dataset.images.quiet import without_messages
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.images.tiff import tiff_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 1 << 27)
"""The largest pictures that Pillow opens."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a picture may be.

    Attributes:
        bytes: the encoded size, at most.
        pixels: width times height, at most; not more than `MAX_PIXELS`.
    """

    bytes: int = 64 << 20
    pixels: int = 100_000_000


@dataclass(frozen=True, slots=True)
class Inspection:
    """What bytes turned out to be.

    Attributes:
        status: `SAVED` for a picture that can be kept, else why not.
        detail: the failure in words, or what is unusual about a picture that can be kept; often empty.
        width: of the stored pixels, as Pillow decodes them; -1 if the header cannot be read.
        height: likewise.
        suffix: of the format, such as `.jpg`; empty if the bytes have no known format.
        orientation: what the picture states of its stored pixels, 1 to 8 as in EXIF; 1 is upright.
    """

    status: Status
    detail: str
    width: int = -1
    height: int = -1
    suffix: str = ""
    orientation: int = UPRIGHT


@dataclass(frozen=True, slots=True)
class _Format:
    suffix: str
    pillow: str
    magic: re.Pattern[bytes]


_FORMATS = (
    _Format(".jpg", "JPEG", re.compile(rb"\xff\xd8\xff")),
    _Format(".png", "PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    _Format(".gif", "GIF", re.compile(rb"GIF8[79]a")),
    _Format(".webp", "WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    _Format(".tif", "TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    # Many texts begin with these two letters: the zero fields of the header must follow.
    _Format(".bmp", "BMP", re.compile(rb"BM....\0\0\0\0", re.DOTALL)),
    *([_Format(".avif", "AVIF", AVIF)] if features.check("avif") else []),
)

PILLOW_FORMATS = tuple(one.pillow for one in _FORMATS)
"""The accepted formats by their names in Pillow. Some of its others start programs, such as Ghostscript."""

_SNIFFED_BYTES = 1024
_DETAIL_CHARACTERS = 200


def inspect(content: bytes, limits: Limits = Limits(), *, decode: bool = True) -> Inspection:
    """Return whether bytes are a whole picture within the limits; never raises and never warns.

    The Huffman codes of a plain JPEG are read to the end without computing pixels. A JPEG that is not plain or fails
    that check is decoded at an eighth of its size, which still reads all entropy-coded data, so that damage is found as
    by full decoding; what libjpeg fills in counts as damage.

    Args:
        content: the bytes, or a view of them.
        limits: the largest allowed size; pixels are compared before anything is decoded.
        decode: decode the whole picture; if false, read only the header.
    """
    if not content:
        return Inspection(Status.EMPTY, "")
    if len(content) > limits.bytes:
        return Inspection(Status.TOO_LARGE, f"{len(content):,} bytes, more than {limits.bytes:,}")
    form = _format_of(content)
    if form is None:
        return Inspection(*kind_of(bytes(content[:_SNIFFED_BYTES])))
    # Pillow warns of large pictures, which are handled here, and of odd metadata, which does not matter.
    quiet = without_messages() if form.pillow == "TIFF" else contextlib.nullcontext()
    with quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _inspect_picture(content, form, limits, decode=decode)


def suffix_of(content: bytes) -> str:
    """Return the suffix of the format of encoded bytes, such as `.jpg`; empty if it is unknown."""
    form = _format_of(content)
    return "" if form is None else form.suffix


def _format_of(content: bytes) -> _Format | None:
    head = bytes(content[:_SNIFFED_BYTES])
    return next((one for one in _FORMATS if one.magic.match(head)), None)


def _inspect_picture(content: bytes, form: _Format, limits: Limits, *, decode: bool) -> Inspection:
    width = height = -1
    try:
        with Image.open(io.BytesIO(content), formats=[form.pillow]) as image:
            width, height = image.size
            if width * height > limits.pixels:
                detail = f"{width} x {height} pixels, more than {limits.pixels:,}"
                return Inspection(Status.TOO_MANY_PIXELS, detail, width, height, form.suffix)
            if unread := unread_depth(image):
                detail = f"its pixels are {unread}, which are not read: convert it to 8 or 16 bits first"
                return Inspection(Status.UNSUPPORTED, detail, width, height, form.suffix)
            notes = list(_notes(image))
            if decode and (fault := _decoding_fault(content, image, form)):
                detail = f"{form.pillow}: {fault}"[:_DETAIL_CHARACTERS]
                return Inspection(Status.BROKEN, detail, width, height, form.suffix)
            orientation = orientation_of(image, decoded=decode)
    except Image.DecompressionBombError:
        return Inspection(Status.TOO_MANY_PIXELS, f"more than {MAX_PIXELS:,} pixels", suffix=form.suffix)
    except Exception as error:  # noqa: BLE001 - decoders raise exceptions of every kind, even SyntaxError and struct.error
        return _undecodable(content, form, error, width, height)
    found = Inspection(Status.SAVED, "; ".join(notes), width, height, form.suffix, orientation)
    return found if orientation == UPRIGHT else noted(found, orientation_note(orientation))


def _decoding_fault(content: bytes, image: Image.Image, form: _Format) -> str:
    """Decode a picture; return what it lacks that its decoder fills in, or that belongs to later frames; else empty.

    Raises:
        Exception: of any kind, if it cannot be decoded.
    """
    if form.pillow == "JPEG":
        if image.format == "JPEG" and whole_size(content) == image.size:
            return ""
        if (fault := jpeg_fault(content)) is not None:
            return fault
        image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()
        return ""
    return _fault_of_other(content, image, form.pillow)


def filled_fault(content: bytes, image: Image.Image) -> str:
    """Decode an opened picture; return what it lacks and Pillow filled in, by the rule of `inspect`, else empty.

    Raises:
        Exception: of any kind, if it cannot be decoded.
    """
    form = _format_of(content)
    if form is not None and form.pillow != "JPEG":
        return _fault_of_other(content, image, form.pillow)
    image.load()
    return (jpeg_fault(content) or "") if form is not None else ""


def _fault_of_other(content: bytes, image: Image.Image, form: str) -> str:
    """Decode a picture that is no JPEG; return as `filled_fault`."""
    if form == "PNG" and lacks_rows(image, content):
        return "its data end before its last row"
    image.load()
    if form == "TIFF":
        return tiff_fault(content)
    return CUT if _is_animated(image) and is_cut(content, form) else ""


def _undecodable(content: bytes, form: _Format, error: Exception, width: int, height: int) -> Inspection:
    if form.pillow == "JPEG" and (kind := not_decoded_jpeg(content)):
        return Inspection(Status.UNSUPPORTED, kind, width, height, form.suffix)
    if isinstance(error, UnidentifiedImageError):
        detail = f"the {form.pillow} header is damaged, or of a kind that Pillow does not read"
        return Inspection(Status.BROKEN, detail, suffix=form.suffix)
    return Inspection(Status.BROKEN, f"{form.pillow}: {error}"[:_DETAIL_CHARACTERS], width, height, form.suffix)


def noted(found: Inspection, note: str) -> Inspection:
    """Return an inspection with one more note in its detail."""
    return dataclasses.replace(found, detail=f"{found.detail}; {note}" if found.detail else note)


def _notes(image: Image.Image) -> Iterator[str]:
    """Yield what a reader of the picture must handle."""
    if _is_animated(image):
        yield "animated: its first frame counts"
    if image.mode == "CMYK":
        yield "CMYK"
    if _is_deep(image):
        yield "16 bits a channel"


def _is_animated(image: Image.Image) -> bool:
    return bool(getattr(image, "is_animated", False))


def _is_deep(image: Image.Image) -> bool:
    if image.mode.startswith("I;16"):
        return True
    # Pillow opens 16-bit colour PNGs as 8-bit ones, but names the raw mode that it reads.
    return any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))

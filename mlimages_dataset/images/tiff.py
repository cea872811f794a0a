"""What a TIFF lacks and the decoder of its first page does not miss: later pages, strips that are not listed.

A TIFF is a chain of directories, one a page, that say where the strips or tiles of the page are: TIFF Revision 6.0
(https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf), sections 2 and 15; BigTIFF
(http://bigtiff.org/#FILE_FORMAT).

Legend: S strips or tiles.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mlimages_dataset.images.blocks import CUT
from mlimages_dataset.images.filled import jpeg_fault
from mlimages_dataset.images.jpeg import whole_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    _Fields: TypeAlias = dict[int, NDArray[np.unsignedinteger]]

_DTYPES = {1: "u1", 3: "u2", 4: "u4", 7: "u1", 13: "u4", 16: "u8", 18: "u8"}
"""NumPy's names of the types of a field's values."""
_WIDTH, _HEIGHT, _PACKING, _CHANNELS, _PLANES = 256, 257, 259, 277, 284
_STRIPS, _STRIP_ROWS, _STRIP_BYTES = 273, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 322, 323, 324, 325
_JPEG_TABLES = 347
_READ = {
    *(_WIDTH, _HEIGHT, _PACKING, _CHANNELS, _PLANES, _STRIPS, _STRIP_ROWS, _STRIP_BYTES),
    *(_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _JPEG_TABLES),
}
_OLD_JPEG, _NEW_JPEG = 6, 7
_SEPARATE = 2
_MOST_TABLE_BYTES = 1 << 14
"""All tables that a JPEG can have take less. They are put before each strip."""


class _CutError(Exception):
    """A directory or the values of one of its fields go on beyond the end of the file."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How numbers are stored in a file.

    Attributes:
        order: `<` or `>`, as NumPy and struct write it.
        is_big: whether it is a BigTIFF.
    """

    order: str
    is_big: bool

    def number(self, content: bytes, at: int, size: int) -> int:
        """Return the unsigned number of `size` bytes at an offset."""
        if at + size > len(content):
            raise _CutError
        return int.from_bytes(content[at : at + size], "little" if self.order == "<" else "big")


def tiff_fault(content: bytes) -> str:
    """Return what a TIFF lacks that the decoder of its first page does not miss; empty if nothing.

    Args:
        content: the file, whose first page could be decoded.
    """
    page = 0
    try:
        for page, fields in enumerate(_directories(content), 1):
            starts, sizes = _values(fields, _STRIPS, _TILES), _values(fields, _STRIP_BYTES, _TILE_BYTES)
            expected = _expected(fields)
            if len(starts) < expected:
                return f"page {page} lists {len(starts):,} of its {expected:,} strips or tiles"
            ends = starts + sizes if len(sizes) == len(starts) else starts + 1
            if page > 1 and bool(np.any(ends > len(content))):
                return CUT
            if page == 1 and (fault := _jpeg_strip_fault(content, fields, starts[:expected], ends[:expected])):
                return fault
    except _CutError:
        return CUT if page else ""
    return ""


def _directories(content: bytes) -> Iterator[_Fields]:
    """Yield the fields of each page that say where it is, by their tags.

    A file whose directories overlap, which no writer makes, is read no further than others of its size.
    """
    layout = _Layout("<" if content[:2] == b"II" else ">", bytes(content[2:4]) in {b"+\0", b"\0+"})
    word, entry_bytes = (8, 20) if layout.is_big else (4, 12)
    count_bytes = 8 if layout.is_big else 2
    at = layout.number(content, word, word)
    left, seen = len(content), set[int]()
    while at and at not in seen and left > 0:
        seen.add(at)
        n_entries = layout.number(content, at, count_bytes)
        end = at + count_bytes + n_entries * entry_bytes
        fields: _Fields = {}
        left -= end - at
        following = layout.number(content, end, word)
        for entry in range(at + count_bytes, end, entry_bytes):
            tag, kind = struct.unpack_from(f"{layout.order}HH", content, entry)
            if tag in _READ and tag not in fields and kind in _DTYPES:  # as in libtiff, the first of a tag counts
                fields[tag] = _field(content, layout, entry, kind, word)
                left -= len(fields[tag])
        yield fields
        at = following


def _field(content: bytes, layout: _Layout, entry: int, kind: int, word: int) -> NDArray[np.unsignedinteger]:
    """Return the values of a field as they are stored, shape (S,)."""
    stored = np.dtype(layout.order + _DTYPES[kind])
    n_values = layout.number(content, entry + 4, word)
    at = entry + 4 + word
    if n_values * stored.itemsize > word:
        at = layout.number(content, at, word)
    if at + n_values * stored.itemsize > len(content):
        raise _CutError
    return np.frombuffer(content, stored, n_values, at)


def _jpeg_strip_fault(content: bytes, fields: _Fields, starts: NDArray[np.float64], ends: NDArray[np.float64]) -> str:
    """Return what libjpeg fills in in the strips or tiles of a page that are JPEGs; empty for nothing.

    Each is a JPEG without the tables that the page states once: TIFF Technical Note 2
    (https://www.awaresystems.be/imaging/tiff/specification/TIFFTechNote2.txt).
    """
    if _first(fields, _PACKING, 1) != _NEW_JPEG:
        return ""
    tables = fields[_JPEG_TABLES].astype(np.uint8).tobytes() if _JPEG_TABLES in fields else b""
    if len(tables) > _MOST_TABLE_BYTES:
        return ""
    left = len(content)
    places = np.stack([starts, ends], axis=1).clip(max=left).astype(np.int64)
    for start, end in np.unique(places, axis=0):
        left -= end - start
        if left < 0:  # they overlap, which no writer makes: as for directories
            break
        strip = tables[:-2] + content[start + 2 : end] if tables else content[start:end]
        if whole_size(strip) is None and (fault := jpeg_fault(strip)):
            return fault
    return ""


def _first(fields: _Fields, tag: int, otherwise: float) -> float:
    found = fields.get(tag, np.empty(0))
    return float(found[0]) if len(found) else otherwise


def _values(fields: _Fields, *tags: int) -> NDArray[np.float64]:
    """Return the values of the first of these fields that a page has, in float64, which no sum makes negative: (S,)."""
    return next((fields[tag].astype(np.float64) for tag in tags if tag in fields), np.empty(0))


def _expected(fields: _Fields) -> int:
    """Return the number of strips or tiles that a page must list; 0 if that cannot be told."""
    width, height = _first(fields, _WIDTH, 0), _first(fields, _HEIGHT, 0)
    if _first(fields, _PACKING, 1) == _OLD_JPEG:  # whose strips need not be those of the page
        return 0
    of_tiles = _TILES in fields and _STRIPS not in fields
    across = _first(fields, _TILE_WIDTH, 0) if of_tiles else width
    down = _first(fields, _TILE_HEIGHT, 0) if of_tiles else _first(fields, _STRIP_ROWS, height)
    if not (across and down):
        return 0
    n_planes = _first(fields, _CHANNELS, 1) if _first(fields, _PLANES, 1) == _SEPARATE else 1
    return int(-(-width // across) * -(-height // down) * n_planes)

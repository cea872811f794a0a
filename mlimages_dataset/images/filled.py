"""What decoders fill in and do not tell: pictures whose data end before their pixels do.

libjpeg replaces what is missing by grey and only warns, and Pillow drops its warnings: a JPEG that was cut and got an
end mark again looks whole to it. simplejpeg raises the first warning. Pillow leaves the last rows of a PNG black if
its data are one whole zlib stream of too few rows, and those of a TIFF if it lists too few strips.
"""

from __future__ import annotations

import itertools
import re
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

# The warnings of jerror.h that tell of pixels which are not those of the picture. Others tell of odd metadata, or of
# bytes that are left over, which some cameras write before the end mark.
_FILLED = re.compile(
    r"(?:Corrupt JPEG data: )?((?:premature end|bad (?:huffman|arithmetic) code|found marker).*)", re.IGNORECASE
)
_BLOCK_BYTES = 1 << 16
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, and steps of both, of the seven passes of an interlaced PNG."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Channels of a PNG by its colour type."""


def jpeg_fault(content: bytes) -> str | None:
    """Return what libjpeg fills in while it decodes a JPEG; empty for nothing, None if that cannot be told.

    It cannot for rare samplings of the channels, which simplejpeg does not decode, and if libjpeg first warns of
    something harmless, such as bytes left over before a scan: only its first warning is seen.

    It is decoded at an eighth of its size, for which all codes are read.
    """
    try:
        simplejpeg.decode_jpeg(content, "GRAY", min_height=1, min_width=1)
    except ValueError as error:
        said = _FILLED.match(str(error))
        return f"cut or damaged, so that decoders fill in pixels ({said[1]})" if said else None
    return ""


def lacks_rows(image: Image.Image, content: bytes) -> bool:
    """Decode a PNG; return whether it holds data of fewer rows than its header says.

    Noise is put where the last row will be decoded to. Only if it is still there afterwards, the data are counted: they
    end before that row, or are this noise.

    Args:
        image: the opened picture, not yet decoded.
        content: its file.

    Raises:
        Exception: of any kind, if it cannot be decoded.
    """
    last, is_interlaced = image.height - 1, bool(image.info.get("interlace"))
    if is_interlaced and last:
        last -= 1 - last % 2  # of the rows of the last pass, which are every second one
    noise = _put_noise(image, last)
    image.load()
    if _row(image, last) != noise and (last or not is_interlaced):  # several passes share the only row
        return False
    return not _holds(_png_data(content), _data_bytes(content[16:29]))


def _put_noise(image: Image.Image, row: int) -> bytes:
    """Give a picture the memory that it will be decoded into, with noise in one row; return this row."""
    memory = Image.new(image.mode, image.size)
    noise = np.random.default_rng(0).bytes(len(_row(memory, row)))
    memory.paste(Image.frombytes(image.mode, (image.width, 1), noise), (0, row))
    image.im = memory.im
    return _row(memory, row)


def _row(image: Image.Image, row: int) -> bytes:
    return image.crop((0, row, image.width, row + 1)).tobytes()


def _data_bytes(header: bytes) -> int:
    """Return how many bytes the rows of a PNG have before they are compressed, from the content of its header."""
    width, height, depth, colour, _, _, is_interlaced = struct.unpack(">IIBBBBB", header)
    bits = depth * _CHANNELS[colour]
    passes = _PASSES if is_interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes)
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 < rows)


def _holds(pieces: Iterator[bytes], expected: int) -> bool:
    """Return whether the pieces of a zlib stream unpack to at least so many bytes."""
    unpacker, left = zlib.decompressobj(), expected
    for piece in itertools.chain(pieces, [b""]):  # at the end, what is unpacked already and was not asked for
        rest, unpacked = piece, True
        while unpacked and left > 0:
            found = unpacker.decompress(rest, _BLOCK_BYTES)
            left -= len(found)
            rest, unpacked = unpacker.unconsumed_tail, bool(found)
    return left <= 0


def _png_data(content: bytes) -> Iterator[bytes]:
    """Yield the compressed pixels of a PNG, chunk by chunk."""
    at = 8
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] == b"IDAT":
            yield bytes(content[at + 8 : at + 8 + size])
        at += 12 + size

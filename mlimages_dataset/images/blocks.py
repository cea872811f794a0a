"""Whether a GIF or a PNG of several frames was cut behind the first, which is all that is decoded.

Both are sequences of blocks that state their sizes: https://www.w3.org/Graphics/GIF/spec-gif89a.txt,
https://www.w3.org/TR/png-3/#5DataRep. Only a block that goes on beyond the end of the file tells that the file was cut:
bytes behind the end mark are ignored, and so is a mark or a check sum that is missing.
"""

from __future__ import annotations

CUT = "the file is cut behind its first frame"
"""What is said of a file of several frames that ends within one behind the first."""
_GIF_HEADER, _GIF_IMAGE = 13, 10
_TABLE, _EXTENSION, _IMAGE = 0x80, 0x21, 0x2C
_PNG_HEADER, _CHUNK_HEADER, _CHECK_SUM = 8, 8, 4
_FRAME_CHUNKS = frozenset({b"IDAT", b"fcTL", b"fdAT"})
_END = b"IEND"


def is_cut(content: bytes, form: str) -> bool:
    """Return whether a block goes on beyond the end of a file of several frames; false for other formats.

    Args:
        content: the file, whose header could be read.
        form: its format's name in Pillow.
    """
    cut_of = {"GIF": _gif_is_cut, "PNG": _png_is_cut}.get(form)
    return cut_of is not None and cut_of(content)


def _png_is_cut(content: bytes) -> bool:
    at = _PNG_HEADER
    while at + _CHUNK_HEADER <= len(content):
        kind = bytes(content[at + 4 : at + 8])
        end = at + _CHUNK_HEADER + int.from_bytes(content[at : at + 4], "big")
        if kind == _END or end > len(content):
            return kind in _FRAME_CHUNKS  # others hold no pixels, or are bytes behind a missing end
        at = end + _CHECK_SUM
    return False


def _gif_is_cut(content: bytes) -> bool:
    at = _GIF_HEADER + _table_bytes(content[_GIF_HEADER - 3])
    while at < len(content) and content[at] in {_EXTENSION, _IMAGE}:
        if content[at] == _EXTENSION:
            at += 2
        else:
            flags = content[at + _GIF_IMAGE - 1 : at + _GIF_IMAGE] or b"\0"
            at += _GIF_IMAGE + _table_bytes(flags[0]) + 1
        while at < len(content) and content[at]:
            at += 1 + content[at]
        if at > len(content):
            return True
        at += 1
    return False


def _table_bytes(flags: int) -> int:
    """Return the bytes of the table of colours that flags announce."""
    return 3 << (flags % 8 + 1) if flags & _TABLE else 0

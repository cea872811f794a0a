"""Whether a GIF or a PNG was cut behind its first frame, which is all that is decoded.

Both are sequences of blocks that state their sizes: https://www.w3.org/Graphics/GIF/spec-gif89a.txt,
https://www.w3.org/TR/png-3/#5DataRep. Only a block that goes on beyond the end of the file tells that the file was cut:
bytes behind the end mark are ignored, and so is a mark that is missing.
"""

from __future__ import annotations

_GIF_HEADER, _GIF_IMAGE = 13, 10
_TABLE, _EXTENSION, _IMAGE = 0x80, 0x21, 0x2C
_PNG_HEADER, _CHUNK = 8, 12
_END = b"IEND"


def is_cut(content: bytes, form: str) -> bool:
    """Return whether a block goes on beyond the end of a file whose header could be read; false for other formats.

    Args:
        content: the file.
        form: its format's name in Pillow.
    """
    end = {"GIF": _end_of_gif, "PNG": _end_of_png}.get(form)
    return end is not None and end(content) > len(content)


def _end_of_png(content: bytes) -> int:
    at, kind = _PNG_HEADER, b""
    while at < len(content) and kind != _END:
        kind = content[at + 4 : at + 8]
        at += _CHUNK + int.from_bytes(content[at : at + 4], "big")
    return at


def _end_of_gif(content: bytes) -> int:
    at = _GIF_HEADER + _table_bytes(content[_GIF_HEADER - 3])
    while at < len(content) and content[at] in {_EXTENSION, _IMAGE}:
        if content[at] == _EXTENSION:
            at += 2
        else:
            flags = content[at + _GIF_IMAGE - 1 : at + _GIF_IMAGE] or b"\0"
            at += _GIF_IMAGE + _table_bytes(flags[0]) + 1
        while at < len(content) and content[at]:
            at += 1 + content[at]
        at += 1
    return at


def _table_bytes(flags: int) -> int:
    """Return the bytes of the table of colours that flags announce."""
    return 3 << (flags % 8 + 1) if flags & _TABLE else 0

"""Undoing the content encodings of an answer (RFC 9110, section 8.4), in bounded memory.

Encodings are not asked for, since pictures do not become smaller, but some servers use them for everything they send.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pyarrow as pa

from mlimages_dataset.images.addresses import Refused
from mlimages_dataset.images.check import suffix_of
from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_GZIP, _ZLIB, _RAW = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
_MOST_STREAMS = 100
"""What follows a stream is copied, so that a body of a million streams would take hours."""
_AS_IT_IS = frozenset({"", "identity", "none", "binary"})
"""The first two by the standard; others are common mistakes for them."""


def encodings_of(headers: Iterable[str]) -> list[str]:
    """Return the encodings that Content-Encoding headers name, in the order in which they were applied.

    >>> encodings_of(["gzip, identity", "BR"])
    ['gzip', 'br']
    """
    named = [one.strip().lower() for header in headers for one in header.split(",")]
    return [one for one in named if one not in _AS_IT_IS]


def without_encodings(body: bytes, encodings: Iterable[str], max_bytes: int) -> bytes:
    """Return the content of an encoded body, at most `max_bytes`.

    A body that is a picture already, which no encoding begins like, is not touched: its headers are wrong.

    Raises:
        Refused: an encoding is unknown, or the body is damaged, cut or too large.
    """
    content = body
    for encoding in reversed(list(encodings)):
        if not content or suffix_of(content):
            break
        if encoding not in _DECODERS:
            detail = f"the content encoding {encoding[:40]!r} is none of {', '.join(_DECODERS)}"
            raise Refused(Status.UNSUPPORTED, detail)
        content = _DECODERS[encoding](content, max_bytes)
        if len(content) > max_bytes:
            raise Refused(Status.TOO_LARGE, f"more than {max_bytes:,} bytes unpacked")
    return content


def _gunzipped(packed: bytes, max_bytes: int) -> bytes:
    return _inflated(packed, max_bytes, _GZIP)


def _deflated(packed: bytes, max_bytes: int) -> bytes:
    """Return the content of zlib streams, or of a raw deflate stream, which some servers send under the same name."""
    try:
        return _inflated(packed, max_bytes, _ZLIB)
    except Refused as refused:
        if refused.status is not Status.BROKEN:
            raise
    return _inflated(packed, max_bytes, _RAW)


def _inflated(packed: bytes, max_bytes: int, wbits: int) -> bytes:
    """Return the content of one or several concatenated streams, at most a byte more than `max_bytes`."""
    content = b""
    for _ in range(_MOST_STREAMS):
        stream = zlib.decompressobj(wbits=wbits)
        try:
            content += stream.decompress(packed, max_bytes + 1 - len(content))
        except zlib.error as error:
            raise _damaged(error) from error
        if len(content) > max_bytes:
            return content
        if not stream.eof:
            raise _cut()
        packed = stream.unused_data.lstrip(b"\0")  # padding
        if not packed:
            return content
    raise _damaged(ValueError(f"more than {_MOST_STREAMS} streams"))


def _by_arrow(codec: str) -> Callable[[bytes, int], bytes]:
    def unpacked(packed: bytes, max_bytes: int) -> bytes:
        try:
            with pa.CompressedInputStream(pa.BufferReader(packed), codec) as stream:
                content: bytes = stream.read(max_bytes + 1)
        except OSError as error:
            raise _cut() if "Truncated" in str(error) else _damaged(error) from error
        return content

    return unpacked


def _damaged(error: Exception) -> Refused:
    return Refused(Status.BROKEN, f"decompression failed: {error}"[:200])


def _cut() -> Refused:
    return Refused(Status.CUT, "its compressed data is cut", again=True)


_DECODERS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzipped,
    "x-gzip": _gunzipped,
    "deflate": _deflated,
    "br": _by_arrow("brotli"),
    "zstd": _by_arrow("zstd"),
}

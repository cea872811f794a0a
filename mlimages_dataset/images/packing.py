"""Compressed streams read to a proven end: every checksum is compared, and nothing may be cut or follow unnoticed.

tarfile's own reader of compressed streams compares no checksum of gzip: an archive with a flipped byte passes as whole.
Several streams one behind the other are one, as their formats say, and zeros behind them are padding.
"""

from __future__ import annotations

import bz2
import enum
import lzma
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 10
"""What tells the formats apart."""
_MOST_MEMORY_BYTES = 1 << 30
"""For xz, whose header may ask for any number: its strongest setting needs 65 MB."""
_GZIP = zlib.MAX_WBITS | 16
"""zlib's own reading of gzip, which compares checksum and length."""
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")
"""What stands behind bzip2's block size: a block, or the end of a stream without any."""


class Packing(enum.Enum):
    """How a stream is compressed; the value is what it begins with."""

    GZIP = b"\x1f\x8b\x08"
    BZIP2 = b"BZh"
    XZ = b"\xfd7zXZ\0"
    LZMA = b"\x5d\0\0"


def packing_of(head: bytes) -> Packing | None:
    """Return how a stream is compressed that begins so, None for not at all."""
    found = next((packing for packing in Packing if head.startswith(packing.value)), None)
    # A tar begins with a file's name, which may begin so too.
    if found is Packing.BZIP2 and head[4:_HEAD_BYTES] not in _BZIP2_BLOCKS:
        return None
    if found is Packing.LZMA and head[3:5] == b"\0\0":  # of a dictionary without a byte
        return None
    return found


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def unpacked_stream(stream: _Readable) -> Plain | Unpacked:
    """Return the bytes of a stream, decompressed where it begins as a compressed one does."""
    head = b""
    while len(head) < _HEAD_BYTES and (more := stream.read(_HEAD_BYTES - len(head))):
        head += more
    packing = packing_of(head)
    return Plain(stream, head) if packing is None else Unpacked(stream, head, packing)


def check_packed(stream: IO[bytes]) -> None:
    """Read a stream to its end.

    Raises:
        tarfile.ReadError: it is compressed, and damaged, cut or followed by something else.
    """
    unpacked = unpacked_stream(stream)
    while unpacked.read(BLOCK_BYTES):
        pass


class Plain:
    """A stream of which the first bytes were read already."""

    def __init__(self, stream: _Readable, head: bytes) -> None:
        self._stream = stream
        self._head = head

    def read(self, size: int = BLOCK_BYTES) -> bytes:
        """Return at most so many of the next bytes, none at the end."""
        if self._head:
            first, self._head = self._head[:size], self._head[size:]
            return first
        return self._stream.read(size)


class Unpacked:
    """The decompressed bytes of a stream of which the first ones were read already.

    An error stays: whoever reads on after it meets it again.
    """

    def __init__(self, stream: _Readable, head: bytes, packing: Packing) -> None:
        self._stream = stream
        self._packing = packing
        self._failure: tarfile.ReadError | None = None
        self._size = BLOCK_BYTES
        self._pieces = self._unpack(head)

    def read(self, size: int = BLOCK_BYTES) -> bytes:
        """Return some of the next bytes, no more than asked for or than a block, none at the end.

        Raises:
            tarfile.ReadError: the stream is damaged, cut, or followed by something else.
        """
        if self._failure is not None:
            raise self._failure
        self._size = min(size, BLOCK_BYTES)
        try:
            return next(self._pieces, b"")
        except tarfile.ReadError as error:
            self._failure = error
            raise

    def _unpack(self, packed: bytes) -> Iterator[bytes]:
        while True:
            packed = yield from self._one(packed)
            while not (packed := packed.lstrip(b"\0")):
                packed = self._stream.read(BLOCK_BYTES)
                if not packed:
                    return
            while len(packed) < _HEAD_BYTES and (more := self._stream.read(BLOCK_BYTES)):
                packed += more
            if packing_of(packed) is not self._packing:
                raise tarfile.ReadError("it goes on after the end of what is compressed")

    def _one(self, packed: bytes) -> Generator[bytes, None, bytes]:
        """Yield what one compressed stream holds that begins with these bytes; return what follows it."""
        steps = _GzipSteps() if self._packing is Packing.GZIP else _Steps(self._packing)
        while not steps.ended:
            if not packed and steps.wants_more:
                packed = self._stream.read(BLOCK_BYTES)
                if not packed:
                    raise tarfile.ReadError("it is cut: what is compressed has no end")
            try:
                content = steps.step(packed, self._size)
            except (zlib.error, lzma.LZMAError, OSError) as error:
                raise tarfile.ReadError(f"what is compressed is damaged: {error}") from error
            packed = b""
            if content:
                yield content
        return steps.behind


class _GzipSteps:
    """One gzip stream, decompressed step by step."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP)
        self._full = False

    def step(self, packed: bytes, size: int) -> bytes:
        """Return at most so many bytes of what comes next."""
        content = self._stream.decompress(self._stream.unconsumed_tail + packed, size)
        self._full = len(content) == size
        return content

    @property
    def wants_more(self) -> bool:
        """Whether only more packed bytes lead on."""
        return not self._full and not self._stream.unconsumed_tail

    @property
    def ended(self) -> bool:
        """Whether its end was read, and its checksum is right."""
        return self._stream.eof

    @property
    def behind(self) -> bytes:
        """What was given and is behind its end."""
        return self._stream.unused_data


class _Steps:
    """One stream of another kind, as `_GzipSteps`."""

    def __init__(self, packing: Packing) -> None:
        self._stream = (
            bz2.BZ2Decompressor() if packing is Packing.BZIP2 else lzma.LZMADecompressor(memlimit=_MOST_MEMORY_BYTES)
        )

    def step(self, packed: bytes, size: int) -> bytes:
        """Return at most so many bytes of what comes next."""
        return self._stream.decompress(packed, size)

    @property
    def wants_more(self) -> bool:
        """Whether only more packed bytes lead on."""
        return self._stream.needs_input

    @property
    def ended(self) -> bool:
        """Whether its end was read, and its checksum is right."""
        return self._stream.eof

    @property
    def behind(self) -> bytes:
        """What was given and is behind its end."""
        return self._stream.unused_data

"""Reading compressed streams with every checksum compared; truncated streams and trailing data are errors.

tarfile does not compare gzip checksums: it accepts an archive with a flipped byte. Concatenated streams are one stream,
as their formats define, and trailing zeros are padding.
"""

from __future__ import annotations

import bz2
import enum
import lzma
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, Protocol

from mlimages_dataset.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from mlimages_dataset.core.locations import Location

BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 10
"""Enough to tell the formats apart."""
_MOST_MEMORY_BYTES = 1 << 30
"""For xz, whose header may demand any amount; its strongest preset needs 65 MB."""
_GZIP = zlib.MAX_WBITS | 16
"""zlib then reads the gzip format and compares checksum and length."""
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")
"""What follows the block size of bzip2: a block, or the end of an empty stream."""


class Packing(enum.Enum):
    """How a stream is compressed; the values are the first bytes."""

    GZIP = b"\x1f\x8b\x08"
    BZIP2 = b"BZh"
    XZ = b"\xfd7zXZ\0"
    LZMA = b"\x5d\0\0"


_TAR_MARK, _TAR_MARK_AT = b"ustar", 257
_KINDS = {
    b"PK\x03\x04": ("a zip archive", "give it a name that ends in .zip"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "decompress it first, for example with zstd -d"),
    b"7z\xbc\xaf": ("a 7-Zip archive", "unpack it first, for example with 7z x"),
    b"Rar!": ("a RAR archive", "unpack it first, for example with unrar x"),
    **{packing.value: ("no zip archive, but compressed", "give it the name of a tar archive") for packing in Packing},
}
_TAR = ("a tar archive", "give it a name that ends in .tar")


def refuse_other_archive(archive: Location, form: str) -> None:
    """Raise `DataError` if a file that could not be read as a `tar` or a `zip` archive is of another kind."""
    try:
        with archive.open("rb") as stream:
            head = stream.read(_TAR_MARK_AT + len(_TAR_MARK))
    except OSError:  # which the caller has told
        return
    found = next((kind for mark, kind in _KINDS.items() if head.startswith(mark)), None)
    found = _TAR if head[_TAR_MARK_AT:] == _TAR_MARK else found
    is_tar = found is _TAR or packing_of(head[:_HEAD_BYTES]) is not None
    found_form = "tar" if is_tar else "zip" if head.startswith(b"PK") else ""
    if found is not None and form != found_form:
        raise DataError(f"is {found[0]}", where=archive, remedy=found[1])


def packing_of(head: bytes) -> Packing | None:
    """Return how a stream with these first bytes is compressed; None if it is not."""
    found = next((packing for packing in Packing if head.startswith(packing.value)), None)
    # A tar begins with a file name, which may begin with the same letters.
    if found is Packing.BZIP2 and head[4:_HEAD_BYTES] not in _BZIP2_BLOCKS:
        return None
    if found is Packing.LZMA and head[3:5] == b"\0\0":  # an empty dictionary
        return None
    return found


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def unpacked_stream(stream: _Readable) -> Plain | Unpacked:
    """Return the content of a stream, decompressed if it is compressed."""
    head = b""
    while len(head) < _HEAD_BYTES and (more := stream.read(_HEAD_BYTES - len(head))):
        head += more
    packing = packing_of(head)
    return Plain(stream, head) if packing is None else Unpacked(stream, head, packing)


def check_packed(stream: IO[bytes]) -> None:
    """Read a stream to its end.

    Raises:
        tarfile.ReadError: it is compressed, and damaged, truncated or followed by other data.
    """
    unpacked = unpacked_stream(stream)
    while unpacked.read(BLOCK_BYTES):
        pass


class Plain:
    """A stream whose first bytes have been read already."""

    def __init__(self, stream: _Readable, head: bytes) -> None:
        self._stream = stream
        self._head = head

    def read(self, size: int = BLOCK_BYTES) -> bytes:
        """Return at most `size` of the next bytes; none at the end."""
        if self._head:
            first, self._head = self._head[:size], self._head[size:]
            return first
        return self._stream.read(size)


class Unpacked:
    """The decompressed content of a stream whose first bytes have been read already.

    After an error each further read raises it again.
    """

    def __init__(self, stream: _Readable, head: bytes, packing: Packing) -> None:
        self._stream = stream
        self._packing = packing
        self._failure: tarfile.ReadError | None = None
        self._size = BLOCK_BYTES
        self._pieces = self._unpack(head)

    def read(self, size: int = BLOCK_BYTES) -> bytes:
        """Return some of the next bytes, at most `size` and at most a block; none at the end.

        Raises:
            tarfile.ReadError: the stream is damaged, truncated or followed by other data.
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
                raise tarfile.ReadError("other data follows the compressed data")

    def _one(self, packed: bytes) -> Generator[bytes, None, bytes]:
        """Yield the content of one compressed stream with these first bytes; return the bytes that follow it."""
        steps = _GzipSteps() if self._packing is Packing.GZIP else _Steps(self._packing)
        while not steps.ended:
            if not packed and steps.wants_more:
                packed = self._stream.read(BLOCK_BYTES)
                if not packed:
                    raise tarfile.ReadError("the compressed data is truncated")
            try:
                content = steps.step(packed, self._size)
            except (zlib.error, lzma.LZMAError, OSError) as error:
                raise tarfile.ReadError(f"the compressed data is damaged: {error}") from error
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
        """Decompress and return at most `size` of the next bytes."""
        content = self._stream.decompress(self._stream.unconsumed_tail + packed, size)
        self._full = len(content) == size
        return content

    @property
    def wants_more(self) -> bool:
        """Whether more compressed bytes are needed."""
        return not self._full and not self._stream.unconsumed_tail

    @property
    def ended(self) -> bool:
        """Whether the end was read and the checksum is right."""
        return self._stream.eof

    @property
    def behind(self) -> bytes:
        """The given bytes that follow the end."""
        return self._stream.unused_data


class _Steps:
    """One bzip2, xz or LZMA stream, with the methods of `_GzipSteps`."""

    def __init__(self, packing: Packing) -> None:
        self._stream = (
            bz2.BZ2Decompressor() if packing is Packing.BZIP2 else lzma.LZMADecompressor(memlimit=_MOST_MEMORY_BYTES)
        )

    def step(self, packed: bytes, size: int) -> bytes:
        """Decompress and return at most `size` of the next bytes."""
        return self._stream.decompress(packed, size)

    @property
    def wants_more(self) -> bool:
        """Whether more compressed bytes are needed."""
        return self._stream.needs_input

    @property
    def ended(self) -> bool:
        """Whether the end was read and the checksum is right."""
        return self._stream.eof

    @property
    def behind(self) -> bytes:
        """The given bytes that follow the end."""
        return self._stream.unused_data

"""Tar archives as strangers send them: damaged headers, claims that cannot be, names that lead elsewhere.

https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13
"""

from __future__ import annotations

import contextlib
import functools
import re
import struct
import tarfile
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol, cast

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import as_text, reason, system_errors
from mlimages_dataset.sources.packing import refuse_other_archive, unpacked_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlimages_dataset.core.locations import Location

ARCHIVE_NAME = re.compile(r"(?i)\.(?:tar(?:\.(?:gz|bz2|xz))?|tgz|tbz2|txz)$")
_EXTENSIONS = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
_MOST_EXTENSION_BYTES = 1 << 20
"""The largest extension of a header, such as a long name: tarfile reads it into memory, and a compressed archive of
0.3 MB can hold one of 300 MB."""
_MOST_CONTENT_BYTES = 1 << 42
"""The largest member, such as an inner archive: tarfile skips the claimed size even beyond the stream's end."""
_LOOK_BYTES = 1 << 20
_LONG_NUMBER = re.compile(rb"\d{300}")
"""No number and no name has so many digits; tarfile's search for `hdrcharset` takes their number squared."""
_MOST_EMPTY_READS = 8
"""tarfile reads a few times at the end of a stream, but once per block of a member that claims to go on."""
MALFORMED = b"\xff"
"""The type of a member whose headers cannot be understood; no archive has it."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class StrictHeader(tarfile.TarInfo):
    """A header that raises if it is damaged: tarfile would take it for the end of the archive and ignore the rest."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> StrictHeader:
        """Return the header of a block, its size possible."""
        header = super().frombuf(buf, encoding, errors)
        _check_size(header, _MOST_EXTENSION_BYTES if header.type in _EXTENSIONS else _MOST_CONTENT_BYTES)
        return header

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> StrictHeader:
        """Return the next header of an archive, extended by those before it; of type `MALFORMED` if only it is damaged.

        Raises:
            tarfile.ReadError: it is damaged, and where the next one begins is unknown.
        """
        began = tar.offset
        try:
            header = super().fromtarfile(tar)
            _check_size(header, _MOST_CONTENT_BYTES)  # again: an extension may have changed it
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the regular end; typeshed lacks it
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error
        except RecursionError as error:
            raise tarfile.ReadError("too many extended headers before one member") from error
        except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as error:
            if tar.offset <= began:
                raise tarfile.ReadError(f"an extended header is malformed: {reason(error)}"[:200]) from error
            header = cls(f"(header at byte {began:,})")
            header.type, header.offset_data = MALFORMED, tar.offset
        return header

    def _proc_pax(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        """Return the header that follows an extended one, whose numbers are checked before tarfile parses them."""
        stream = tar.fileobj
        assert stream is not None
        content = stream.read(self._block(self.size))  # type: ignore[attr-defined]  # typeshed lacks it
        if _LONG_NUMBER.search(content):
            raise tarfile.ReadError("an extended header has a number of 300 digits")
        tar.fileobj = cast("IO[bytes]", _ReadAgain(content, cast("IO[bytes]", stream)))
        try:
            return cast("tarfile.TarInfo", super()._proc_pax(tar))  # type: ignore[misc]  # as above
        finally:
            tar.fileobj = stream


class _ReadAgain:
    """A stream of which some bytes were read already: the first call of `read` returns them."""

    def __init__(self, content: bytes, stream: IO[bytes]) -> None:
        self._content: bytes | None = content
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Return the bytes that were read, then the next ones."""
        if self._content is None:
            return self._stream.read(size)
        content, self._content = self._content, None
        return content

    def seek(self, offset: int) -> int:
        """Go to a place of the stream."""
        return self._stream.seek(offset)

    def tell(self) -> int:
        """Return the place in the stream."""
        return self._stream.tell()


class _Ending:
    """A stream whose end is an error for who reads on: tarfile would skip a claimed 2^42 bytes for many seconds."""

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream
        self._empty = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            tarfile.ReadError: the end was read several times.
        """
        content = self._stream.read(size)
        self._empty = 0 if content else self._empty + 1
        if self._empty > _MOST_EMPTY_READS:
            raise tarfile.ReadError("unexpected end of data")
        return content


@contextlib.contextmanager
def streamed_tar(stream: _Readable, block_bytes: int) -> Iterator[tarfile.TarFile]:
    """Yield a plain or compressed archive that is read once from its beginning; check at the end that none follows.

    Raises:
        tarfile.TarError, OSError, EOFError: it is truncated, damaged or none.
    """
    plain = cast("IO[bytes]", _Ending(unpacked_stream(stream)))  # tarfile only calls its read method
    with tarfile.open(fileobj=plain, mode="r|", bufsize=block_bytes, tarinfo=StrictHeader) as tar:
        yield tar
        assert tar.fileobj is not None
        _check_end(tar.fileobj)


def _check_size(header: tarfile.TarInfo, most_bytes: int) -> None:
    if not 0 <= header.size <= most_bytes:
        raise tarfile.HeaderError(f"a header claims {header.size:,} bytes")


def _check_end(stream: _Readable) -> None:
    """Raise `tarfile.ReadError` if data follows the end of an archive: a zeroed header, or a second archive.

    tarfile takes one block of zeros for the end and ignores the rest. This also reads a compressed stream to its end,
    where its checksum is.
    """
    for piece in iter(functools.partial(stream.read, _LOOK_BYTES), b""):
        if piece.strip(b"\0"):
            raise tarfile.ReadError("data follows a block of zeros, which marks the end")


def unsafe(header: tarfile.TarInfo) -> str:
    """Return what is wrong with a member's name or type; empty if nothing is."""
    if header.type == MALFORMED:
        return "its headers are malformed"
    if header.issym() or header.islnk():
        return f"a link to {as_text(header.linkname)}"
    if not header.isreg():
        return "not a regular file"
    if not header.name:
        return "it has no name"
    if header.name.startswith("/") or "\\" in header.name or ".." in header.name.split("/") or "\0" in header.name:
        return "its name leads out of the archive"
    return ""


class TarEntry(NamedTuple):
    """A member of an uncompressed archive.

    Attributes:
        name: its path in the archive, as valid UTF-8.
        offset: of its first byte in the file.
        size: in bytes.
        unsafe: what is wrong with its name or type; empty if nothing is.
    """

    name: str
    offset: int
    size: int
    unsafe: str = ""


def tar_entries(archive: Location) -> Iterator[TarEntry]:
    """Yield the members of an uncompressed archive in their order; of their content nothing is read.

    Raises:
        DataError: it is truncated, damaged, compressed or no archive.
    """
    last = ""
    with (
        tar_errors(archive, lambda: last),
        archive.open("rb") as stream,
        tarfile.open(fileobj=stream, mode="r:", tarinfo=StrictHeader) as tar,
    ):
        while (header := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else tarfile keeps every header in memory
            if not header.isdir():
                last = as_text(header.name.removeprefix("./"))
                wrong = "a sparse file" if header.issparse() else unsafe(header)
                yield TarEntry(last, header.offset_data, header.size, wrong)
        _check_end(stream)


@contextlib.contextmanager
def tar_errors(archive: Location, last: Callable[[], str]) -> Iterator[None]:
    """Turn what goes wrong while an archive is read into a sentence; `last` returns the last member that was whole.

    Raises:
        DataError: it cannot be read to its end.
    """
    try:
        with system_errors(archive):
            yield
    except (tarfile.TarError, OSError, EOFError) as error:
        if not (after := f" after {last()}" if last() else ""):
            refuse_other_archive(archive, "tar")
        raise DataError(
            f"is not a complete tar archive ({reason(error)}{after})", where=archive, remedy="obtain it again"
        ) from error

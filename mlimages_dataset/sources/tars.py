"""Tar archives as strangers send them: damaged headers, claims that cannot be, names that lead elsewhere.

https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13
"""

from __future__ import annotations

import contextlib
import functools
import re
import tarfile
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import as_text, reason, system_errors

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
        """Return the next header of an archive, extended by those before it."""
        try:
            header = super().fromtarfile(tar)
            _check_size(header, _MOST_CONTENT_BYTES)  # again: an extension may have changed it
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the regular end; typeshed lacks it
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error
        except RecursionError as error:
            raise tarfile.ReadError("too many extensions of one header") from error
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # of tarfile, in a malformed extension
            raise tarfile.ReadError("a malformed extension of a header") from error
        return header


def _check_size(header: tarfile.TarInfo, most_bytes: int) -> None:
    if not 0 <= header.size <= most_bytes:
        raise tarfile.HeaderError(f"a header claims {header.size:,} bytes")


def check_end(stream: _Readable) -> None:
    """Raise `tarfile.ReadError` if data follows the end of an archive: a zeroed header, or a second archive.

    tarfile takes one block of zeros for the end and ignores the rest. This also reads a compressed stream to its end,
    where its checksum is.
    """
    for piece in iter(functools.partial(stream.read, _LOOK_BYTES), b""):
        if piece.strip(b"\0"):
            raise tarfile.ReadError("data follows a block of zeros, which marks the end")


def unsafe(header: tarfile.TarInfo) -> str:
    """Return what is wrong with a member's name or type; empty if nothing is."""
    if header.issym() or header.islnk():
        return f"a link to {as_text(header.linkname)}"
    if not header.isreg():
        return "not a regular file"
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
        check_end(stream)


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
        after = f" after {last()}" if last() else ""
        raise DataError(
            f"is not a complete tar archive ({reason(error)}{after})", where=archive, remedy="obtain it again"
        ) from error

"""Tar archives and folders read as members, in one pass and without unpacking anything to the disk.

An archive within an archive is read in place, as ImageNet's training pictures come: one tar of a tar per synset; only a
compressed one is copied first, to compare its checksum before anything in it is taken. Names
that lead elsewhere, links and devices become members without content; nothing that an archive says names a file here.
"""

from __future__ import annotations

import contextlib
import functools
import re
import stat
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import as_text, reason, system_errors
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.members import Member
from mlimages_dataset.images.packing import check_packed, packing_of, unpacked_stream
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.tables.files import write_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location

ARCHIVE_NAME = re.compile(r"(?i)\.(?:tar(?:\.(?:gz|bz2|xz))?|tgz|tbz2|txz)$")
_STREAM_BYTES = 1 << 20
_HEAD_BYTES = 6
_SPOOLED_BYTES = 64 << 20
"""Of a compressed archive within another: what is larger waits for its check in the system's temporary folder."""
_MOST_ARCHIVES_DEEP = 3
"""A tar of tars is ImageNet's own; a chain of them without end is somebody's joke."""


_EXTENSIONS = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
_MOST_EXTENSION_BYTES = 1 << 20
"""What a header may say in blocks of its own, long names for the most part: tarfile reads it whole into memory, and a
compressed archive of 0.3 MB can hold one of 300 MB."""
_MOST_CONTENT_BYTES = 1 << 42
"""Of a member, such as an archive within: tarfile skips what is claimed in steps, also long after the stream's end."""


class _StrictHeader(tarfile.TarInfo):
    """A header that is wrong is an error: by itself tarfile takes it for the archive's end and loses what follows."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _StrictHeader:
        header = super().frombuf(buf, encoding, errors)
        _check_size(header, _MOST_EXTENSION_BYTES if header.type in _EXTENSIONS else _MOST_CONTENT_BYTES)
        return header

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _StrictHeader:
        try:
            header = super().fromtarfile(tar)
            _check_size(header, _MOST_CONTENT_BYTES)  # again: an extension may have changed it
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the proper end; typeshed leaves it out
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error
        return header


def _check_size(header: tarfile.TarInfo, most_bytes: int) -> None:
    if not 0 <= header.size <= most_bytes:
        raise tarfile.HeaderError(f"a header claims {header.size:,} bytes")


def archive_members(stream: IO[bytes], *, most_bytes: int, folder: str = "", depth: int = 1) -> Iterator[Member]:
    """Yield the members of a tar archive, plain or compressed, that is read once from its start.

    Args:
        stream: the archive.
        most_bytes: larger members are not read.
        folder: what goes before the members' paths, empty or ending in a slash.
        depth: archives around this one, itself included.

    Raises:
        tarfile.TarError, OSError, EOFError: the archive is cut, damaged or none; members before that were yielded.
    """
    plain = cast("IO[bytes]", unpacked_stream(stream))  # of which tarfile asks to be read, and nothing else
    with tarfile.open(fileobj=plain, mode="r|", bufsize=_STREAM_BYTES, tarinfo=_StrictHeader) as tar:
        while (header := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else it keeps the header of every picture of ImageNet
            if header.isdir():
                continue
            path = folder + as_text(header.name.removeprefix("./"))
            if why := _unsafe(header):
                yield Member(path, functools.partial(Inspection, Status.UNSAFE_NAME, why), ())
            elif ARCHIVE_NAME.search(header.name) and depth < _MOST_ARCHIVES_DEEP:
                yield from _inner_members(tar, header, path, most_bytes, depth)
            else:
                yield Member(path, functools.partial(_content, tar, header, most_bytes))
        _check_end(tar)


def _check_end(tar: tarfile.TarFile) -> None:
    """Refuse an archive that goes on after what looks like its end: a zeroed header, or another archive behind it.

    tarfile itself takes one block of zeros for the end and is silent about the rest. A compressed stream is read to its
    end here, where its checksum is.
    """
    stream = tar.fileobj
    assert stream is not None
    while piece := stream.read(_STREAM_BYTES):
        if piece.strip(b"\0"):
            raise tarfile.ReadError("it goes on after a block of zeros, which marks the end")


def _inner_members(
    tar: tarfile.TarFile, header: tarfile.TarInfo, path: str, most_bytes: int, depth: int
) -> Iterator[Member]:
    inner = tar.extractfile(header)
    assert inner is not None
    with contextlib.ExitStack() as stack:
        try:
            checked = stack.enter_context(_checked(inner))
            yield from archive_members(
                checked, most_bytes=most_bytes, folder=ARCHIVE_NAME.sub("", path) + "/", depth=depth + 1
            )
        except (tarfile.TarError, OSError, EOFError) as error:
            # The archive around it goes on after it.
            detail = f"an archive that cannot be read to its end ({reason(error)})"
            yield Member(path, functools.partial(Inspection, Status.BROKEN, detail), ())


@contextlib.contextmanager
def _checked(inner: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield an archive within another, compressed ones only when their checksums were found right.

    Those stand at the end, when its members would have been taken already, so its packed bytes are kept until then.

    Raises:
        tarfile.TarError, OSError: it is damaged or cut.
        UsageError: there is no room for it.
    """
    head = inner.peek(_HEAD_BYTES)  # type: ignore[attr-defined]  # what extractfile returns is buffered
    if packing_of(head) is None:
        yield inner
        return
    with tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES) as kept:
        while piece := inner.read(_STREAM_BYTES):
            with write_errors(Path(tempfile.gettempdir())):
                kept.write(piece)
        kept.seek(0)
        check_packed(kept)
        kept.seek(0)
        yield kept


def _unsafe(header: tarfile.TarInfo) -> str:
    """Return what is wrong with a member's name or kind, empty where nothing is."""
    if header.issym() or header.islnk():
        return f"a link to {as_text(header.linkname)}"
    if not header.isreg():
        return "no regular file"
    if header.name.startswith("/") or "\\" in header.name or ".." in header.name.split("/") or "\0" in header.name:
        return "its name leads out of the archive"
    return ""


def _content(tar: tarfile.TarFile, header: tarfile.TarInfo, most_bytes: int) -> bytes | Inspection:
    if header.size > most_bytes:
        return Inspection(Status.TOO_LARGE, f"{header.size:,} bytes, more than {most_bytes:,}")
    file = tar.extractfile(header)
    assert file is not None
    try:
        return file.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        # Whoever reads it is not who reads the archive: the latter meets the same error at the next header.
        return Inspection(Status.BROKEN, f"the archive cannot be read here ({reason(error)})")


def folder_members(folder: Location, *, most_bytes: int, path: str = "") -> Iterator[Member]:
    """Yield the files below a folder in the order of their names, and the members of the archives among them.

    Raises:
        DataError: an archive in it is cut or damaged.
        UsageError: the folder cannot be listed.
    """
    yield from _folder_members(folder, most_bytes, path, frozenset())


def _folder_members(folder: Location, most_bytes: int, path: str, above: frozenset[Location]) -> Iterator[Member]:
    try:
        with system_errors(folder):
            entries: list[Location] = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"cannot be listed ({reason(error)})", where=folder, remedy="check its permissions") from error
    inside = above | {folder.resolve()}
    for entry in entries:
        place = path + as_text(entry.name)
        if entry.is_dir():
            if entry.is_symlink() and entry.resolve() in inside:
                continue  # a link to a folder around it has no end
            yield from _folder_members(entry, most_bytes, f"{place}/", inside)
        elif ARCHIVE_NAME.search(entry.name) and entry.is_file():
            yield from archive_file_members(entry, most_bytes=most_bytes, folder=ARCHIVE_NAME.sub("", place) + "/")
        else:
            yield Member(place, functools.partial(_file_content, entry, most_bytes))


def archive_file_members(archive: Location, *, most_bytes: int, folder: str = "") -> Iterator[Member]:
    """Yield the members of an archive file.

    Raises:
        DataError: it is cut, damaged or none.
    """
    last = ""
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(archive.open("rb"))
            for member in archive_members(stream, most_bytes=most_bytes, folder=folder):
                last = member.path
                yield member
        except (tarfile.TarError, OSError, EOFError) as error:
            after = f" after {last}" if last else ""
            raise DataError(
                f"is no whole tar archive ({reason(error)}{after})", where=archive, remedy="obtain it again"
            ) from error


def _file_content(path: Location, most_bytes: int) -> bytes | Inspection:
    try:
        with system_errors(path):
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                return Inspection(Status.UNSAFE_NAME, "no regular file")
            if found.st_size > most_bytes:
                return Inspection(Status.TOO_LARGE, f"{found.st_size:,} bytes, more than {most_bytes:,}")
            return path.read_bytes()
    except FileNotFoundError:
        return Inspection(Status.MISSING, "a link that leads nowhere")
    except OSError as error:
        return Inspection(Status.BROKEN, f"cannot be read ({reason(error)})")

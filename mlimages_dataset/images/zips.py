"""The members of zip archives, read from the archive's own list without unpacking anything to the disk."""

from __future__ import annotations

import functools
import lzma
import re
import stat
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import as_text, reason, system_errors
from mlimages_dataset.images.beside import held_with_files_beside
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.members import Member
from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location

ZIP_NAME = re.compile(r"(?i)\.zip$")
_UTF_8 = 1 << 11
"""The flag of a name in UTF-8 (APPNOTE.TXT, section 4.4.4); a name without it may be UTF-8, too."""
_ENCRYPTED = 1
_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What a damaged archive or member raises, or one that is packed in a way that Python does not know."""


def zip_file_members(archive: Location, *, most_bytes: int, folder: str = "") -> Iterator[Member]:
    """Yield the members of a zip archive, in the order of its list, without files beside pictures.

    Args:
        archive: the file.
        most_bytes: larger members are not read, whatever size the archive claims.
        folder: a prefix of the members' paths; empty or with a slash at the end.

    Raises:
        DataError: it is truncated, damaged or not a zip archive.
    """
    yield from held_with_files_beside(_members(archive, most_bytes, folder))


def _members(archive: Location, most_bytes: int, folder: str) -> Iterator[Member]:
    try:
        with system_errors(archive), archive.open("rb") as stream, zipfile.ZipFile(stream) as packed:
            for entry in packed.infolist():
                name = _name(entry)
                if name.endswith("/"):
                    continue
                path = folder + as_text(name.removeprefix("./"))
                if why := _unsafe(entry, name):
                    yield Member(path, functools.partial(Inspection, Status.UNSAFE_NAME, why), ())
                else:
                    yield Member(path, functools.partial(_content, packed, entry, most_bytes))
    except _FAULTS as error:
        raise DataError(
            f"is not a complete zip archive ({reason(error)})", where=archive, remedy="obtain it again"
        ) from error


def _name(entry: zipfile.ZipInfo) -> str:
    """Return a member's name with slashes; one without the flag of UTF-8 may be UTF-8 all the same."""
    name = entry.filename
    if not entry.flag_bits & _UTF_8:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = entry.filename
    return name.replace("\\", "/")


def _unsafe(entry: zipfile.ZipInfo, name: str) -> str:
    """Return what is wrong with a member's name or type; empty if nothing is."""
    if not name:
        return "it has no name"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "a link"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        return "its name leads out of the archive"
    return ""


def _content(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, most_bytes: int) -> bytes | Inspection:
    if entry.flag_bits & _ENCRYPTED:
        return Inspection(Status.BROKEN, "encrypted")
    try:
        with packed.open(entry) as stream:
            content = stream.read(most_bytes + 1)  # not what its size claims: a bomb of 42 KB claims what it likes
    except _FAULTS as error:
        return Inspection(Status.BROKEN, f"the archive is damaged here ({reason(error)})")
    if max(entry.file_size, len(content)) > most_bytes:
        return Inspection(Status.TOO_LARGE, f"more than {most_bytes:,} bytes")
    return content

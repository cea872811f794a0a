"""Zip archives as strangers send them: names that lead elsewhere, links, damaged and encrypted members.

https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import contextlib
import lzma
import re
import stat
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, NamedTuple

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import as_text, reason, system_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location

ZIP_NAME = re.compile(r"(?i)\.zip$")
ZIP_FAULTS = (
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
_UTF_8 = 1 << 11
"""The flag of a name in UTF-8 (section 4.4.4); a name without it may be UTF-8, too."""
_ENCRYPTED = 1


class ZipEntry(NamedTuple):
    """A member that is no folder.

    Attributes:
        name: its path in the archive, with slashes, as valid UTF-8.
        info: what the archive's list says of it.
        unsafe: what is wrong with its name or type; empty if nothing is.
    """

    name: str
    info: zipfile.ZipInfo
    unsafe: str

    @property
    def is_encrypted(self) -> bool:
        """Whether a password is needed."""
        return bool(self.info.flag_bits & _ENCRYPTED)


def zip_entries(packed: zipfile.ZipFile) -> Iterator[ZipEntry]:
    """Yield the members of an archive in the order of its list."""
    for info in packed.infolist():
        name = _name(info)
        if not name.endswith("/"):
            yield ZipEntry(as_text(name.removeprefix("./")), info, _unsafe(info, name))


@contextlib.contextmanager
def zip_errors(archive: Location) -> Iterator[None]:
    """Turn what goes wrong while an archive is read into a sentence.

    Raises:
        DataError: it is truncated, damaged or no zip archive.
    """
    try:
        with system_errors(archive):
            yield
    except ZIP_FAULTS as error:
        raise DataError(
            f"is not a complete zip archive ({reason(error)})", where=archive, remedy="obtain it again"
        ) from error


def _name(info: zipfile.ZipInfo) -> str:
    """Return a member's name with slashes; one without the flag of UTF-8 may be UTF-8 all the same."""
    name = info.filename
    if not info.flag_bits & _UTF_8:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = info.filename
    return re.sub("/+", "/", name.replace("\\", "/"))


def _unsafe(info: zipfile.ZipInfo, name: str) -> str:
    """Return what is wrong with a member's name or type; empty if nothing is."""
    if not name:
        return "it has no name"
    if "\0" in info.orig_filename:  # zipfile cuts the name there
        return f"a zero byte is in its name: {info.orig_filename!r}"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a link"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        return "its name leads out of the archive"
    return ""

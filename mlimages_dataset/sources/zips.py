"""Zip archives as strangers send them: names that lead elsewhere, links, damaged and encrypted members.

https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import contextlib
import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, NamedTuple

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import as_text, reason, system_errors
from mlimages_dataset.sources.packing import refuse_other_archive

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
_UNICODE_PATH = 0x7075
"""The kind of an extra field with a name in UTF-8 (section 4.6.9), after a version and the CRC of the other name."""
_ENCRYPTED = 1
_MEMBER = re.compile(rb"PK\x03\x04[\x0a-\x3f][\x00-\x14][\x00-\xff]{2}[\x00\x08\x09\x0c\x0e\x5d]\x00", re.DOTALL)
"""The header of a member (section 4.3.7): version needed, flags, and a known way of packing."""
_END = b"PK\x05\x06"
_END_BYTES = 22
"""The end of an archive (section 4.3.16) without its comment."""
_MOST_END_BYTES = _END_BYTES + (1 << 16)
_BLOCK_BYTES = 1 << 20


class ZipEntry(NamedTuple):
    """A member that is no folder.

    Attributes:
        name: its path in the archive, with slashes, as valid UTF-8.
        info: what the archive's list says of it.
        unsafe: what is wrong with its name or type; empty if nothing is.
        is_of_unknown_encoding: its name has other signs than ASCII, and is in no UTF-8: it was read as CP437, which
            the format prescribes, and archives from China and Japan do not heed.
    """

    name: str
    info: zipfile.ZipInfo
    unsafe: str
    is_of_unknown_encoding: bool

    @property
    def is_encrypted(self) -> bool:
        """Whether a password is needed."""
        return bool(self.info.flag_bits & _ENCRYPTED)


def zip_entries(packed: zipfile.ZipFile, archive: Location) -> Iterator[ZipEntry]:
    """Yield the members of an archive in the order of its list.

    Raises:
        DataError: another archive is joined to it, whose members are not in its list.
    """
    _refuse_joined(packed, archive)
    for info in packed.infolist():
        name, is_known = _name(info)
        if not name.endswith("/"):
            yield ZipEntry(as_text(name.removeprefix("./")), info, _unsafe(info, name), not is_known)


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
        refuse_other_archive(archive, "zip")
        raise DataError(
            f"is not a complete zip archive ({reason(error)})", where=archive, remedy="obtain it again"
        ) from error


def _refuse_joined(packed: zipfile.ZipFile, archive: Location) -> None:
    """Raise `DataError` if members lie before the first one of an archive's list, or behind its end.

    Other bytes may be there, such as the program of an archive that unpacks itself.
    """
    stream = packed.fp
    assert stream is not None
    first = min((info.header_offset for info in packed.infolist()), default=packed.start_dir)
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(packed.start_dir, size - _MOST_END_BYTES, 0))
    behind = stream.read()
    end = behind.rfind(_END) + _END_BYTES + len(packed.comment)
    if _has_member(stream, first) or _MEMBER.search(behind, end):
        raise DataError(
            "holds several zip archives, one behind another, of which the others would be left out",
            where=archive,
            remedy="obtain each as a file of its own",
        )


def _has_member(stream: IO[bytes], size: int) -> bool:
    """Return whether the header of a member is in the first bytes of a stream."""
    stream.seek(0)
    rest = b""
    while size > 0 and (block := stream.read(min(size, _BLOCK_BYTES))):
        size -= len(block)
        if _MEMBER.search(rest + block):
            return True
        rest = block[-_END_BYTES:]
    return False


def _name(info: zipfile.ZipInfo) -> tuple[str, bool]:
    """Return a member's name with slashes, and whether its encoding is known.

    A name without the flag of UTF-8 may be UTF-8 all the same, or stated so. In one of another encoding a backslash may
    be half of a sign, as in Shift-JIS and GBK: it is a slash only where the name has no other.
    """
    name, is_known = info.filename, bool(info.flag_bits & _UTF_8)
    if not is_known:
        with contextlib.suppress(UnicodeError):
            name, is_known = (_stated_name(info) or name.encode("cp437")).decode("utf-8"), True
    if is_known or "/" not in name:
        name = name.replace("\\", "/")
    return re.sub("/+", "/", name), is_known


def _stated_name(info: zipfile.ZipInfo) -> bytes:
    """Return the name in UTF-8 that a member states beside one in another encoding; empty if it states none."""
    extra = info.extra
    expected = b"\x01" + zlib.crc32(info.orig_filename.encode("cp437")).to_bytes(4, "little")
    while extra:
        kind, size = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and field[:5] == expected:  # else the name was changed since
            return field[5:]
    return b""


def _unsafe(info: zipfile.ZipInfo, name: str) -> str:
    """Return what is wrong with a member's name or type; empty if nothing is."""
    if not name:
        return "it has no name"
    if "\0" in info.orig_filename + name:  # zipfile cuts the name there
        return f"a zero byte is in its name: {info.orig_filename!r}"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a link"
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name):
        return "its name leads out of the archive"
    return ""

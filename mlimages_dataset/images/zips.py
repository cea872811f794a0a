"""The members of zip archives, read from the archive's own list without unpacking anything to the disk."""

from __future__ import annotations

import functools
import zipfile
from typing import TYPE_CHECKING

from mlimages_dataset.core.locations import reason
from mlimages_dataset.images.beside import held_with_files_beside
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.members import Member
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.sources.folders import class_folders, is_hidden
from mlimages_dataset.sources.samples import is_picture
from mlimages_dataset.sources.zips import ZIP_FAULTS, ZipEntry, zip_entries, zip_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location

_UNKNOWN_ENCODING = "its name is not in UTF-8, and was read as CP437"


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
    with zip_errors(archive), archive.open("rb") as stream, zipfile.ZipFile(stream) as packed:
        entries = [entry for entry in zip_entries(packed, archive) if not is_hidden(entry.name)]
        of_classes = class_folders(entry.name for entry in entries if is_picture(entry.name))
        for entry in entries:
            path = folder + entry.name
            if entry.unsafe:
                yield Member(path, functools.partial(Inspection, Status.UNSAFE_NAME, entry.unsafe), ())
            else:
                content = functools.partial(_content, packed, entry, most_bytes)
                in_class = entry.name.rpartition("/")[0] in of_classes
                doubt = _UNKNOWN_ENCODING if entry.is_of_unknown_encoding else ""
                yield Member(path, content, is_in_class_folder=in_class, doubt=doubt)


def _content(packed: zipfile.ZipFile, entry: ZipEntry, most_bytes: int) -> bytes | Inspection:
    if entry.is_encrypted:
        return Inspection(Status.BROKEN, "encrypted")
    try:
        with packed.open(entry.info) as stream:
            content = stream.read(most_bytes + 1)  # not what its size claims: a bomb of 42 KB claims what it likes
    except ZIP_FAULTS as error:
        return Inspection(Status.BROKEN, f"the archive is damaged here ({reason(error)})")
    if max(entry.info.file_size, len(content)) > most_bytes:
        return Inspection(Status.TOO_LARGE, f"more than {most_bytes:,} bytes")
    return content

"""The members of tar archives and folders, read in one pass without unpacking anything to the disk.

An archive inside an archive is read in place, such as ImageNet's training pictures: a tar with one tar per synset. Only
a compressed inner archive is copied first, to compare its checksum before its members are used. Names that lead out of
the archive, links and devices become members without content. No name in an archive is ever used as a path here.
"""

from __future__ import annotations

import contextlib
import functools
import stat
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.links import Links
from mlimages_dataset.core.locations import as_text, listing, reason, system_errors
from mlimages_dataset.images.beside import held_with_files_beside, with_files_beside
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.masks import with_masks
from mlimages_dataset.images.members import Member
from mlimages_dataset.images.own_members import holds_own_images, own_members
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.images.zips import zip_file_members
from mlimages_dataset.sources.folders import class_folders, is_hidden, is_part_or_thing
from mlimages_dataset.sources.packing import check_packed, packing_of
from mlimages_dataset.sources.places import read_file, size_of
from mlimages_dataset.sources.samples import is_picture
from mlimages_dataset.sources.tars import ARCHIVE_NAME, streamed_tar, tar_errors, unsafe
from mlimages_dataset.sources.zips import ZIP_NAME
from mlimages_dataset.tables.files import write_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.core.locations import Location

_STREAM_BYTES = 1 << 20
_HEAD_BYTES = 6
_SPOOLED_BYTES = 64 << 20
"""A larger compressed archive inside another is copied to the system's temporary folder, not to memory."""
_MOST_ARCHIVES_DEEP = 3
"""ImageNet is a tar of tars; deeper nesting is refused, since it could be endless."""


def archive_members(stream: IO[bytes], *, most_bytes: int, folder: str = "", depth: int = 1) -> Iterator[Member]:
    """Yield the members of a plain or compressed tar archive, reading it once, without files beside pictures.

    Args:
        stream: the archive.
        most_bytes: larger members are not read.
        folder: a prefix of the members' paths; empty or with a slash at the end.
        depth: the nesting depth of this archive, from 1.

    Raises:
        tarfile.TarError, OSError, EOFError: the archive is truncated, damaged or none, perhaps after some members.
    """
    yield from held_with_files_beside(_members(stream, most_bytes, folder, depth))


def _members(stream: IO[bytes], most_bytes: int, folder: str, depth: int) -> Iterator[Member]:
    with streamed_tar(stream, _STREAM_BYTES) as tar:
        while (header := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else tarfile keeps every header in memory
            if header.isdir():
                continue
            path = folder + as_text(header.name.removeprefix("./"))
            if is_hidden(path):
                continue
            if why := unsafe(header):
                yield Member(path, functools.partial(Inspection, Status.UNSAFE_NAME, why), ())
            elif ARCHIVE_NAME.search(header.name) and depth < _MOST_ARCHIVES_DEEP:
                yield from _inner_members(tar, header, path, most_bytes, depth)
            else:
                yield Member(path, functools.partial(_content, tar, header, most_bytes))


def _inner_members(
    tar: tarfile.TarFile, header: tarfile.TarInfo, path: str, most_bytes: int, depth: int
) -> Iterator[Member]:
    if header.issparse():  # its holes may unpack to any size
        yield Member(path, functools.partial(Inspection, Status.BROKEN, "a sparse file"), ())
        return
    inner = tar.extractfile(header)
    assert inner is not None
    with contextlib.ExitStack() as stack:
        try:
            checked = stack.enter_context(_checked(inner))
            yield from archive_members(
                checked, most_bytes=most_bytes, folder=ARCHIVE_NAME.sub("", path) + "/", depth=depth + 1
            )
        except (tarfile.TarError, OSError, EOFError) as error:
            # The outer archive continues.
            detail = f"a damaged archive ({reason(error)})"
            yield Member(path, functools.partial(Inspection, Status.BROKEN, detail), ())


@contextlib.contextmanager
def _checked(inner: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield an inner archive; a compressed one only after its checksum was compared.

    The checksum is at the end, so the compressed bytes are copied and read twice.

    Raises:
        tarfile.TarError, OSError: it is damaged or truncated.
        UsageError: there is no room for the copy.
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


def _content(tar: tarfile.TarFile, header: tarfile.TarInfo, most_bytes: int) -> bytes | Inspection:
    if header.size > most_bytes:
        return Inspection(Status.TOO_LARGE, f"{header.size:,} bytes, more than {most_bytes:,}")
    file = tar.extractfile(header)
    assert file is not None
    try:
        return file.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        # A row for this member; the loop over the archive raises the same error at the next header.
        return Inspection(Status.BROKEN, f"the archive is damaged here ({reason(error)})")


def folder_members(folder: Location, *, most_bytes: int, path: str = "") -> Iterator[Member]:
    """Yield the files below a folder in the order of their names; archives among them are replaced by their members.

    Files beside pictures are left out.

    Raises:
        DataError: an archive in it is truncated or damaged.
        UsageError: the folder cannot be listed.
    """
    members = with_files_beside(_folder_members(folder, most_bytes, path, Links(folder, is_hidden)))
    yield from with_masks(folder, members, lambda file: functools.partial(_file_content, file, most_bytes))


def _folder_members(folder: Location, most_bytes: int, path: str, links: Links) -> Iterator[Member]:
    with listing(folder):
        entries: list[Location] = sorted(folder.iterdir())
        of_classes = _class_folders(entries)
    for entry in entries:
        if is_hidden(entry.name):
            continue
        place = path + as_text(entry.name)
        if entry.is_dir():
            inside, why = links.into(entry, place)
            if why:
                yield Member(place, functools.partial(Inspection, Status.UNSAFE_NAME, why), ())
                continue
            if holds_own_images(entry):
                yield from (
                    replace(one, path=f"{place}/{one.path}") for one in own_members(entry, most_bytes=most_bytes)
                )
                continue
            members = _folder_members(entry, most_bytes, f"{place}/", inside)
            yield from (_in_class_folder(one, place) for one in members) if entry.name in of_classes else members
        elif ARCHIVE_NAME.search(entry.name) and entry.is_file():
            yield from archive_file_members(entry, most_bytes=most_bytes, folder=ARCHIVE_NAME.sub("", place) + "/")
        elif ZIP_NAME.search(entry.name) and entry.is_file():
            yield from zip_file_members(entry, most_bytes=most_bytes, folder=ZIP_NAME.sub("", place) + "/")
        else:
            yield Member(place, functools.partial(_file_content, entry, most_bytes), link=links.of_file(entry))


def _class_folders(entries: Sequence[Location]) -> frozenset[str]:
    """Return the names of those folders among the entries of one that `class_folders` says."""
    if not any(is_part_or_thing(entry.name) for entry in entries):
        return frozenset()
    folders = [entry for entry in entries if entry.is_dir()]
    return class_folders(
        f"{folder.name}/x" for folder in folders if any(is_picture(one.name) for one in folder.iterdir())
    )


def _in_class_folder(member: Member, folder: str) -> Member:
    """Return a member below a folder of a class, told so if it lies in it and not deeper."""
    return replace(member, is_in_class_folder=True) if member.path.rpartition("/")[0] == folder else member


def archive_file_members(archive: Location, *, most_bytes: int, folder: str = "") -> Iterator[Member]:
    """Yield the members of an archive file.

    Raises:
        DataError: it is truncated, damaged or not an archive.
    """
    last = ""
    with tar_errors(archive, lambda: last), archive.open("rb") as stream:
        for member in archive_members(stream, most_bytes=most_bytes, folder=folder):
            last = member.path
            yield member


def with_masks_of_archive(archive: Location, members: Iterator[Member], *, most_bytes: int) -> Iterator[Member]:
    """Yield an archive's members, pictures with their masks; of a compressed tar, whose members have no place, none."""
    if not archive.name.lower().endswith((".zip", ".tar")):
        yield from members
        return
    yield from with_masks(archive, members, lambda path: functools.partial(_archived_content, path, most_bytes))


def _archived_content(path: Location, most_bytes: int) -> bytes | Inspection:
    if size_of(path) > most_bytes:
        return Inspection(Status.TOO_LARGE, f"more than {most_bytes:,} bytes")
    try:
        return read_file(path)
    except DataError as error:
        return Inspection(Status.BROKEN, error.what)


def _file_content(path: Location, most_bytes: int) -> bytes | Inspection:
    try:
        with system_errors(path):
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                return Inspection(Status.UNSAFE_NAME, "not a regular file")
            if found.st_size > most_bytes:
                return Inspection(Status.TOO_LARGE, f"{found.st_size:,} bytes, more than {most_bytes:,}")
            return path.read_bytes()
    except FileNotFoundError:
        return Inspection(Status.MISSING, "a broken link")
    except OSError as error:
        return Inspection(Status.BROKEN, f"cannot be read ({reason(error)})")

"""Files in folders and in archives alike: a path may go on into a zip or tar archive, as `data.zip/labels/1.txt`.

Nothing is unpacked to a folder. An archive's list of members is read once by each process; a member is read from its
place. Only of a compressed tar, which has no places, the members are copied in one pass to a temporary file, without
its pictures. A member whose name leads out of the archive, a link, and a second member of a name are refused.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import io
import os
import tempfile
import weakref
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, cast

import pyarrow as pa

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.links import below
from mlimages_dataset.core.locations import as_text, listing, reason, relative, unpacked
from mlimages_dataset.sources.packing import packing_of
from mlimages_dataset.sources.pieces import read_to_its_end
from mlimages_dataset.sources.samples import is_picture
from mlimages_dataset.sources.tars import ARCHIVE_NAME, streamed_tar, tar_entries, tar_errors, unsafe
from mlimages_dataset.sources.zips import ZIP_FAULTS, ZIP_NAME, zip_entries, zip_errors
from mlimages_dataset.tables.files import content_digest, write_errors

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer

    from mlimages_dataset.core.locations import Location


MOST_BYTES = 1 << 28
"""A larger member of an archive is not read as a whole, whatever size the archive claims: it may be a bomb."""
MOST_COPIED_BYTES = 1 << 34
"""The most that is copied of a compressed tar."""
_BLOCK_BYTES = 1 << 20
_LOOK_BYTES = 16
_NAMED = 4
_OF_MACOS = "__MACOSX/"
"""The folder that macOS adds to zip archives, with a file beside each file."""


def exists(path: Location) -> bool:
    """Return whether there is such a file or folder, or such a member or folder of an archive."""
    return path.exists() or _inside(path) is not None


def is_folder(path: Location) -> bool:
    """Return whether a path is a folder, an archive or a folder in one."""
    if path.is_dir():
        return True
    found = _inside(path)
    return found is not None and found.name not in found.archive.members


def is_file(path: Location) -> bool:
    """Return whether a path is a file that is no archive, or a member of an archive."""
    found = _inside(path)
    return path.is_file() if found is None else found.name in found.archive.members


def files_below(folder: Location) -> list[Location]:
    """Return what is below a folder or in an archive, in the order of the paths.

    Raises:
        DataError: it cannot be listed.
    """
    found = None if folder.is_dir() else _inside(folder)
    if found is None:
        with read_to_its_end(folder):
            return sorted(below(folder))
    start = f"{found.name}/" if found.name else ""
    names = sorted(name for name in found.archive.members if name.startswith(start))
    return [found.place / name for name in names]


def shards_below(folder: Location, suffix: str) -> list[Location]:
    """Return the files of a suffix below a folder, also behind links that are followed, in the order of their paths.

    Raises:
        UsageError: the folder cannot be listed.
    """
    with listing(folder):
        return sorted(path for path in below(folder) if path.name.endswith(suffix) and path.is_file())


def files_in(folder: Location) -> list[Location]:
    """Return what is in a folder or at the top of an archive, in the order of the paths; errors as `files_below`."""
    if archive_of(folder) is not None:
        return [path for path in files_below(folder) if path.parent == folder]
    with read_to_its_end(folder):
        return sorted(folder.iterdir())


def archive_of(path: Location) -> Location | None:
    """Return the archive that a path is or goes on into, None if there is none."""
    found = None if path.is_dir() else _inside(path)
    return None if found is None else found.place


def refused_below(folder: Location) -> list[tuple[Location, str]]:
    """Return the members of an archive that are not read, with what is wrong with each; nothing for a folder."""
    found = None if folder.is_dir() else _inside(folder)
    start = found.name if found else ""
    return [(found.place / name, why) for name, why in found.archive.refused if name.startswith(start)] if found else []


def read_file(path: Location) -> bytes:
    """Return the bytes of a file or member, or of the only member of an archive.

    Raises:
        UsageError: there is no such file, it is a folder, or an archive of several files.
        DataError: it cannot be read to its end, or is a member of more than `MOST_BYTES`.
    """
    found = _file_inside(path)
    with read_to_its_end(path) if found is None else found.archive.open(found.name) as stream:
        content: bytes = path.read_bytes() if stream is None else stream.read(MOST_BYTES + 1)
    if found is not None and len(content) > MOST_BYTES:
        raise DataError(f"has more than {MOST_BYTES:,} bytes", where=path, remedy="unpack the archive into a folder")
    return content


def size_of(path: Location) -> int:
    """Return the number of bytes of a file or member, as its folder or archive says."""
    found = _inside(path)
    return int(path.stat().st_size) if found is None else found.archive.size(found.name)


@contextlib.contextmanager
def opened(path: Location) -> Iterator[IO[bytes] | pa.NativeFile]:
    """Yield the bytes of a file or member, or of the only member of an archive, decompressed according to its suffix.

    Raises:
        UsageError: there is no such file, it is a folder, or an archive of several files.
        DataError: it cannot be read to its end.
    """
    found = _file_inside(path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(read_to_its_end(path))
        if found is None:
            yield stack.enter_context(unpacked(path))
            return
        stream = stack.enter_context(found.archive.open(found.name))
        compression = _COMPRESSIONS.get(PurePosixPath(found.name).suffix)
        yield stream if compression is None else stack.enter_context(pa.input_stream(stream, compression=compression))


_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


def place_digest(path: Location) -> str:
    """Return the SHA-256 of a file's bytes, of a folder's listing, or of the archive that a path goes on into.

    Raises:
        UsageError: it cannot be read.
    """
    found = None if path.exists() else _inside(path)
    return content_digest(path if found is None else found.place)


@dataclass(frozen=True, slots=True)
class _Inside:
    """Where a path leads in an archive: to a member or folder of this name, empty for the archive itself."""

    place: Location
    archive: _Archive
    name: str


def _inside(path: Location) -> _Inside | None:
    """Return where in an archive a path leads, None if it leads into none, or to nothing in it.

    Raises:
        DataError: the archive is damaged.
    """
    for place in (path, *path.parents):
        if (ZIP_NAME.search(place.name) or ARCHIVE_NAME.search(place.name)) and place.is_file():
            found = place.stat()
            archive = _archive(place, os.getpid(), found.st_size, getattr(found, "st_mtime_ns", 0))
            name = "" if place == path else relative(path, place)
            known = not name or name in archive.members or name in archive.folders
            return _Inside(place, archive, name) if known else None
    return None


def _file_inside(path: Location) -> _Inside | None:
    """Return where in an archive a file is, None if it is in none; of an archive itself, its only member.

    Raises:
        UsageError: it is an archive, or a folder of one, that does not have exactly one file.
        DataError: the archive is damaged.
    """
    found = _inside(path)
    if found is None or found.name in found.archive.members:
        return found
    members = [name for name in sorted(found.archive.members) if not name.startswith(_OF_MACOS)]
    if found.name:
        raise UsageError("is a folder of an archive, and a file is wanted", where=path, remedy="name a file in it")
    if len(members) != 1:
        told = f" ({', '.join(members[:_NAMED])}{', ...' if len(members) > _NAMED else ''})" if members else ""
        example = path / (members[0] if members else "FILE")
        raise UsageError(
            f"has {len(members):,} files{told}, and one is wanted", where=path, remedy=f"name it: {example}"
        )
    return _Inside(found.place, found.archive, members[0])


@functools.lru_cache(maxsize=4)
def _archive(place: Location, process: int, size: int, changed: int) -> _Archive:  # noqa: ARG001 - of the cache's key
    """Return an archive, read once as long as its file stays the same; a fork must not share the open file."""
    if ZIP_NAME.search(place.name):
        return _zip(place)
    with read_to_its_end(place), place.open("rb") as stream:
        packing = packing_of(stream.read(_LOOK_BYTES))  # as images are read: whatever the name says
    return _plain_tar(place) if packing is None else _packed_tar(place)


@dataclass(slots=True)
class _Listing:
    """The members of an archive, by their names, and those that are refused, with the reason."""

    members: dict[str, Any] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, member: object, wrong: str) -> None:
        """Add a member, unless something is wrong with it."""
        plain = str(PurePosixPath(name))
        wrong = wrong or ("a second member of this name" if plain in self.members else "")
        if wrong:
            self.refused.append((name.replace("../", "").lstrip("/"), f"{wrong}: {name}"))
        else:
            self.members[plain] = member


class _Archive(abc.ABC):
    """The members of an archive, by their names.

    Attributes:
        place: the archive's file.
        members: what is known of each.
        refused: names and reasons of those that are not read.
        folders: the folders that the members are in.
    """

    def __init__(self, place: Location, listing: _Listing, stream: IO[bytes]) -> None:
        self.place = place
        weakref.finalize(self, stream.close)
        self.members = listing.members
        self.refused = listing.refused
        parents = {str(above) for name in self.members for above in PurePosixPath(name).parents}
        self.folders = frozenset(parents - {"."})

    @abc.abstractmethod
    def size(self, name: str) -> int:
        """Return the number of bytes that a member is said to have."""

    @abc.abstractmethod
    def open(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Return a context with the bytes of a member.

        Raises:
            DataError: it is damaged.
        """


class _Zip(_Archive):
    def __init__(self, place: Location, listing: _Listing, stream: IO[bytes], packed: zipfile.ZipFile) -> None:
        super().__init__(place, listing, stream)
        self._packed = packed

    def size(self, name: str) -> int:
        return int(self.members[name].file_size)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._packed.open(self.members[name]) as stream:
                yield stream
        except ZIP_FAULTS as error:
            raise DataError(
                f"is damaged in its archive ({reason(error)})", where=self.place / name, remedy="obtain it again"
            ) from error


class _Tar(_Archive):
    """An archive of which each member is a range of a file, that of the archive or a copy."""

    def __init__(self, place: Location, listing: _Listing, stream: IO[bytes]) -> None:
        super().__init__(place, listing, stream)
        self._stream = stream

    def size(self, name: str) -> int:
        _, size = self.members[name]
        return int(size)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        with read_to_its_end(self.place):
            yield io.BufferedReader(_Range(self._stream, *self.members[name]))


def _zip(place: Location) -> _Zip:
    listing = _Listing()
    with contextlib.ExitStack() as stack:
        stack.enter_context(zip_errors(place))
        stream = stack.enter_context(cast("IO[bytes]", place.open("rb")))
        packed = zipfile.ZipFile(stream)
        for entry in zip_entries(packed, place):
            listing.add(entry.name, entry.info, entry.unsafe or ("encrypted" if entry.is_encrypted else ""))
        stack.pop_all()  # the file stays open
    return _Zip(place, listing, stream, packed)


def _plain_tar(place: Location) -> _Tar:
    listing = _Listing()
    for entry in tar_entries(place):
        listing.add(entry.name, (entry.offset, entry.size), entry.unsafe)
    return _Tar(place, listing, cast("IO[bytes]", place.open("rb")))


def _packed_tar(place: Location) -> _Tar:
    """Return a compressed archive, with a copy of its members that are no pictures, one behind another."""
    listing = _Listing()
    name = ""
    with contextlib.ExitStack() as stack:
        copy = cast("IO[bytes]", stack.enter_context(tempfile.SpooledTemporaryFile(max_size=MOST_BYTES)))
        stack.enter_context(tar_errors(place, lambda: name))
        for header, content in _members_of_packed(place):
            name = as_text(header.name.removeprefix("./"))
            wrong = unsafe(header)
            size = 0 if wrong or is_picture(name) else header.size
            listing.add(name, (copy.tell(), size), wrong)
            if size:
                _copy(content, size, copy, place)
        stack.pop_all()  # the copy stays open
    return _Tar(place, listing, copy)


def _members_of_packed(place: Location) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """Yield the members of a compressed archive that are no folders; a content is read before the next is taken.

    Raises:
        tarfile.TarError, OSError, EOFError: it is damaged.
    """
    with place.open("rb") as stream, streamed_tar(stream, _BLOCK_BYTES) as tar:
        while (header := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else tarfile keeps every header in memory
            if not header.isdir():
                yield header, tar.extractfile(header) if header.isreg() else None


def _copy(content: IO[bytes] | None, size: int, copy: IO[bytes], place: Location) -> None:
    if copy.tell() + size > MOST_COPIED_BYTES:
        raise DataError(
            f"unpacks to more than {MOST_COPIED_BYTES:,} bytes", where=place, remedy="unpack it into a folder"
        )
    while content is not None and (block := content.read(_BLOCK_BYTES)):
        with write_errors(Path(tempfile.gettempdir())):
            copy.write(block)


class _Range(io.RawIOBase):
    """Some bytes of a file, which stays open."""

    def __init__(self, stream: IO[bytes], offset: int, size: int) -> None:
        super().__init__()
        self._stream, self._offset, self._size, self._at = stream, offset, size, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes into a buffer, and return their number."""
        view = memoryview(buffer)
        self._stream.seek(self._offset + self._at)
        content = self._stream.read(min(len(view), self._size - self._at))
        view[: len(content)] = content
        self._at += len(content)
        return len(content)

"""The files that a user means: folders of parts, patterns that no shell expanded, and what comes through a pipe."""

from __future__ import annotations

import fnmatch
import glob
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, TypeAlias

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import is_local, location, system_errors
from mlimages_dataset.sources.pieces import is_packed
from mlimages_dataset.sources.places import archive_of, exists, files_below, is_folder
from mlimages_dataset.sources.registry import source_named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.source import Source

Stream: TypeAlias = IO[bytes] | IO[str]
_KINDS = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\x28\xb5\x2f\xfd": ".zst", b"PAR1": ".parquet", b"{": ".json"}
"""The suffix of files by what they begin with."""
_LOOK_BYTES = 4
_BLOCK_BYTES = 1 << 20
STREAM_NAME = "standard-input"


def files_of(form: str, given: Iterable[Location]) -> tuple[Location, ...]:
    """Return the files that are meant, in the order given; those of a folder or pattern by name.

    A folder stands for the files in it that have the format's suffix, unless the format reads folders itself; an
    archive for its only such file. A path or pattern may go on into an archive, as `a.zip/train/*.json`.

    Raises:
        UsageError: a file is missing, a pattern matches nothing, or a folder has no such files or further ones below.
        DataError: an archive is damaged.
    """
    source = source_named(form)
    return tuple(
        file
        for place in given
        for path in _matching(place)
        for file in (_parts(path, source) if is_folder(path) and not source.takes_folders else [path])
    )


def _matching(place: Location) -> list[Location]:
    """Return what a pattern matches, or the place itself; a file that is called like a pattern is that file."""
    if exists(place):
        return [place]
    if not glob.has_magic(str(place)):
        raise UsageError("there is no such file", where=place, remedy="check the path")
    if archive := next(filter(archive_of, place.parents), None):
        found: list[Location] = [path for path in files_below(archive) if fnmatch.fnmatchcase(str(path), str(place))]
    elif is_local(place):
        found = [Path(name) for name in sorted(glob.glob(str(place), recursive=True))]  # noqa: PTH207 - Path.glob takes no absolute pattern
    else:
        with system_errors(place):
            found = [location(place.fs.unstrip_protocol(name)) for name in sorted(place.fs.glob(place.path))]  # type: ignore[union-attr]  # it is remote
    if not found:
        raise UsageError("no file matches this pattern", where=place, remedy="check it")
    return found


def _parts(folder: Location, source: Source) -> list[Location]:
    if archive_of(folder) is not None:
        return [_only_member(folder, source)]
    found = files_below(folder)
    below = [path for path in found if _is_part(path, source)]
    parts = [path for path in below if path.parent == folder]
    what = " or ".join(source.suffixes)
    if not source.suffixes:
        raise UsageError("is a folder", where=folder, remedy=f"name files of the format {source.name}")
    if len(parts) < len(below):
        other = next(path for path in below if path.parent != folder)
        remedy = "name each folder, or a pattern such as '**/*" + source.suffixes[0] + "'"
        raise UsageError(f"has files below its folders too, such as {other.name}", where=folder, remedy=remedy)
    if not parts:
        raise UsageError(f"has no file {what}", where=folder, remedy=f"name files of the format {source.name}")
    return parts


def _only_member(archive: Location, source: Source) -> Location:
    suffixes = source.member_suffixes
    if not suffixes:
        raise UsageError(
            f"is an archive, in which files of the format {source.name} are not read",
            where=archive,
            remedy="unpack it and name them",
        )
    found = [path for path in files_below(archive) if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    told = " or ".join(suffixes)
    if not found:
        raise UsageError(f"holds no {told} file", where=archive, remedy=f"name files of the format {source.name}")
    if len(found) > 1:
        raise UsageError(
            f"holds {len(found)} files of the suffix {told}",
            where=archive,
            remedy=f"name those that are meant, such as {found[0]}, or a pattern in quotes",
        )
    return found[0]


def _is_part(path: Location, source: Source) -> bool:
    """Return whether a file is a part of a table; those of a name that begins with a dot or a low line are notes."""
    name = PurePath(path.name.lower())
    kind = PurePath(name.stem).suffix if is_packed(path) else name.suffix
    return kind in source.suffixes and not path.name.startswith((".", "_")) and path.is_file()


def is_stream(given: object) -> bool:
    """Return whether something is an open file, such as standard input."""
    return hasattr(given, "read")


def written_stream(stream: Stream, folder: Path) -> Path:
    """Write what a stream holds into a file of a folder and return its path: inputs are read several times.

    The file's suffix says whether its content is compressed, Parquet or JSON, as the suffix of a user's file does.
    """
    path = folder / STREAM_NAME
    with path.open("wb") as file:
        while block := stream.read(_BLOCK_BYTES):
            file.write(block.encode(errors="surrogateescape") if isinstance(block, str) else block)
    with path.open("rb") as file:
        begins = file.read(_LOOK_BYTES)
    suffix = next((suffix for mark, suffix in _KINDS.items() if begins.startswith(mark)), "")
    return path.rename(path.with_suffix(suffix)) if suffix else path

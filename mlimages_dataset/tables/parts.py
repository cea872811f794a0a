"""Whether the parts of a table folder are those that its manifest lists, and their stage has ended.

Manifests lie in the folder of a table or above it and are written by the pipeline; only what names the parts is read
here. A folder of which no manifest lists a part is read as it is: people copy parts by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlimages_dataset.core.decoding import as_written
from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import is_local, reason, refuse_special, relative, system_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mlimages_dataset.core.locations import Location

MANIFEST_NAME = "manifest.json"
BEGUN_PREFIX = ".unfinished-"
"""Prefix of a file in an output folder that is there from a stage's first change to its last."""
FORMAT = "mlimages.manifest/1"
_KIND = FORMAT.partition("/")[0]
_HIGHEST = 3


def refuse_other_parts(folder: Location, parts: Sequence[Location]) -> None:
    """Raise `DataError` unless the parts found in a table folder are all that its stage wrote, and it has ended.

    They are compared by name with the nearest manifest that lists parts of this folder, in it or at most three folders
    above it, and so are those of each sub-folder with theirs.

    Raises:
        DataError: a part is missing, or is there and not listed; the stage that writes the folder has not ended; or a
            manifest is damaged.
    """
    # Where a folder is reached by a link, its manifest lies above the folder itself.
    real = folder.resolve() if is_local(folder) else folder
    names = {relative(path, folder) for path in parts}
    manifests: dict[Location, _Names | None] = {}
    for inner in sorted({"", *(name.rpartition("/")[0] for name in names)}):
        at, shown = (real / inner, folder / inner) if inner else (real, folder)
        for above in _upwards(at):
            if above not in manifests:
                manifests[above] = _Names.read(above)
            manifest = manifests[above]
            if manifest is None:
                continue
            inside = "" if above == at else relative(at, above)
            if any(_lies_in(one, inside) for one in manifest.unfinished):
                raise DataError(
                    "is not finished", where=shown, remedy="run the same command again, or wait until it has ended"
                )
            if listed := manifest.below(inside):
                _compare(shown, _below(names, inner), listed)
                break


def refuse_inside_table(folder: Location) -> None:
    """Raise `UsageError` if a folder lies below parts of a table of another output, whose readers would read its parts.

    Raises:
        UsageError: it does.
        DataError: a manifest above is damaged.
    """
    at = folder.resolve() if is_local(folder) else folder
    for above in list(_upwards(at, 3 * _HIGHEST))[1:]:
        manifest = _Names.read(above)
        if manifest is not None and (table := manifest.table_around(relative(at, above))) is not None:
            raise UsageError(
                f"lies inside the table {above / table if table else above}", where=folder, remedy="name another folder"
            )


class _Names:
    """The parts that a manifest lists, with their rows, and the folders of stages that have begun and not ended."""

    def __init__(self, parts: Mapping[str, int], unfinished: Iterable[str]) -> None:
        self._parts = parts
        self.unfinished = frozenset(unfinished)

    @classmethod
    def read(cls, folder: Location) -> _Names | None:
        """Return those of the manifest in a folder, None if there is none."""
        files = _files(folder / MANIFEST_NAME)
        if files is None:
            return None
        parts = {name: _rows(record) for name, record in files.items() if is_part(name.rpartition("/")[2])}
        return cls(parts, _unfinished(folder))

    def table_around(self, inside: str) -> str | None:
        """Return the folder with parts that a path lies in, None if it lies in none."""
        tables = sorted({name.rpartition("/")[0] for name in self._parts})
        return next((table for table in tables if _lies_in(inside, table)), None)

    def below(self, inside: str) -> dict[str, int]:
        """Return the parts in a folder and below it by their path relative to it."""
        return {one: self._parts[f"{inside}/{one}" if inside else one] for one in _below(self._parts, inside)}


def _compare(folder: Location, found: set[str], listed: Mapping[str, int]) -> None:
    if missing := sorted(listed.keys() - found):
        rows = listed[missing[0]]
        counted = "" if rows < 0 else f" ({rows:,} row{'' if rows == 1 else 's'})"
        others = "" if len(missing) == 1 else f", and {len(missing) - 1:,} more"
        raise DataError(
            f"lacks {missing[0]}, which its manifest lists{counted}{others}",
            where=folder,
            remedy="make it again, or restore the file",
        )
    owned = {name.rpartition("/")[0] for name in listed}
    # A sub-folder of which this manifest lists nothing is another's.
    if strangers := sorted(name for name in found - listed.keys() if name.rpartition("/")[0] in owned):
        raise DataError(
            f"has {strangers[0]}, which its manifest does not list",
            where=folder,
            remedy="remove the file, or make the table again",
        )


def is_part(name: str) -> bool:
    """Return whether a file's name is that of a part of a table."""
    return name.startswith("part-") and name.endswith(".parquet")


def refuse_other_format(found: object, path: Location) -> None:
    """Raise `DataError` unless the format that a manifest states is this version's."""
    if found != FORMAT:
        raise DataError(f"its format is {as_written(found)}, not {FORMAT!r}", where=path, remedy="build it again")


def _files(path: Location) -> Mapping[str, Any] | None:
    """Return what a manifest says of each file, None if there is none, or it is that of another program.

    Raises:
        DataError: it is damaged, cannot be read, or is of another version.
    """
    refuse_special(path)
    written = b""
    try:
        with system_errors(path):
            written = path.read_bytes()
        content = parse_json(written)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        # Stores tell nobody whether a file is there who may not read in that folder.
        if isinstance(error, PermissionError) and not is_local(path):
            return None
        raise DataError(f"cannot be read ({reason(error)})", where=path, remedy="check its permissions") from error
    except ValueError as error:
        if written and _KIND.encode() not in written:
            return None
        raise _damaged(path, str(error)) from error
    stated = content.get("format") if isinstance(content, dict) else None
    if not str(stated).startswith(_KIND):
        return None
    refuse_other_format(stated, path)
    files = content.get("files")
    if not isinstance(files, dict):
        raise _damaged(path, "it has no files")
    return files


def unfinished_build(path: Location) -> Location | None:
    """Return the output folder above a file in which a command has begun and not ended, if there is one."""
    folders = list(_upwards(path.parent))
    return next((one for one in folders if any(one.glob(f"{BEGUN_PREFIX}*"))), None)


def _damaged(path: Location, what: str) -> DataError:
    return DataError(
        f"is not a complete manifest ({what})", where=path, remedy="make the folder again, or remove this file"
    )


def _rows(record: object) -> int:
    """Return the rows that a manifest's record of a file states, -1 if it states none."""
    rows = record.get("rows") if isinstance(record, dict) else None
    return rows if isinstance(rows, int) else -1


def _unfinished(folder: Location) -> Iterator[str]:
    """Yield the folders, relative to an output folder, of its stages that have begun and not ended."""
    marks: list[Location] = list(folder.glob(f"{BEGUN_PREFIX}*"))
    for mark in marks:
        yield from begun_folders(mark)


def begun_folders(mark: Location) -> list[str]:
    """Return the folders that a mark of a begun stage names, none if it is gone meanwhile."""
    refuse_special(mark)
    try:
        with system_errors(mark):
            content = mark.read_bytes()
    except OSError:
        return []
    return ["" if name == "." else name for name in content.decode(errors="surrogateescape").split("\n") if name]


def begun_mark(folders: Iterable[str]) -> bytes:
    """Return the content of the mark of a stage that writes into these folders; `begun_folders` reads it."""
    return "".join(f"{name}\n" for name in folders).encode(errors="surrogateescape")


def _lies_in(name: str, folder: str) -> bool:
    """Return whether a relative path is that of a folder (empty: the one they are relative to) or lies in it."""
    return not folder or name == folder or name.startswith(f"{folder}/")


def _below(names: Iterable[str], folder: str) -> set[str]:
    """Return the paths of files in a folder and below it, relative to it."""
    return {name.removeprefix(f"{folder}/") if folder else name for name in names if _lies_in(name, folder)}


def _upwards(folder: Location, most: int = _HIGHEST) -> Iterator[Location]:
    """Yield a folder and those above it that may hold its manifest, `most` of them."""
    for _ in range(most + 1):
        yield folder
        if folder.parent == folder:
            return
        folder = folder.parent

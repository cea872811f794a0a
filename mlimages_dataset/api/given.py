"""What a user says of pictures in memory, as files of the build: frames, mappings, names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from mlimages_dataset.api import folders
from mlimages_dataset.api.annotations import statements
from mlimages_dataset.api.arguments import listed_wnids
from mlimages_dataset.api.frames import Given, is_frame, listed, place, written
from mlimages_dataset.api.messages import told_as
from mlimages_dataset.api.vocabularies import class_columns
from mlimages_dataset.core.arguments import is_text
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import NoSummary, Stage, run
from mlimages_dataset.sources.class_lists import CLASS_COLUMNS
from mlimages_dataset.sources.layout import NEEDED_COLUMNS
from mlimages_dataset.tables.files import digests, prefixed, write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace

GIVEN = "given"
"""Folder in a build, and its stage, of what was given in memory: a recipe names files."""
Classes: TypeAlias = "Given | Mapping[str, str] | Sequence[Given | Mapping[str, str]]"


def files_of_classes(given: Classes | None, folder: Location, *, overwrite: bool) -> list[Location]:
    """Return the files that say what pictures show; what is in memory is written into the build's folder first.

    Texts of a list that have neither a suffix nor a slash, and are no file, are names of classes.

    Args:
        given: a path, a frame, a mapping from ids to names, or several of these and of names; None for none.
        folder: the build's folder.
        overwrite: replace other data that were given before.

    Raises:
        UsageError, DataError: it is another thing, or a frame lacks a column.
    """
    if given is None:
        return []
    column = listed_wnids(given)  # of names, as frames have them
    given = given if column is None else list(column)
    several = listed(given, what="classes")
    names = [one for one in several if isinstance(given, list | tuple) and _is_name(one)]
    tables = [one for one in several if _is_table(one)] + ([dict(zip(names, names, strict=True))] if names else [])
    paths = [place(one, what="classes") for one in several if not (_is_table(one) or (names and _is_name(one)))]
    return [*paths, *(_written(tables, folder, overwrite=overwrite) if tables else [])]


def _is_name(one: object) -> bool:
    return isinstance(one, str) and not PurePath(one).suffix and not {"/", "\\", ":"} & set(one) and not _exists(one)


def _exists(name: str) -> bool:
    return place(name, what="classes").exists()


def _is_table(one: object) -> bool:
    return is_frame(one) or isinstance(one, Mapping)


def _written(tables: Sequence[object], folder: Location, *, overwrite: bool) -> list[Location]:
    """Write tables into an output folder of their own in the build's; return the files."""
    own = folders.scratch()
    try:
        names = [f"classes-{number}.parquet" for number in range(1, len(tables) + 1)]
        for name, table in zip(names, tables, strict=True):
            written(_columns(table, f"the frame {name}" if len(tables) > 1 else "the frame of classes"), own / name)
        stage = Stage(
            name=GIVEN,
            parameters={},
            inputs=prefixed("classes", digests([own / name for name in names])),
            work=functools.partial(_copies, own, names),
            summary=NoSummary,
        )
        with told_as({}), OutputFolder(folder, overwrite=overwrite).held():
            run(stage, OutputFolder(folder / GIVEN, overwrite=overwrite))
    finally:
        folders.discard(own)
    return [folder / GIVEN / name for name in names]


def _copies(own: Path, names: Sequence[str], at: Workplace) -> StageResult[NoSummary]:
    return StageResult(tuple(write_bytes(at.out / name, (own / name).read_bytes()) for name in names), NoSummary())


def _columns(table: object, what: str) -> dict[str, pa.Array]:
    """Return the columns of labels or of a class list; those of a mapping are its keys and values.

    Raises:
        UsageError, DataError: it has the columns of neither.
    """
    if isinstance(table, Mapping):
        if not all(map(is_text, (*table, *table.values()))):
            raise UsageError("classes maps other things than text to text", remedy="pass {'folder': 'name'}")
        return {"id": pa.array(table, pa.string()), "name": pa.array(table.values(), pa.string())}
    names = {str(name).strip().casefold() for name in _names(table)}
    if set(NEEDED_COLUMNS) <= names or not set(CLASS_COLUMNS) & names:
        return statements(table, what)
    return class_columns(table, what)


def _names(table: object) -> Sequence[object]:
    found = getattr(table, "column_names", None)
    return list(found if found is not None else getattr(table, "columns", ()))

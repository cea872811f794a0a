"""Folders of results: a user's, or a temporary one, removed with the last reference to its result."""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlimages_dataset.api.frames import place
from mlimages_dataset.core.locations import relative, remove_folder
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import NoSummary, Stage, run
from mlimages_dataset.tables.files import PARTIAL_PREFIX, digests, write_bytes
from mlimages_dataset.tables.parquet import open_table, schema_of
from mlimages_dataset.tables.parts import is_part, refuse_other_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.api.frames import PathLike
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.tables.files import Receipt
    from mlimages_dataset.tables.schemas import TableSchema


_PREFIX = "mlimages-"


def scratch() -> Path:
    """Return a new temporary folder; give it to `kept_by`, or remove it."""
    return Path(tempfile.mkdtemp(prefix=_PREFIX))


def is_scratch(folder: Location) -> bool:
    """Return whether a folder is a temporary one of `scratch`, whose name tells a user nothing."""
    return folder.name.startswith(_PREFIX) and str(folder.parent) == tempfile.gettempdir()


def in_build(given: Location, stage: str, file: str) -> Location | None:
    """Return a file of a stage in its folder, or in that of a build; None if it is in neither."""
    return next((path for path in (given / file, given / stage / file) if path.is_file()), None)


def kept_by(owner: object, folder: Path) -> None:
    """Remove a folder when its owner is deleted, at the latest when the process ends."""
    weakref.finalize(owner, remove_folder, folder)


def output(out: PathLike | None, *, overwrite: bool) -> tuple[OutputFolder, Path | None]:
    """Return the requested output folder and None, or else one in a new temporary folder, and the latter."""
    if out is not None:
        return OutputFolder(place(out, what="out"), overwrite=overwrite), None
    own = scratch()
    return OutputFolder(own), own


def copy(folder: Location, schemas: Sequence[TableSchema], stage: str, to: PathLike) -> None:
    """Copy the tables in a folder into their own output folder; an interrupted copy is continued.

    Args:
        folder: the folder of the tables.
        schemas: their schemas.
        stage: the stage name for them in the new folder's manifest.
        to: a new or empty folder, or one that holds this same copy.

    Raises:
        UsageError: the target holds other files.
        DataError: some of the tables are missing: see `refuse_other_parts`.
    """
    names = sorted(
        relative(path, folder) for path in folder.rglob("*.parquet") if not path.name.startswith(PARTIAL_PREFIX)
    )
    refuse_other_parts(folder, [folder / name for name in names if is_part(name.rpartition("/")[2])])
    subfolders = sorted({name.rpartition("/")[0] for name in names})

    def work(at: Workplace) -> StageResult[NoSummary]:
        return StageResult(tuple(_copied(folder / name, at.out / name, schemas) for name in names), NoSummary())

    copied = Stage(
        name=stage,
        parameters={"copied": True},
        inputs=digests([folder / name for name in names]),
        work=work,
        summary=NoSummary,
        folders=("", *subfolders),
    )
    run(copied, OutputFolder(place(to, what="folder")))


def _copied(path: Location, to: Location, schemas: Sequence[TableSchema]) -> Receipt:
    schema = schema_of(path, schemas)
    with open_table(path, schema) as parquet:
        rows = parquet.metadata.num_rows
    return replace(write_bytes(to, path.read_bytes(), schema=schema.label), rows=rows)


def discard(folder: Path | None) -> None:
    """Remove a temporary folder, if there is one."""
    if folder is not None:
        remove_folder(folder)

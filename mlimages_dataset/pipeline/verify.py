"""Whether an output folder holds what its manifest says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from mlimages_dataset.core.locations import reason, relative
from mlimages_dataset.pipeline.records import CACHE_PREFIX, UNFINISHED, FileRecord, other_versions, read_manifest
from mlimages_dataset.tables.files import PARTIAL_PREFIX, file_digest
from mlimages_dataset.tables.parquet import SCHEMA_KEY, parquet_source
from mlimages_dataset.tables.parts import BEGUN_PREFIX, MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location


def verify_folder(folder: Location) -> list[str]:
    """Return a sentence for each difference between a folder and its manifest, none if they agree.

    Raises:
        UsageError, DataError: as `read_manifest`.
    """
    manifest = read_manifest(folder)
    problems = [problem for path, record in manifest.files.items() for problem in _check_file(folder, path, record)]
    if not manifest.stages:
        return [*problems, UNFINISHED]
    cut = {path.parent for path in folder.rglob(f"{PARTIAL_PREFIX}*")}
    strangers = [path for path in sorted(_files_of(folder)) if path not in manifest.files]
    others = [path for path in strangers if (folder / path).parent not in cut]
    problems += [f"{path}: is not in the manifest; remove it, or build the folder again" for path in others]
    is_begun = any(folder.glob(f"{BEGUN_PREFIX}*"))
    return [*problems, UNFINISHED] if is_begun or len(others) < len(strangers) else problems


def _check_file(folder: Location, path: str, record: FileRecord) -> Iterator[str]:
    file = folder / path
    if not file.is_file():
        yield f"{path}: is missing; run the build again to restore it"
        return
    what = []
    size = file.stat().st_size
    if size != record.bytes:
        what.append(f"{size:,} bytes where the manifest has {record.bytes:,}")
    elif file_digest(file) != record.sha256:
        what.append("its bytes changed")
    if record.rows >= 0:
        try:
            with parquet_source(file) as source:
                metadata = pq.read_metadata(source)
            rows, schema = metadata.num_rows, (metadata.metadata or {}).get(SCHEMA_KEY, b"").decode(errors="replace")
            if schema and schema != record.schema:
                what.append(f"its schema is {schema}, and the manifest has {record.schema!r}")
            if rows != record.rows:
                much = f"{abs(rows - record.rows):,} {'row' if abs(rows - record.rows) == 1 else 'rows'}"
                direction = "more" if rows > record.rows else "fewer"
                what.insert(0, f"{much} {direction} than the manifest: it has {rows:,}, not {record.rows:,}")
        except Exception as error:  # noqa: BLE001 - any error of a damaged file is a finding
            what.append(f"not a readable Parquet file ({reason(error)})")
    what += other_versions([record.schema])
    if what:
        yield f"{path}: {', '.join(what)}; remove it and run the build again"


def _files_of(folder: Location) -> Iterator[str]:
    """Yield the files below a folder, except unfinished ones, caches, and those of other builds in sub-folders."""
    inner = [
        relative(path.parent, folder) + "/"
        for path in folder.rglob(MANIFEST_NAME)
        if path.parent != folder and path.is_file()
    ]
    for path in folder.rglob("*"):
        name = relative(path, folder)
        known = name == MANIFEST_NAME or name.startswith(tuple(inner)) or _is_partial(path, folder)
        if path.is_file() and not known and not path.name.startswith((CACHE_PREFIX, BEGUN_PREFIX)):
            yield name


def _is_partial(path: Location, folder: Location) -> bool:
    """Return whether a file below a folder, or a folder on its way, has the name of an unfinished file."""
    return any(name.startswith(PARTIAL_PREFIX) for name in relative(path, folder).split("/"))

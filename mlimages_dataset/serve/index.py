"""The index of a build's label tables: which rows have each category, in a DuckDB file that is made once.

Rows of all label tables are numbered in their order (train before val). A chunk is some consecutive rows of one part;
within a chunk, labels are ordered by category, so that DuckDB's minima and maxima of each block of rows lead straight
to those of one category, and a page of rows is found without reading the others. The row of an image is DuckDB's own
number of it (`rowid`), which leads to one block of rows too.

The file lies beside the build (in the user's cache if the build cannot be written) and is made again when the tables
or the stores of pictures change. Its memory is bounded by the rows of a chunk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import reason, relative, remove_folder, user_cache
from mlimages_dataset.pipeline.records import CACHE_PREFIX
from mlimages_dataset.tables.batches import label_batches
from mlimages_dataset.tables.database import connected
from mlimages_dataset.tables.files import PARTIAL_PREFIX, give_name, write_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlimages_dataset.images.store import Finder, ImageStore
    from mlimages_dataset.serve.build import ServedBuild
    from mlimages_dataset.tables.label_columns import LabelColumns

FORMAT = "mlimages.serve-index/1"
_PREFIX = f"{CACHE_PREFIX}serve-"
_KEPT = 4
"""Indices of builds that cannot be written, which stay in the user's cache."""
_CONFIG: dict[str, str | int] = {"memory_limit": "256MB", "threads": 2}
"""What DuckDB may take, while the index is made and while it is asked."""
_CHUNK_ROWS = 1 << 18
_SCHEMA = """
    CREATE TABLE sources (source USMALLINT, name VARCHAR);
    CREATE TABLE chunks (chunk USMALLINT, split VARCHAR, path VARCHAR, first INTEGER, first_in_part INTEGER,
        n INTEGER);
    CREATE TABLE images (image_id VARCHAR, location VARCHAR, source USMALLINT, store UTINYINT,
        picture BIGINT);
    CREATE TABLE labels (chunk USMALLINT, class_index INTEGER, row INTEGER, confidence FLOAT, origin UTINYINT,
        source USMALLINT, pictured BOOLEAN);
    CREATE TABLE counts (chunk USMALLINT, class_index INTEGER, origin UTINYINT, source USMALLINT, present BOOLEAN,
        pictured BOOLEAN, n INTEGER);
"""
_TABLES = ("sources", "chunks", "images", "labels", "counts")
NO_STORE = 255
"""The store of a row that has no picture."""


@dataclass(frozen=True, slots=True)
class LabelIndex:
    """An index, open for reading, and the stores that its numbers of pictures mean.

    Attributes:
        connection: take a cursor of it in each thread.
        stores: the stores of pictures.
    """

    connection: duckdb.DuckDBPyConnection
    stores: tuple[ImageStore, ...]


def open_index(build: ServedBuild, progress: Callable[[int], None] = lambda images: None) -> LabelIndex:  # noqa: ARG005
    """Return the index of a build; it is made first if there is none of these tables and pictures.

    Args:
        build: the build.
        progress: is called with the number of images that were added.

    Raises:
        UsageError: neither the build's folder nor the user's cache can be written.
        DataError, SchemaError: a table is damaged, of another schema, or of another vocabulary.
    """
    key = _key(build)
    for folder in (build.folder, user_cache()):
        path = folder / f"{_PREFIX}{key}.duckdb"
        if path.is_file():
            try:
                found = _opened(path, build)
            except (UsageError, DataError):  # something else has its name: it is made again
                path.unlink(missing_ok=True)
                break
            if folder == user_cache():
                path.touch()  # those that were asked last are kept
            return found
    try:
        path = _written(build, build.folder, key, progress)
    except UsageError:  # the folder cannot be written, or is full
        path = _written(build, user_cache(), key, progress)
    return _opened(path, build)


def _key(build: ServedBuild) -> str:
    """Return a text that changes with the label tables, their place, and the stores of pictures."""
    parts = [path for paths in build.parts.values() for path in paths]
    stats = [(relative(path, build.folder), path.stat().st_size, path.stat().st_mtime_ns) for path in parts]
    stores = [(str(store.folder), store.digest) for store in build.stores]
    return hashlib.sha256(json.dumps([FORMAT, str(build.folder.absolute()), stats, stores]).encode()).hexdigest()[:16]


def _opened(path: Path, build: ServedBuild) -> LabelIndex:
    try:
        # No scratch folder: a reader leaves nothing beside the build.
        config: dict[str, str | bool | int | float | list[str]] = {**_CONFIG, "temp_directory": ""}
        connection = duckdb.connect(str(path), read_only=True, config=config)
        for table in _TABLES:
            connection.execute(f"SELECT * FROM {table} LIMIT 0")
    except duckdb.Error as error:
        raise UsageError(f"cannot be read ({reason(error)})", where=path, remedy="remove this file") from error
    stores = tuple(store.found_at(_found_file(path, k)) for k, store in enumerate(build.stores))
    return LabelIndex(connection, stores)


def _found_file(path: Path, store: int) -> Path:
    return path.with_suffix(f".pictures-{store}.arrow")


def _written(build: ServedBuild, folder: Path, key: str, progress: Callable[[int], None]) -> Path:
    """Write the index of a build into a folder, and remove those of older tables there."""
    partial = folder / f"{PARTIAL_PREFIX}serve-{secrets.token_hex(4)}.duckdb"
    path = folder / f"{_PREFIX}{key}.duckdb"
    with write_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
    finders = [store.finder() for store in build.stores]
    try:
        try:
            with connected(str(partial), **_CONFIG, temp_directory=f"{partial}.scratch") as connection:
                _fill(connection, build, finders, progress)
        except duckdb.Error as error:  # no room, or a path that DuckDB cannot open, such as one with a question mark
            remedy = "make room or name another folder"
            raise UsageError(f"cannot be written ({reason(error)})", where=path, remedy=remedy) from error
        for k, finder in enumerate(finders):
            finder.save(_found_file(path, k))
        give_name(partial, path)
    finally:
        remove_folder(folder / f"{partial.name}.scratch")
        for left in folder.glob(f"{partial.name}*"):
            left.unlink(missing_ok=True)
    _remove_older(path, keep=_KEPT if folder == user_cache() else 1)
    return path


def _remove_older(path: Path, *, keep: int) -> None:
    """Remove other indices of an index' folder: of the same tables or of tables that are gone, and all but the newest.

    Args:
        path: the index that was just written.
        keep: how many may stay, with this one.
    """
    tables = _first_part(path)
    others = sorted(path.parent.glob(f"{_PREFIX}*.duckdb"), key=lambda one: one.stat().st_mtime, reverse=True)
    others.remove(path)
    standing = [one for one in others if (part := _first_part(one)) not in {"", tables} and Path(part).is_file()]
    kept = {path.stem, *(one.stem for one in standing[: keep - 1])}
    for file in list(path.parent.glob(f"{_PREFIX}*")):
        if file.name.partition(".duckdb")[0].partition(".pictures-")[0] not in kept:
            with contextlib.suppress(OSError):  # in use, where files in use cannot be removed
                file.unlink()


def _first_part(path: Path) -> str:
    """Return the path of the first label table of an index; empty for what is none of this version."""
    try:
        with duckdb.connect(str(path), read_only=True, config={"temp_directory": ""}) as connection:
            return str(connection.execute("SELECT path FROM chunks ORDER BY chunk LIMIT 1").fetchall()[0][0])
    except (duckdb.Error, IndexError):
        return ""


def _fill(
    connection: duckdb.DuckDBPyConnection,
    build: ServedBuild,
    finders: Sequence[Finder],
    progress: Callable[[int], None],
) -> None:
    connection.execute(_SCHEMA)
    sources: dict[str, int] = {}
    first = 0
    for number, chunk in enumerate(_chunks(build)):
        images = _images(chunk, sources, finders)
        row = (number, chunk.split, str(chunk.path), first, chunk.first_in_part, len(images))
        connection.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?)", row)
        _insert(connection, "images", images)
        _insert(connection, "labels", _labels(chunk, number, first, images))
        connection.execute(
            "INSERT INTO counts SELECT chunk, class_index, origin, source, confidence > 0, pictured, count(*) "
            "FROM labels WHERE chunk = ? GROUP BY ALL ORDER BY ALL",
            [number],
        )
        first += len(images)
        progress(len(images))
    connection.executemany("INSERT INTO sources VALUES (?, ?)", [[n, name] for name, n in sources.items()] or [[0, ""]])


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    connection.register("new_rows", rows)
    connection.execute(f"INSERT INTO {table} SELECT * FROM new_rows")
    connection.unregister("new_rows")


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Consecutive rows of one part of a label table."""

    split: str
    path: Path
    first_in_part: int
    batches: tuple[tuple[pa.RecordBatch, LabelColumns], ...]

    def column(self, name: str) -> pa.Array:
        return pa.chunked_array([batch.column(name) for batch, _ in self.batches]).combine_chunks()


def _chunks(build: ServedBuild) -> Iterator[_Chunk]:
    for split, paths in build.parts.items():
        for path in paths:
            first = rows = 0
            waiting: list[tuple[pa.RecordBatch, LabelColumns]] = []
            for batch, columns in label_batches(path, len(build.vocabulary)):
                waiting.append((batch, columns))
                rows += len(columns)
                if rows >= _CHUNK_ROWS:
                    yield _Chunk(split, path, first, tuple(waiting))
                    first, rows, waiting = first + rows, 0, []
            if waiting:
                yield _Chunk(split, path, first, tuple(waiting))


def _images(chunk: _Chunk, sources: dict[str, int], finders: Sequence[Finder]) -> pa.Table:
    """Return the rows of a chunk for the table `images`."""
    image_id, location = chunk.column("image_id"), chunk.column("location")
    encoded = chunk.column("source").dictionary_encode()
    numbers = np.array([sources.setdefault(name, len(sources)) for name in encoded.dictionary.to_pylist()], np.uint16)
    store = np.full(len(image_id), NO_STORE, np.uint8)
    picture = np.full(len(image_id), -1, np.int64)
    for k, finder in enumerate(finders):
        left = np.flatnonzero(store == NO_STORE)
        found = finder.find(image_id.take(pa.array(left)), location.take(pa.array(left)))
        there = found >= 0
        store[left[there]], picture[left[there]] = k, found[there]
    return pa.table(
        {
            "image_id": image_id,
            "location": location,
            "source": numbers[encoded.indices.to_numpy()],
            "store": store,
            "picture": picture,
        }
    )


def _labels(chunk: _Chunk, number: int, first: int, images: pa.Table) -> pa.Table:
    """Return the labels of a chunk, ordered by category and row, for the table `labels`."""
    columns = [columns for _, columns in chunk.batches]
    class_index = np.concatenate([one.class_index for one in columns])
    order = np.argsort(class_index, kind="stable").astype(np.int32)
    sizes = np.concatenate([np.diff(one.offsets) for one in columns])
    at = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[order]
    return pa.table(
        {
            "chunk": np.full(len(order), number, np.uint16),
            "class_index": class_index[order],
            "row": at + np.int32(first),
            "confidence": np.concatenate([one.confidence for one in columns])[order],
            "origin": np.concatenate([one.origin for one in columns])[order],
            "source": images["source"].to_numpy()[at],
            "pictured": images["store"].to_numpy()[at] != NO_STORE,
        }
    )

"""Folders of Parquet files with pictures in a column, as Hugging Face writes them, as a store.

Which column it is, and what names a row, is in `sources/picture_tables`. A row without a picture has a number and an
id: reading it says that there is none. Parquet can only be read by row groups: neighbours are read together, and single
pictures keep the group that they lie in.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError, MLImagesError
from mlimages_dataset.images.files import has_pictures
from mlimages_dataset.images.foreign import ForeignStore, places
from mlimages_dataset.images.store import Place
from mlimages_dataset.sources.picture_tables import (
    picture_columns,
    picture_tables,
    row_name,
    schema_of,
)
from mlimages_dataset.sources.places import shards_below
from mlimages_dataset.tables.parquet import open_parquet, parquet_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.picture_tables import PictureColumns

_NAME_ROWS = 1 << 14
STREAM_ROWS = 32
"""Rows of a row group that are decoded at once where all of it would be too large."""
KEPT_GROUP_BYTES = 1 << 26
"""A larger row group is not kept."""
KEPT_BYTES = 1 << 28
"""Bytes of row groups that a process keeps."""


class ParquetStore(ForeignStore):
    """Pictures in the rows of the Parquet files below a folder; implements `ImageStore`."""

    def __init__(self, path: Path, folder: Location) -> None:
        super().__init__(path, folder)
        self._tables: dict[str, _Table] = {}
        self._kept: collections.OrderedDict[tuple[str, int], pa.Array] = collections.OrderedDict()

    @classmethod
    def recognises(cls, folder: Location) -> bool:
        """Return whether a folder has a Parquet file with a column of pictures, and no picture files of its own."""
        files = shards_below(folder, ".parquet")
        if not files or has_pictures(folder):
            return False
        for path in files:
            try:
                if picture_columns(schema_of(path), path) is not None:
                    return True
            except MLImagesError:
                continue  # `open` says what is wrong with it, if there are others
        return False

    @classmethod
    def shards_of(cls, folder: Location) -> list[tuple[str, Location]]:
        """See `ForeignStore`."""
        return picture_tables(folder)

    @classmethod
    def places_in(cls, shard: str, path: Location) -> Iterator[pa.RecordBatch]:
        """See `ForeignStore`; the offset of a picture is the number of its row."""
        columns = picture_columns(schema_of(path), path)
        assert columns is not None
        first = 0
        with parquet_errors(path), open_parquet(path) as parquet:
            for batch in parquet.iter_batches(_NAME_ROWS, columns=list(columns.names)):
                names = columns.names_of(batch)
                rows = range(first, first + batch.num_rows)
                named = [row_name(shard, row, name) for row, name in zip(rows, names, strict=True)]
                yield places(named, shard, rows, itertools.repeat(-1, len(rows)))
                first += batch.num_rows

    def place(self, k: int) -> Place:
        """See `ImageStore`: the picture is no range of bytes in the file."""
        return Place(self.folder / self.shards[self.shard_of[k]], -1, -1)

    def read(self, k: int) -> bytes:
        """See `ImageStore`."""
        shard, row, _ = self._range(k)
        table = self._table(shard)
        group, rows = table.group_of(row), np.array([row])
        content = next(self._pictures(shard, group, rows - table.starts[group]))
        if content is None:
            raise DataError(
                f"has no picture in row {row:,}", where=self.folder / shard, remedy="take its path or address instead"
            )
        return content

    def masks(self, k: int) -> Mapping[str, bytes]:  # noqa: ARG002 - a row has one picture
        """See `ImageStore`: there are none."""
        return {}

    def read_many(self, numbers: NDArray[np.int64]) -> Iterator[bytes | None]:
        """See `ImageStore`."""
        for shard, of_shard in itertools.groupby(numbers.tolist(), key=lambda k: self.shards[self.shard_of[k]]):
            rows = self.offsets[np.fromiter(of_shard, np.int64)]
            try:
                table = self._table(shard)
            except DataError:
                yield from itertools.repeat(None, len(rows))
                continue
            for group, of_group in itertools.groupby(rows.tolist(), key=table.group_of):
                inside = np.fromiter(of_group, np.int64) - table.starts[group]
                yield from _or_none(self._pictures(shard, group, inside), len(inside))

    def _pictures(self, shard: str, group: int, rows: NDArray[np.int64]) -> Iterator[bytes | None]:
        """Yield the pictures of ascending rows of a row group, None where a row has none.

        Raises:
            DataError: the group cannot be read.
        """
        table = self._table(shard)
        if table.bytes_of_group[group] <= KEPT_GROUP_BYTES:
            pictures = self._group(shard, group)
            yield from (pictures[row].as_py() for row in rows.tolist())
            return
        first, waiting = 0, collections.deque(rows.tolist())
        with parquet_errors(table.path), open_parquet(table.path, metadata=table.footer, buffered=True) as parquet:
            for batch in parquet.iter_batches(
                STREAM_ROWS, row_groups=[group], columns=[table.columns.content], use_threads=False
            ):
                pictures = _bytes_of(batch.column(0))
                while waiting and waiting[0] < first + len(pictures):
                    yield pictures[waiting.popleft() - first].as_py()
                if not waiting:
                    return
                first += len(pictures)
        raise table.too_few_rows(group)

    def _group(self, shard: str, group: int) -> pa.Array:
        """Return the pictures of a small row group, which is kept."""
        # No lock, as in `ShardReader`: single operations of an OrderedDict are atomic.
        key = (shard, group)
        pictures = self._kept.pop(key, None)
        if pictures is None:
            table = self._table(shard)
            with parquet_errors(table.path), open_parquet(table.path, metadata=table.footer) as parquet:
                read = parquet.read_row_group(group, columns=[table.columns.content], use_threads=False)
                pictures = _bytes_of(read.column(0).combine_chunks())
            if len(pictures) < table.rows_of(group):
                raise table.too_few_rows(group)
        self._kept[key] = pictures
        while len(self._kept) > 1 and sum(kept.nbytes for kept in list(self._kept.values())) > KEPT_BYTES:
            with contextlib.suppress(KeyError):  # other threads removed all
                self._kept.popitem(last=False)
        return pictures

    def _table(self, shard: str) -> _Table:
        if shard not in self._tables:
            self._tables[shard] = _Table.of(self.folder / shard)
        return self._tables[shard]


@dataclass(frozen=True, slots=True)
class _Table:
    """A Parquet file.

    Attributes:
        path: the file.
        columns: what its columns hold.
        footer: its metadata, read once.
        starts: the first row of each row group, and the number of rows, int64.
        bytes_of_group: bytes of each row group, decompressed.
    """

    path: Location
    columns: PictureColumns
    footer: Any
    starts: NDArray[np.int64]
    bytes_of_group: tuple[int, ...]

    @classmethod
    def of(cls, path: Location) -> _Table:
        """Return a file.

        Raises:
            DataError: it is damaged, or has no column of pictures any more.
        """
        columns = picture_columns(schema_of(path), path)
        if columns is None:
            raise DataError("has no column of pictures", where=path, remedy="it was changed: open the folder again")
        with parquet_errors(path), open_parquet(path) as parquet:
            footer = parquet.metadata
            groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
            # Not of the columns alone: pyarrow ends the process where the metadata of a column are damaged.
            sizes = tuple(group.total_byte_size for group in groups)
        starts = np.cumsum([0, *(group.num_rows for group in groups)], dtype=np.int64)
        return cls(path, columns, footer, starts, sizes)

    def rows_of(self, group: int) -> int:
        """Return how many rows a row group should have."""
        return int(self.starts[group + 1] - self.starts[group])

    def too_few_rows(self, group: int) -> DataError:
        """Return the error of a row group that ends before its last row."""
        return DataError(
            f"its row group {group} has fewer rows than the file says", where=self.path, remedy="obtain it again"
        )

    def group_of(self, row: int) -> int:
        """Return the row group of a row.

        Raises:
            DataError: there is no such row any more.
        """
        if row >= self.starts[-1]:
            raise DataError(f"has no row {row:,}", where=self.path, remedy="it was changed: open the folder again")
        return int(np.searchsorted(self.starts, row, side="right")) - 1


def _bytes_of(column: pa.Array) -> pa.Array:
    return pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column


def _or_none(contents: Iterator[bytes | None], n: int) -> Iterator[bytes | None]:
    """Yield n contents, None for all those from one on that cannot be read."""
    read = 0
    try:
        for content in contents:
            read += 1
            yield content
    except DataError:
        yield from itertools.repeat(None, n - read)

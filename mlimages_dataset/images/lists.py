"""Lists of images to download, of any length, read in slices.

A list is one of:
    a folder of an `annotations`, `predictions` or `labels` table, with `image_id` and `location`;
    CSV (compressed or not) or Parquet files with a column of ids and one of URLs, and optionally one of MD5 digests
        (hexadecimal or base64) and one of sizes in bytes. Open Images' image tables have this form
        (ImageID, OriginalURL, OriginalMD5, OriginalSize), and two more columns: Rotation, see `images/orientation.py`,
        and Thumbnail300KURL.
        https://storage.googleapis.com/openimages/web/download_v7.html
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
from pyarrow import csv

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.image_ids import image_ids
from mlimages_dataset.core.locations import reason, unpacked
from mlimages_dataset.images.orientation import NO_ROTATION, stated_rotation
from mlimages_dataset.sources.delimited import read_header
from mlimages_dataset.sources.lines import decoded
from mlimages_dataset.tables.database import database
from mlimages_dataset.tables.parquet import open_parquet, table_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location

ID_COLUMNS = ("image_id", "ImageID", "id", "key")
LOCATION_COLUMNS = ("location", "OriginalURL", "url", "URL")
MD5_COLUMNS = ("OriginalMD5", "md5")
SUBSET_COLUMNS = ("Subset", "subset")
SIZE_COLUMNS = ("OriginalSize", "size", "bytes")
ROTATION_COLUMNS = ("Rotation",)
THUMBNAIL_COLUMNS = ("Thumbnail300KURL",)
MD5_BYTES = 16
_UNKNOWN_SIZES = ("", "-1")
_SIZE = re.compile(r"[0-9]{1,18}")

_BATCH_ROWS = 1 << 14
_COLUMNS = ("image_id", "location", "subset", "md5", "size", "rotation", "thumbnail")
_ADDRESSES = ("location", "thumbnail")
_HOST = re.compile(rb"\s*[A-Za-z]+://[^/?#]*")
_NO_ASCII = 0x80
_DUCKDB_MEMORY = "1GB"


@dataclass(frozen=True, slots=True)
class ListRow:
    """One row of a list.

    Attributes:
        image_id: the image's id.
        location: its URL; may be empty.
        subset: the part of a collection that it belongs to, such as Open Images' `train`; may be empty.
        md5: the published MD5, 16 bytes; empty if unknown.
        size: the published size in bytes; -1 if unknown.
        repeated: whether an earlier row has the same id.
        unread: the list's MD5, size or rotation if it cannot be read, in words; else empty.
        rotation: the published degrees, counterclockwise, by which it has to be turned; `NO_ROTATION` if unknown.
        thumbnail: the URL of a small copy; may be empty.
    """

    image_id: str
    location: str
    subset: str = ""
    md5: bytes = b""
    size: int = -1
    repeated: bool = False
    unread: str = ""
    rotation: int = NO_ROTATION
    thumbnail: str = ""


@dataclass(frozen=True, slots=True)
class _Table:
    """One file of a list.

    Attributes:
        path: the file.
        columns: its names for `_COLUMNS`; empty for a column that it does not have.
    """

    path: Location
    columns: tuple[str, ...]


class ImageList:
    """The rows of a list, in the order of its files and of their rows.

    Attributes:
        rows: their number.
    """

    def __init__(self, inputs: Sequence[Location], *, scratch: Location | None = None) -> None:
        """Open a list and find repeated ids.

        Args:
            inputs: files, and folders of tables.
            scratch: a folder of this machine for data that does not fit into memory.

        Raises:
            UsageError: a file is missing.
            DataError: a file has no column of ids or of URLs, or is damaged.
        """
        self._tables = _tables(inputs)
        self.rows, self._repeats = _repeated_rows(self._tables, scratch)

    @property
    def has_thumbnails(self) -> bool:
        """Whether every file of the list has a column of thumbnails' URLs."""
        return all(table.columns[_COLUMNS.index("thumbnail")] for table in self._tables)

    @property
    def repeated(self) -> int:
        """The number of rows whose id an earlier row has."""
        return len(self._repeats)

    def slices(self, rows: int) -> Iterator[list[ListRow]]:
        """Yield the list in slices of `rows` rows, the last with the rest."""
        current: list[ListRow] = []
        for row in self._rows():
            current.append(row)
            if len(current) == rows:
                yield current
                current = []
        if current:
            yield current

    def locations_of(self, rows: NDArray[np.int64]) -> Iterator[pa.StringArray]:
        """Yield the locations of some rows, in batches; `rows` are their ascending numbers."""
        start = 0
        for batch in _batches(self._tables, ("location",)):
            low, high = np.searchsorted(rows, (start, start + batch.num_rows))
            yield batch["location"].take(pa.array(rows[low:high] - start))
            start += batch.num_rows

    def _rows(self) -> Iterator[ListRow]:
        start = 0
        for batch in _batches(self._tables, _COLUMNS):
            low, high = np.searchsorted(self._repeats, (start, start + batch.num_rows))
            repeated = np.zeros(batch.num_rows, bool)
            repeated[self._repeats[low:high] - start] = True
            columns = (_texts(batch[name]) for name in _COLUMNS)
            for values, again in zip(zip(*columns, strict=True), repeated, strict=True):
                yield _row(values, repeated=bool(again))
            start += batch.num_rows


def _row(values: Sequence[str], *, repeated: bool) -> ListRow:
    """Return a row from its values in the order of `_COLUMNS`."""
    image_id, location, subset, md5, size, rotation, thumbnail = values
    digest, n_bytes, degrees = _md5(md5), _size(size), stated_rotation(rotation)
    unread = [f"md5 {md5[:40]!r}"] if md5 and not digest else []
    unread += [f"size {size[:20]!r}"] if size not in _UNKNOWN_SIZES and n_bytes < 0 else []
    unread += [f"Rotation {rotation[:20]!r}"] if degrees is None else []
    turn = NO_ROTATION if degrees is None else degrees
    return ListRow(image_id, location, subset, digest, n_bytes, repeated, ", ".join(unread), turn, thumbnail)


def is_of_open_images(inputs: Sequence[Location]) -> bool:
    """Return whether all files of a list are image tables of Open Images; errors as `ImageList`."""
    return all(table.columns[:3] == ("ImageID", "OriginalURL", "Subset") for table in _tables(inputs))


def _tables(inputs: Sequence[Location]) -> list[_Table]:
    files = [file for path in inputs for file in (table_parts(path) if path.is_dir() else [path])]
    return [_table(path) for path in files]


def _table(path: Location) -> _Table:
    if not path.is_file():
        raise UsageError("there is no such file", where=path, remedy="check the path")
    if _is_parquet(path):
        with _parquet(path) as parquet:
            header = list(parquet.schema_arrow.names)
    else:
        header = read_header(path)
    image_id, location = _first(ID_COLUMNS, header), _first(LOCATION_COLUMNS, header)
    wanted = ((image_id, ID_COLUMNS), (location, LOCATION_COLUMNS))
    missing = [f"{', '.join(names[:-1])} or {names[-1]}" for found, names in wanted if not found]
    if missing:
        raise DataError(
            f"has no column {', and no column '.join(missing)} among {', '.join(header)[:80]}",
            where=path,
            line=None if _is_parquet(path) else 1,
            remedy="name its columns so",
        )
    kinds = (SUBSET_COLUMNS, MD5_COLUMNS, SIZE_COLUMNS, ROTATION_COLUMNS, THUMBNAIL_COLUMNS)
    others = (_first(names, header) for names in kinds)
    return _Table(path, (image_id, location, *others))


def _first(names: Sequence[str], header: Sequence[str]) -> str:
    return next((name for name in names if name in header), "")


def _is_parquet(path: Location) -> bool:
    return path.suffix == ".parquet"


@contextlib.contextmanager
def _parquet(path: Location) -> Iterator[Any]:  # a ParquetFile, which has no annotations
    try:
        with open_parquet(path) as parquet:
            yield parquet
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"cannot be read to its end as a Parquet file ({reason(error)})", where=path, remedy="obtain it again"
        ) from error


def _batches(tables: Sequence[_Table], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield batches of some of `_COLUMNS`, all as strings."""
    for table in tables:
        found = dict(zip(_COLUMNS, table.columns, strict=True))
        present = [found[name] for name in columns if found[name]]
        batches = _parquet_batches if _is_parquet(table.path) else _csv_batches
        for batch in batches(table.path, present):
            empty = pa.repeat(pa.scalar("", pa.string()), batch.num_rows)
            texts = [_as_text(batch[found[name]], name) if found[name] else empty for name in columns]
            texts = [image_ids(text) if name == "image_id" else text for name, text in zip(columns, texts, strict=True)]
            yield pa.RecordBatch.from_arrays(texts, names=list(columns))


def _parquet_batches(path: Location, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with _parquet(path) as parquet:
        yield from parquet.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns))


def _csv_batches(path: Location, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    try:
        with (
            unpacked(path) as stream,
            csv.open_csv(
                stream,
                read_options=csv.ReadOptions(block_size=1 << 22),
                parse_options=csv.ParseOptions(newlines_in_values=True),
                # As bytes: a single text in another encoding must not stop the download.
                convert_options=csv.ConvertOptions(
                    include_columns=list(columns),
                    column_types=dict.fromkeys(columns, pa.binary()),
                    strings_can_be_null=False,
                ),
            ) as batches,
        ):
            yield from batches
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"cannot be read to its end as CSV ({reason(error)})",
            where=path,
            remedy="correct that row, or obtain the file again",
        ) from error


def _as_text(column: pa.Array, name: str) -> pa.Array:
    """Return one of `_COLUMNS` as strings; bytes that are not UTF-8 are not lost."""
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = column.fill_null(b"")
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            of_bytes = _address if name in _ADDRESSES else decoded
            return pa.array([of_bytes(value) for value in column.to_pylist()], pa.string())
    return column.cast(pa.string()).fill_null("")


def _address(written: bytes) -> str:
    """Return an address as text; where it is not UTF-8, the bytes of its path and query are escaped as they are.

    The host is read in Windows' Latin alphabet: its name is encoded in another way (IDNA).
    """
    with contextlib.suppress(UnicodeDecodeError):
        return written.decode()
    host = _HOST.match(written)
    end = host.end() if host else 0
    return decoded(written[:end]) + "".join(chr(byte) if byte < _NO_ASCII else f"%{byte:02X}" for byte in written[end:])


def _texts(column: pa.Array) -> list[str]:
    texts: list[str] = column.to_pylist()
    return texts


def _md5(text: str) -> bytes:
    """Return the MD5 digest of a hexadecimal or base64 text; empty if it is neither."""
    with contextlib.suppress(ValueError, binascii.Error):
        digest = bytes.fromhex(text) if len(text) == 2 * MD5_BYTES else base64.b64decode(text, validate=True)
        if len(digest) == MD5_BYTES:
            return digest
    return b""


def _size(text: str) -> int:
    return int(text) if _SIZE.fullmatch(text) else -1


def _repeated_rows(tables: Sequence[_Table], scratch: Location | None) -> tuple[int, NDArray[np.int64]]:
    """Return the number of rows of a list, and the numbers of rows whose id an earlier row has, ascending.

    DuckDB groups the ids, and writes to the disk what does not fit into its memory limit.
    """
    settings = {} if scratch is None else {"temp_directory": str(scratch)}
    with database(memory_limit=_DUCKDB_MEMORY, **settings) as connection:
        with _numbered_ids(tables) as ids:
            connection.register("ids", ids.reader)
            connection.execute("CREATE TABLE repeats AS SELECT image_id FROM ids GROUP BY ALL HAVING count(*) > 1")
        if not connection.sql("SELECT 1 FROM repeats LIMIT 1").fetchall():
            return ids.rows, np.empty(0, np.int64)
        with _numbered_ids(tables) as again:
            connection.register("again", again.reader)
            repeats = connection.sql(
                "SELECT row FROM (SELECT row, row_number() OVER (PARTITION BY image_id ORDER BY row) AS n "
                "FROM again SEMI JOIN repeats USING (image_id)) WHERE n > 1 ORDER BY row"
            ).fetchnumpy()["row"]
        return ids.rows, np.ascontiguousarray(repeats, np.int64)


class _NumberedIds:
    """The ids and row numbers of a list, as a stream that can be read once."""

    def __init__(self, tables: Sequence[_Table]) -> None:
        self.rows = 0
        self.failure: DataError | None = None
        schema = pa.schema([("image_id", pa.string()), ("row", pa.int64())])
        self.reader = pa.RecordBatchReader.from_batches(schema, self._batches(tables))

    def _batches(self, tables: Sequence[_Table]) -> Iterator[pa.RecordBatch]:
        try:
            for batch in _batches(tables, ("image_id",)):
                numbers = pa.array(np.arange(self.rows, self.rows + batch.num_rows))
                yield pa.RecordBatch.from_arrays([batch["image_id"], numbers], names=["image_id", "row"])
                self.rows += batch.num_rows
        except DataError as error:
            self.failure = error
            raise


@contextlib.contextmanager
def _numbered_ids(tables: Sequence[_Table]) -> Iterator[_NumberedIds]:
    """Yield the ids; an error in a file is raised as it was, while DuckDB only reports an interrupted stream."""
    ids = _NumberedIds(tables)
    try:
        yield ids
    except duckdb.Error:
        if ids.failure is not None:
            raise ids.failure from None
        raise

"""Tables in Parquet files, whose metadata hold the schema's name and version and the digests of the inputs.

A reader refuses another version.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlimages_dataset.core.decoding import RECORDS
from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DataError, SchemaError, UsageError
from mlimages_dataset.core.locations import as_text, is_local, reason, refuse_special, relative, system_errors
from mlimages_dataset.tables.arrays import filtered, scalar_of
from mlimages_dataset.tables.checks import check_columns, checked
from mlimages_dataset.tables.files import Inputs, Receipt, file_digest, whole_file
from mlimages_dataset.tables.label_file import LabelFile, writes
from mlimages_dataset.tables.parts import refuse_other_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.tables.schemas import TableSchema

SCHEMA_KEY = b"mlimages.schema"
INPUTS_KEY = b"mlimages.inputs"
COMPRESSION = "zstd"
BATCH_ROWS = 1 << 16

_BUFFER_BYTES = 1 << 20


class TableWriter:
    """Writes record batches of one schema; `receipt` is set when `table_writer` has closed the file."""

    def __init__(self, writer: pq.ParquetWriter | LabelFile, schema: TableSchema) -> None:
        self._writer = writer
        self._schema = schema
        self.rows = 0
        self.receipt: Receipt | None = None

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Append rows, which must have the columns and types of the schema and no nulls.

        Raises:
            SchemaError: they do not.
        """
        if rows.num_rows == 0:
            return
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        self._writer.write_table(checked(table, self._schema, where="rows to be written"))
        self.rows += rows.num_rows


@contextlib.contextmanager
def table_writer(path: Location, schema: TableSchema, inputs: Inputs, *, lasting: bool = True) -> Iterator[TableWriter]:
    """Yield a writer of a table; the file appears, with its receipt, when the block ends without an error.

    A file that is not `lasting`, because it is read once and removed, is written in less time and is larger.
    """
    metadata = {SCHEMA_KEY: schema.label.encode(), INPUTS_KEY: json.dumps(dict(inputs), sort_keys=True).encode()}
    with (
        whole_file(path) as sink,
        # Arrow writes each page's header by itself, and each write takes the interpreter's lock.
        pa.BufferedOutputStream(pa.PythonFile(sink, mode="w"), _BUFFER_BYTES) as stream,
        contextlib.closing(_parquet_writer(stream, schema.arrow, metadata, lasting=lasting)) as parquet,
    ):
        writer = TableWriter(parquet, schema)
        yield writer
    writer.receipt = Receipt(path, writer.rows, sink.size, sink.digest.hexdigest(), schema.label)


def _parquet_writer(
    stream: pa.NativeFile, schema: pa.Schema, metadata: dict[bytes, bytes], *, lasting: bool
) -> pq.ParquetWriter | LabelFile:
    """Return our own writer for tables of labelled images, and Arrow's for others."""
    if lasting and writes(schema):
        return LabelFile(stream, metadata)
    return pq.ParquetWriter(
        stream,
        schema.with_metadata(metadata),
        compression=COMPRESSION if lasting else "lz4",
        use_dictionary=lasting and _with_dictionary(schema),
        write_page_checksum=True,  # neither zstd nor lz4 detects a flipped bit by itself
    )


def _with_dictionary(schema: pa.Schema) -> bool | list[str]:
    """Return the columns that are written with a dictionary: all but numbers such as the sides of boxes.

    These are nearly all different: a dictionary doubles the time of writing, and makes the file larger.
    """
    plain = {field.name for field in schema if field.type == pa.float32()}
    return [name for name in schema.names if name not in plain] if plain else True


def write_table(path: Location, rows: pa.Table, schema: TableSchema, inputs: Inputs) -> Receipt:
    """Write a table and return its receipt."""
    with table_writer(path, schema, inputs) as writer:
        writer.write(rows)
    assert writer.receipt is not None
    return writer.receipt


@contextlib.contextmanager
def mapped_writer(path: Location, schema: pa.Schema, *, lasting: bool = True) -> Iterator[pa.RecordBatchFileWriter]:
    """Yield a writer of an uncompressed Arrow IPC file; it appears when complete.

    Such files are caches: each is made from tables and can be made again, and no stage reads another's. `mapped_table`
    and `mapped_batch` open them. `lasting` is that of `whole_file`.
    """
    with whole_file(path, lasting=lasting) as sink, pa.ipc.new_file(pa.PythonFile(sink, mode="w"), schema) as writer:
        yield writer


def mapped_table(path: Path) -> pa.Table:
    """Return an Arrow IPC file as a table on mapped memory, which all processes that open it share.

    Raises:
        DataError: it is not a complete Arrow IPC file.
    """
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"is not a complete Arrow file ({reason(error)})", where=path, remedy="remove it") from error


def mapped_batch(path: Location, number: int) -> pa.RecordBatch:
    """Return one batch of an Arrow IPC file, -1 for the last; of a local one, on mapped memory.

    Raises:
        DataError: it is not a complete Arrow IPC file.
    """
    try:
        with system_errors(path):
            if is_local(path):
                return _batch(pa.memory_map(str(path)), number)
            with path.open("rb") as stream:
                return _batch(pa.PythonFile(stream, mode="r"), number)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"is not a complete Arrow file ({reason(error)})", where=path, remedy="remove it") from error


def _batch(source: pa.NativeFile, number: int) -> pa.RecordBatch:
    reader = pa.ipc.open_file(source)
    return reader.get_batch(number % reader.num_record_batches)


def read_table(path: Location, schema: TableSchema) -> pa.Table:
    """Return a table of exactly `schema`.

    Raises:
        UsageError: there is no such file.
        SchemaError: it holds another schema or version.
        DataError: it is not a complete Parquet file, or a column holds nulls.
    """
    with open_table(path, schema) as parquet, parquet_errors(path):
        table = parquet.read()
    return checked(table, schema, where=path)


def scan_table(
    path: Location,
    schema: TableSchema,
    *,
    columns: Sequence[str] = (),
    batch_rows: int = BATCH_ROWS,
    near: tuple[str, _Bound, _Bound] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield a table's rows, or some of its columns, in batches of at most `batch_rows`; errors as for `read_table`.

    Row groups in which no value of a column can be within two bounds, as `near` says, are not read.
    """
    names = list(columns) or schema.arrow.names
    wanted = schema.only(names)
    with open_table(path, schema) as parquet, parquet_errors(path):
        groups = range(parquet.num_row_groups) if near is None else _groups_near(parquet, *near)
        for batch in parquet.iter_batches(batch_rows, groups, columns=names if columns else None):
            yield from checked(pa.Table.from_batches([batch]), wanted, where=path).to_batches()


@contextlib.contextmanager
def open_table(path: Location, schema: TableSchema) -> Iterator[pq.ParquetFile]:
    """Yield the open Parquet file at `path`, checked to have the columns of `schema`; errors as for `read_table`.

    Nulls are found when rows are read (`checks`).
    """
    if not path.is_file():
        raise UsageError(
            "there is no such file", where=path, remedy=f"name a table of {schema.name} of an earlier stage"
        )
    with contextlib.ExitStack() as stack:
        with parquet_errors(path):
            parquet = stack.enter_context(open_parquet(path))
        found = (parquet.schema_arrow.metadata or {}).get(SCHEMA_KEY, b"none").decode(errors="replace")
        if found != schema.label:
            raise SchemaError(
                f"the table's schema is {found}, but {schema.label} is needed",
                where=path,
                remedy=_remedy(found, schema),
            )
        check_columns(parquet.schema_arrow, schema, where=path)
        yield parquet


def n_rows(parts: Sequence[Location], schema: TableSchema) -> int:
    """Return the number of rows of a table's parts; errors as for `read_table`."""
    rows = 0
    for part in parts:
        with open_table(part, schema) as parquet:
            rows += parquet.metadata.num_rows
    return rows


def schema_of(path: Location, accepted: Sequence[TableSchema]) -> TableSchema:
    """Return which of the accepted schemas a table file declares, the first if it declares none of them.

    Raises:
        DataError: it is not a complete Parquet file, or does not exist.
    """
    found = _metadata(path).get(SCHEMA_KEY, b"").decode(errors="replace")
    return next((schema for schema in accepted if schema.label == found), accepted[0])


@contextlib.contextmanager
def parquet_source(path: Location) -> Iterator[str | IO[bytes]]:
    """Yield what pyarrow reads a Parquet file from: the name of a local one, which it reads best itself.

    Raises:
        UsageError: it is a pipe, socket or device.
        pa.ArrowInvalid: the name of a column is no text.
    """
    refuse_special(path)
    try:
        if is_local(path) and as_text(str(path)) == str(path):  # else pyarrow cannot open it by its name
            yield str(path)
            return
        with path.open("rb") as stream:
            yield stream
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid("the name of a column is no text") from error


@contextlib.contextmanager
def open_parquet(
    path: Location, *, metadata: pq.FileMetaData | None = None, buffered: bool = False
) -> Iterator[pq.ParquetFile]:
    """Yield an open Parquet file from any writer; if its pages have checksums, they are verified.

    Args:
        path: the file.
        metadata: its footer, where it was read before.
        buffered: read columns a little at a time: else all of a row group's is in memory, also where few rows are
            wanted.

    Raises:
        OSError, pa.ArrowException: it is not Parquet, or damaged; also when it is read later.
    """
    with (
        parquet_source(path) as source,
        pq.ParquetFile(
            source,
            metadata=metadata,
            buffer_size=_BUFFER_BYTES if buffered else 0,
            page_checksum_verification=True,
        ) as parquet,
    ):
        yield parquet


def _metadata(path: Location) -> dict[bytes, bytes]:
    with parquet_errors(path), parquet_source(path) as source:
        return pq.read_schema(source).metadata or {}


def table_inputs(path: Location) -> dict[str, str]:
    """Return the digests of the inputs that a table file was made from, as its metadata state them.

    Raises:
        UsageError: there is no such file.
        DataError: it is not a complete Parquet file, or its inputs are not in this form.
    """
    if not path.is_file():
        raise UsageError("there is no such file", where=path, remedy="name a table of an earlier stage")
    try:
        inputs = parse_json(_metadata(path).get(INPUTS_KEY, b"{}"))
        return RECORDS.decode(dict[str, str], inputs)
    except ValueError as error:
        raise DataError(f"its inputs cannot be read ({error})", where=path, remedy="build the table again") from error


def table_parts(folder: Location) -> list[Location]:
    """Return the part files of a table folder in name order, those of its sub-folders included.

    Raises:
        UsageError: there is no part.
        DataError: they are not those that a manifest lists, or their stage has not ended: see `refuse_other_parts`.
    """
    parts: list[Location] = sorted(folder.rglob("part-*.parquet"))
    refuse_other_parts(folder, parts)
    if not parts:
        raise UsageError(
            "there is no part-*.parquet in it", where=folder, remedy="name the folder that an earlier stage wrote"
        )
    return parts


def row_count(path: Location) -> int:
    """Return the number of rows of a Parquet file, as its footer states it.

    Raises:
        DataError: it is no Parquet file.
    """
    try:
        with open_parquet(path) as parquet:
            return int(parquet.metadata.num_rows)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"cannot be read as a Parquet file ({reason(error)})", where=path, remedy="obtain it again"
        ) from error


def table_digests(name: str, folder: Location) -> dict[str, str]:
    """Return the SHA-256 of each part of a table folder, as `name/part`.

    Raises:
        UsageError: there is no part, or one cannot be read.
        DataError: as `table_parts`.
    """
    return {f"{name}/{relative(path, folder)}": file_digest(path) for path in table_parts(folder)}


def _remedy(found: str, schema: TableSchema) -> str:
    if found.partition("/")[0] == schema.name:
        return "build it again with this version of mlimages-dataset"
    return f"name a table of {schema.name} written by mlimages-dataset"


@contextlib.contextmanager
def parquet_errors(path: Location) -> Iterator[None]:
    """Turn what goes wrong while a Parquet file is read into a sentence.

    Raises:
        DataError: it cannot be read to its end.
    """
    try:
        with system_errors(path):
            yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: Arrow checks no text
        raise DataError(
            f"cannot be read as a Parquet file ({reason(error)})",
            where=path,
            remedy="it is truncated or in another format: build or obtain it again",
        ) from error


_Bound = TypeVar("_Bound", str, int)


@dataclass(frozen=True, slots=True, order=True)
class RowGroup:
    """A row group of a table, with bounds of a column of text; those of a group without statistics hold every text."""

    part: Location
    number: int
    rows: int
    lowest: str
    highest: str


def row_groups(parts: Sequence[Location], schema: TableSchema, column: str) -> list[RowGroup]:
    """Return the row groups of several tables that have rows, with the bounds of `column`.

    Raises:
        UsageError, SchemaError, DataError: as `read_table`.
    """
    found = []
    for part in parts:
        with open_table(part, schema) as parquet, parquet_errors(part):
            for number in range(parquet.num_row_groups):
                group = parquet.metadata.row_group(number)
                if group.num_rows:
                    found.append(RowGroup(part, number, group.num_rows, *_bounds(group, column)))
    return found


def _bounds(group: pq.RowGroupMetaData, column: str) -> tuple[str, str]:
    found = statistics_of(group, column)
    return (found.min, found.max) if found is not None and found.has_min_max else ("", chr(sys.maxunicode))


def statistics_of(group: pq.RowGroupMetaData, column: str) -> pq.Statistics | None:
    """Return the statistics of a column without fields in a row group, if there are any.

    Files may have their columns in any order, and one of lists has a place for each of its fields.
    """
    chunks = (group.column(at) for at in range(group.num_columns))
    return next((chunk.statistics for chunk in chunks if chunk.path_in_schema == column), None)


def read_row_groups(
    path: Location, schema: TableSchema, groups: Sequence[RowGroup], *, columns: Sequence[str]
) -> pa.Table:
    """Return some columns of some row groups of a table, read in the calling thread.

    Raises:
        UsageError, SchemaError, DataError: as `read_table`.
    """
    wanted = schema.only(columns)
    with open_table(path, schema) as parquet, parquet_errors(path):
        table = parquet.read_row_groups([group.number for group in groups], columns=list(columns), use_threads=False)
    return checked(table, wanted, where=path)


def read_range(
    paths: Sequence[Location], schema: TableSchema, column: str, lowest: _Bound, highest: _Bound
) -> pa.Table:
    """Return the rows of several tables whose `column` is within two bounds; row groups outside them are not read.

    Raises:
        UsageError, SchemaError, DataError: as `read_table`.
    """
    tables = [pa.Table.from_batches([], schema.arrow)]
    low, high = scalar_of(lowest), scalar_of(highest)
    for path in paths:
        with open_table(path, schema) as parquet:
            groups = _groups_near(parquet, column, lowest, highest)
            if not groups:
                continue
            with parquet_errors(path):
                found = parquet.read_row_groups(groups)
        values = found[column]
        found = filtered(found, pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high)))
        tables.append(checked(found, schema, where=path))
    return pa.concat_tables(tables)


def _groups_near(parquet: pq.ParquetFile, column: str, lowest: _Bound, highest: _Bound) -> list[int]:
    """Return the row groups that may hold a value of a column within two bounds."""
    every = ((one, statistics_of(parquet.metadata.row_group(one), column)) for one in range(parquet.num_row_groups))
    return [one for one, found in every if overlaps(found, lowest, highest)]


def overlaps(statistics: pq.Statistics | None, lowest: _Bound, highest: _Bound) -> bool:
    """Return whether a row group may hold a value within two bounds, by its statistics."""
    if statistics is None or not statistics.has_min_max:
        return True
    return bool(statistics.min <= highest and statistics.max >= lowest)

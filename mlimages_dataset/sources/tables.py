"""Users' own tables: CSV and Parquet with the columns image_id and label, and optionally confidence and location.

Without a column confidence, every confidence is 1: a person saw the class. The columns of a text file may be separated
by commas, tabs, semicolons or bars; with semicolons, decimals may have commas. In Parquet, texts may have any type that
holds text or whole numbers, and a list of labels states each of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import reason, system_errors
from mlimages_dataset.sources.delimited import DelimitedSource, confidence_sql, delimiter_of, read_header
from mlimages_dataset.sources.pieces import Piece, group_ends, read_to_its_end
from mlimages_dataset.sources.source import Source, observed, refuse_other_scale
from mlimages_dataset.tables import confidences
from mlimages_dataset.tables.parquet import open_parquet, parquet_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.rejects import RejectLog

_NEEDED = ("image_id", "label")
_COLUMNS = (*_NEEDED, "confidence", "location")


class CsvTables(DelimitedSource):
    """Delimited tables."""

    name: ClassVar[str] = "csv"
    read_columns = frozenset(_COLUMNS)

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        delimiter = delimiter_of(path, _NEEDED)
        return replace(_checked(path, read_header(path, delimiter), line=1), delimiter=delimiter)

    def selection(self, piece: Piece, *, digits: bool) -> str:
        """See `DelimitedSource.selection`."""
        stated = "replace(confidence, ',', '.')" if piece.delimiter == ";" else "confidence"
        return f"SELECT {_own_columns(piece.columns, confidence_sql(stated, digits=digits))}"


class ParquetTables(Source):
    """Parquet tables."""

    name: ClassVar[str] = "parquet"

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        try:
            with system_errors(path), parquet_source(path) as source:
                names = list(pq.read_schema(source).names)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"cannot be read as a Parquet file ({reason(error)})", where=path, remedy="obtain it again"
            ) from error
        return _checked(path, names, line=None)

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`."""
        with read_to_its_end(piece.path), parquet_source(piece.path) as source:
            metadata = pq.read_metadata(source)
        sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
        return piece.cut_at(group_ends(sizes))

    def observe(
        self,
        connection: duckdb.DuckDBPyConnection,
        piece: Piece,
        log: RejectLog,  # noqa: ARG002 - no row of a table violates the format
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """See `Source.observe`."""
        yield from observed(
            connection, _blocks(piece), lambda table: _own_columns(table.column_names, _confidence(table))
        )


def _checked(path: Location, columns: Sequence[str], *, line: int | None) -> Piece:
    repeated = [name for name in _COLUMNS if list(columns).count(name) > 1]
    if repeated:
        raise DataError(f"has two columns {repeated[0]}", where=path, line=line, remedy="name each differently")
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise DataError(
            f"no column {' and '.join(missing)} among {', '.join(columns)[:80]}",
            where=path,
            line=line,
            remedy="give the columns image_id and label, and optionally confidence and location",
        )
    return Piece(path, tuple(columns), places="location" in columns)


def _confidence(table: pa.Table) -> str:
    """Return SQL for the columns `confidence` and `stated` of a block of Parquet, from texts or from float32."""
    is_number = "confidence" in table.column_names and table.schema.field("confidence").type == pa.float32()
    return "confidence, NULL AS stated" if is_number else confidence_sql("confidence", digits=True)


def _own_columns(columns: Sequence[str], confidence: str) -> str:
    """Return SQL that reads the columns of a user's own table, with `confidence` if there is such a column."""
    confidence = confidence if "confidence" in columns else "1::FLOAT AS confidence, NULL AS stated"
    location = "coalesce(location, '')" if "location" in columns else "''"
    return f"image_id::VARCHAR AS image_id, label::VARCHAR AS class_id, {confidence}, {location} AS location"


def _blocks(piece: Piece) -> Iterator[pa.RecordBatch]:
    """Yield the columns that are read: texts, and confidences as texts or float32; one row per label."""
    columns = [name for name in _COLUMNS if name in piece.columns]
    with read_to_its_end(piece.path), open_parquet(piece.path) as parquet:
        groups = list(range(parquet.num_row_groups))[piece.start : piece.stop]
        for batch in parquet.iter_batches(row_groups=groups, columns=columns):
            found = {name: batch.column(name) for name in columns}
            if _is_list(found["label"].type):
                found = _one_row_a_label(found, piece.path)
            texts = {name: _text(column, name, piece.path) for name, column in found.items() if name != "confidence"}
            if "confidence" in found:
                texts["confidence"] = _confidence_column(found["confidence"], piece.path)
            yield pa.RecordBatch.from_pydict(texts)


def _one_row_a_label(columns: dict[str, pa.Array], where: Location) -> dict[str, pa.Array]:
    """Return rows of lists as one row per label; a list of confidences has one for each label."""
    label, confidence = columns["label"], columns.get("confidence")
    rows = pc.list_parent_indices(label)
    flat: dict[str, pa.Array] = {"label": pc.list_flatten(label)}
    flat |= {name: columns[name].take(rows) for name in ("image_id", "location") if name in columns}
    if confidence is not None and not _is_list(confidence.type):
        flat["confidence"] = confidence.take(rows)
    elif confidence is not None:
        lengths = [pc.fill_null(pc.list_value_length(lists), 0).to_pylist() for lists in (label, confidence)]
        if lengths[0] != lengths[1]:
            what = "a list of confidences has another length than the list of labels"
            raise DataError(what, where=where, remedy="give each label one")
        flat["confidence"] = pc.list_flatten(confidence)
    return flat


def _is_list(kind: pa.DataType) -> bool:
    return any(one(kind) for one in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _text(column: pa.Array, name: str, where: Location) -> pa.Array:
    """Return a column of texts, bytes of UTF-8, or whole numbers as texts."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    try:
        if pa.types.is_floating(kind):  # pandas' type for whole numbers with missing values
            return pc.cast(pc.cast(pc.cast(column, pa.float64()), pa.int64()), pa.string())
        if pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind):
            column = pc.cast(column, pa.binary())
        if pa.types.is_nested(kind) or pa.types.is_temporal(kind) or pa.types.is_boolean(kind):
            raise _no_text(name, kind, where)
        return pc.cast(column, pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _no_text(name, kind, where) from error


def _no_text(name: str, kind: pa.DataType, where: Location) -> DataError:
    return DataError(f"its column {name} is {kind}, not text", where=where, remedy="give texts or whole numbers")


def _confidence_column(column: pa.Array, where: Location) -> pa.Array:
    try:
        refuse_other_scale(confidences.beyond_one(column), where)
        return confidences.of_column(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"its column confidence is {column.type}, not a number", where=where, remedy="give numbers from 0 to 1"
        ) from error

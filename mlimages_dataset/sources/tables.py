"""Tables of one's own: CSV and Parquet with the columns image_id and label, and perhaps confidence and location.

A missing confidence is 1: a person saw the class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import reason, system_errors
from mlimages_dataset.sources.delimited import DelimitedSource, confidence_sql, read_header
from mlimages_dataset.sources.pieces import Piece, group_ends, read_to_its_end
from mlimages_dataset.sources.source import Source, joined, refuse_other_scale
from mlimages_dataset.tables import confidences
from mlimages_dataset.tables.parquet import open_parquet, parquet_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.rejects import RejectLog

_COLUMNS = ("image_id", "label", "confidence", "location")


class CsvTables(DelimitedSource):
    """Comma-separated tables."""

    name: ClassVar[str] = "csv"
    read_columns = frozenset(_COLUMNS)

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        return _checked(path, read_header(path), line=1)

    def selection(self, piece: Piece, *, digits: bool) -> str:
        """See `DelimitedSource.selection`."""
        return f"SELECT {_own_columns(piece.columns, confidence_sql('confidence', digits=digits))}"


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
        log: RejectLog,  # noqa: ARG002 - a table has no row that its format does not allow
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """See `Source.observe`."""
        for table in joined(_blocks(piece)):
            connection.register("block", table)
            columns = _own_columns(table.column_names, _confidence(table))
            connection.execute(f"CREATE OR REPLACE TEMP VIEW observations AS SELECT {columns} FROM block")
            yield connection
            connection.unregister("block")


def _checked(path: Location, columns: Sequence[str], *, line: int | None) -> Piece:
    missing = [name for name in ("image_id", "label") if name not in columns]
    if missing:
        raise DataError(
            f"no column {' and '.join(missing)} among {', '.join(columns)[:80]}",
            where=path,
            line=line,
            remedy="give the columns image_id and label, and confidence and location where there are",
        )
    return Piece(path, tuple(columns), places="location" in columns)


def _confidence(table: pa.Table) -> str:
    """Return SQL for the columns `confidence` and `stated` of a block of Parquet: a text, or float32 already."""
    is_number = "confidence" in table.column_names and table.schema.field("confidence").type == pa.float32()
    return "confidence, NULL AS stated" if is_number else confidence_sql("confidence", digits=True)


def _own_columns(columns: Sequence[str], confidence: str) -> str:
    """Return SQL that reads the columns of a user's own table, `confidence` where there is such a column."""
    confidence = confidence if "confidence" in columns else "1::FLOAT AS confidence, NULL AS stated"
    location = "coalesce(location, '')" if "location" in columns else "''"
    return f"image_id::VARCHAR AS image_id, label::VARCHAR AS class_id, {confidence}, {location} AS location"


def _blocks(piece: Piece) -> Iterator[pa.RecordBatch]:
    columns = [name for name in _COLUMNS if name in piece.columns]
    with read_to_its_end(piece.path), open_parquet(piece.path) as parquet:
        groups = list(range(parquet.num_row_groups))[piece.start : piece.stop]
        for batch in parquet.iter_batches(row_groups=groups, columns=columns):
            if "confidence" not in columns:
                yield batch
                continue
            at = batch.schema.get_field_index("confidence")
            try:
                refuse_other_scale(confidences.beyond_one(batch.column(at)), piece.path)
                yield batch.set_column(at, "confidence", confidences.of_column(batch.column(at)))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise DataError(
                    f"its column confidence is {batch.schema.field(at).type}, no number",
                    where=piece.path,
                    remedy="give numbers from 0 to 1",
                ) from error

"""Users' own tables: CSV and Parquet with the columns image_id and label, and optionally confidence and location.

Without a column confidence each is 1: a person saw the class. Commas, tabs, semicolons or bars may separate the columns
of a text; decimals in one with semicolons may have commas. In Parquet, texts may be of any type that holds text or
whole numbers. `rows` tells how several labels stand in a row, `Layout` what is read of a file that has no header or
other names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import reason, system_errors
from mlimages_dataset.sources.delimited import (
    DelimitedSource,
    confidence_sql,
    delimiter_of,
    delimiter_of_rows,
    first_fields,
    has_padding,
    read_header,
)
from mlimages_dataset.sources.layout import NEEDED_COLUMNS, TABLE_COLUMNS, Layout, is_exported
from mlimages_dataset.sources.nested import column_at, nested_names, stored_columns
from mlimages_dataset.sources.pieces import Piece, group_ends, read_to_its_end
from mlimages_dataset.sources.rows import columns_sql, our_columns, statements_of
from mlimages_dataset.sources.source import NUMBERS, WRITTEN, Source, observed
from mlimages_dataset.sources.usual_rows import Field
from mlimages_dataset.tables.parquet import open_parquet, parquet_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.rejects import RejectLog
    from mlimages_dataset.sources.rows import LinesOf
    from mlimages_dataset.sources.source import Connect


_FIELDS = {"image_id": Field.IMAGE, "label": Field.CLASS, "confidence": Field.CONFIDENCE}


class CsvTables(DelimitedSource):
    """Delimited tables."""

    name: ClassVar[str] = "csv"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv")
    member_suffixes: ClassVar[tuple[str, ...]] = suffixes
    heeds: ClassVar[frozenset[str]] = frozenset({"columns", "separator"})
    read_columns = frozenset(TABLE_COLUMNS)

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        return self.piece_as_stated(path, Layout())

    def piece_as_stated(self, path: Location, layout: Layout) -> Piece:
        """See `Source.piece_as_stated`."""
        if path.is_dir():
            return super().piece(path)
        if layout.has_no_header:
            delimiter = delimiter_of_rows(path, len(layout.columns))
            columns = list(layout.columns)
            own = first_fields(path, delimiter)
            header = own == columns
        else:
            delimiter = delimiter_of(path, lambda names: set(NEEDED_COLUMNS) <= set(layout.renamed(names)))
            own = read_header(path, delimiter)
            columns, header = our_columns(path, own, layout, line=1), True
        if layout.separator == "," and delimiter == ";" and "confidence" in columns:
            raise DataError(
                "may have commas in its decimals, as tables with semicolons do, and commas between labels",
                where=path,
                remedy="put something else between labels",
            )
        return Piece(
            path,
            tuple(columns),
            delimiter=delimiter,
            places="location" in columns,
            header=header,
            padded=has_padding(path, delimiter),
            layout=layout,
            exported=is_exported(own),
        )

    def selection(self, piece: Piece) -> str:
        """See `DelimitedSource.selection`."""
        stated = "replace(confidence, ',', '.')" if piece.delimiter == ";" else "confidence"
        return f"SELECT {columns_sql(piece.columns, confidence_sql(stated))}"

    def usual_fields(self, piece: Piece) -> Mapping[str, int] | None:
        """See `DelimitedSource.usual_fields`."""
        return None if piece.padded or piece.layout.separator or piece.places else _FIELDS

    def shown(
        self, connection: duckdb.DuckDBPyConnection, piece: Piece, scan: str, log: RejectLog
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """See `DelimitedSource.shown`."""
        if piece.padded:
            read = ", ".join(f"trim({name}) AS {name}" for name in TABLE_COLUMNS if name in piece.columns)
            scan = f"(SELECT {read} FROM {scan})"
        if not piece.layout.separator:
            yield from super().shown(connection, piece, scan, log)
            return
        places, log.places = log.places, None  # one row has several labels
        names = [name for name in TABLE_COLUMNS if name in piece.columns]
        rows = connection.sql(f"SELECT {', '.join(names)} FROM {scan}").to_arrow_table()

        def lines_of(numbers: Sequence[int]) -> list[int] | None:
            found = None if places is None else places([number - 1 for number in numbers], rows.num_rows)
            return None if found is None else [line for line, _ in found]

        yield from observed(connection, _split(rows, piece, log, lines_of), selected)


def _split(rows: pa.Table, piece: Piece, log: RejectLog, lines_of: LinesOf) -> Iterator[pa.RecordBatch]:
    """Yield rows of texts as one row a label."""
    before = 0
    for batch in rows.to_batches():
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        if piece.delimiter == ";" and "confidence" in columns:
            columns["confidence"] = pc.replace_substring(columns["confidence"], ",", ".")
        separator = piece.layout.separator
        yield statements_of(columns, separator, piece.path, log, first_row=before + 1, lines_of=lines_of)
        before += batch.num_rows


def selected(table: pa.Table) -> str:
    """Return SQL for the columns of a block whose confidences are texts, or float32 already.

    Beside those of `Source.observe`, they are `WRITTEN`, and the number of each row under the names of `NUMBERS`.
    """
    names = table.column_names
    is_number = "confidence" in names and table.schema.field("confidence").type == pa.float32()
    confidence = "confidence, NULL AS stated" if is_number else confidence_sql("confidence")
    texts = WRITTEN if WRITTEN in names else "confidence" if "confidence" in names and not is_number else "NULL"
    more = ", ".join((f"{texts} AS {WRITTEN}", *(name for name in NUMBERS if name in names)))
    return f"{columns_sql(names, confidence)}, {more}"


class ParquetTables(Source):
    """Parquet tables."""

    name: ClassVar[str] = "parquet"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")
    heeds: ClassVar[frozenset[str]] = frozenset({"columns", "separator"})

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        return self.piece_as_stated(path, Layout())

    def piece_as_stated(self, path: Location, layout: Layout) -> Piece:
        """See `Source.piece_as_stated`; the piece's columns have our names."""
        if path.is_dir():
            return super().piece(path)
        if layout.has_no_header:
            raise DataError(
                "names its columns itself, as every Parquet file does",
                where=path,
                remedy="say how it calls ours, such as image_id=path,label=class",
            )
        own = _names(path, layout)
        columns = our_columns(path, own, layout, line=None)
        return Piece(path, tuple(columns), places="location" in columns, layout=layout, exported=is_exported(own))

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`."""
        with read_to_its_end(piece.path), parquet_source(piece.path) as source:
            metadata = pq.read_metadata(source)
        sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
        return piece.cut_at(group_ends(sizes))

    def observe(self, connect: Connect, piece: Piece, log: RejectLog) -> Iterator[duckdb.DuckDBPyConnection]:
        """See `Source.observe`."""
        yield from observed(connect(), _blocks(piece, log), selected)


def _names(path: Location, layout: Layout) -> list[str]:
    """Return a Parquet file's own names of its columns, and the paths into them that its user states."""
    try:
        with system_errors(path), parquet_source(path) as source:
            return _all_names(pq.read_schema(source), layout)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"cannot be read as a Parquet file ({reason(error)})", where=path, remedy="obtain it again"
        ) from error


def _all_names(schema: pa.Schema, layout: Layout) -> list[str]:
    return [*schema.names, *nested_names(schema, layout.theirs)]


def _blocks(piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
    """Yield the columns that are read: texts, and confidences as texts or float32; one row a label."""
    with read_to_its_end(piece.path), open_parquet(piece.path) as parquet:
        names = zip(piece.columns, _all_names(parquet.schema_arrow, piece.layout), strict=False)
        theirs = {ours: name for ours, name in names if ours in TABLE_COLUMNS}
        groups = list(range(parquet.num_row_groups))[piece.start : piece.stop]
        stored = [path for name in theirs.values() for path in stored_columns(parquet.schema, name)]
        before = sum(parquet.metadata.row_group(group).num_rows for group in range(groups[0] if groups else 0))
        for batch in parquet.iter_batches(row_groups=groups, columns=stored):
            columns = {ours: column_at(batch, name) for ours, name in theirs.items()}
            yield statements_of(columns, piece.layout.separator, piece.path, log, first_row=before + 1)
            before += batch.num_rows

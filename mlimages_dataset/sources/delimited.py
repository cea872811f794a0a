"""Delimited files, read in blocks of whole rows by DuckDB, and where rows are usual by a compiled loop."""

from __future__ import annotations

import abc
import csv
import functools
import secrets
from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa

from mlimages_dataset.core.decimals import sql_of_double
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import reason
from mlimages_dataset.sources.blocks import Block, blocks_of
from mlimages_dataset.sources.lines import decoded, refuse_line_of_excel
from mlimages_dataset.sources.pieces import cut_rows
from mlimages_dataset.sources.places import opened
from mlimages_dataset.sources.quotes import newlines_only
from mlimages_dataset.sources.rejects import LISTED_REJECTS, REJECT_CHARACTERS, Reject
from mlimages_dataset.sources.source import Source
from mlimages_dataset.sources.usual_rows import fields_of, is_for_loops, usual_statements
from mlimages_dataset.tables import confidences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import duckdb

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog
    from mlimages_dataset.sources.source import Connect, Shown

_BAD_QUOTE = "UNQUOTED VALUE"
"""DuckDB's name for a row with an unclosed quote, or with text between a closing quote and the comma."""


_REASONS = {
    _BAD_QUOTE: "a quote is not closed, or text follows it",
    "LINE SIZE OVER MAXIMUM": "the row is too long",
    "INVALID ENCODING": "its text is not UTF-8",
}
"""Our words for DuckDB's names of faults that are not plain themselves, as `too many columns` is."""
DELIMITERS = (",", "\t", ";", "|")
_FIRST_BYTES = 1 << 16
_MOST_HEADER_BYTES = 1 << 24
"""A table of a column for each of the 11,166 categories has a header of 200 KB."""
_LOOKED_AT_ROWS = 100
"""Of a file without a header, to tell what separates its columns."""


class DelimitedSource(Source):
    """A source of delimited files with a header, separated by commas or another character."""

    @abc.abstractmethod
    def selection(self, piece: Piece) -> str:
        """Return SQL that selects the statement of a row of a piece, in the columns of `STATEMENT`."""

    @property
    @abc.abstractmethod
    def read_columns(self) -> frozenset[str]:
        """The columns that `selection` reads."""

    def condition(self, piece: Piece) -> str:  # noqa: ARG002 - for those that state something in some rows only
        """Return SQL for the rows that state something; empty for all."""
        return ""

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`."""
        return cut_rows(piece)

    def usual_fields(self, piece: Piece) -> Mapping[str, int] | None:  # noqa: ARG002 - for those that have any
        """Return the `usual_rows.Field` of each column that says what `selection` reads; None if it needs more."""
        return None

    def observe(self, connect: Connect, piece: Piece, log: RejectLog) -> Iterator[Shown]:
        """See `Source.observe`; a compiled loop reads the rows of large blocks that are written as usual."""
        known = self.usual_fields(piece)
        fields = None if known is None else fields_of(piece.columns, known)
        for block in blocks_of(piece, log):
            left = block
            if fields is not None and is_for_loops(block):
                statements, left = usual_statements(block, piece.delimiter, fields)
                yield statements
            if left.lines:
                yield from self.statements_of(connect(), piece, left, log)

    def statements_of(
        self, connection: duckdb.DuckDBPyConnection, piece: Piece, block: Block, log: RejectLog
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection in which the rows of one block are the relation `observations`."""
        yield from self.shown_block(
            connection, piece, block, log, lambda scan: self.shown(connection, piece, scan, log)
        )

    def shown_block(
        self,
        connection: duckdb.DuckDBPyConnection,
        piece: Piece,
        block: Block,
        log: RejectLog,
        show: Callable[[str], Iterator[duckdb.DuckDBPyConnection]],
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield what `show` does for one block of a piece.

        Args:
            connection: any connection.
            piece: the piece.
            block: of it.
            log: has the block's rejects when this was read to the end.
            show: yields connections in which the rows of a block are a view, from SQL that scans them.
        """
        from fsspec.implementations.memory import MemoryFileSystem  # noqa: PLC0415 - 0.2 s, which other sources need not

        memory = MemoryFileSystem()
        if not connection.filesystem_is_registered("memory"):
            connection.register_filesystem(memory)
        # The file system belongs to the whole process, in which a cluster may run jobs in several threads.
        name = f"/{secrets.token_hex(8)}.csv"
        memory.pipe_file(name, block.content)
        log.places = functools.partial(_places, connection, block)
        try:
            yield from show(self._scan(f"memory:/{name}", piece, header=block.header))
            log.add(*_rejects(connection, piece.path, block))
        finally:
            log.places = None
            memory.rm(name)

    def shown(
        self,
        connection: duckdb.DuckDBPyConnection,
        piece: Piece,
        scan: str,
        log: RejectLog,  # noqa: ARG002 - rows that are read in another way are logged
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection in which the rows that SQL scans are the relation `observations`."""
        selection, condition = self.selection(piece), self.condition(piece)
        where = f" WHERE {condition}" if condition else ""
        connection.execute(f"CREATE OR REPLACE TEMP VIEW observations AS {selection} FROM {scan}{where}")
        yield connection

    def _scan(self, place: str, piece: Piece, *, header: bool) -> str:
        # DuckDB ignores case: columns that are not read must not have the names of those that are.
        known = self.read_columns
        names = (name if name in known else f"column {number}" for number, name in enumerate(piece.columns, 1))
        named = ", ".join(f"{_quoted(name)}: 'VARCHAR'" for name in names)
        # DuckDB would take a line end in quotes for that of rows, where it is not told which one that is.
        return (
            f"read_csv('{place}', hive_partitioning=false, auto_detect=false, header={str(header).lower()}, "
            f"delim={_quoted(piece.delimiter)}, quote='\"', escape='\"', columns={{{named}}}, store_rejects=true, "
            f"rejects_limit=0, null_padding=false, new_line='\\n')"
        )


def confidence_sql(column: str, *, of_model: str = "") -> str:
    """Return SQL for the columns `confidence` and `stated` of a column of texts.

    Args:
        column: its name, or SQL.
        of_model: SQL for whether a row is a model's; empty where no column says so.
    """
    confidence = confidences.sql_of_model(column, of_model) if of_model else confidences.sql_of_text(column)
    return f"{confidence} AS confidence, {sql_of_double(column)} AS stated"


def _rejects(connection: duckdb.DuckDBPyConnection, path: Location, block: Block) -> tuple[list[Reject], int]:
    """Return the first rejects of the block that DuckDB read last, and their number; clear them."""
    content = block.content
    count = connection.sql("SELECT count(DISTINCT line) FROM reject_errors").fetchall()[0][0]
    rows = connection.sql(
        "SELECT DISTINCT ON (line) line_byte_position, error_type, csv_line FROM reject_errors "
        f"ORDER BY line, error_type, column_idx LIMIT {LISTED_REJECTS}"
    ).fetchall()
    connection.execute("DELETE FROM reject_errors; DELETE FROM reject_scans")
    rejects = []
    for position, kind, text in rows:
        start = _row_start(position - 1, kind, content)
        # The text of such a row may be that of the row before.
        told = text
        if kind == _BAD_QUOTE:
            told = content[start : start + 4 * REJECT_CHARACTERS].partition(b"\n")[0].decode(errors="replace")
        line = block.lines[content.count(b"\n", 0, start)]
        rejects.append(Reject(str(path), line, _REASONS.get(kind, kind.lower()), told.strip()[:REJECT_CHARACTERS]))
    return rejects, count


def row_starts(connection: duckdb.DuckDBPyConnection, block: Block, n_rows: int) -> list[int] | None:
    """Return at which line of a block each row that DuckDB has made of it begins, from 0; None where nobody knows.

    A row of several lines has its line ends in quotes. Lines without a sign, and those of rejects, are no rows.
    """
    first = int(block.header)
    if len(block.lines) - first == n_rows:
        return list(range(first, len(block.lines)))
    starts, inside = [], False
    for at, text in enumerate(block.content.split(b"\n")):
        if text and not inside:
            starts.append(at)
        inside ^= text.count(b'"') % 2 == 1
    found = connection.sql("SELECT DISTINCT line_byte_position, error_type FROM reject_errors").fetchall()
    places = (_row_start(position - 1, kind, block.content) for position, kind in found)
    rejected = {block.content.count(b"\n", 0, place) for place in places}
    starts = [at for at in starts[first:] if at not in rejected]
    return starts if len(starts) == n_rows else None


def row_from(lines: Sequence[bytes], start: int) -> str:
    """Return the first characters of the row that begins at a line; a line end in quotes ends no row."""
    row = lines[start]
    for line in lines[start + 1 :] if row.count(b'"') % 2 else ():
        row += b"\n" + line
        if line.count(b'"') % 2:
            break
    return row.decode(errors="replace")[:REJECT_CHARACTERS]


def _places(
    connection: duckdb.DuckDBPyConnection, block: Block, listed: Sequence[int], n_rows: int
) -> list[tuple[int, str]] | None:
    """Return the line and the text of rows of a block by their numbers; None where nobody knows."""
    starts = row_starts(connection, block, n_rows)
    if starts is None:
        return None
    lines = block.content.split(b"\n")
    return [(block.lines[starts[at]], row_from(lines, starts[at])) for at in listed]


def _row_start(position: int, kind: str, content: bytes) -> int:
    """Return where a row begins, from DuckDB's position, which may be before blank lines or one row too early.

    DuckDB's line numbers cannot be used: it counts rows, and a row may have several lines.
    """
    while content[position : position + 1] == b"\n":
        position += 1
    quote = content.find(b'"', position) if kind == _BAD_QUOTE else -1
    return position if quote < 0 else max(position, content.rfind(b"\n", position, quote) + 1)


def delimiter_of(path: Location, has_all: Callable[[list[str]], bool]) -> str:
    """Return the separator with which a file's header has all needed columns, as `has_all` says; else a comma.

    Raises:
        DataError: the file is empty, or no text.
    """
    return next((one for one in DELIMITERS if has_all(read_header(path, one))), ",")


def delimiter_of_rows(path: Location, n_columns: int) -> str:
    """Return what separates the columns of a file without a header: with it each of its first rows has so many fields.

    Raises:
        DataError: the file is empty or no text, or nothing does it, or several things.
    """
    rows = _first_lines(path)[:_LOOKED_AT_ROWS]
    try:
        lengths = {one: [len(row) for row in csv.reader(rows, delimiter=one)] for one in DELIMITERS}
    except csv.Error as error:
        raise DataError(f"has no rows of fields ({error})", where=path, remedy="obtain it again") from error
    fitting = [one for one, found in lengths.items() if set(found) <= {n_columns, 0}]
    # A row that is amiss is a reject: it does not decide for the others.
    fitting = fitting or [one for one, found in lengths.items() if found and found[0] == n_columns]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        what = f"may be separated by {' or '.join(map(repr, fitting))}: each gives {n_columns} fields"
        raise DataError(what, where=path, line=1, remedy="give it a header with the columns' names")
    found = {one: lengths[one][0] for one in DELIMITERS if lengths[one] and lengths[one][0] > 1}
    told = ", ".join(f"{n} between {one!r}" for one, n in found.items()) or "1"
    raise DataError(
        f"has {told} fields in its first row, where {n_columns} columns are named",
        where=path,
        line=1,
        remedy="name each column of the file, in its order",
    )


def read_header(path: Location, delimiter: str = ",") -> list[str]:
    """Return the column names in the first line of a delimited file, compressed or not.

    Raises:
        DataError: the file is empty, or no text.
    """
    names = first_fields(path, delimiter)
    repeated = [name for name, times in Counter(names).items() if name and times > 1]
    if repeated:
        raise DataError(f"has two columns {repeated[0]}", where=path, line=1, remedy="name each differently")
    return [name or f"column {number}" for number, name in enumerate(names, 1)]


def first_fields(path: Location, delimiter: str) -> list[str]:
    """Return the fields of the first line of a delimited file; errors as `read_header`, but of repeated names."""
    return [field.strip() for field in _first_row(path, delimiter)]


def has_padding(path: Location, delimiter: str) -> bool:
    """Return whether blanks stand around fields of the first line, so of all: `image_id, label`; errors as there."""
    return any(field != field.strip() for field in _first_row(path, delimiter))


def _first_row(path: Location, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([_first_lines(path)[0]], delimiter=delimiter))
    except csv.Error as error:
        raise DataError(f"has no header ({error})", where=path, line=1, remedy="name its columns there") from error


def _first_lines(path: Location) -> list[str]:
    """Return the first lines of a delimited file, compressed or not, without a byte-order mark.

    Raises:
        DataError: the file is empty, or no text.
    """
    try:
        with opened(path) as stream:
            begin = newlines_only(stream.read(_FIRST_BYTES))
            while b"\n" not in begin and len(begin) <= _MOST_HEADER_BYTES and (more := stream.read(len(begin) or 1)):
                begin = newlines_only(begin + more)
            *whole, cut = begin.split(b"\n")
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot be read ({reason(error)})", where=path, remedy="obtain it again") from error
    lines = whole or [cut]
    first = lines[0]
    if len(first) > _MOST_HEADER_BYTES:
        what = f"has more than {_MOST_HEADER_BYTES:,} bytes in its first line"
        raise DataError(what, where=path, line=1, remedy="give it a header, and each image a line of its own")
    if not first.strip():
        raise DataError("is empty, or begins with an empty line", where=path, remedy="obtain the file again")
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError("is UTF-16 text", where=path, remedy="save it as UTF-8")
    if b"\0" in first:
        raise DataError("is not a text file", where=path, remedy="unpack it first, or name another file")
    header = decoded(first).strip("\r\n ").lstrip("\ufeff")
    refuse_line_of_excel(header, str(path))
    return [header, *map(decoded, lines[1:])]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

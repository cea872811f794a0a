"""What files say about images: one row (image, raw class, confidence, location) a statement, in five formats.

A file that is large and not compressed is cut into pieces, which any process may read; any other file is one piece. A
piece is read in blocks that fit in memory: DuckDB reads CSV, Arrow reads lines and Parquet. A row that its format does
not allow is a reject: it is counted, and the first ones are listed with file and line.

Formats:
    imagenet: paths or URLs, one a line, each with a wnid in its name (`n01440764/n01440764_10026.JPEG`), or
        `n01440764_10026 URL`, or `path n01440764`; or a folder whose images lie in folders named by wnid.
    open-images: image-level labels V1-V7 (ImageID, LabelName, Confidence) and image tables (ImageID, OriginalURL).
        https://storage.googleapis.com/openimages/web/download_v7.html
    tencent: a URL, then `class_index:confidence`, tab-separated, as Tencent ML-Images publishes label lists.
    csv, parquet: the columns image_id and label, and where there are, confidence (default 1) and location.

What names an image here is its path, its address or its id, as the file has it; `image_ids` makes its id of that.
"""

from __future__ import annotations

import contextlib
import csv
import enum
import functools
import io
import secrets
from dataclasses import astuple, dataclass, field, replace
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.memory import MemoryFileSystem

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.image_ids import PICTURE_SUFFIXES
from mlimages_dataset.core.locations import as_text, reason, relative, system_errors, unpacked
from mlimages_dataset.tables import confidences
from mlimages_dataset.tables.parquet import open_parquet, parquet_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.records import Json

BLOCK_BYTES = 1 << 23
PIECE_BYTES = 1 << 26
"""A large file is cut so. Grouping a piece of Open Images' labels takes 0.6 GB and 1.4 s, its start included."""
_LOOK_BYTES = 1 << 20
LISTED_REJECTS = 10
REJECT_CHARACTERS = 80
"""A reject tells so much of its row: an open quote makes one of everything up to the next."""
_BAD_QUOTE = "UNQUOTED VALUE"
"""What DuckDB calls a row with a quote that is not closed, or with more than a comma behind the one that closes it."""
_READ_COLUMNS = frozenset(
    {"ImageID", "LabelName", "Confidence", "OriginalURL", "image_id", "label", "confidence", "location"}
)
_SCHEMA = pa.schema(
    [("image_id", pa.string()), ("class_id", pa.string()), ("confidence", pa.float32()), ("location", pa.string())]
)


class Format(enum.Enum):
    """How files state which image has which class."""

    IMAGENET = "imagenet"
    OPEN_IMAGES = "open-images"
    TENCENT = "tencent"
    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Reject:
    """One row, or one file of a folder with `line` 0, that its format does not allow."""

    path: str
    line: int
    what: str
    text: str

    def __str__(self) -> str:
        place = f"{self.path}, line {self.line}" if self.line else self.path
        return f"{place}: {self.what}: {self.text!r}"

    @property
    def by_name(self) -> str:
        """Return the same with the file's name for its path: what is recorded of it holds wherever it lies."""
        return str(replace(self, path=PurePath(self.path).name))


@dataclass(slots=True)
class RejectLog:
    """How many rows were rejected, the first of them, and how many lines were read in all."""

    count: int = 0
    first: list[Reject] = field(default_factory=list)
    lines: int = 0

    def add(self, rejects: Sequence[Reject], count: int) -> None:
        """Count rejects, of which some are given."""
        self.count += count
        self.first += rejects[: LISTED_REJECTS - len(self.first)]

    def to_json(self) -> Json:
        """Return the log as a journal keeps it."""
        return {"count": self.count, "first": [list(astuple(reject)) for reject in self.first], "lines": self.lines}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RejectLog:
        """Return the log that `to_json` gave."""
        return cls(content["count"], [Reject(*reject) for reject in content["first"]], content["lines"])


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, or a part of one that can be read without the rest.

    Attributes:
        path: the file, or a folder for `Format.IMAGENET`.
        columns: names of its columns, none for line formats.
        start: where it begins, in bytes, or in row groups of a Parquet file.
        stop: where it ends; None for a file that is read from its beginning to its end.
        states: whether it states classes; Open Images' tables of images state places only.
        places: whether it states where images are.
    """

    path: Location
    columns: tuple[str, ...] = ()
    start: int = 0
    stop: int | None = None
    states: bool = True
    places: bool = True


def pieces_of(form: Format, files: Sequence[Location], mapper: Mapper = map) -> list[Piece]:
    """Return the pieces of files in their order; they depend on the files alone.

    Raises:
        UsageError: a file is missing.
        DataError: a file is empty or its header is not of the format.
    """
    for path in files:
        if not path.exists():
            raise UsageError("there is no such file", where=path, remedy="check the path")
    whole = [_checked(form, path) for path in files]
    if not any(piece.states for piece in whole):
        raise UsageError("no label file among the inputs", remedy="name at least one with the column LabelName")
    return [piece for pieces in mapper(functools.partial(_cut, form=form), whole) for piece in pieces]


def joined_rejects(found: Iterable[tuple[Piece, RejectLog]]) -> RejectLog:
    """Return the rejects of pieces in their order, with the numbers of lines in their files."""
    log = RejectLog()
    before = 0
    for piece, of_piece in found:
        before = before if piece.start else 0
        log.add([replace(one, line=one.line + before if one.line else 0) for one in of_piece.first], of_piece.count)
        before += of_piece.lines
    return log


def observed(
    connection: duckdb.DuckDBPyConnection, form: Format, piece: Piece, log: RejectLog
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection for each block of a piece in turn, in which the block is the relation `observations`.

    The relation has the columns image_id (the name that the file has for the image), class_id, confidence (null where
    it is no number from 0 to 1) and location. Its rows fit in memory; `log` is complete when they were
    read to the end.

    Raises:
        DataError: the piece cannot be read to its end.
    """
    if form in {Format.OPEN_IMAGES, Format.CSV}:
        yield from _observed_csv(connection, form, piece, log)
        return
    match form:
        case Format.IMAGENET:
            batches = _imagenet_blocks(piece, log)
        case Format.TENCENT:
            batches = _tencent_blocks(piece, log)
        case Format.PARQUET:
            batches = _parquet_blocks(piece)
    for table in _tables(batches):
        connection.register("block", table)
        columns = _own_columns(table.column_names, _parquet_confidence(table)) if form is Format.PARQUET else "*"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW observations AS SELECT {columns} FROM block")
        yield connection
        connection.unregister("block")


def _parquet_confidence(table: pa.Table) -> str:
    """Return SQL for the confidence of a block of Parquet: a text, or float32 already."""
    is_number = "confidence" in table.column_names and table.schema.field("confidence").type == pa.float32()
    return "confidence" if is_number else confidences.sql_of_text("confidence")


def _checked(form: Format, path: Location) -> Piece:
    """Return a file as one piece, its header checked to be of the format."""
    if form not in {Format.OPEN_IMAGES, Format.CSV, Format.PARQUET}:
        return Piece(path)
    columns = tuple(_parquet_columns(path) if form is Format.PARQUET else read_header(path))
    if form is Format.OPEN_IMAGES:
        if {"ImageID", "LabelName", "Confidence"} <= set(columns):
            return Piece(path, columns, places=False)
        if {"ImageID", "OriginalURL"} <= set(columns):
            return Piece(path, columns, states=False)
        raise DataError(
            f"its header ({', '.join(columns)[:80]}) has neither LabelName and Confidence nor OriginalURL",
            where=path,
            line=1,
            remedy="name Open Images' image-level label files and image tables",
        )
    missing = [name for name in ("image_id", "label") if name not in columns]
    if missing:
        raise DataError(
            f"no column {' and '.join(missing)} among {', '.join(columns)[:80]}",
            where=path,
            line=1 if form is Format.CSV else None,
            remedy="give the columns image_id and label, and confidence and location where there are",
        )
    return Piece(path, columns, places="location" in columns)


def _cut(piece: Piece, *, form: Format) -> list[Piece]:
    """Return the pieces of a file: where it is large and not compressed, of `PIECE_BYTES` or somewhat more."""
    path = piece.path
    if path.is_dir():
        return [piece]
    with _read_to_its_end(path):
        if form is Format.PARQUET:
            with parquet_source(path) as source:
                metadata = pq.read_metadata(source)
            sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
            ends = _ends(sizes)
        elif path.stat().st_size <= PIECE_BYTES or is_packed(path):
            return [piece]
        else:
            with path.open("rb") as stream:
                if form in {Format.OPEN_IMAGES, Format.CSV} and _has_quotes(stream):
                    stream.seek(0)
                    ends = np.cumsum([len(rows) for rows in _whole_rows(stream)]).tolist()
                else:
                    ends = _line_ends(stream, path.stat().st_size)
    return [replace(piece, start=start, stop=stop) for start, stop in zip([0, *ends[:-1]], ends, strict=True)]


def _ends(sizes: Sequence[int]) -> list[int]:
    """Return where groups of consecutive things end that have `PIECE_BYTES` or, in the last one, less."""
    ends, size = [], 0
    for number, one in enumerate(sizes, 1):
        size += one
        if size >= PIECE_BYTES or number == len(sizes):
            ends.append(number)
            size = 0
    return ends or [0]


def _line_ends(stream: IO[bytes], size: int) -> list[int]:
    """Return where pieces of whole lines end in a stream of so many bytes."""
    ends = []
    at = PIECE_BYTES
    while at < size:
        stream.seek(at - 1)
        stream.readline()
        ends.append(stream.tell())
        at = ends[-1] + PIECE_BYTES
    return ends if ends and ends[-1] == size else [*ends, size]


def _has_quotes(stream: IO[bytes]) -> bool:
    """Return whether a stream has a quote anywhere: without any, each line is a row, and no row need be looked for."""
    return any(b'"' in block for block in iter(functools.partial(stream.read, _LOOK_BYTES), b""))


def _whole_rows(stream: IO[bytes] | pa.NativeFile) -> Iterator[bytes]:
    """Yield a CSV stream in blocks of about `PIECE_BYTES` that end where rows do: at a line end outside quotes."""
    rest = b""
    for block in iter(functools.partial(stream.read, PIECE_BYTES), b""):
        content = rest + block
        end = _last_row_end(content)
        if not end and len(content) >= 2 * PIECE_BYTES:
            # A quote that stays open for so long is no field: what it spoils ends here.
            end = content.rfind(b"\n") + 1
        if end:
            yield content[:end]
        rest = content[end:]
    if rest:
        yield rest


def _last_row_end(content: bytes) -> int:
    """Return where the last whole row ends, 0 if there is none; escaped quotes are two and change nothing."""
    if b'"' not in content:
        return content.rfind(b"\n") + 1
    inside, end = content.count(b'"') % 2, len(content)
    while (at := content.rfind(b"\n", 0, end)) >= 0:
        inside ^= content.count(b'"', at, end) % 2
        if not inside:
            return at + 1
        end = at
    return 0


def _observed_csv(
    connection: duckdb.DuckDBPyConnection, form: Format, piece: Piece, log: RejectLog
) -> Iterator[duckdb.DuckDBPyConnection]:
    memory = MemoryFileSystem()
    if not connection.filesystem_is_registered("memory"):
        connection.register_filesystem(memory)
    for content in map(_with_newlines, _csv_blocks(piece)):
        # The file system is the whole process's, where a cluster may give several threads a job.
        name = f"/{secrets.token_hex(8)}.csv"
        memory.pipe_file(name, content)
        try:
            scan = _csv_scan(f"memory:/{name}", piece.columns, header=piece.start == log.lines == 0)
            connection.execute(
                f"CREATE OR REPLACE TEMP VIEW observations AS {_selection(form, piece, content)} FROM {scan}"
            )
            yield connection
            log.add(*_csv_rejects(connection, piece.path, log.lines, content))
        finally:
            memory.rm(name)
        log.lines += content.count(b"\n")


def _with_newlines(content: bytes) -> bytes:
    """Return CSV whose lines all end in a newline: DuckDB reads no file with several kinds of line ends."""
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in content else content


def _selection(form: Format, piece: Piece, content: bytes) -> str:
    """Return SQL that names what a row of CSV states."""
    read = confidences.sql_of_text if confidences.needs_digits(content) else confidences.sql_of_number
    if form is Format.CSV:
        return f"SELECT {_own_columns(piece.columns, read('confidence'))}"
    if piece.states:
        confidence = read("Confidence")
        return f"SELECT ImageID AS image_id, LabelName AS class_id, {confidence} AS confidence, '' AS location"
    return "SELECT ImageID AS image_id, '' AS class_id, 1::FLOAT AS confidence, OriginalURL AS location"


def _own_columns(columns: Sequence[str], confidence: str) -> str:
    """Return SQL that reads the columns of a user's own table, `confidence` where there is such a column."""
    confidence = confidence if "confidence" in columns else "1::FLOAT"
    location = "coalesce(location, '')" if "location" in columns else "''"
    return (
        f"image_id::VARCHAR AS image_id, label::VARCHAR AS class_id, {confidence} AS confidence, {location} AS location"
    )


def _csv_blocks(piece: Piece) -> Iterator[bytes]:
    with _read_to_its_end(piece.path):
        if piece.stop is not None:
            yield _bytes_of(piece, piece.start, piece.stop)
            return
        with unpacked(piece.path) as stream:
            yield from _whole_rows(stream)


def _bytes_of(piece: Piece, start: int, stop: int) -> bytes:
    with piece.path.open("rb") as stream:
        stream.seek(start)
        content: bytes = stream.read(stop - start)
    if len(content) < stop - start:
        raise DataError("became shorter while it was read", where=piece.path, remedy="run it again when it is whole")
    return content


def _csv_rejects(
    connection: duckdb.DuckDBPyConnection, path: Location, lines_before: int, content: bytes
) -> tuple[list[Reject], int]:
    """Return the first rejects of the block that DuckDB read last, and how many there are; forget them."""
    count = connection.sql("SELECT count(DISTINCT (scan_id, file_id, line)) FROM reject_errors").fetchall()[0][0]
    rows = connection.sql(
        "SELECT DISTINCT ON (line) line_byte_position, error_type, csv_line FROM reject_errors "
        f"ORDER BY line, error_type, column_idx LIMIT {LISTED_REJECTS}"
    ).fetchall()
    connection.execute("DELETE FROM reject_errors; DELETE FROM reject_scans")
    rejects = []
    for position, kind, text in rows:
        start = _row_start(position - 1, kind, content)
        # The text of such a row may be that of the row before.
        told = content[start : start + 4 * REJECT_CHARACTERS].decode(errors="replace") if kind == _BAD_QUOTE else text
        line = lines_before + 1 + content.count(b"\n", 0, start)
        rejects.append(Reject(str(path), line, kind.lower(), told.strip()[:REJECT_CHARACTERS]))
    return rejects, count


def _row_start(position: int, kind: str, content: bytes) -> int:
    """Return where a row begins in CSV of which DuckDB gives a position: before blank lines there, or a row too early.

    Its own numbers are no lines either: it counts rows, of which one may have several lines.
    """
    while content[position : position + 1] == b"\n":
        position += 1
    quote = content.find(b'"', position) if kind == _BAD_QUOTE else -1
    return position if quote < 0 else max(position, content.rfind(b"\n", position, quote) + 1)


def _parquet_blocks(piece: Piece) -> Iterator[pa.RecordBatch]:
    columns = [name for name in ("image_id", "label", "confidence", "location") if name in piece.columns]
    with _read_to_its_end(piece.path), open_parquet(piece.path) as parquet:
        groups = list(range(parquet.num_row_groups))[piece.start : piece.stop]
        for batch in parquet.iter_batches(row_groups=groups, columns=columns):
            if "confidence" not in columns:
                yield batch
                continue
            at = batch.schema.get_field_index("confidence")
            try:
                yield batch.set_column(at, "confidence", confidences.of_column(batch.column(at)))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise DataError(
                    f"its column confidence is {batch.schema.field(at).type}, no number",
                    where=piece.path,
                    remedy="give numbers from 0 to 1",
                ) from error


def _tables(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield batches joined to tables of about two pieces' bytes."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= 2 * PIECE_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, size = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)


@contextlib.contextmanager
def _read_to_its_end(path: Location) -> Iterator[None]:
    """Turn what goes wrong while a file is read into a sentence."""
    try:
        with system_errors(path):
            yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot be read to its end ({reason(error)})", where=path, remedy="obtain it again") from error


def is_packed(path: Location) -> bool:
    """Return whether a file's suffix says that it is compressed."""
    try:
        pa.Codec.detect(path.name)
    except (TypeError, ValueError):
        return False
    return True


@contextlib.contextmanager
def duckdb_errors(where: object = None) -> Iterator[None]:
    """Turn DuckDB's errors into sentences; it reads what is in memory, so its files are intermediate results.

    Args:
        where: the input, for messages.

    Raises:
        DataError: an input cannot be read to its end.
        UsageError: there is no room for intermediate results.
    """
    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise UsageError(
            f"there is no room for intermediate results ({reason(error)})", remedy="free memory or disk space"
        ) from error
    except duckdb.Error as error:
        raise DataError(
            f"{'an input ' if where is None else ''}cannot be read to its end ({reason(error)})",
            where=where,
            remedy="obtain that file again",
        ) from error


def read_header(path: Location) -> list[str]:
    """Return the column names in the first line of a CSV file, compressed or not.

    Raises:
        DataError: the file is empty, or no text.
    """
    try:
        with unpacked(path) as stream:
            first = _with_newlines(stream.read(1 << 16)).split(b"\n", 1)[0]
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot be read ({reason(error)})", where=path, remedy="obtain it again") from error
    if not first.strip():
        raise DataError("is empty, or begins with an empty line", where=path, remedy="obtain the file again")
    if b"\0" in first:
        raise DataError("is not a text file", where=path, remedy="unpack it first, or name another file")
    names = [name.strip() for name in next(csv.reader([_decode(first).strip().lstrip("\ufeff")]))]
    repeated = [name for number, name in enumerate(names) if name and name in names[:number]]
    if repeated:
        raise DataError(f"has two columns {repeated[0]}", where=path, line=1, remedy="name each differently")
    return [name or f"column {number}" for number, name in enumerate(names, 1)]


def _csv_scan(place: str, columns: Sequence[str], *, header: bool) -> str:
    # DuckDB tells no upper case from lower case: what is not read must not have the name of what is.
    names = (name if name in _READ_COLUMNS else f"column {number}" for number, name in enumerate(columns, 1))
    named = ", ".join(f"{_quoted(name)}: 'VARCHAR'" for name in names)
    return (
        f"read_csv('{place}', hive_partitioning=false, auto_detect=false, header={str(header).lower()}, delim=',', "
        f"quote='\"', escape='\"', columns={{{named}}}, store_rejects=true, rejects_limit=0, null_padding=false)"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _parquet_columns(path: Location) -> list[str]:
    try:
        with system_errors(path), parquet_source(path) as source:
            return list(pq.read_schema(source).names)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"cannot be read as a Parquet file ({reason(error)})", where=path, remedy="obtain it again"
        ) from error


def _imagenet_blocks(piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
    path = piece.path
    if path.is_dir():
        yield from _imagenet_folder(path, log)
        return
    for first_line, lines in _line_blocks(piece, log):
        # The first wnid of a line is the class, the first word the image.
        found = pc.extract_regex(lines, r"(?:^|[^a-z0-9])(?P<wnid>n\d{8})(?:\D|$)")
        words = pc.extract_regex(lines, r"^\s*(?P<word>\S+)(?:\s+(?P<rest>\S.*?))?\s*$")
        wnid, word, rest = found.field("wnid"), words.field("word"), words.field("rest")
        good = pc.and_(pc.is_valid(found), pc.is_valid(words))
        _log_rejects(log, path, first_line, lines, good=good, what="no wnid such as n01440764")
        # `n01440764_10026 URL` has its place in the second word, `path n01440764` in the first.
        second_is_place = pc.match_substring(rest, "/")
        place = pc.if_else(pc.and_(pc.is_valid(rest), second_is_place), rest, word)
        yield _batch(word, wnid, None, place).filter(good)


def _imagenet_folder(folder: Location, log: RejectLog) -> Iterator[pa.RecordBatch]:
    strays = sorted(path for path in folder.iterdir() if _is_image(path))
    log.add([_reject_of(path, "not in a folder named by wnid") for path in strays[:LISTED_REJECTS]], len(strays))
    for class_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        images = sorted(path for path in class_folder.rglob("*") if _is_image(path))
        if not images:
            log.add([_reject_of(class_folder, "no image in this folder")], 1)
            continue
        places = pa.array([as_text(relative(path, folder)) for path in images])
        yield _batch(places, pa.array([as_text(class_folder.name)] * len(images)), None, places)


def _reject_of(path: Location, what: str) -> Reject:
    return Reject(as_text(str(path)), 0, what, as_text(path.name))


def _is_image(path: Location) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES


@dataclass(frozen=True, slots=True)
class TencentLines:
    """Well-formed lines of a published label list.

    Attributes:
        numbers: where in the file each line stands, from 1.
        urls: the image of each line.
        offsets: where each line's labels begin, and the end.
        class_ids: class index of each label, as text.
        confidence: confidence of each label, null where it is no number from 0 to 1.
    """

    numbers: NDArray[np.int64]
    urls: pa.StringArray
    offsets: NDArray[np.int64]
    class_ids: pa.StringArray
    confidence: pa.FloatArray

    @property
    def rows(self) -> NDArray[np.int64]:
        """Which line, counted from 0, each label stands in."""
        return np.repeat(np.arange(len(self.urls)), np.diff(self.offsets))

    def without_malformed(self, path: Location, log: RejectLog) -> TencentLines:
        """Return the lines in which every confidence is a number from 0 to 1; log the others."""
        rows = self.rows
        good = np.ones(len(self.urls), bool)
        good[rows[self.confidence.is_null().to_numpy(zero_copy_only=False)]] = False
        if good.all():
            return self
        what, bad = "a confidence is no number from 0 to 1", np.flatnonzero(~good)
        first = bad[:LISTED_REJECTS].tolist()
        told = [self.urls[i].as_py()[:REJECT_CHARACTERS] for i in first]
        log.add(
            [Reject(str(path), int(self.numbers[i]), what, url) for i, url in zip(first, told, strict=True)], len(bad)
        )
        kept = pa.array(good[rows])
        return TencentLines(
            numbers=self.numbers[good],
            urls=self.urls.filter(pa.array(good)),
            offsets=np.concatenate((np.zeros(1, np.int64), np.cumsum(np.diff(self.offsets)[good]))),
            class_ids=self.class_ids.filter(kept),
            confidence=self.confidence.filter(kept),
        )


def tencent_lines(piece: Piece, log: RejectLog) -> Iterator[TencentLines]:
    """Yield a piece of a published label list in blocks of lines, malformed ones logged.

    Raises:
        UsageError: the path is a folder.
        DataError: the file is empty, or cannot be read to its end.
    """
    path = piece.path
    if path.is_dir():
        raise UsageError("is a folder", where=path, remedy="name label lists")
    for first_line, lines in _line_blocks(piece, log):
        # Tabs are published; spaces are what copying through a terminal leaves.
        good = pc.match_substring_regex(lines, r"^\S+([\t ]+\d{1,9}:[0-9.]+([eE]-?\d+)?)+\s*$")
        _log_rejects(log, path, first_line, lines, good=good, what="not a URL and class:confidence pairs")
        words = pc.split_pattern_regex(pc.utf8_trim_whitespace(lines.filter(good)), r"[\t ]+")
        ends = np.cumsum(pc.list_value_length(words).to_numpy().astype(np.int64))
        starts = np.concatenate((np.zeros(1, np.int64), ends[:-1])) if len(ends) else ends
        flat = words.flatten()
        is_label = np.ones(len(flat), bool)
        is_label[starts] = False
        pairs = pc.extract_regex(flat.filter(pa.array(is_label)), r"^(?P<index>\d+):(?P<confidence>.*)$")
        yield TencentLines(
            numbers=first_line + np.flatnonzero(good.to_numpy(zero_copy_only=False)),
            urls=flat.take(pa.array(starts)),
            offsets=np.concatenate((np.zeros(1, np.int64), ends - np.arange(1, len(ends) + 1))),
            class_ids=pairs.field("index"),
            confidence=confidences.of_texts(pairs.field("confidence")),
        )


def _tencent_blocks(piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
    for lines in tencent_lines(piece, log):
        url = lines.urls.take(pa.array(lines.rows))
        yield _batch(url, lines.class_ids, lines.confidence, url)


def _batch(image: pa.Array, class_id: pa.Array, confidence: pa.Array | None, location: pa.Array) -> pa.RecordBatch:
    certain = pa.array(np.ones(len(image), np.float32)) if confidence is None else confidence
    return pa.RecordBatch.from_arrays([image, class_id, certain, location], schema=_SCHEMA)


def _line_blocks(piece: Piece, log: RejectLog) -> Iterator[tuple[int, pa.StringArray]]:
    """Yield the number of a block's first line in its piece, from 1, and its lines; a blank one may be at the end."""
    rest = b""
    with _read_to_its_end(piece.path), _line_stream(piece) as stream:
        for block in iter(functools.partial(stream.read, BLOCK_BYTES), b""):
            whole, newline, rest_of_block = (rest + block).rpartition(b"\n")
            if not newline:
                rest = rest_of_block
                continue
            rest = rest_of_block
            lines = _lines(whole, strip_mark=piece.start == log.lines == 0)
            log.lines += len(lines)
            yield log.lines - len(lines) + 1, lines
    if rest.strip():
        log.lines += 1
        yield log.lines, _lines(rest, strip_mark=piece.start == 0 and log.lines == 1)
    elif piece.start == log.lines == 0:
        raise DataError("is empty", where=piece.path, remedy="obtain the file again")


@contextlib.contextmanager
def _line_stream(piece: Piece) -> Iterator[IO[bytes] | pa.NativeFile]:
    if piece.stop is not None:
        yield io.BytesIO(_bytes_of(piece, piece.start, piece.stop))
        return
    with unpacked(piece.path) as stream:
        yield stream


def _lines(block: bytes, *, strip_mark: bool) -> pa.StringArray:
    text = _decode(block)
    return pa.array((text.removeprefix("\ufeff") if strip_mark else text).replace("\r", "").split("\n"), pa.string())


def _decode(block: bytes) -> str:
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError:
        return block.decode("latin-1")


def _log_rejects(
    log: RejectLog, path: Location, first_line: int, lines: pa.StringArray, *, good: pa.BooleanArray, what: str
) -> None:
    """Log the lines that are neither good nor blank."""
    bad = pc.and_(pc.invert(good), pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(lines)), 0))
    at = np.flatnonzero(bad.to_numpy(zero_copy_only=False))
    rejects = [
        Reject(str(path), first_line + int(i), what, lines[int(i)].as_py()[:REJECT_CHARACTERS])
        for i in at[:LISTED_REJECTS]
    ]
    log.add(rejects, len(at))

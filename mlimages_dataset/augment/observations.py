"""What files say about images: one row (image, raw class, confidence, location) a statement, in five formats.

DuckDB reads tables; Arrow reads line formats in blocks. Neither holds a file in memory. A row that its format does not
allow is a reject: it is counted, and the first ones are listed with file and line.

Formats:
    imagenet: paths or URLs, one a line, each with a wnid in its name (`n01440764/n01440764_10026.JPEG`), or
        `n01440764_10026 URL`, or `path n01440764`; or a folder whose images lie in folders named by wnid. An image's id
        is its file name where that begins with a wnid, else its path, in either case without the suffix.
    open-images: image-level labels V1-V7 (ImageID, LabelName, Confidence) and image tables (ImageID, OriginalURL).
        https://storage.googleapis.com/openimages/web/download_v7.html
    tencent: a URL, then `class_index:confidence`, tab-separated, as Tencent ML-Images publishes label lists.
    csv, parquet: the columns image_id and label, and where there are, confidence (default 1) and location.
"""

from __future__ import annotations

import contextlib
import csv
import enum
import functools
import re
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from mlimages_dataset.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.locations import reason, relative, unpacked
from mlimages_dataset.storage import parquet_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.locations import Location

BLOCK_BYTES = 1 << 23
LISTED_REJECTS = 10
_IMAGE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
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
    """How many rows were rejected, and the first of them."""

    count: int = 0
    first: list[Reject] = field(default_factory=list)

    def add(self, rejects: Sequence[Reject], count: int) -> None:
        """Count rejects, of which some are given."""
        self.count += count
        self.first += rejects[: LISTED_REJECTS - len(self.first)]


class Observations:
    """The statements of some files as the relation `observations` of a DuckDB connection.

    The relation has the columns image_id, class_id, confidence (null where it is no number from 0 to 1) and location;
    `has_locations` says whether any location is given so. Where an image table is among the files, `has_image_table` is
    true and the relation `image_locations` has image_id and location. They can be read once; `rejects` is complete when
    they were read to the end.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, form: Format, inputs: Sequence[Location]) -> None:
        """Open the files.

        Raises:
            UsageError: a file is missing.
            DataError: a file is empty or its header is not of the format.
        """
        for path in inputs:
            if not path.exists():
                raise UsageError("there is no such file", where=path, remedy="check the path")
            _let_read(connection, path)
        self.connection = connection
        self.has_image_table = False
        self.has_locations = form in {Format.IMAGENET, Format.TENCENT}
        self._log = RejectLog()
        self._failure: MLImagesError | None = None
        if form is Format.OPEN_IMAGES:
            self._open_images(inputs)
        elif form in {Format.CSV, Format.PARQUET}:
            self._tables(form, inputs)
        else:
            blocks = _imagenet_blocks if form is Format.IMAGENET else _tencent_blocks
            batches = (batch for path in inputs for batch in blocks(path, self._log))
            reader = pa.RecordBatchReader.from_batches(_SCHEMA, self._remembering_failure(batches))
            connection.register("observations", reader)

    @contextlib.contextmanager
    def own_errors(self) -> Iterator[None]:
        """Raise what went wrong in a file where DuckDB's error is only that a stream of ours ended early."""
        try:
            yield
        except duckdb.Error:
            if self._failure is not None:
                raise self._failure from None
            raise

    def _remembering_failure(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except MLImagesError as error:
            self._failure = error
            raise

    @property
    def rejects(self) -> RejectLog:
        """The rows that were rejected so far."""
        log = RejectLog(self._log.count, list(self._log.first))
        with contextlib.suppress(duckdb.CatalogException):  # there is no such table unless DuckDB read CSV files
            errors = """FROM reject_errors e JOIN reject_scans s USING (scan_id, file_id)"""
            count = self.connection.sql(f"SELECT count(DISTINCT (scan_id, file_id, line)) {errors}").fetchall()[0][0]
            rows = self.connection.sql(
                f"SELECT DISTINCT ON (s.file_path, e.line) s.file_path, e.line, e.error_type, e.csv_line {errors} "
                f"ORDER BY s.file_path, e.line, e.error_type, e.column_idx LIMIT {LISTED_REJECTS}"
            ).fetchall()
            log.add([Reject(path, line, str(kind).lower(), text.strip()) for path, line, kind, text in rows], count)
        return log

    def _open_images(self, inputs: Sequence[Location]) -> None:
        labels, images = [], []
        for path in inputs:
            header = read_header(path)
            if {"ImageID", "LabelName", "Confidence"} <= set(header):
                labels.append(
                    f"SELECT ImageID AS image_id, LabelName AS class_id, {_probability('Confidence')} AS confidence, "
                    f"'' AS location FROM {_csv_scan(path, header)}"
                )
            elif {"ImageID", "OriginalURL"} <= set(header):
                images.append(f"SELECT ImageID AS image_id, OriginalURL AS location FROM {_csv_scan(path, header)}")
            else:
                raise DataError(
                    f"its header ({', '.join(header)[:80]}) has neither LabelName and Confidence nor OriginalURL",
                    where=path,
                    line=1,
                    remedy="name Open Images' image-level label files and image tables",
                )
        if not labels:
            raise UsageError("no label file among the inputs", remedy="name at least one with the column LabelName")
        self.connection.execute("CREATE VIEW observations AS " + " UNION ALL ".join(labels))
        if images:
            # An image that tables repeat must not repeat its statements.
            self.connection.execute(
                "CREATE VIEW image_locations AS SELECT image_id, min(location) AS location "
                f"FROM ({' UNION ALL '.join(images)}) GROUP BY image_id"
            )
            self.has_image_table = True

    def _tables(self, form: Format, inputs: Sequence[Location]) -> None:
        selects = []
        for path in inputs:
            header = read_header(path) if form is Format.CSV else _parquet_columns(path)
            missing = [name for name in ("image_id", "label") if name not in header]
            if missing:
                raise DataError(
                    f"no column {' and '.join(missing)} among {', '.join(header)[:80]}",
                    where=path,
                    line=1 if form is Format.CSV else None,
                    remedy="give the columns image_id and label, and confidence and location where there are",
                )
            scan = (
                _csv_scan(path, header)
                if form is Format.CSV
                else f"read_parquet({_file(path)}, hive_partitioning=false)"
            )
            confidence = _probability("confidence") if "confidence" in header else "1::FLOAT"
            location = "coalesce(location, '')" if "location" in header else "''"
            self.has_locations |= "location" in header
            selects.append(
                f"SELECT image_id::VARCHAR AS image_id, label::VARCHAR AS class_id, {confidence} AS confidence, "
                f"{location} AS location FROM {scan}"
            )
        self.connection.execute("CREATE VIEW observations AS " + " UNION ALL ".join(selects))


@contextlib.contextmanager
def duckdb_errors() -> Iterator[None]:
    """Turn DuckDB's errors into sentences.

    Raises:
        DataError: an input cannot be read to its end.
        UsageError: there is no room for intermediate results.
    """
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise UsageError(
            f"there is no room for intermediate results ({reason(error)})", remedy="free memory or disk space"
        ) from error
    except duckdb.Error as error:
        raise DataError(
            f"an input cannot be read to its end ({reason(error)})", remedy="obtain that file again"
        ) from error


def read_header(path: Location) -> list[str]:
    """Return the column names in the first line of a CSV file, compressed or not.

    Raises:
        DataError: the file is empty, or no text.
    """
    try:
        with unpacked(path) as stream:
            first = stream.read(1 << 16).split(b"\n", 1)[0]
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


def _let_read(connection: duckdb.DuckDBPyConnection, path: Location) -> None:
    """Let a DuckDB connection read remote files through the path's own client, with its credentials."""
    if isinstance(path, UPath) and not connection.filesystem_is_registered(path.protocol):
        connection.register_filesystem(path.fs)


def _csv_scan(path: Location, header: Sequence[str]) -> str:
    columns = ", ".join(f"{_quoted(name)}: 'VARCHAR'" for name in header)
    return (
        f"read_csv({_file(path)}, hive_partitioning=false, auto_detect=false, header=true, delim=',', "
        f"quote='\"', escape='\"', columns={{{columns}}}, store_rejects=true, rejects_limit=0, null_padding=false)"
    )


def _probability(column: str) -> str:
    """Return SQL that reads a column as a number from 0 to 1, null where it is none."""
    number = f"TRY_CAST({column} AS FLOAT)"
    return f"CASE WHEN {number} BETWEEN 0 AND 1 THEN {number} END"


def _file(path: Location) -> str:
    """Return SQL for one file: DuckDB would read a name with * ? [ as a pattern, and `a=b` folders as columns."""
    return _quoted(re.sub(r"[*?\[]", r"[\g<0>]", str(path)))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _parquet_columns(path: Location) -> list[str]:
    try:
        with parquet_source(path) as source:
            return list(pq.read_schema(source).names)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"cannot be read as a Parquet file ({reason(error)})", where=path, remedy="obtain it again"
        ) from error


def _imagenet_blocks(path: Location, log: RejectLog) -> Iterator[pa.RecordBatch]:
    if path.is_dir():
        yield from _imagenet_folder(path, log)
        return
    for first_line, lines in _line_blocks(path):
        # The first wnid of a line is the class, the first word the image.
        found = pc.extract_regex(lines, r"(?:^|[^a-z0-9])(?P<wnid>n\d{8})(?:\D|$)")
        words = pc.extract_regex(lines, r"^\s*(?P<word>\S+)(?:\s+(?P<rest>\S.*?))?\s*$")
        wnid, word, rest = found.field("wnid"), words.field("word"), words.field("rest")
        good = pc.and_(pc.is_valid(found), pc.is_valid(words))
        _log_rejects(log, path, first_line, lines, good=good, what="no wnid such as n01440764")
        # `n01440764_10026 URL` has its place in the second word, `path n01440764` in the first.
        second_is_place = pc.match_substring(rest, "/")
        place = pc.if_else(pc.and_(pc.is_valid(rest), second_is_place), rest, word)
        yield _batch(image_ids(word), wnid, None, place).filter(good)


def image_ids(paths: pa.StringArray) -> pa.StringArray:
    """Return the id of the image at each path or URL, its suffix left out.

    A file name that begins with a wnid is ImageNet's own and says which image it is (`n01440764_10026`). Any other may
    stand in several folders, so its path belongs to the id.
    """
    whole = pc.replace_substring_regex(paths, r"\.[A-Za-z]{3,4}$", "")
    name = pc.replace_substring_regex(whole, r"^.*/", "")
    return pc.if_else(pc.match_substring_regex(name, r"^n\d{8}(\D|$)"), name, whole)


def _imagenet_folder(folder: Location, log: RejectLog) -> Iterator[pa.RecordBatch]:
    strays = sorted(path for path in folder.iterdir() if _is_image(path))
    rejects = [Reject(str(path), 0, "not in a folder named by wnid", path.name) for path in strays[:LISTED_REJECTS]]
    log.add(rejects, len(strays))
    for class_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        images = sorted(path for path in class_folder.rglob("*") if _is_image(path))
        if not images:
            log.add([Reject(str(class_folder), 0, "no image in this folder", class_folder.name)], 1)
            continue
        places = pa.array([relative(path, folder) for path in images])
        yield _batch(image_ids(places), pa.array([class_folder.name] * len(images)), None, places)


def _is_image(path: Location) -> bool:
    return path.suffix.lower() in _IMAGE_SUFFIXES


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
        log.add([Reject(str(path), int(self.numbers[i]), what, self.urls[i].as_py()[:80]) for i in first], len(bad))
        kept = pa.array(good[rows])
        return TencentLines(
            numbers=self.numbers[good],
            urls=self.urls.filter(pa.array(good)),
            offsets=np.concatenate((np.zeros(1, np.int64), np.cumsum(np.diff(self.offsets)[good]))),
            class_ids=self.class_ids.filter(kept),
            confidence=self.confidence.filter(kept),
        )


def tencent_lines(path: Location, log: RejectLog) -> Iterator[TencentLines]:
    """Yield a published label list in blocks of lines, malformed ones logged.

    Raises:
        UsageError: the path is a folder.
        DataError: the file is empty, or cannot be read to its end.
    """
    if path.is_dir():
        raise UsageError("is a folder", where=path, remedy="name label lists")
    for first_line, lines in _line_blocks(path):
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
            confidence=_confidences(pairs.field("confidence")),
        )


def _tencent_blocks(path: Location, log: RejectLog) -> Iterator[pa.RecordBatch]:
    for lines in tencent_lines(path, log):
        url = lines.urls.take(pa.array(lines.rows))
        yield _batch(url, lines.class_ids, lines.confidence, url)


def _confidences(text: pa.Array) -> pa.Array:
    """Return numbers from 0 to 1, null where a text is none."""
    number = pc.if_else(pc.match_substring_regex(text, r"^(\d+\.?\d*|\.\d+)([eE]-?\d+)?$"), text, None)
    value = pc.cast(number, pa.float32())
    return pc.if_else(pc.and_(pc.greater_equal(value, 0), pc.less_equal(value, 1)), value, None)


def _batch(image: pa.Array, class_id: pa.Array, confidence: pa.Array | None, location: pa.Array) -> pa.RecordBatch:
    certain = pa.array(np.ones(len(image), np.float32)) if confidence is None else confidence
    return pa.RecordBatch.from_arrays([image, class_id, certain, location], schema=_SCHEMA)


def _line_blocks(path: Location) -> Iterator[tuple[int, pa.StringArray]]:
    """Yield the number of a block's first line, from 1, and its lines without those that are blank at the end."""
    number = 1
    rest = b""
    try:
        with unpacked(path) as stream:
            for block in iter(functools.partial(stream.read, BLOCK_BYTES), b""):
                whole, newline, rest_of_block = (rest + block).rpartition(b"\n")
                if not newline:
                    rest = rest_of_block
                    continue
                rest = rest_of_block
                lines = _lines(whole, strip_mark=number == 1)
                yield number, lines
                number += len(lines)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot be read to its end ({reason(error)})", where=path, remedy="obtain it again") from error
    if rest.strip():
        yield number, _lines(rest, strip_mark=number == 1)
    elif number == 1:
        raise DataError("is empty", where=path, remedy="obtain the file again")


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
    rejects = [Reject(str(path), first_line + int(i), what, lines[int(i)].as_py()[:80]) for i in at[:LISTED_REJECTS]]
    log.add(rejects, len(at))

"""Parquet files of labelled images: what `pyarrow.parquet` would write, in less than half the time.

Arrow works out where each image's labels begin for every column below them, by code for lists of any depth. Here it is
done once, for the one kind of table that is written most: id, source, location and a list of labels. Arrow writes all
other tables, and reads these.

https://parquet.apache.org/docs/file-format/; numbers of fields, types and encodings are those of its parquet.thrift.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.label_columns import columns_of
from mlimages_dataset.tables.pages import PLAIN, RLE, RLE_DICTIONARY, Encoded, Pieces, encoded_texts, encoded_words
from mlimages_dataset.tables.pages import levels_of_lists as levels_of
from mlimages_dataset.tables.schemas import LABEL, LABELS
from mlimages_dataset.tables.texts import least_and_greatest
from mlimages_dataset.tables.thrift import Value, data, int8, int32, int64, listed, struct, text, truth
from mlimages_dataset.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

_MAGIC = b"PAR1"
_ZSTD = 6
_INT32, _FLOAT, _BYTES = 1, 4, 6
_REQUIRED, _REPEATED = 0, 2
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_MOST_ROWS, _MOST_BYTES = 1 << 20, 1 << 30
"""Of a row group, and of each of its columns: a page must have less than 2 GiB."""
_PAGE_BYTES = 1 << 31
_LONGEST_BOUND = 4096
"""Bytes of a text beyond which no least and greatest one is stated, as by Arrow."""
_LABELS_PATH = ("labels", "list", "element")
_TEXTS = ("image_id", "source", "location")


def writes(schema: pa.Schema) -> bool:
    """Return whether tables of a schema are tables of labelled images."""
    return bool(schema.equals(LABELS.arrow))


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of numbers or texts of one row group."""

    path: tuple[str, ...]
    kind: int
    n_values: int
    levels: Pieces
    encoded: Encoded
    statistics: Value | None


class _Sink(Protocol):
    """A file, or Arrow's."""

    def write(self, content: bytes | pa.Buffer, /) -> object: ...


class LabelFile:
    """Writes tables of labelled images into one file, which is complete when it is closed."""

    def __init__(self, sink: _Sink, metadata: Mapping[bytes, bytes]) -> None:
        """Begin a file.

        Args:
            sink: where to write; it is not closed.
            metadata: of the file.
        """
        self._compressor = pa.Codec("zstd")
        self._sink = sink
        self._metadata = metadata
        self._groups: list[Value] = []
        self._rows = 0
        self._at = 0
        self._write(_MAGIC)

    def write_table(self, table: pa.Table) -> None:
        """Write rows, with the columns and types of `schemas.LABELS` and without nulls, as a row group or several.

        Raises:
            DataError: one row has 2 GiB or more.
        """
        for group in _groups(table):
            self._write_group(group)

    def close(self) -> None:
        """Write where everything is."""
        footer = {
            1: int32(2),
            2: listed(_SCHEMA),
            3: int64(self._rows),
            4: listed(self._groups),
            5: listed([struct({1: data(key), 2: data(value)}) for key, value in self._metadata.items()]),
            6: text(f"mlimages-dataset version {__version__}"),
            7: listed([struct({1: struct({})})] * 6),
        }
        encoded = struct(footer).encoded
        self._write(encoded + len(encoded).to_bytes(4, "little") + _MAGIC)

    def _write(self, content: bytes | pa.Buffer) -> int:
        """Write bytes, and return where they begin."""
        start = self._at
        self._sink.write(content)
        self._at += len(content)
        return start

    def _write_group(self, rows: pa.Table) -> None:
        written = [self._write_column(column) for column in _columns(rows)]
        chunks, sizes, packed = zip(*written, strict=True)
        self._groups.append(
            struct({1: listed(chunks), 2: int64(sum(sizes)), 3: int64(rows.num_rows), 6: int64(sum(packed))})
        )
        self._rows += rows.num_rows

    def _write_column(self, column: _Column) -> tuple[Value, int, int]:
        """Write a column, and return its place, its bytes before compression, and after."""
        start, size, encoded = self._at, 0, column.encoded
        fields: dict[int, Value] = {}
        if encoded.dictionary is not None:
            head = struct({1: int32(encoded.n_entries), 2: int32(PLAIN)})
            at, more = self._write_page(encoded.dictionary, {1: int32(_DICTIONARY_PAGE)}, {7: head})
            fields[11] = int64(at)
            size += more
        head = struct({1: int32(column.n_values), 2: int32(encoded.encoding), 3: int32(RLE), 4: int32(RLE)})
        at, more = self._write_page((*column.levels, *encoded.values), {1: int32(_DATA_PAGE)}, {5: head})
        size += more
        encodings = [PLAIN, RLE] if encoded.dictionary is None else [PLAIN, RLE, RLE_DICTIONARY]
        if column.statistics is not None:
            fields[12] = column.statistics
        place = {
            1: int32(column.kind),
            2: listed([int32(one) for one in encodings]),
            3: listed([text(name) for name in column.path]),
            4: int32(_ZSTD),
            5: int64(column.n_values),
            6: int64(size),
            7: int64(self._at - start),
            9: int64(at),
            **fields,
        }
        return struct({2: int64(0), 3: struct(place)}), size, self._at - start

    def _write_page(self, pieces: Pieces, first: dict[int, Value], last: dict[int, Value]) -> tuple[int, int]:
        """Write a page behind its head, and return where it begins and its bytes before compression."""
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if len(content) >= _PAGE_BYTES:
            raise DataError("holds a text or labels of one image of 2 GiB or more", remedy="leave that image out")
        packed = self._compressor.compress(content)
        # A checksum: zstd detects no flipped bit by itself.
        crc = zlib.crc32(packed)
        sizes = {2: int32(len(content)), 3: int32(len(packed)), 4: int32(crc - (crc >> 31 << 32))}
        head = struct({**first, **sizes, **last}).encoded
        at = self._write(head)
        self._write(packed)
        return at, len(head) + len(content)


def _groups(rows: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows in as few row groups as their pages may have."""
    if not rows.num_rows:
        return
    n_bytes = max(column.nbytes for column in rows.columns)
    if rows.num_rows > 1 and (rows.num_rows > _MOST_ROWS or n_bytes > _MOST_BYTES):
        half = rows.num_rows // 2
        yield from _groups(rows.slice(0, half))
        yield from _groups(rows.slice(half))
        return
    # Here and not before: Arrow leaves texts of more than 2 GiB in several chunks.
    yield rows.combine_chunks()


def _columns(rows: pa.Table) -> Iterator[_Column]:
    for name in _TEXTS:
        values = rows[name].chunk(0)
        bounds = _bounds_of_texts(values) if name == "image_id" else None
        yield _Column((name,), _BYTES, len(values), (), encoded_texts(values), bounds)
    labels = columns_of(rows["labels"].chunk(0))
    levels, n_values = levels_of(labels.offsets)
    origin = labels.origin.astype(np.uint32)
    origin.flags.writeable = False
    numbers = (
        ("class_index", _INT32, labels.class_index, labels.class_index.view(np.uint32)),
        ("confidence", _FLOAT, labels.confidence, labels.confidence.view(np.uint32)),
        ("origin", _INT32, origin, origin),
    )
    n_missing = n_values - len(origin)
    for name, kind, values, words in numbers:
        bounds = _bounds(values, n_missing)
        yield _Column((*_LABELS_PATH, name), kind, n_values, levels, encoded_words(words), bounds)


def _statistics(n_missing: int, least: bytes, greatest: bytes) -> Value:
    return struct({3: int64(n_missing), 5: data(greatest), 6: data(least)})


def _bounds(values: NDArray[Any], n_missing: int) -> Value | None:
    """Return the least and greatest number; none where there is none, or one is not a number."""
    if not len(values):
        return None
    least, greatest = values.min(), values.max()
    if least != least:  # noqa: PLR0124 - NaN
        return None
    # Parquet: a least zero is written as -0, a greatest one as 0.
    if values.dtype == np.float32:
        least, greatest = (least or np.float32(-0.0)), (greatest or np.float32(0.0))
    return _statistics(n_missing, least.tobytes(), greatest.tobytes())


def _bounds_of_texts(values: pa.StringArray) -> Value | None:
    """Return the least and greatest text in the order of their bytes; none where they are long."""
    least, greatest = (values[at].as_py().encode() for at in least_and_greatest(values))
    if max(len(least), len(greatest)) > _LONGEST_BOUND:
        return None
    return _statistics(0, least, greatest)


def _field(
    name: str,
    kind: int | None,
    *,
    repetition: int = _REQUIRED,
    children: int = 0,
    meaning: tuple[int, Value] | None = None,
) -> Value:
    """Return a field of the schema; `meaning` is the number of its converted type, and its logical type."""
    fields = {} if kind is None else {1: int32(kind)}
    fields |= {3: int32(repetition), 4: text(name)}
    if children:
        fields[5] = int32(children)
    if meaning is not None:
        fields |= {6: int32(meaning[0]), 10: meaning[1]}
    return struct(fields)


_TEXT = (0, struct({1: struct({})}))
_LIST = (3, struct({3: struct({})}))
_BYTE = (11, struct({10: struct({1: int8(8), 2: truth(is_so=False)})}))
_SCHEMA = [
    _field("schema", None, children=4),
    *(_field(name, _BYTES, meaning=_TEXT) for name in _TEXTS),
    _field("labels", None, children=1, meaning=_LIST),
    _field("list", None, repetition=_REPEATED, children=1),
    _field("element", None, children=len(LABEL)),
    _field("class_index", _INT32),
    _field("confidence", _FLOAT),
    _field("origin", _INT32, meaning=_BYTE),
]

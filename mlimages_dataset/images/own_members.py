"""The saved pictures of a folder of shards that we wrote, as members of a source: under their ids, not their keys."""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.core.locations import decoded_bytes, reason, unpacked
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.index import ImageIndex, image_parts, saved_rows, stored_picture
from mlimages_dataset.images.members import Member, held
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.sources.delimited import delimiter_of, has_padding, read_header
from mlimages_dataset.tables.arrays import arrow_of, numpy_of, texts
from mlimages_dataset.tables.confidences import of_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location

LABELS_FILE = "labels.csv"
"""The labels that the sources themselves state, for `mlimages-build annotate --format csv`."""
CAPTIONS_FILE = "captions.csv"
"""The captions beside pictures: the columns image_id and caption."""
LABELS_HEADER = ("image_id", "label", "confidence")
CAPTIONS_HEADER = ("image_id", "caption")
_WITHOUT_CONFIDENCE = 2
"""Columns that are read of a file that states none."""
_BLOCK_BYTES = 1 << 25
"""A line is at most so long; what stands beside a picture has at most half of it."""
_IMAGES = "images"
_LISTED = 3


def holds_own_images(folder: Location) -> bool:
    """Return whether we wrote a folder, and finished pictures into it."""
    try:
        return ImageIndex.recognises(folder) and bool(image_parts(folder))
    except (UsageError, DataError):  # another's manifest, or of another stage
        return False


def refuse_no_pictures(folder: Location) -> None:
    """Raise `UsageError` for a folder that we wrote and that is none of pictures: a build, labels, an export.

    Its figures and tables would be read as pictures and what belongs to them.
    """
    try:
        stages = read_manifest(folder).stages
    except (UsageError, DataError):  # it has none, or another's
        return
    if not stages:
        return
    if not holds_own_images(folder / _IMAGES):
        what = f"holds no pictures, but what mlimages-build wrote: {first_of(stages, _LISTED)}"
        raise UsageError(what, where=folder, remedy="name the folder, archive or shards of the pictures themselves")
    raise UsageError("is a build, not a folder of pictures", where=folder, remedy=f"name {folder / _IMAGES}")


def own_members(folder: Location, *, most_bytes: int) -> Iterator[Member]:
    """Yield the saved pictures of a folder that `images ingest` or `download` wrote, with what it states of them.

    Labels and captions are those of its own files. Without a file of labels, the id tells the class as a path does.

    Raises:
        UsageError: it holds no finished images.
        DataError: a table, a shard or a file of labels is damaged.
    """
    store = ImageIndex.open(folder)
    labels, captions = _Lines(store, LABELS_FILE, "label"), _Lines(store, CAPTIONS_FILE, "caption")
    rows = itertools.chain.from_iterable(saved_rows(folder / part) for part in image_parts(folder))
    for k, row in enumerate(rows):
        stated = labels.of(k)
        is_unread = any(math.isnan(confidence) for _, confidence in stated)
        yield Member(
            row["image_id"],
            functools.partial(_content, store, row, most_bytes),
            labels=None if labels.is_missing else tuple(one for one in stated if not math.isnan(one[1])),
            captions=tuple(text for text, _ in captions.of(k)),
            note=f"a confidence in {LABELS_FILE} is no number from 0 to 1" if is_unread else "",
            masks=tuple((tag, held(content)) for tag, content in store.masks(k).items()),
        )


def _content(store: ImageIndex, row: Mapping[str, Any], most_bytes: int) -> bytes | Inspection:
    if row["bytes"] > most_bytes:
        return Inspection(Status.TOO_LARGE, f"{row['bytes']:,} bytes, more than {most_bytes:,}")
    try:
        return stored_picture(store.reader, row)
    except DataError as error:
        return Inspection(Status.BROKEN, error.what)


class _Lines:
    """What a CSV file of a folder says of each picture.

    Attributes:
        is_missing: whether the folder has no such file.
    """

    def __init__(self, store: ImageIndex, name: str, said: str) -> None:
        path = store.folder / name
        self.is_missing = not path.is_file()
        found = [] if self.is_missing else [_known(batch, store) for batch in _batches(path, said)]
        self._numbers = np.concatenate([np.empty(0, np.int64), *(numbers for numbers, _, _ in found)])
        self._texts = pa.chunked_array([said_of for _, said_of, _ in found], pa.large_string()).combine_chunks()
        self._confidences = np.concatenate([np.empty(0, np.float32), *(stated for _, _, stated in found)])
        if np.any(self._numbers[1:] < self._numbers[:-1]):  # we write them in the order of the pictures
            order = np.argsort(self._numbers, kind="stable")
            self._numbers, self._confidences = self._numbers[order], self._confidences[order]
            self._texts = self._texts.take(arrow_of(order))

    def of(self, k: int) -> list[tuple[str, float]]:
        """Return texts and confidences of the lines of picture k; one that is no number from 0 to 1 is NaN."""
        first, end = np.searchsorted(self._numbers, [k, k + 1])
        return list(zip(self._texts[first:end].to_pylist(), self._confidences[first:end].tolist(), strict=True))


def _known(
    batch: pa.RecordBatch, store: ImageIndex
) -> tuple[NDArray[np.int64], pa.LargeStringArray, NDArray[np.float32]]:
    """Return the picture, the text and the confidence of those lines whose picture is in the store, shape (L,) each."""
    numbers = store.rows_of(batch.column(0))
    at = np.flatnonzero(numbers >= 0)  # a line of empty cells names no picture
    known = batch.take(arrow_of(at))
    confidences = np.ones(len(at), np.float32)
    if batch.num_columns > _WITHOUT_CONFIDENCE:
        confidences = numpy_of(of_texts(known.column(2)), null=np.nan)
    return numbers[at], known.column(1).cast(pa.large_string()), confidences


def _batches(path: Location, said: str) -> Iterator[pa.RecordBatch]:
    """Yield the columns image_id, `said` and, where there is one, confidence of a CSV file, as texts.

    It is read as a person may have saved it: with a byte-order mark, other separators, more columns, blank lines.

    Raises:
        DataError: it lacks a column, or is no CSV.
    """
    needed = {"image_id", said}
    delimiter = delimiter_of(path, lambda names: needed <= set(names))
    names = read_header(path, delimiter)
    if lacking := needed - set(names):
        raise DataError(f"has no column {min(lacking)}", where=path, line=1, remedy="name it there")
    columns = [name for name in ("image_id", said, "confidence") if name in names]
    is_padded = has_padding(path, delimiter)
    try:
        with (
            unpacked(path) as stream,
            arrow_csv.open_csv(
                stream,
                read_options=arrow_csv.ReadOptions(
                    block_size=_BLOCK_BYTES, column_names=names, skip_rows_after_names=1
                ),
                parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=columns, column_types=dict.fromkeys(columns, pa.binary())
                ),
            ) as batches,
        ):
            for batch in batches:
                cells = [_texts(column, is_padded=is_padded) for column in batch.columns]
                if delimiter == ";":  # whose decimals may have commas
                    cells[2:] = [pc.replace_substring(column, ",", ".") for column in cells[2:]]
                yield pa.RecordBatch.from_arrays(cells, names=columns)
    except (pa.ArrowException, OSError) as error:
        remedy = "correct that row, or obtain the folder again"
        raise DataError(f"cannot be read to its end as CSV ({reason(error)})", where=path, remedy=remedy) from error


def _texts(column: pa.BinaryArray, *, is_padded: bool) -> pa.StringArray:
    """Return cells as texts, without the blanks around them if that is how the file is written."""
    try:
        read = column.cast(pa.string())
    except pa.ArrowInvalid:  # not UTF-8, as spreadsheets save by default
        read = texts([decoded_bytes(cell) for cell in column.to_pylist()])
    return pc.utf8_trim_whitespace(read) if is_padded else read

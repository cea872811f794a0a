"""Hugging Face's Parquet files of pictures: the classes of each row; see `picture_tables` for the columns.

Boxes are in a column `objects`; see `picture_objects`.

The numbers of a `ClassLabel` stand for names, which are the ids of classes. `-1` and null say that a row has no label.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import as_text
from mlimages_dataset.sources.boxes import number_of, regions_of, statements_of
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.sources.picture_objects import size_of
from mlimages_dataset.sources.picture_tables import (
    PictureColumns,
    picture_columns,
    picture_tables,
    row_name,
    schema_of,
)
from mlimages_dataset.sources.pieces import Piece, group_ends
from mlimages_dataset.sources.rejects import LISTED_REJECTS, REJECT_CHARACTERS, Reject
from mlimages_dataset.sources.source import BatchSource, statements
from mlimages_dataset.tables.parquet import open_parquet, parquet_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.boxes import Instance
    from mlimages_dataset.sources.rejects import RejectLog

_BATCH_ROWS = 1 << 14
_BATCH_ROWS_OF_BOXES = 64
"""Few, because their pictures may be read with them."""
_BYTES_OF_ROW = 64
"""About as many as name and class of a row have."""


class HuggingFace(BatchSource):
    """Parquet files with pictures, or folders of them."""

    name: ClassVar[str] = "huggingface"
    takes_folders: ClassVar[bool] = True
    has_regions: ClassVar[bool] = True
    heeds: ClassVar[frozenset[str]] = frozenset({"box_order"})

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        piece = super().piece(path)
        if not path.is_dir():
            _columns(path)
        elif not picture_tables(path):
            raise UsageError(
                "there is no Parquet file with pictures in it", where=path, remedy="name the folder of train-*.parquet"
            )
        return piece

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`."""
        if not piece.path.is_dir():
            return _cut(piece)
        return [part for shard, _ in picture_tables(piece.path) for part in _cut(replace(piece, shard=shard))]

    def batches(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """See `BatchSource.batches`."""
        columns = _columns(piece.file)
        if columns.objects is not None:
            yield from statements_of(_instances(piece, columns), log)
        if columns.objects is None or columns.labels:
            yield from self._labels(piece, columns, log)

    def regions(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """See `Source.regions`."""
        columns = _columns(piece.file)
        if columns.objects is None:
            raise UsageError(
                "has no column of boxes",
                where=piece.file,
                remedy="give a column `objects` with the keys `bbox` (x, y, width, height) and `category`",
            )
        yield from regions_of(_instances(piece, columns), log)

    def _labels(self, piece: Piece, columns: PictureColumns, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """Yield the statements of the column of classes."""
        with parquet_errors(piece.file), open_parquet(piece.file) as parquet:
            groups = range(parquet.num_row_groups)[piece.start : piece.stop]
            first = sum(parquet.metadata.row_group(group).num_rows for group in range(piece.start))
            wanted = list(dict.fromkeys([*columns.names, *columns.of_classes]))
            for batch in parquet.iter_batches(
                _BATCH_ROWS, row_groups=list(groups), columns=list(dict.fromkeys(wanted))
            ):
                yield _statements(batch, columns, piece, first, log)
                first += batch.num_rows


def _instances(piece: Piece, columns: PictureColumns) -> Iterator[Instance]:
    """Yield what the column of boxes states of each row. Pictures are read only where no column has their sizes."""
    assert columns.objects is not None
    objects = columns.objects.ordered(piece.layout.box_order)
    sizes = ["width", "height"] if objects.sized else [columns.content]
    wanted = list(dict.fromkeys([*columns.names, objects.name, *sizes]))
    with parquet_errors(piece.file), open_parquet(piece.file, buffered=True) as parquet:
        groups = list(range(parquet.num_row_groups)[piece.start : piece.stop])
        first = sum(parquet.metadata.row_group(group).num_rows for group in range(piece.start))
        for batch in parquet.iter_batches(_BATCH_ROWS_OF_BOXES, row_groups=groups, columns=wanted):
            names = columns.names_of(batch)
            values = batch.column(objects.name).to_pylist()
            for row, (name, value) in enumerate(zip(names, values, strict=True)):
                image = row_name(piece.name, first + row, name)
                yield from objects.instances(value, image, _size(batch, columns, row), as_text(str(piece.file)))
            first += batch.num_rows


def _size(batch: pa.RecordBatch, columns: PictureColumns, row: int) -> tuple[float, float]:
    """Return width and height of a row's picture, NaN where nobody knows them."""
    if columns.objects is not None and columns.objects.sized:
        width, height = (number_of(batch.column(side)[row].as_py()) for side in ("width", "height"))
        return width, height
    content = batch.column(columns.image)[row].as_py()
    return size_of(content["bytes"] if isinstance(content, dict) else content)


def huggingface_classes(path: Location) -> list[SourceClass]:
    """Return the classes that the metadata of a file, or of a folder's files, name.

    Raises:
        UsageError: the folder has no file of pictures.
        DataError: a file is damaged or names no classes, or two of a folder name different ones.
    """
    files = [file for _, file in picture_tables(path)] if path.is_dir() else [path]
    if not files:
        raise UsageError("there is no Parquet file with pictures in it", where=path, remedy="name a class list")
    first, *others = (_class_names(file) for file in files)
    if not first:
        raise DataError("its metadata name no classes", where=files[0], remedy="give a class list: columns id and name")
    for file, names in zip(files[1:], others, strict=True):
        if names != first:
            raise DataError(f"has other classes than {files[0].name}", where=file, remedy="name one of the files")
    return [SourceClass(name, name) for name in first]


def _class_names(path: Location) -> tuple[str, ...]:
    """Return the names of the classes of a file's rows, or else of its boxes."""
    columns = _columns(path)
    return columns.class_names or (columns.objects.class_names if columns.objects is not None else ())


def _columns(path: Location) -> PictureColumns:
    columns = picture_columns(schema_of(path), path)
    if columns is None:
        raise DataError(
            "has no column of pictures", where=path, remedy="give a column `image` of bytes, or use --format parquet"
        )
    return columns


def _cut(piece: Piece) -> list[Piece]:
    """Return the pieces of a file, by rows: of the pictures, which are nearly all of its bytes, nothing is read."""
    with parquet_errors(piece.file), open_parquet(piece.file) as parquet:
        groups = map(parquet.metadata.row_group, range(parquet.num_row_groups))
        sizes = [group.num_rows * _BYTES_OF_ROW for group in groups]
    return piece.cut_at(group_ends(sizes))


def _statements(
    batch: pa.RecordBatch, columns: PictureColumns, piece: Piece, first: int, log: RejectLog
) -> pa.RecordBatch:
    """Return what the rows of a batch state."""
    names = columns.names_of(batch)
    images = [row_name(piece.name, row, name) for row, name in enumerate(names, first)]
    rows: list[tuple[str, str]] = []
    for image, classes in zip(images, columns.classes_of(batch, names), strict=True):
        if isinstance(classes, ValueError) or classes is None:
            what = "it has no label" if classes is None else str(classes)
            rejects = [Reject(as_text(str(piece.file)), 0, what, image[:REJECT_CHARACTERS])]
            log.add(rejects if log.count < LISTED_REJECTS else [], 1)
        else:
            rows += [(image, one) for one in classes]
    named = pa.array([image for image, _ in rows], pa.string())
    return statements(named, pa.array([one for _, one in rows], pa.string()), named)

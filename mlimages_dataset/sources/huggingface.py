"""Hugging Face's Parquet files of pictures: the classes of each row; see `picture_tables` for the columns.

The numbers of a `ClassLabel` stand for names, which are the ids of classes. `-1` and null say that a row has no label.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import as_text
from mlimages_dataset.sources.classes import SourceClass
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
    from mlimages_dataset.sources.rejects import RejectLog

_BATCH_ROWS = 1 << 14
_BYTES_OF_ROW = 64
"""About as many as name and class of a row have."""


class HuggingFace(BatchSource):
    """Parquet files with pictures, or folders of them."""

    name: ClassVar[str] = "huggingface"
    takes_folders: ClassVar[bool] = True

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
        with parquet_errors(piece.file), open_parquet(piece.file) as parquet:
            groups = range(parquet.num_row_groups)[piece.start : piece.stop]
            first = sum(parquet.metadata.row_group(group).num_rows for group in range(piece.start))
            wanted = list(dict.fromkeys([*columns.names, *([columns.labels] if columns.labels else [])]))
            for batch in parquet.iter_batches(
                _BATCH_ROWS, row_groups=list(groups), columns=list(dict.fromkeys(wanted))
            ):
                yield _statements(batch, columns, piece, first, log)
                first += batch.num_rows


def huggingface_classes(path: Location) -> list[SourceClass]:
    """Return the classes that the metadata of a file, or of a folder's files, name.

    Raises:
        UsageError: the folder has no file of pictures.
        DataError: a file is damaged or names no classes, or two of a folder name different ones.
    """
    files = [file for _, file in picture_tables(path)] if path.is_dir() else [path]
    if not files:
        raise UsageError("there is no Parquet file with pictures in it", where=path, remedy="name a class list")
    first, *others = (_columns(file).class_names for file in files)
    if not first:
        raise DataError("its metadata name no classes", where=files[0], remedy="give a class list: columns id and name")
    for file, names in zip(files[1:], others, strict=True):
        if names != first:
            raise DataError(f"has other classes than {files[0].name}", where=file, remedy="name one of the files")
    return [SourceClass(name, name) for name in first]


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

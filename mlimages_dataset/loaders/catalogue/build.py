"""Making a catalogue: the rows of a label table joined with the pictures of image stores.

Legend: N rows, L labels of all of them, C classes.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa

from mlimages_dataset.core.ahead import ahead
from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.loaders.catalogue import layout
from mlimages_dataset.tables.batches import label_batches
from mlimages_dataset.tables.label_columns import LabelColumns, array_of, columns_of
from mlimages_dataset.tables.parquet import mapped_table, mapped_writer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.store import Finder, ImageStore

_Number = TypeVar("_Number", bound=np.generic)

_PICTURE_BITS = 40


def write_catalogue(
    folder: Path, stores: Sequence[ImageStore], parts: Sequence[Location], n_classes: int, scratch: Path
) -> None:
    """Write the files of a catalogue.

    Args:
        folder: where they go.
        stores: where pictures are looked for, in this order.
        parts: the parts of a label table.
        n_classes: C.
        scratch: a folder for intermediate files.

    Raises:
        UsageError: no labelled image has a picture, or several have the id of one.
        DataError, SchemaError: a table is damaged or of another schema, or a class index is not below C.
    """
    finders = [store.finder() for store in stores]
    found = _found_rows(finders, parts, n_classes, scratch)
    if not found.keys.size:
        raise UsageError(
            f"none of {found.without_picture:,} labelled images has a picture in "
            f"{', '.join(str(store.folder) for store in stores)}",
            where=parts[0].parent,
            remedy="name the folder that mlimages-build images wrote for these labels, or one that holds the files "
            "of their columns location or image_id",
        )
    for number, finder in enumerate(finders):
        finder.save(folder / layout.store_file(number))
    sizes = _write_rows(folder / layout.ROWS_FILE, found, n_classes)
    _write_rows_of_class(folder, sizes)


@dataclass(frozen=True, slots=True)
class _Found:
    """The rows of a label table that have a picture, in its order, and their labels in scratch files.

    Attributes:
        keys: what the rows are ordered by, folder << `_PICTURE_BITS` | picture, int64, shape (N,).
        source: int16, shape (N,).
        starts: where the labels of each row begin, and the end, int64, shape (N + 1,).
        labels: the columns class_index, confidence and origin, each shape (L,), mapped.
        sources: the names of the sources.
        without_picture: rows of the table that have no picture.
    """

    keys: NDArray[np.int64]
    source: NDArray[np.int16]
    starts: NDArray[np.int64]
    labels: tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8]]
    sources: tuple[str, ...]
    without_picture: int


def _found_rows(finders: Sequence[Finder], parts: Sequence[Location], n_classes: int, scratch: Path) -> _Found:
    """Return the rows of a label table's parts that have a picture; their labels are written to `scratch`."""
    sources: dict[str, int] = {}
    keys, source, sizes = [np.zeros(0, np.int64)], [np.zeros(0, np.int16)], [np.zeros(0, np.int32)]
    n_rows = 0
    names = [scratch / name for name in ("class_index", "confidence", "origin")]
    with contextlib.ExitStack() as stack:
        sinks = [stack.enter_context(name.open("wb")) for name in names]
        for batch, labels in ahead(pair for part in parts for pair in label_batches(part, n_classes)):
            folder, picture = _located(batch, finders)
            there = folder >= 0
            keys.append((folder[there] << _PICTURE_BITS) + picture[there])
            source.append(_numbers(batch.column("source"), sources)[there])
            of_row = np.diff(labels.offsets)
            sizes.append(of_row[there])
            kept = labels if there.all() else labels.only(np.repeat(there, of_row))
            kept.class_index.tofile(sinks[0])
            kept.confidence.tofile(sinks[1])
            kept.origin.tofile(sinks[2])
            n_rows += batch.num_rows
    columns = (_mapped(names[0], np.int32), _mapped(names[1], np.float32), _mapped(names[2], np.uint8))
    return _Found(
        keys=np.concatenate(keys),
        source=np.concatenate(source),
        starts=np.concatenate(([0], np.cumsum(np.concatenate(sizes), dtype=np.int64))),
        labels=columns,
        sources=tuple(sources),
        without_picture=n_rows - sum(map(len, keys)),
    )


def _located(batch: pa.RecordBatch, finders: Sequence[Finder]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first store that has each row's picture, and the picture's number there; -1 for none."""
    folder, picture = np.full((2, batch.num_rows), -1, np.int64)
    for number, finder in enumerate(finders):
        rows = np.flatnonzero(folder < 0)
        left = batch.select(["image_id", "location"])
        numbers = finder.find(*(left if len(rows) == len(folder) else left.take(pa.array(rows))).columns)
        found = numbers >= 0
        folder[rows[found]] = number
        picture[rows[found]] = numbers[found]
    return folder, picture


def _numbers(names: pa.StringArray, known: dict[str, int]) -> NDArray[np.int16]:
    """Return the number of each name; new names get the next numbers."""
    encoded = names.dictionary_encode()
    numbers = np.array([known.setdefault(name, len(known)) for name in encoded.dictionary.to_pylist()], np.int16)
    return np.asarray(numbers[encoded.indices.to_numpy()])


def _mapped(path: Path, kind: type[_Number]) -> NDArray[_Number]:
    # A file of no bytes cannot be mapped.
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)


def _write_rows(path: Path, found: _Found, n_classes: int) -> NDArray[np.int64]:
    """Write the rows in the order of their pictures, and return how many have each class, shape (C,)."""
    order = np.argsort(found.keys, kind="stable")
    facts = layout.Facts(n_classes, found.sources, len(order), int(found.starts[-1]), found.without_picture)
    sizes = np.zeros(n_classes, np.int64)
    schema = layout.ROWS.with_metadata({layout.FACTS_KEY: json.dumps(asdict(facts)).encode()})
    with mapped_writer(path, schema) as writer:
        for start in range(0, len(order), layout.BLOCK_ROWS):
            rows = order[start : start + layout.BLOCK_ROWS]
            labels = _labels_of(found, rows)
            sizes += np.bincount(labels.class_index[labels.confidence > 0], minlength=n_classes)
            writer.write_batch(_batch(found, rows, labels, schema))
    return sizes


def _labels_of(found: _Found, rows: NDArray[np.int64]) -> LabelColumns:
    starts, sizes = found.starts[rows], found.starts[rows + 1] - found.starts[rows]
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    at: slice | NDArray[np.int64]
    if (np.diff(rows) == 1).all():  # as where pictures were packed in the order of the table
        at = slice(int(starts[0]), int(starts[0] + offsets[-1]))
    else:
        at = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
    class_index, confidence, origin = found.labels
    return LabelColumns(offsets.astype(np.int32), class_index[at], confidence[at], origin[at])


def _batch(found: _Found, rows: NDArray[np.int64], labels: LabelColumns, schema: pa.Schema) -> pa.RecordBatch:
    folder, picture = found.keys[rows] >> _PICTURE_BITS, found.keys[rows] & ((1 << _PICTURE_BITS) - 1)
    columns = [
        pa.array(folder.astype(np.int16)),
        pa.array(picture.astype(np.int32)),
        pa.array(found.source[rows]),
        array_of(labels),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _write_rows_of_class(folder: Path, sizes: NDArray[np.int64]) -> None:
    """Write in which rows each class is present: each block's rows go behind those of the blocks before it."""
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    np.save(folder / layout.CLASSES_FILE, offsets)
    path = folder / layout.ROWS_OF_CLASS_FILE
    rows_of_class = np.lib.format.open_memmap(path, "w+", np.int32, (int(offsets[-1]),)) if offsets[-1] else None
    if rows_of_class is None:
        np.save(path, np.zeros(0, np.int32))
        return
    ends = offsets[:-1].copy()
    first = 0
    for batch in mapped_table(folder / layout.ROWS_FILE).to_batches():
        labels = columns_of(batch.column("labels"))
        append_rows(labels.offsets, labels.class_index, labels.confidence, first, ends, rows_of_class)
        first += batch.num_rows
    rows_of_class.flush()


@compiled
def append_rows(  # noqa: PLR0917 - compiled code takes no keywords
    offsets: NDArray[np.int32],
    class_index: NDArray[np.int32],
    confidence: NDArray[np.float32],
    first: int,
    ends: NDArray[np.int64],
    rows_of_class: NDArray[np.int32],
) -> None:
    """Write the rows of a block behind those that each class has so far, at `ends`, which move on."""
    for row in range(len(offsets) - 1):
        for k in range(offsets[row], offsets[row + 1]):
            if confidence[k] > 0:
                c = class_index[k]
                rows_of_class[ends[c]] = first + row
                ends[c] += 1

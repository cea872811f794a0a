"""Counts the images of each class in files, before any vocabulary.

Pieces note the class and the image of each statement by the hash of the image, and the notes of equal hashes are
counted together. An image is known by two salted 64-bit hashes of its id, which differ for different images: of a
billion images, two have both alike with a probability of 10^-21. The salts are new in each run, so nobody can choose
such ids.
"""

from __future__ import annotations

import functools
import itertools
import secrets
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import csv

from mlimages_dataset.augment.annotations import raw_classes
from mlimages_dataset.augment.runs import absolute_pieces, connection_if_needed, scratch_folder
from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.pipeline.engine import in_threads
from mlimages_dataset.sources.delimited import DelimitedSource
from mlimages_dataset.sources.inputs import files_of
from mlimages_dataset.sources.pieces import is_packed
from mlimages_dataset.sources.registry import source_named
from mlimages_dataset.sources.rejects import RejectLog, joined_rejects
from mlimages_dataset.tables.files import PARTIAL_PREFIX, Receipt, write_bytes
from mlimages_dataset.tables.parquet import mapped_batch, mapped_writer, write_table
from mlimages_dataset.tables.schemas import CLASS_COUNTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.sources.layout import Layout
    from mlimages_dataset.sources.pieces import Piece

_BUCKET_BYTES = 1 << 27
"""Bytes of files whose images are counted at once: 3 million rows of Open Images' labels, 200 MB of memory."""
_PACKED = 6
"""About how many times larger a compressed file is than it looks."""
_NOTES = pa.schema(
    [
        pa.field("first", pa.uint64()),
        pa.field("second", pa.uint64()),
        pa.field("class", pa.int32()),
        pa.field("name", pa.string()),
    ]
)
"""The hashes of an image and the number of a class among the names, which the last batch has."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A written table of images per class: its receipt, the number of classes, and rows that cannot be used."""

    receipt: Receipt
    classes: int
    rejects: RejectLog


def tally(
    form: str,
    files: Sequence[Location],
    source: str,
    out: Location,
    *,
    layout: Layout | None = None,
    overwrite: bool = False,
    mapper: Mapper = map,
) -> Tally:
    """Write the number of images of each class of a source, as CSV or Parquet by the suffix of `out`.

    Args:
        form: the files' format.
        files: as `files_of` takes them.
        source: the name of the collection.
        out: the table to write.
        layout: what the user states of the files, if anything.
        overwrite: replace the table if it is there.
        mapper: runs parts.

    Raises:
        UsageError, DataError: as `pieces_of` and `Source.observe`; or there is no class at all.
        UsageError: `out` is an input, or exists and `overwrite` is not set.
    """
    files = files_of(form, files)
    if any(out.absolute() == path.absolute() for path in files):
        raise UsageError("is an input", where=out, remedy="name another file for --out")
    if out.suffix not in {".csv", ".parquet"}:
        raise UsageError("is neither .csv nor .parquet", where=out, remedy="give the table one of these suffixes")
    if out.exists() and not overwrite:
        raise UsageError("is there already", where=out, remedy="name another file, or pass --overwrite to replace it")
    counted, rejects = images_of_classes(form, files, out, layout=layout, mapper=mapper)
    classes = sorted(counted)
    columns = {"source": [source] * len(classes), "source_id": classes, "images": [counted[name] for name in classes]}
    table = pa.table(columns, schema=CLASS_COUNTS.arrow)
    if out.suffix == ".parquet":
        receipt = write_table(out, table, CLASS_COUNTS, {})
    else:
        sink = pa.BufferOutputStream()
        csv.write_csv(table, sink)
        receipt = write_bytes(out, sink.getvalue().to_pybytes(), schema=CLASS_COUNTS.label)
    return Tally(receipt, len(classes), rejects)


def images_of_classes(
    form: str,
    files: Sequence[Location],
    out: Location,
    *,
    layout: Layout | None = None,
    absent: bool = False,
    mapper: Mapper = map,
) -> tuple[Counter[str], RejectLog]:
    """Return the number of images of each class of a source, and the rows that cannot be used.

    Args:
        form: the files' format.
        files: the files themselves.
        out: a path, beside which there is room for a while.
        layout: what the user states of the files, if anything.
        absent: count also the images that are said to lack a class.
        mapper: runs parts.

    Raises:
        UsageError, DataError: as `tally`.
    """
    pieces = [piece for piece in absolute_pieces(form, files, mapper, layout) if piece.states]
    if isinstance(source_named(form), DelimitedSource):
        mapper = in_threads(mapper)  # DuckDB reads them without the interpreter's lock
    n_buckets = 1 + sum(map(_bytes_of, pieces)) // _BUCKET_BYTES
    counted: Counter[str] = Counter()
    with scratch_folder(out) as scratch:
        salts = (secrets.token_hex(8), secrets.token_hex(8))
        note = functools.partial(_note_classes, form=form, out=scratch, salts=salts, n_buckets=n_buckets, absent=absent)
        found = list(mapper(note, enumerate(pieces)))
        rejects = joined_rejects((piece.start, log) for piece, (_, log) in zip(pieces, found, strict=True))
        notes = tuple(path for paths, _ in found for path in paths)
        if notes:
            for of_bucket in mapper(functools.partial(_count_classes, notes=notes), range(n_buckets)):
                counted.update(of_bucket)
    if not counted:
        first = next((f", the first is {row}" for row in (*rejects.first, *rejects.malformed)), "")
        raise DataError(
            f"no image of any class ({rejects.count + rejects.n_malformed:,} malformed rows{first})",
            where=files[0],
            remedy="check the format",
        )
    return counted, rejects


def _bytes_of(piece: Piece) -> int:
    if piece.stop is not None:
        return piece.stop - piece.start
    size = piece.file.stat().st_size if piece.file.is_file() else 0
    return size * _PACKED if is_packed(piece.file) else size


def _note_classes(
    numbered: tuple[int, Piece], *, form: str, out: Location, salts: tuple[str, str], n_buckets: int, absent: bool
) -> tuple[tuple[Location, ...], RejectLog]:
    """Write the classes of a numbered piece's images, one file per block, and return the files and the rejects.

    A file has a batch for each bucket of images, and one with the names of the classes.
    """
    number, piece = numbered
    rejects = RejectLog()
    written: list[Location] = []
    with connection_if_needed(out, piece.path) as connect:
        for block in source_named(form).observe(connect, piece, rejects):
            path = out / f"{PARTIAL_PREFIX}note-{number:05d}-{len(written):05d}"
            images, classes = raw_classes(block, piece, rejects, absent=absent)
            if len(images):
                _write_notes(path, images, classes, salts, n_buckets)
                written.append(path)
    return tuple(written), rejects


def _write_notes(
    path: Location,
    images: pa.StringArray | pa.DictionaryArray,
    classes: pa.DictionaryArray,
    salts: tuple[str, str],
    n_buckets: int,
) -> None:
    if isinstance(images, pa.DictionaryArray):
        first, second = (draws_of(images.dictionary, salt)[images.indices.to_numpy()] for salt in salts)
    else:
        first, second = (draws_of(images, salt) for salt in salts)
    buckets = (first % np.uint64(n_buckets)).astype(np.uint16 if n_buckets < 1 << 16 else np.uint64)
    order = np.argsort(buckets, kind="stable")
    columns = [pa.array(column[order]) for column in (first, second, classes.indices.to_numpy())]
    rows = pa.record_batch(columns, schema=_NOTES.remove(3))
    ends = np.cumsum(np.bincount(buckets.astype(np.int64), minlength=n_buckets)).tolist()
    with mapped_writer(path, _NOTES, lasting=False) as writer:
        for start, end in itertools.pairwise([0, *ends]):
            batch = rows.slice(start, end - start)
            writer.write_batch(batch.append_column(_NOTES.field(3), pa.nulls(len(batch), pa.string())))
        names = classes.dictionary
        nothing = [pa.nulls(len(names), field.type) for field in list(_NOTES)[:3]]
        writer.write_batch(pa.record_batch([*nothing, names], schema=_NOTES))


def _count_classes(bucket: int, *, notes: tuple[Location, ...]) -> dict[str, int]:
    """Return how many images of a bucket have each class."""
    names = [mapped_batch(path, -1).column(3) for path in notes]
    every = pa.concat_arrays(names).dictionary_encode()
    codes = np.split(every.indices.to_numpy(), np.cumsum([len(some) for some in names])[:-1])
    batches = [mapped_batch(path, bucket) for path in notes]
    first, second = (np.concatenate([batch.column(x).to_numpy() for batch in batches]) for x in (0, 1))
    classes = np.concatenate([code[batch.column(2).to_numpy()] for code, batch in zip(codes, batches, strict=True)])
    counts = np.zeros(len(every.dictionary), np.int64)
    _count_distinct(first, second, classes, np.full(1 << (2 * len(first)).bit_length(), -1, np.int32), counts)
    found = np.flatnonzero(counts)
    return dict(zip(every.dictionary.take(pa.array(found)).to_pylist(), counts[found].tolist(), strict=True))


@compiled
def _count_distinct(
    first: NDArray[np.uint64],
    second: NDArray[np.uint64],
    classes: NDArray[np.int32],
    slots: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> None:
    last = np.int64(len(slots) - 1)
    for row in range(len(first)):
        mixed = (second[row] + np.uint64(classes[row])) * np.uint64(0x9E3779B97F4A7C15)
        slot = np.int64((mixed >> np.uint64(20)) & np.uint64(last))
        while slots[slot] >= 0:
            other = slots[slot]
            if second[other] == second[row] and first[other] == first[row] and classes[other] == classes[row]:
                break
            slot = (slot + 1) & last
        if slots[slot] < 0:
            slots[slot] = row
            counts[classes[row]] += 1

"""Counts the images of each class in files, before any vocabulary: the runs of the pieces, merged by range."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import csv

from mlimages_dataset.augment.annotations import RAW_CLASSES, images_per_class, raw_classes
from mlimages_dataset.augment.runs import absolute_pieces, duckdb_connection, ranges_of, scratch_folder, sorted_runs
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.sources.inputs import files_of
from mlimages_dataset.sources.rejects import RejectLog, joined_rejects
from mlimages_dataset.tables.files import Receipt, write_bytes
from mlimages_dataset.tables.parquet import read_range, write_table
from mlimages_dataset.tables.schemas import CLASS_COUNTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.augment.runs import Runs
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.sources.layout import Layout
    from mlimages_dataset.sources.pieces import Piece


@dataclass(frozen=True, slots=True)
class Tally:
    """A written table of images per class: its receipt, the number of classes, and the rejected rows."""

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
    form: str, files: Sequence[Location], out: Location, *, layout: Layout | None = None, mapper: Mapper = map
) -> tuple[Counter[str], RejectLog]:
    """Return the number of images of each class of a source, and the rejected rows.

    Args:
        form: the files' format.
        files: the files themselves.
        out: a path, beside which there is room for a while.
        layout: what the user states of the files, if anything.
        mapper: runs parts.

    Raises:
        UsageError, DataError: as `tally`.
    """
    pieces = [piece for piece in absolute_pieces(form, files, mapper, layout) if piece.states]
    counted: Counter[str] = Counter()
    with scratch_folder(out) as scratch:
        sort = functools.partial(_sort_classes, form=form, out=scratch)
        found = list(mapper(sort, enumerate(pieces)))
        rejects = joined_rejects((piece.start, one.rejects) for piece, one in zip(pieces, found, strict=True))
        runs = tuple(run.path for one in found for run in one.receipts)
        for of_range in mapper(functools.partial(_count_classes, runs=runs), ranges_of(found)):
            counted.update(of_range)
    if not counted:
        raise DataError(
            f"no image of any class ({rejects.count:,} malformed rows)", where=files[0], remedy="check the format"
        )
    return counted, rejects


def _sort_classes(numbered: tuple[int, Piece], *, form: str, out: Location) -> Runs:
    """Write the classes of a numbered piece's images, one run per block."""
    return sorted_runs(numbered, form, out, RAW_CLASSES, lambda block: raw_classes(block, numbered[1]))


def _count_classes(bounds: tuple[str, str], *, runs: tuple[Location, ...]) -> dict[str, int]:
    """Return how many images of a range have each class."""
    first, below = bounds
    with duckdb_connection(runs[0].parent) as connection:
        return images_per_class(connection, read_range(runs, RAW_CLASSES, "image_id", first, below), below)

"""The first of two passes over annotation files: each piece is grouped by image and written as runs.

Runs are sorted by image id. Then the ids are divided into ranges, and the second pass merges each range from all runs.
The contents of runs, ranges and parts of the table depend on the files only, so every engine writes the same bytes; and
no job holds more than a piece or a range.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import operator
import secrets
import tempfile
from collections import Counter
from collections.abc import Mapping  # noqa: TC003 - the decoder reads it
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from mlimages_dataset.augment.ranges import ImageSample
from mlimages_dataset.core.locations import remove_folder
from mlimages_dataset.sources.delimited import duckdb_errors
from mlimages_dataset.sources.registry import pieces_of, source_named
from mlimages_dataset.sources.rejects import RejectLog
from mlimages_dataset.tables.files import PARTIAL_PREFIX, Receipt, write_errors
from mlimages_dataset.tables.parquet import table_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.sources.layout import Layout
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.tables.schemas import TableSchema

PART_IMAGES = 1 << 19
DUCKDB_MEMORY = "1GB"
"""Memory limit of DuckDB in a job; beyond it, DuckDB writes intermediate results to the disk."""
KEPT_UNKNOWN = 1000
"""Unknown classes kept per run, those with the most statements: files in the wrong format have millions."""
_RUN_COMPRESSION = "lz4"
"""Compression of files that are read once and removed: faster than that of tables; 0.5 GB for 3 GB of CSV, not 0.3."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The result of the first pass over a piece.

    Attributes:
        receipts: the receipts of its runs.
        sample: the sample of their images.
        rejects: rows that violate the format.
        unknown: numbers of statements by unknown class.
    """

    receipts: tuple[Receipt, ...]
    sample: ImageSample
    rejects: RejectLog
    unknown: Mapping[str, int]


def absolute_pieces(form: str, files: Sequence[Location], mapper: Mapper, layout: Layout | None = None) -> list[Piece]:
    """Return the pieces of files by absolute paths: the workers of an engine may have other working folders."""
    if layout is not None and layout.synsets is not None:
        layout = replace(layout, synsets=layout.synsets.absolute())
    return pieces_of(form, [path.absolute() for path in files], mapper, layout)


def ranges_of(found: Sequence[Runs]) -> list[tuple[str, str]]:
    """Return half-open ranges of image ids with about `PART_IMAGES` images each."""
    return functools.reduce(operator.add, (one.sample for one in found), ImageSample()).ranges(PART_IMAGES)


def sorted_runs(
    numbered: tuple[int, Piece],
    form: str,
    out: Location,
    schema: TableSchema,
    query: Callable[[duckdb.DuckDBPyConnection], Iterable[pa.RecordBatch]],
) -> Runs:
    """Write the result of a query on each block of a piece as a run, and return the runs."""
    number, piece = numbered
    runs: list[Receipt] = []
    sample, rejects, unknown = ImageSample(), RejectLog(), Counter[str]()
    with duckdb_connection(out, piece.path) as connection:
        for block in source_named(form).observe(connection, piece, rejects):
            path = out / f"{PARTIAL_PREFIX}run-{number:05d}-{len(runs):05d}"
            ids, of_run = [], Counter[str]()
            with table_writer(path, schema, {}, compression=_RUN_COMPRESSION) as writer:
                for batch in query(block):
                    writer.write(batch.select(schema.arrow.names))
                    ids.append(batch.column("image_id"))
                    if "unknown" in batch.schema.names:
                        of_run.update(_counted(batch.column("unknown").flatten()))
            assert writer.receipt is not None
            runs.append(writer.receipt)
            unknown.update(dict(most_frequent(of_run, KEPT_UNKNOWN)))
            # A location alone does not make an image.
            sample += ImageSample.of(pa.concat_arrays(ids)) if ids and piece.states else ImageSample()
    return Runs(tuple(runs), sample, rejects, unknown)


def _counted(names: pa.StringArray) -> dict[str, int]:
    found = names.value_counts()
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))


def most_frequent(counts: Mapping[str, int], most: int) -> list[tuple[str, int]]:
    """Return the `most` things with the highest counts, the highest first."""
    return heapq.nsmallest(most, counts.items(), key=lambda item: (-item[1], item[0]))


@contextlib.contextmanager
def duckdb_connection(out: Location, where: Location | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a DuckDB connection with one thread, like a job, and a scratch folder beside the output.

    Errors name the input `where`.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(duckdb_errors(where))
        if isinstance(out, Path):
            scratch = out / f"{PARTIAL_PREFIX}duckdb-{secrets.token_hex(4)}"
            stack.callback(remove_folder, scratch)
            with write_errors(out):
                out.mkdir(parents=True, exist_ok=True)  # DuckDB creates only the last folder of a path
        else:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        connection = stack.enter_context(duckdb.connect())
        scratch_text = str(scratch).replace("'", "''")
        connection.execute(f"SET memory_limit = '{DUCKDB_MEMORY}'; SET threads = 1; SET enable_progress_bar = false")
        connection.execute(f"SET temp_directory = '{scratch_text}'")
        yield connection


@contextlib.contextmanager
def scratch_folder(out: Location) -> Iterator[Location]:
    """Yield an empty folder beside the file that will be written, and remove it at the end."""
    folder = out.absolute().parent / f"{PARTIAL_PREFIX}{out.name}-runs"
    _remove_folder(folder)
    try:
        yield folder
    finally:
        _remove_folder(folder)


def _remove_folder(folder: Location) -> None:
    if isinstance(folder, Path):
        remove_folder(folder)
    else:
        remove(folder.glob("*"))


def remove(files: Iterable[Location]) -> None:
    """Remove those of the files that exist."""
    for path in list(files):
        path.unlink(missing_ok=True)

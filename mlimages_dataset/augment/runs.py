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
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import pyarrow as pa

from mlimages_dataset.augment.ranges import ImageSample
from mlimages_dataset.core.ahead import ahead
from mlimages_dataset.core.locations import remove_folder
from mlimages_dataset.pipeline.engine import in_threads
from mlimages_dataset.sources.delimited import DelimitedSource
from mlimages_dataset.sources.registry import pieces_of, source_named
from mlimages_dataset.sources.rejects import RejectLog, joined_rejects
from mlimages_dataset.tables.database import database, hear_interrupts
from mlimages_dataset.tables.files import PARTIAL_PREFIX, Receipt, write_errors
from mlimages_dataset.tables.parquet import table_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import duckdb

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.sources.layout import Layout
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.source import Connect, Shown
    from mlimages_dataset.tables.schemas import TableSchema

PART_IMAGES = 1 << 19
DUCKDB_MEMORY = "1GB"
"""Memory limit of DuckDB in a job; beyond it, DuckDB writes intermediate results to the disk."""
KEPT_UNKNOWN = 1000
"""Unknown classes kept per run, those with the most statements: files in the wrong format have millions."""


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


class PartResult(Protocol):
    """What the second pass made of a range of images."""

    @property
    def counts(self) -> ImageCounts:
        """What became of the range's rows."""


class ImageCounts(Protocol):
    """Counts of which one is of images."""

    @property
    def images(self) -> int:
        """How many images there are."""


_Result = TypeVar("_Result", bound=PartResult)


@dataclass(frozen=True, slots=True)
class Passes(Generic[_Result]):
    """What two passes over files made.

    Attributes:
        results: of each range, in their order.
        rejects: rows that the format does not allow, with the lines of their files.
        unknown: statements by unknown class.
    """

    results: list[_Result]
    rejects: RejectLog
    unknown: Counter[str]


def two_passes(
    pieces: Sequence[Piece],
    at: Workplace,
    sort: Callable[[tuple[int, Piece]], Runs],
    merge: Callable[..., _Result],
    *,
    range_images: int | None = None,
) -> Passes[_Result]:
    """Sort numbered pieces into runs, and merge numbered ranges of images of all runs.

    Args:
        pieces: of the files.
        at: where to write.
        sort: makes the runs of a piece.
        merge: makes the part of a range, given as its number and bounds, from all `runs`.
        range_images: images of a range; `PART_IMAGES` where nothing is said.
    """
    found: list[Runs] = []
    results: list[_Result] = []
    try:
        found += at.engine.mapper(sort, enumerate(pieces))
        work = functools.partial(merge, runs=tuple(run.path for one in found for run in one.receipts))
        for result in at.engine.mapper(work, enumerate(ranges_of(found, range_images))):
            results.append(result)
            at.engine.progress(result.counts.images)
    finally:
        if not at.journal.keeps:  # else they are what the next run goes on from
            remove(run.path for one in found for run in one.receipts)
    rejects = joined_rejects((piece.start, one.rejects) for piece, one in zip(pieces, found, strict=True))
    unknown = functools.reduce(operator.add, (Counter(one.unknown) for one in found), Counter[str]())
    return Passes(results, rejects, unknown)


def with_threads(form: str, at: Workplace) -> Workplace:
    """Return a workplace for both passes over files of a format: threads for delimited ones, if workers are few.

    Such files are read by DuckDB and compiled loops, without the interpreter's lock; others are parsed by Python.
    """
    if not isinstance(source_named(form), DelimitedSource):
        return at
    return replace(at, engine=replace(at.engine, mapper=in_threads(at.engine.mapper)))


def absolute_pieces(form: str, files: Sequence[Location], mapper: Mapper, layout: Layout | None = None) -> list[Piece]:
    """Return the pieces of files by absolute paths: the workers of an engine may have other working folders."""
    if layout is not None and layout.synsets is not None:
        layout = replace(layout, synsets=layout.synsets.absolute())
    return pieces_of(form, [path.absolute() for path in files], mapper, layout)


def ranges_of(found: Sequence[Runs], images: int | None = None) -> list[tuple[str, str]]:
    """Return half-open ranges of image ids with about so many images each, `PART_IMAGES` where nothing is said."""
    sample = functools.reduce(operator.add, (one.sample for one in found), ImageSample())
    return sample.ranges(PART_IMAGES if images is None else images)


def sorted_runs(
    numbered: tuple[int, Piece],
    form: str,
    out: Location,
    schema: TableSchema,
    query: Callable[[Shown, RejectLog], Iterable[pa.RecordBatch]],
) -> Runs:
    """Write the result of a query on each block of a piece as a run, and return the runs.

    Another thread reads the next block and calls the query with it and the log; what it returns is used in this one.
    """
    number, piece = numbered
    rejects = RejectLog()
    with connection_if_needed(out, piece.path) as connect:
        blocks = ahead(query(block, rejects) for block in source_named(form).observe(connect, piece, rejects))
        with contextlib.closing(blocks):
            return runs_of(number, blocks, out, schema, rejects, sampled=piece.states)  # places alone make no image


def runs_of(
    number: int,
    blocks: Iterable[Iterable[pa.RecordBatch]],
    out: Location,
    schema: TableSchema,
    rejects: RejectLog,
    *,
    sampled: bool = True,
) -> Runs:
    """Write blocks of a numbered piece, each a run, and return what there is to know of the runs.

    Args:
        number: the piece's.
        blocks: the rows of each block, ascending by image id; beside the columns of the schema, `unknown` lists raw
            classes that are in no vocabulary.
        out: where to write.
        schema: the runs'.
        rejects: complete when the blocks were read.
        sampled: whether their images are images of the table.
    """
    runs: list[Receipt] = []
    sample, unknown = ImageSample(), Counter[str]()
    for block in blocks:
        path = out / f"{PARTIAL_PREFIX}run-{number:05d}-{len(runs):05d}"
        ids, of_run = [], Counter[str]()
        with table_writer(path, schema, {}, lasting=False) as writer:
            for batch in block:
                writer.write(batch.select(schema.arrow.names))
                ids.append(batch.column("image_id"))
                if "unknown" in batch.schema.names:
                    of_run.update(_counted(batch.column("unknown").flatten()))
        assert writer.receipt is not None
        runs.append(writer.receipt)
        unknown.update(dict(most_frequent(of_run, KEPT_UNKNOWN)))
        sample += ImageSample.of(pa.concat_arrays(ids)) if ids and sampled else ImageSample()
    return Runs(tuple(runs), sample, rejects, unknown)


def _counted(names: pa.StringArray) -> dict[str, int]:
    found = names.value_counts()
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))


def most_frequent(counts: Mapping[str, int], most: int) -> list[tuple[str, int]]:
    """Return the `most` things with the highest counts, the highest first."""
    return heapq.nsmallest(most, counts.items(), key=lambda item: (-item[1], item[0]))


@contextlib.contextmanager
def connection_if_needed(out: Location, where: Location | None = None) -> Iterator[Connect]:
    """Yield what makes a connection like `duckdb_connection` when it is first called; it takes 0.02 s."""
    hear_interrupts()  # here: the first call may come from another thread
    with contextlib.ExitStack() as stack:
        yield functools.cache(lambda: stack.enter_context(duckdb_connection(out, where)))


@contextlib.contextmanager
def duckdb_connection(out: Location, where: Location | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a DuckDB connection with one thread, like a job, and a scratch folder beside the output.

    Errors name the input `where`.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(out, Path):
            scratch = out / f"{PARTIAL_PREFIX}duckdb-{secrets.token_hex(4)}"
            stack.callback(remove_folder, scratch)
            with write_errors(out):
                out.mkdir(parents=True, exist_ok=True)  # DuckDB creates only the last folder of a path
        else:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        of_a_job = database(where, memory_limit=DUCKDB_MEMORY, threads=1, temp_directory=str(scratch))
        yield stack.enter_context(of_a_job)


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

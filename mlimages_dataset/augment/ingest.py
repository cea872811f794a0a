"""The stages that read what files say about images: `annotate` and `tally`, each in two passes over independent jobs.

First each piece of a file is grouped by image and written as runs, ascending by image id. Then the images are cut into
ranges of ids, and each range is merged from all runs. What a run, a range and so a part of the table holds depends on
the files alone: any engine writes the same bytes, and no job holds more than a piece or a range.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import operator
import secrets
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import duckdb
import pyarrow as pa
from pyarrow import csv

from mlimages_dataset.augment.annotations import (
    RAW_CLASSES,
    STATEMENTS,
    AnnotationCounts,
    annotation_batches,
    broader_ids,
    class_lookup,
    images_per_class,
    lookup_table,
    packed_statements,
    raw_classes,
)
from mlimages_dataset.augment.ranges import ImageSample
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import remove_folder
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.journal import Finished
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.sources.observations import (
    Format,
    Piece,
    RejectLog,
    duckdb_errors,
    joined_rejects,
    observed,
    pieces_of,
)
from mlimages_dataset.tables.files import PARTIAL_PREFIX, Receipt, write_bytes, write_errors
from mlimages_dataset.tables.parquet import read_range, table_writer, write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, CLASS_COUNTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.journal import Journal
    from mlimages_dataset.pipeline.records import Json
    from mlimages_dataset.tables.files import Inputs
    from mlimages_dataset.tables.schemas import TableSchema
    from mlimages_dataset.vocab.vocabulary import Vocabulary

PART_IMAGES = 1 << 19
DUCKDB_MEMORY = "1GB"
"""What DuckDB may use in a job; beyond it, it writes intermediate results."""
KEPT_UNKNOWN = 1000
"""A run tells so many unknown classes, those with the most statements: files in the wrong format have millions."""
_LISTED_UNKNOWN = 10
_RUN_COMPRESSION = "lz4"
"""Of files that are read once and removed: quicker than the tables' own, for 0.5 GB where 3 GB of CSV took 0.3."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A written table of images per class: its receipt, its classes, and the rows that were rejected."""

    receipt: Receipt
    classes: int
    rejects: RejectLog


def tally(
    form: Format,
    files: Sequence[Location],
    source: str,
    out: Location,
    *,
    overwrite: bool = False,
    mapper: Mapper = map,
) -> Tally:
    """Write the images of each raw class of a source, as CSV or Parquet by the suffix of `out`.

    Raises:
        UsageError, DataError: as `pieces_of` and `observed`; or there is no class at all.
        UsageError: `out` is an input, or it is there and `overwrite` was not asked for.
    """
    if any(out.absolute() == path.absolute() for path in files):
        raise UsageError("is an input", where=out, remedy="name another file for --out")
    if out.suffix not in {".csv", ".parquet"}:
        raise UsageError("is neither .csv nor .parquet", where=out, remedy="name the table to write so")
    if out.exists() and not overwrite:
        raise UsageError("is there already", where=out, remedy="name another file, or pass --overwrite to replace it")
    pieces = [piece for piece in _pieces(form, files, mapper) if piece.states]
    counted: Counter[str] = Counter()
    with _scratch_folder(out) as scratch:
        sort = functools.partial(_sort_classes, form=form, out=scratch)
        found = list(mapper(sort, enumerate(pieces)))
        rejects = joined_rejects(zip(pieces, (one.rejects for one in found), strict=True))
        runs = tuple(run.path for one in found for run in one.runs)
        for of_range in mapper(functools.partial(_count_classes, runs=runs), _ranges(found)):
            counted.update(of_range)
    if not counted:
        raise DataError(
            f"no image of any class ({rejects.count:,} malformed rows)", where=files[0], remedy="check the format"
        )
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


def annotate(
    vocabulary: Vocabulary,
    form: Format,
    files: Sequence[Location],
    out: Location,
    *,
    source: str,
    ids_of: str | None = None,
    min_confidence: float = 0.0,
    schema: TableSchema = ANNOTATIONS,
    inputs: Inputs,
    journal: Journal | None = None,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
) -> StageResult:
    """Write what files say about images as parts of a table, ascending by image id, of about `PART_IMAGES` each.

    Args:
        vocabulary: the vocabulary that the files' classes are mapped onto.
        form: the files' format.
        files: the files, or folders for `Format.IMAGENET`.
        out: the folder to write into.
        source: name for the table's source column.
        ids_of: the mapping's source whose ids the files use, see `class_lookup`.
        min_confidence: machines' confidences below this are left out.
        schema: `ANNOTATIONS`, or `PREDICTIONS` for what a model says.
        inputs: SHA-256 of the inputs by name.
        journal: the folder's journal, from which a cut run goes on.
        mapper: runs the pieces and the ranges.
        progress: is called with the number of images done.

    Raises:
        UsageError, DataError: a file is missing or not of the format.
    """
    out = out.absolute()  # the workers of an engine may have other working folders
    lookup = lookup_table(class_lookup(vocabulary, form, ids_of), broader_ids(vocabulary, form, ids_of))
    pieces = _pieces(form, files, mapper)
    found: list[_Sorted] = []
    results: list[_Part] = []
    try:
        sort = functools.partial(_sort_statements, form=form, lookup=lookup, out=out, journal=journal)
        found += mapper(sort, enumerate(pieces))
        work = functools.partial(
            _write_part,
            runs=tuple(run.path for one in found for run in one.runs),
            out=out,
            source=source,
            min_confidence=min_confidence,
            schema=schema,
            inputs=dict(inputs),
            journal=journal,
        )
        for result in mapper(work, enumerate(_ranges(found))):
            results.append(result)
            progress(result.counts.images)
    finally:
        if journal is None:  # else they are what the next run goes on from
            _remove(run.path for one in found for run in one.runs)
    counts = functools.reduce(operator.add, (result.counts for result in results), AnnotationCounts())
    rejects = joined_rejects(zip(pieces, (one.rejects for one in found), strict=True))
    unknown = functools.reduce(operator.add, (one.unknown for one in found), Counter[str]())
    listed = _most_frequent(unknown, _LISTED_UNKNOWN)
    if not counts.images:
        first = f"; the first malformed row is {rejects.first[0]}" if rejects.first else ""
        unknown_ids = ", ".join(repr(class_id) for class_id, _ in listed[:3])
        raise DataError(
            f"no image keeps a label: {rejects.count + counts.malformed:,} malformed rows, "
            f"{counts.unknown:,} labels of unknown classes ({unknown_ids}), "
            f"{counts.dropped:,} of dropped classes{first}",
            where=files[0],
            remedy=f"check that the files are in the format {form.value} and of the vocabulary's sources",
        )
    summary: dict[str, Json] = {
        **counts.summary(),
        "rejected_rows": rejects.count,
        "first_rejected_rows": [reject.by_name for reject in rejects.first],
        "most_frequent_unknown_classes": [[class_id, n] for class_id, n in listed],
    }
    return StageResult(tuple(receipt for result in results for receipt in result.receipts), summary)


@dataclass(frozen=True, slots=True)
class _Sorted:
    """What the first pass made of a piece: runs, a sample of their images, rejects and the unknown classes."""

    runs: tuple[Receipt, ...]
    sample: ImageSample
    rejects: RejectLog
    unknown: Counter[str]

    def finished(self) -> Finished:
        return Finished(
            self.runs,
            {"sample": self.sample.image_ids, "last": self.sample.last}
            | {"rejects": self.rejects.to_json(), "unknown": dict(self.unknown)},
        )

    @classmethod
    def of(cls, finished: Finished) -> _Sorted:
        content = cast("dict[str, Any]", finished.content)
        sample = ImageSample(tuple(content["sample"]), content["last"])
        return cls(finished.receipts, sample, RejectLog.from_json(content["rejects"]), Counter(content["unknown"]))


@dataclass(frozen=True, slots=True)
class _Part:
    """What the second pass wrote of a range: a part, or none where no image keeps a label."""

    receipts: tuple[Receipt, ...]
    counts: AnnotationCounts

    def finished(self) -> Finished:
        return Finished(self.receipts, self.counts.summary())

    @classmethod
    def of(cls, finished: Finished) -> _Part:
        content = cast("dict[str, Any]", finished.content)
        return cls(finished.receipts, AnnotationCounts(**{**content, "first_names": tuple(content["first_names"])}))


def _pieces(form: Format, files: Sequence[Location], mapper: Mapper) -> list[Piece]:
    return pieces_of(form, [path.absolute() for path in files], mapper)


def _ranges(found: Sequence[_Sorted]) -> list[tuple[str, str]]:
    return functools.reduce(operator.add, (one.sample for one in found), ImageSample()).ranges(PART_IMAGES)


def _sort_statements(
    numbered: tuple[int, Piece], *, form: Format, lookup: pa.Table, out: Location, journal: Journal | None
) -> _Sorted:
    """Write what a numbered piece states, a run for each block, unless that was done."""
    number, piece = numbered
    job = f"piece-{number:05d}"
    done = None if journal is None else journal.finished(job)
    if done is not None:
        return _Sorted.of(done)
    result = _sorted(numbered, form, out, STATEMENTS, lambda block: packed_statements(block, piece, lookup))
    if journal is not None:
        journal.record(job, result.finished())
    return result


def _sort_classes(numbered: tuple[int, Piece], *, form: Format, out: Location) -> _Sorted:
    """Write the raw classes of a numbered piece's images, a run for each block."""
    return _sorted(numbered, form, out, RAW_CLASSES, raw_classes)


def _sorted(
    numbered: tuple[int, Piece],
    form: Format,
    out: Location,
    schema: TableSchema,
    query: Callable[[duckdb.DuckDBPyConnection], Iterable[pa.RecordBatch]],
) -> _Sorted:
    """Write what a query makes of each block of a piece as a run, and return what there is to know of the runs."""
    number, piece = numbered
    runs: list[Receipt] = []
    sample, rejects, unknown = ImageSample(), RejectLog(), Counter[str]()
    with _connection(out, piece.path) as connection:
        for block in observed(connection, form, piece, rejects):
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
            unknown.update(dict(_most_frequent(of_run, KEPT_UNKNOWN)))
            # Places alone make no image.
            sample += ImageSample.of(pa.concat_arrays(ids)) if ids and piece.states else ImageSample()
    return _Sorted(tuple(runs), sample, rejects, unknown)


def _counted(names: pa.StringArray) -> dict[str, int]:
    found = names.value_counts()
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))


def _most_frequent(counts: Mapping[str, int], most: int) -> list[tuple[str, int]]:
    return heapq.nsmallest(most, counts.items(), key=lambda item: (-item[1], item[0]))


def _write_part(
    numbered: tuple[int, tuple[str, str]],
    *,
    runs: tuple[Location, ...],
    out: Location,
    source: str,
    min_confidence: float,
    schema: TableSchema,
    inputs: dict[str, str],
    journal: Journal | None,
) -> _Part:
    """Merge a numbered range of images from all runs and write their part, unless that was done."""
    number, (first, below) = numbered
    job = f"part-{number:05d}"
    done = None if journal is None else journal.finished(job)
    if done is not None:
        return _Part.of(done)
    counts = AnnotationCounts()
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(_connection(out))
        writer = None
        statements = read_range(runs, STATEMENTS, "image_id", first, below)
        batches = annotation_batches(
            connection, statements, below, source=source, min_confidence=min_confidence, schema=schema
        )
        for table, of_batch in batches:
            counts += of_batch
            if writer is None and table.num_rows:
                writer = stack.enter_context(table_writer(out / f"{job}.parquet", schema, inputs))
            if writer is not None:
                writer.write(table)
    result = _Part((writer.receipt,) if writer is not None and writer.receipt is not None else (), counts)
    if journal is not None:
        journal.record(job, result.finished())
    return result


def _count_classes(bounds: tuple[str, str], *, runs: tuple[Location, ...]) -> dict[str, int]:
    """Return how many images of a range have each raw class."""
    first, below = bounds
    with _connection(runs[0].parent) as connection:
        return images_per_class(connection, read_range(runs, RAW_CLASSES, "image_id", first, below), below)


@contextlib.contextmanager
def _connection(out: Location, where: Location | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a DuckDB connection with one thread, which is what a job has, and its scratch beside the output.

    Errors name the input `where`.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(duckdb_errors(where))
        if isinstance(out, Path):
            scratch = out / f"{PARTIAL_PREFIX}duckdb-{secrets.token_hex(4)}"
            stack.callback(remove_folder, scratch)
            with write_errors(out):
                out.mkdir(parents=True, exist_ok=True)  # DuckDB makes the last folder only
        else:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        connection = stack.enter_context(duckdb.connect())
        scratch_text = str(scratch).replace("'", "''")
        connection.execute(f"SET memory_limit = '{DUCKDB_MEMORY}'; SET threads = 1; SET enable_progress_bar = false")
        connection.execute(f"SET temp_directory = '{scratch_text}'")
        yield connection


@contextlib.contextmanager
def _scratch_folder(out: Location) -> Iterator[Location]:
    """Yield a folder beside a file that is to be written, empty, and remove it at the end."""
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
        _remove(folder.glob("*"))


def _remove(files: Iterator[Location]) -> None:
    for path in list(files):
        path.unlink(missing_ok=True)

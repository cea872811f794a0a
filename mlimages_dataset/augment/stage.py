"""The stages that read tables; with `ingest`, which reads raw files, they alone name paths and return receipts."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.ancestors import (
    Absences,
    AugmentationCounts,
    AugmentationRules,
    augment,
    augmentation_rules,
)
from mlimages_dataset.augment.audit import AuditCounts, Consistency, audit_rows
from mlimages_dataset.augment.cooccurrence import (
    PROBABILITY,
    STRENGTH,
    PairCounts,
    StrongPair,
    annotated_labels,
    count_pairs,
    implications_of,
    implications_table,
    pair_counts_table,
    predicted_labels,
    strong_implications,
    strong_pairs,
)
from mlimages_dataset.augment.splits import LowestDraws, draws_of, eligible, lowest_draws
from mlimages_dataset.augment.statistics import LabelStatistics, label_statistics
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.image_ids import image_ids
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.journal import Finished
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.sources.observations import Format, Piece, RejectLog, joined_rejects, pieces_of, tencent_lines
from mlimages_dataset.tables.batches import checked_columns
from mlimages_dataset.tables.files import PARTIAL_PREFIX, Receipt
from mlimages_dataset.tables.label_columns import LabelColumns, array_of, columns_of
from mlimages_dataset.tables.parquet import (
    open_table,
    read_range,
    read_table,
    scan_table,
    schema_of,
    table_parts,
    table_writer,
    write_table,
)
from mlimages_dataset.tables.schemas import ANNOTATIONS, IMPLICATIONS, LABELS, PAIR_COUNTS, PREDICTIONS, TableSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.journal import Journal
    from mlimages_dataset.pipeline.records import Json
    from mlimages_dataset.tables.files import Inputs
    from mlimages_dataset.vocab.vocabulary import Vocabulary

PART_IMAGES = 1 << 19
SPLITS = ("train", "val")
PAIR_COUNTS_FILE = "pair_counts.parquet"
IMPLICATIONS_FILE = "implications.parquet"
TABLE_SUFFIX = ".parquet"
_LISTED_PAIRS = 10


def cooccurrence(
    vocabulary: Vocabulary,
    annotations: Location,
    predictions: Location,
    out: Location,
    *,
    probability: float = PROBABILITY,
    strength: float = STRENGTH,
    inputs: Inputs,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
) -> StageResult:
    """Count co-occurrences of annotated and predicted categories and write `pair_counts` and `implications`.

    Raises:
        UsageError, DataError: a table is missing or damaged, an image is predicted twice, or none is predicted at all.
    """
    # Absolute: the workers of an engine may have other working folders.
    annotated, predictions_of = table_parts(annotations.absolute()), table_parts(predictions.absolute())
    n_buckets = 1 + max(_n_rows(annotated, ANNOTATIONS), _n_rows(predictions_of, PREDICTIONS)) // PART_IMAGES
    shuffle = functools.partial(
        _shuffled,
        out=out.absolute(),
        n_buckets=n_buckets,
        n_classes=len(vocabulary),
        mapper=mapper,
    )
    is_predicted = functools.partial(predicted_labels, probability=probability)
    counts = PairCounts.empty(len(vocabulary))
    images = predicted = 0
    with (
        shuffle(annotated, ANNOTATIONS, annotated_labels) as left,
        shuffle(predictions_of, PREDICTIONS, is_predicted) as right,
    ):
        work = functools.partial(
            _count_bucket,
            annotated=left,
            predicted=right,
            n_classes=len(vocabulary),
            probability=probability,
            where=predictions,
        )
        for partial, n_images, n_predicted in mapper(work, range(n_buckets)):
            counts += partial
            images += n_images
            predicted += n_predicted
            progress(n_images)
    if not predicted:
        raise DataError(
            "no annotated image is predicted", where=predictions, remedy=f"predict the images of {annotations}"
        )
    strong = strong_implications(counts, vocabulary.closure, strength)
    counted, implied = pair_counts_table(counts), implications_table(strong, counts)
    receipts = (
        write_table(out / PAIR_COUNTS_FILE, counted, PAIR_COUNTS, inputs),
        write_table(out / IMPLICATIONS_FILE, implied, IMPLICATIONS, inputs),
    )
    summary: dict[str, Json] = {
        "images": images,
        "predicted_images": predicted,
        "pairs": int(counts.n_both.nnz),
        "implications": int(strong.nnz),
        "surest": [_described(pair, vocabulary) for pair in strong_pairs(implied, counted)[:_LISTED_PAIRS]],
    }
    return StageResult(receipts, summary)


def _described(pair: StrongPair, vocabulary: Vocabulary) -> dict[str, Json]:
    """Return a strong pair with the names of its categories."""
    antecedent, consequent = (vocabulary.categories[index] for index in (pair.antecedent, pair.consequent))
    return {
        "antecedent": antecedent.wnid,
        "antecedent_name": antecedent.name,
        "consequent": consequent.wnid,
        "consequent_name": consequent.name,
        "probability": pair.probability,
        "lower_bound": pair.lower_bound,
        "support": pair.support,
        "images": pair.images,
    }


def _n_rows(parts: Sequence[Location], schema: TableSchema) -> int:
    rows = 0
    for part in parts:
        with open_table(part, schema) as parquet:
            rows += parquet.metadata.num_rows
    return rows


_SHUFFLED = TableSchema(
    "shuffled", 1, pa.schema([pa.field("bucket", pa.int32(), nullable=False), *map(LABELS.arrow.field, (0, 3))])
)
"""Rows of a table that meet those of another in one bucket: the same image has the same bucket in both."""


@contextlib.contextmanager
def _shuffled(
    parts: Sequence[Location],
    schema: TableSchema,
    chosen: Callable[[LabelColumns], NDArray[np.bool_]],
    *,
    out: Location,
    n_buckets: int,
    n_classes: int,
    mapper: Mapper,
) -> Iterator[tuple[Location, ...]]:
    """Yield files in `out`, one a part, with the part's chosen labels by bucket; they go when the block ends."""
    written = tuple(out / f"{PARTIAL_PREFIX}{schema.name}-{number:05d}.parquet" for number in range(len(parts)))
    work = functools.partial(_shuffle, schema=schema, chosen=chosen, n_buckets=n_buckets, n_classes=n_classes)
    try:
        collections.deque(mapper(work, zip(parts, written, strict=True)), maxlen=0)
        yield written
    finally:
        for path in written:
            path.unlink(missing_ok=True)


def _shuffle(
    paths: tuple[Location, Location],
    *,
    schema: TableSchema,
    chosen: Callable[[LabelColumns], NDArray[np.bool_]],
    n_buckets: int,
    n_classes: int,
) -> None:
    """Write the chosen labels of the first path's rows into the second, row groups of one bucket each.

    Rows are held in memory for `PART_IMAGES` images at a time.
    """
    part, out = paths

    def tables() -> Iterator[pa.Table]:
        for batch in scan_table(part, schema, columns=("image_id", "labels")):
            labels = checked_columns(batch.column("labels"), n_classes, part)
            ids = batch.column("image_id")
            buckets = (draws_of(ids, "") % np.uint64(n_buckets)).astype(np.int32)
            columns = [pa.array(buckets), ids, array_of(labels.only(chosen(labels)))]
            yield pa.Table.from_arrays(columns, schema=_SHUFFLED.arrow)

    with table_writer(out, _SHUFFLED, {}) as writer:
        for group in _parts(tables(), PART_IMAGES):
            rows = pa.concat_tables(group)
            buckets = rows["bucket"].to_numpy()
            order = np.argsort(buckets, kind="stable")
            ends = np.cumsum(np.bincount(buckets, minlength=n_buckets)).tolist()
            rows = rows.take(pa.array(order))
            for start, end in itertools.pairwise([0, *ends]):
                writer.write(rows.slice(start, end - start))


def _count_bucket(
    bucket: int,
    *,
    annotated: Sequence[Location],
    predicted: Sequence[Location],
    n_classes: int,
    probability: float,
    where: Location,
) -> tuple[PairCounts, int, int]:
    """Return the pair counts of one bucket, its annotated images, and those of them that are predicted."""
    left, right = (read_range(parts, _SHUFFLED, "bucket", bucket, bucket) for parts in (annotated, predicted))
    predicted_ids = right["image_id"].combine_chunks()
    if pc.count_distinct(predicted_ids).as_py() < len(predicted_ids):
        repeated = _first_repeat(predicted_ids)
        raise DataError(f"{repeated} is predicted twice", where=where, remedy="keep one row an image")
    if not left.num_rows:
        return PairCounts.empty(n_classes), 0, 0
    at = pc.index_in(left["image_id"].combine_chunks(), value_set=predicted_ids)
    labels = right["labels"].combine_chunks().take(at)
    counts = count_pairs(columns_of(left["labels"].combine_chunks()), columns_of(labels), n_classes, probability)
    return counts, len(at), len(at) - at.null_count


def _first_repeat(ids: pa.StringArray) -> str:
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    return str(repeated[0]["values"].as_py())


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How many images are drawn for validation, and at most how many of one category."""

    images: int = 0
    per_category: int = 5
    salt: str = "mlimages"


def label(
    vocabulary: Vocabulary,
    annotations: Sequence[Location],
    out: Location,
    *,
    implications: Location | None = None,
    split: Split = Split(),
    absences: Absences = Absences.EXPAND,
    inputs: Inputs,
    journal: Journal | None = None,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
) -> StageResult:
    """Augment annotation tables and write the `labels` tables `train/` and `val/`, one part for each input part.

    Args:
        vocabulary: the vocabulary of the annotations.
        annotations: folders of `annotations` tables.
        out: the folder to write into.
        implications: `implications` table; None for none.
        split: the validation images.
        absences: what becomes of verified-absent labels.
        inputs: SHA-256 of the inputs by name.
        journal: the folder's journal, from which a cut run goes on.
        mapper: runs the parts.
        progress: is called with the number of images done.

    Raises:
        UsageError, DataError: a table is missing or damaged, or of another vocabulary.
    """
    # Absolute: the workers of an engine may have other working folders.
    parts = [part for folder in annotations for part in table_parts(folder.absolute())]
    n_classes = len(vocabulary)
    implied = (
        None
        if implications is None
        else implications_of(read_table(implications, IMPLICATIONS), n_classes, where=implications)
    )
    rules = augmentation_rules(vocabulary.closure, implied, absences)
    draw = _drawn(parts, split, n_classes, mapper) if split.images else None
    work = functools.partial(
        _label_part,
        out=out.absolute(),
        rules=rules,
        closure=vocabulary.closure,
        draw=draw,
        inputs=dict(inputs),
        journal=journal,
    )
    statistics = {name: LabelStatistics.empty(n_classes) for name in SPLITS}
    consistency: dict[str, Consistency] = {}
    counts = AugmentationCounts()
    receipts: list[Receipt] = []
    for result in mapper(work, enumerate(parts)):
        receipts += result.receipts
        counts += result.counts
        for name, of_part in result.statistics.items():
            statistics[name] += of_part
        for source, of_source in result.consistency.items():
            _add(consistency, source, of_source)
        progress(result.counts.images)
    wnids = [category.wnid for category in vocabulary.categories]
    summary: dict[str, Json] = {
        "conflicts": counts.conflicts,
        "blocked_implications": counts.blocked,
        "validation_images_asked": split.images,
        "annotations_audit": {source: consistency[source].summary(wnids) for source in sorted(consistency)},
        **{name: one.summary() for name, one in statistics.items()},
    }
    return StageResult(tuple(sorted(receipts, key=lambda receipt: receipt.path)), summary)


@dataclass(frozen=True, slots=True)
class _Draw:
    """Which images are drawn: those whose draw under the salt is among `chosen`, ascending."""

    salt: str
    chosen: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class _LabelResult:
    receipts: tuple[Receipt, ...]
    counts: AugmentationCounts
    statistics: dict[str, LabelStatistics]
    consistency: dict[str, Consistency]

    def finished(self) -> Finished:
        content: dict[str, Json] = {
            "counts": asdict(self.counts),
            "statistics": {name: one.to_json() for name, one in self.statistics.items()},
            "consistency": {source: one.to_json() for source, one in self.consistency.items()},
        }
        return Finished(self.receipts, content)

    @classmethod
    def of(cls, finished: Finished) -> _LabelResult:
        counts, statistics, consistency = (
            cast("dict[str, Any]", finished.content[name]) for name in ("counts", "statistics", "consistency")
        )
        return cls(
            finished.receipts,
            AugmentationCounts(**counts),
            {name: LabelStatistics.from_json(one) for name, one in statistics.items()},
            {source: Consistency.from_json(one) for source, one in consistency.items()},
        )


def _add(consistency: dict[str, Consistency], source: str, more: Consistency) -> None:
    consistency[source] = consistency[source] + more if source in consistency else more


def _label_part(
    numbered: tuple[int, Location],
    *,
    out: Location,
    rules: AugmentationRules,
    closure: sp.csr_array,
    draw: _Draw | None,
    inputs: dict[str, str],
    journal: Journal | None,
) -> _LabelResult:
    """Audit and augment one numbered part of annotations and write its images by split, unless that was done."""
    number, annotations = numbered
    job = f"{number:05d}"
    done = None if journal is None else journal.finished(job)
    if done is not None:
        return _LabelResult.of(done)
    n_classes = rules.n_classes
    statistics = {name: LabelStatistics.empty(n_classes) for name in SPLITS}
    consistency: dict[str, Consistency] = {}
    counts = AugmentationCounts()
    writers = {}
    with contextlib.ExitStack() as stack:
        for batch in scan_table(annotations, ANNOTATIONS):
            checked_columns(batch.column("labels"), n_classes, annotations)
            for source, rows in _by_source(batch):
                found = audit_rows(columns_of(rows.column("labels")), closure)
                _add(consistency, source, Consistency.of(found, closure))
            for name, rows in _split(batch, draw):
                augmented, of_batch = augment(columns_of(rows.column("labels")), rules)
                if name not in writers:
                    path = _part(out / name, number)
                    writers[name] = stack.enter_context(table_writer(path, LABELS, inputs))
                writers[name].write(_with_labels(rows, array_of(augmented)))
                statistics[name] += label_statistics(augmented, n_classes)
                counts += of_batch
    receipts = tuple(writer.receipt for writer in writers.values() if writer.receipt is not None)
    result = _LabelResult(receipts, counts, statistics, consistency)
    if journal is not None:
        journal.record(job, result.finished())
    return result


def split_statistics(parts: Sequence[Location], n_classes: int) -> LabelStatistics:
    """Return the statistics of some parts of a `labels` table; errors as `scan_table`, and of another vocabulary."""
    statistics = LabelStatistics.empty(n_classes)
    for part in parts:
        for batch in scan_table(part, LABELS):
            statistics += label_statistics(checked_columns(batch.column("labels"), n_classes, part), n_classes)
    return statistics


def _by_source(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield the rows of each source."""
    sources = batch.column("source").unique().to_pylist()
    for source in sources:
        yield source, batch if len(sources) == 1 else batch.filter(pc.equal(batch.column("source"), source))


def _split(batch: pa.RecordBatch, draw: _Draw | None) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield the rows of each split that has any."""
    if draw is None:
        yield "train", batch
        return
    chosen = np.isin(draws_of(batch.column("image_id"), draw.salt), draw.chosen)
    for name, mask in (("train", ~chosen), ("val", chosen)):
        if mask.all():
            yield name, batch
        elif mask.any():
            yield name, batch.filter(pa.array(mask))


def _drawn(parts: Sequence[Location], split: Split, n_classes: int, mapper: Mapper) -> _Draw:
    """Return the draw of the validation images: the quota's limits first, then the images that are within them.

    An image of several rows, as one of two collections, must be within the limits in each: all its rows are drawn.
    """
    salt, per_category = split.salt, split.per_category
    lowest = LowestDraws.empty(n_classes, per_category)
    for of_part in mapper(functools.partial(_lowest_of, salt=salt, size=(n_classes, per_category)), parts):
        lowest += of_part
    found = mapper(functools.partial(_eligible_of, salt=salt, limits=lowest.limits), parts)
    candidates = np.unique(np.concatenate(list(found)))
    beyond = mapper(functools.partial(_beyond_of, salt=salt, limits=lowest.limits, candidates=candidates), parts)
    within = np.setdiff1d(candidates, np.concatenate(list(beyond)), assume_unique=False)
    return _Draw(salt, within[: split.images])


def _lowest_of(part: Location, *, salt: str, size: tuple[int, int]) -> LowestDraws:
    lowest = LowestDraws.empty(*size)
    for batch in scan_table(part, ANNOTATIONS):
        columns = checked_columns(batch.column("labels"), size[0], part)
        lowest += lowest_draws(draws_of(batch.column("image_id"), salt), columns, *size)
    return lowest


def _eligible_of(part: Location, *, salt: str, limits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return np.concatenate([draws[within] for draws, within in _judged(part, salt, limits)])


def _beyond_of(
    part: Location, *, salt: str, limits: NDArray[np.uint64], candidates: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    return np.concatenate([np.intersect1d(draws[~within], candidates) for draws, within in _judged(part, salt, limits)])


def _judged(
    part: Location, salt: str, limits: NDArray[np.uint64]
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.bool_]]]:
    """Yield the draws of a part's rows, and whether each row is within the limits; first those of no row."""
    yield np.empty(0, np.uint64), np.empty(0, np.bool_)
    for batch in scan_table(part, ANNOTATIONS):
        draws = draws_of(batch.column("image_id"), salt)
        yield draws, eligible(draws, columns_of(batch.column("labels")), limits)


def _parts(tables: Iterator[pa.Table], rows: int) -> Iterator[Iterator[pa.Table]]:
    """Yield groups of tables with `rows` rows each, the last with what is left; each group must be used up in turn."""
    pending = (table for table in tables if table.num_rows)
    carried: list[pa.Table] = []

    def group(first: pa.Table) -> Iterator[pa.Table]:
        left = rows
        table: pa.Table | None = first
        while table is not None:
            yield table.slice(0, left)
            if table.num_rows > left:
                carried.append(table.slice(left))
                return
            left -= table.num_rows
            table = next(pending, None) if left else None

    while (first := carried.pop() if carried else next(pending, None)) is not None:
        yield group(first)


def _part(folder: Location, number: int) -> Location:
    return folder / f"part-{number:05d}.parquet"


def _with_labels(rows: pa.RecordBatch, labels: pa.ListArray) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*rows.columns[:-1], labels], schema=LABELS.arrow)


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit of label lists found.

    Attributes:
        counts: counts over all rows.
        repeated_images: rows whose image an earlier row has.
        rejects: malformed rows, which are in no other count.
    """

    counts: AuditCounts
    repeated_images: int
    rejects: RejectLog


def audit(vocabulary: Vocabulary, files: Sequence[Location], *, mapper: Mapper = map) -> Audit:
    """Return what an audit of label lists finds: the published text format, or `labels` and `annotations` tables.

    Raises:
        UsageError, DataError: a file is missing or damaged.
    """
    pieces = [piece for path in files for piece in _label_pieces(path.absolute(), mapper)]
    counts = AuditCounts.empty(vocabulary.closure)
    draws, logs = [np.empty(0, np.uint64)], []
    for of_piece, draws_of_piece, rejects in mapper(functools.partial(_audit_of, closure=vocabulary.closure), pieces):
        counts += of_piece
        draws.append(draws_of_piece)
        logs.append(rejects)
    every = np.concatenate(draws)
    return Audit(counts, len(every) - len(np.unique(every)), joined_rejects(zip(pieces, logs, strict=True)))


def _label_pieces(path: Location, mapper: Mapper) -> list[Piece]:
    if path.is_dir():
        return [Piece(part) for part in table_parts(path)]
    if path.suffix == TABLE_SUFFIX:
        return [Piece(path)]
    return pieces_of(Format.TENCENT, [path], mapper)


def _audit_of(piece: Piece, *, closure: sp.csr_array) -> tuple[AuditCounts, NDArray[np.uint64], RejectLog]:
    """Return what is found in a piece, the draw of each of its rows' images, and its malformed rows."""
    rejects = RejectLog()
    counts = AuditCounts.empty(closure)
    draws = [np.empty(0, np.uint64)]
    for ids, columns in _label_rows(piece, rejects):
        counts += audit_rows(columns, closure)
        draws.append(draws_of(ids, ""))
    return counts, np.concatenate(draws), rejects


def _label_rows(piece: Piece, rejects: RejectLog) -> Iterator[tuple[pa.StringArray, LabelColumns]]:
    path = piece.path
    if path.suffix == TABLE_SUFFIX:
        for batch in scan_table(path, schema_of(path, (LABELS, ANNOTATIONS, PREDICTIONS))):
            yield batch.column("image_id"), columns_of(batch.column("labels"))
        return
    for every_line in tencent_lines(piece, rejects):
        lines = every_line.without_malformed(path, rejects)
        confidence = lines.confidence.to_numpy(zero_copy_only=False)
        yield (
            image_ids(lines.urls),
            LabelColumns(
                lines.offsets.astype(np.int32),
                pc.cast(lines.class_ids, pa.int64())
                .to_numpy(zero_copy_only=False)
                .clip(-1, 2**31 - 1)
                .astype(np.int32),
                confidence,
                np.zeros(len(confidence), np.uint8),
            ),
        )

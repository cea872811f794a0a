"""The stage that finds strong pairs: two tables are joined bucket by bucket, and the counts added up."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.cooccurrence import (
    PROBABILITY,
    STRENGTH,
    PairCounts,
    StrongPair,
    annotated_labels,
    count_pairs,
    implications_table,
    pair_counts_table,
    predicted_labels,
    strong_implications,
    strong_pairs,
)
from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.core.config import check_share
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.tables.batches import checked_columns
from mlimages_dataset.tables.files import PARTIAL_PREFIX
from mlimages_dataset.tables.label_columns import LabelColumns, array_of, columns_of
from mlimages_dataset.tables.parquet import (
    n_rows,
    read_range,
    scan_table,
    table_digests,
    table_parts,
    table_writer,
    write_table,
)
from mlimages_dataset.tables.schemas import ANNOTATIONS, IMPLICATIONS, LABELS, PAIR_COUNTS, PREDICTIONS, TableSchema
from mlimages_dataset.vocab.folder import read_vocabulary, refuse_other_vocabulary, vocabulary_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.vocab.vocabulary import Vocabulary

COOCCURRENCE = "cooccurrence"
PART_IMAGES = 1 << 19
PAIR_COUNTS_FILE = "pair_counts.parquet"
IMPLICATIONS_FILE = "implications.parquet"
_LISTED_PAIRS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What makes a pair strong (Tencent ML-Images, section 3.2).

    Attributes:
        probability: a prediction counts if its probability exceeds this, in 0..1.
        strength: a pair is strong if the share of annotated images that are also predicted exceeds this, in 0..1.
    """

    probability: float = PROBABILITY
    strength: float = STRENGTH

    def __post_init__(self) -> None:
        check_share("probability", self.probability)
        check_share("strength", self.strength)


@dataclass(frozen=True, slots=True)
class NamedPair:
    """A strong pair with the names of its categories; see `StrongPair`."""

    antecedent: str
    antecedent_name: str
    consequent: str
    consequent_name: str
    probability: float
    lower_bound: float
    support: int
    images: int

    @classmethod
    def of(cls, pair: StrongPair, vocabulary: Vocabulary) -> NamedPair:
        """Return a pair with the wnids and names of its class indices."""
        antecedent, consequent = (vocabulary.categories[index] for index in (pair.antecedent, pair.consequent))
        return cls(
            antecedent.wnid,
            antecedent.name,
            consequent.wnid,
            consequent.name,
            pair.probability,
            pair.lower_bound,
            pair.support,
            pair.images,
        )

    def line(self) -> str:
        """Return the pair as a line."""
        return (
            f"{self.probability:>12.3f}  (95 %: at least {self.lower_bound:.3f}; {self.support:,} of "
            f"{self.images:,} images)  {self.antecedent_name} -> {self.consequent_name}"
        )


@dataclass(frozen=True, slots=True)
class CooccurrenceSummary:
    """Counts of annotated and predicted images and of pairs.

    Attributes:
        images: annotated images.
        predicted_images: those of them that have predictions.
        pairs: pairs that occur.
        implications: strong pairs.
        surest: the strong pairs with the highest lower bounds.
    """

    images: int
    predicted_images: int
    pairs: int
    implications: int
    surest: tuple[NamedPair, ...]

    def line(self) -> str:
        """Return the number of strong pairs and of images that they were learned from."""
        return f"{self.implications:,} strong pairs, learned from {self.images:,} images"

    def findings(self) -> list[str]:
        """Return no sentence: pairs are no faults."""
        return []

    def lines(self) -> list[str]:
        """Return the counts and the surest pairs."""
        return [
            f"{self.images:>12,}  annotated images",
            f"{self.predicted_images:>12,}  of them with predictions",
            f"{self.pairs:>12,}  pairs that occur",
            f"{self.implications:>12,}  strong pairs" + (", the surest ones:" if self.surest else ""),
            *(pair.line() for pair in self.surest),
        ]


def cooccurrence_stage(
    vocabulary: Location, annotations: Location, predictions: Location, thresholds: Thresholds, *, into: str = ""
) -> Stage[CooccurrenceSummary]:
    """Return the stage that finds strong pairs of annotated and predicted categories; its work is `cooccurrence`.

    If `predictions` are the annotations themselves, these must be complete: they say what else each image shows.

    Raises:
        UsageError, DataError: a table is missing, damaged, or of another vocabulary.
    """
    return Stage(
        name=COOCCURRENCE,
        parameters=thresholds,
        inputs=inputs_of_both(vocabulary, annotations, predictions),
        work=lambda at: cooccurrence(read_vocabulary(vocabulary), annotations, predictions, at, thresholds),
        summary=CooccurrenceSummary,
        into=into,
    )


def inputs_of_both(vocabulary: Location, annotations: Location, predictions: Location) -> dict[str, str]:
    """Return the SHA-256 of annotated and predicted tables and their vocabulary by name.

    Raises:
        UsageError, DataError: a table is missing, damaged, or of another vocabulary.
    """
    inputs = {
        **vocabulary_digests(vocabulary),
        **table_digests("annotations", annotations),
        **table_digests("predictions", predictions),
    }
    refuse_other_vocabulary(inputs, [annotations, predictions])
    return inputs


def cooccurrence(
    vocabulary: Vocabulary,
    annotations: Location,
    predictions: Location,
    at: Workplace,
    thresholds: Thresholds = Thresholds(),
) -> StageResult[CooccurrenceSummary]:
    """Count co-occurrences of annotated and predicted categories and write `pair_counts` and `implications`.

    `predictions` may be the same tables as `annotations`, if these are complete.

    Raises:
        UsageError, DataError: a table is missing or damaged, an image is predicted twice, or none is predicted at all.
    """
    # Absolute: the workers of an engine may have other working folders.
    annotated, predictions_of = table_parts(annotations.absolute()), table_parts(predictions.absolute())
    seen = ANNOTATIONS if predictions == annotations else PREDICTIONS
    n_buckets = 1 + max(n_rows(annotated, ANNOTATIONS), n_rows(predictions_of, seen)) // PART_IMAGES
    shuffle = functools.partial(
        _shuffled,
        out=at.out,
        n_buckets=n_buckets,
        n_classes=len(vocabulary),
        mapper=at.engine.mapper,
    )
    is_predicted = functools.partial(predicted_labels, probability=thresholds.probability)
    counts = PairCounts.empty(len(vocabulary))
    images = predicted = 0
    with (
        shuffle("annotated", annotated, ANNOTATIONS, annotated_labels) as left,
        shuffle("predicted", predictions_of, seen, is_predicted) as right,
    ):
        work = functools.partial(
            _count_bucket,
            annotated=left,
            predicted=right,
            n_classes=len(vocabulary),
            probability=thresholds.probability,
            where=predictions,
        )
        for partial, n_images, n_predicted in at.engine.mapper(work, range(n_buckets)):
            counts += partial
            images += n_images
            predicted += n_predicted
            at.engine.progress(n_images)
    if not predicted:
        raise DataError(
            "no annotated image is predicted", where=predictions, remedy=f"predict the images of {annotations}"
        )
    strong = strong_implications(counts, vocabulary.closure, thresholds.strength)
    counted, implied = pair_counts_table(counts), implications_table(strong, counts)
    receipts = (
        write_table(at.out / PAIR_COUNTS_FILE, counted, PAIR_COUNTS, at.inputs),
        write_table(at.out / IMPLICATIONS_FILE, implied, IMPLICATIONS, at.inputs),
    )
    surest = strong_pairs(implied, counted)[:_LISTED_PAIRS]
    summary = CooccurrenceSummary(
        images,
        predicted,
        pairs=int(counts.n_both.nnz),
        implications=int(strong.nnz),
        surest=tuple(NamedPair.of(pair, vocabulary) for pair in surest),
    )
    return StageResult(receipts, summary)


_SHUFFLED = TableSchema(
    "shuffled", 1, pa.schema([pa.field("bucket", pa.int32(), nullable=False), *map(LABELS.arrow.field, (0, 3))])
)
"""Rows of a table in one bucket; the same image has the same bucket in both tables."""


@contextlib.contextmanager
def _shuffled(
    name: str,
    parts: Sequence[Location],
    schema: TableSchema,
    chosen: Callable[[LabelColumns], NDArray[np.bool_]],
    *,
    out: Location,
    n_buckets: int,
    n_classes: int,
    mapper: Mapper,
) -> Iterator[tuple[Location, ...]]:
    """Yield files in `out`, one per part, with the part's chosen labels by bucket; they are removed after the block."""
    written = tuple(out / f"{PARTIAL_PREFIX}{name}-{number:05d}.parquet" for number in range(len(parts)))
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
    """Write the chosen labels of the first path's rows into the second, in row groups of one bucket each.

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
    """Return the pair counts of one bucket, the number of annotated images, and how many have predictions."""
    left, right = (read_range(parts, _SHUFFLED, "bucket", bucket, bucket) for parts in (annotated, predicted))
    predicted_ids = right["image_id"].combine_chunks()
    if pc.count_distinct(predicted_ids).as_py() < len(predicted_ids):
        repeated = _first_repeat(predicted_ids)
        raise DataError(f"{repeated} is predicted twice", where=where, remedy="keep one row per image")
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


def _parts(tables: Iterator[pa.Table], rows: int) -> Iterator[Iterator[pa.Table]]:
    """Yield groups of tables with `rows` rows each, the last with the rest; use up each group before the next."""
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

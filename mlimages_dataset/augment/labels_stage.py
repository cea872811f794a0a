"""The stage that augments annotations and splits them, part by part."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping  # noqa: TC003 - the decoder reads it
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from mlimages_dataset.augment.audit import AuditedRows, Consistency, audit_rows
from mlimages_dataset.augment.cooccurrence import implications_of
from mlimages_dataset.augment.rules import likely_labels, rules_of
from mlimages_dataset.augment.seen import teacher_of
from mlimages_dataset.augment.shared_ids import SharedIds, shared_ids
from mlimages_dataset.augment.splits import MOST_PER_CATEGORY, LowestDraws, draws_of, eligible, lowest_draws
from mlimages_dataset.augment.statistics import LabelStatistics, SplitSummary, label_statistics
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.pipeline.engine import in_threads
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.tables.arrays import arrow_of
from mlimages_dataset.tables.batches import checked_columns
from mlimages_dataset.tables.files import Receipt, digests
from mlimages_dataset.tables.label_columns import array_of, columns_of
from mlimages_dataset.tables.parquet import (
    read_table,
    scan_table,
    schema_of,
    table_digests,
    table_parts,
    table_writer,
)
from mlimages_dataset.tables.schemas import ANNOTATIONS, IMPLICATIONS, LABELS, RULES
from mlimages_dataset.vocab.folder import read_vocabulary, refuse_other_vocabulary, vocabulary_digests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from mlimages_dataset.augment.rules import LabelRules
    from mlimages_dataset.augment.seen import Predicted, Teacher
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.journal import Journal
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.tables.files import Inputs
    from mlimages_dataset.tables.label_columns import LabelColumns
    from mlimages_dataset.vocab.vocabulary import Vocabulary

LABELS_STAGE = "labels"
SPLITS = ("train", "val")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelOptions:
    """How labels are augmented and split.

    Attributes:
        validation_images: number of images that are drawn for the split val.
        validation_images_per_category: at most this many per category, in 1..1000.
        salt: another salt draws other images.
        absences: how verified-absent labels are listed.
    """

    validation_images: int = 0
    validation_images_per_category: int = 5
    salt: str = "mlimages"
    absences: Absences = Absences.EXPAND

    def __post_init__(self) -> None:
        if self.validation_images < 0:
            raise ValueError(f"validation_images is {self.validation_images}, which is less than 0")
        if not 1 <= self.validation_images_per_category <= MOST_PER_CATEGORY:
            raise ValueError(
                f"validation_images_per_category is {self.validation_images_per_category}, "
                f"which is not in 1..{MOST_PER_CATEGORY}"
            )


@dataclass(frozen=True, slots=True)
class LabelsSummary:
    """Counts of the written labels, and of the annotations before augmentation.

    Attributes:
        conflicts: verified absences that a present descendant contradicts: kept present.
        blocked_implications: co-occurrences that were not added because their category is verified absent.
        validation_images_asked: number of validation images asked for.
        annotations_audit: consistency of the rows of each source.
        train, val: statistics of the splits.
        shared_ids: ids that several rows have.
        unpredicted: images without the predictions that rules read: nothing likely is added to them.
        validation_images_drawn: number of validation images, each with one row or several; None in summaries of earlier
            versions, in which the rows stand for it.
    """

    conflicts: int
    blocked_implications: int
    validation_images_asked: int
    annotations_audit: Mapping[str, AuditedRows]
    train: SplitSummary
    val: SplitSummary
    shared_ids: SharedIds = SharedIds()  # noqa: RUF009 - frozen
    unpredicted: int = 0
    validation_images_drawn: int | None = None

    def line(self) -> str:
        """Return the numbers of images, and of labels of a training image."""
        images = f"{self.train.images:,} training and {self.val.images:,} validation images"
        return f"{images}, {self.train.labels_per_image_mean:.1f} labels per image"

    def lines(self) -> list[str]:
        """Return the published statistics of the splits, and facts about the annotations."""
        return [
            *(f"{name}: {split.line()}" for name, split in (("train", self.train), ("val", self.val))),
            *(f"{source}: {audited.line()}" for source, audited in self.annotations_audit.items()),
            *self.findings(),
        ]

    def findings(self) -> list[str]:
        """Return a sentence for each unexpected result."""
        found = []
        asked, drawn = self.validation_images_asked, self.validation_images_drawn
        drawn = self.val.images if drawn is None else drawn
        if drawn < asked:
            found.append(f"only {drawn:,} of {asked:,} validation images: the limit per category allows no more")
        if self.conflicts:
            found.append(f"{self.conflicts:,} verified absences contradicted by a present descendant: kept present")
        if self.blocked_implications:
            found.append(f"{self.blocked_implications:,} co-occurrences not added: verified absent in the image")
        if self.unpredicted:
            found.append(f"{self.unpredicted:,} images have no predictions: the rules added nothing to them")
        return [*found, *self.shared_ids.lines()]


def labels_stage(
    vocabulary: Location,
    annotations: Sequence[Location],
    implications: Location | None,
    options: LabelOptions,
    *,
    predictions: Location | None = None,
    into: str = "",
) -> Stage[LabelsSummary]:
    """Return the stage that augments annotations and splits them; its work is `label`.

    Raises:
        UsageError, DataError: a table is missing, damaged, of another vocabulary, or given twice, or rules read
            predictions and none are given.
    """
    inputs = vocabulary_digests(vocabulary)
    for number, folder in enumerate(annotations, 1):
        inputs |= table_digests(f"annotations {number}", folder)
    if implications is not None:
        inputs |= digests([implications])
    if predictions is not None:
        inputs |= table_digests("predictions", predictions)
    refuse_other_vocabulary(inputs, [*annotations, *(one for one in (implications, predictions) if one is not None)])
    if len(set(annotations)) < len(annotations):
        raise UsageError("a folder of annotations is given twice", where=annotations[-1], remedy="name each once")
    return Stage(
        name=LABELS_STAGE,
        parameters=options,
        inputs=inputs,
        work=lambda at: label(
            read_vocabulary(vocabulary),
            annotations,
            at,
            implications=implications,
            options=options,
            predictions=predictions,
        ),
        summary=LabelsSummary,
        into=into,
        folders=("", *SPLITS),
        resumes=True,
    )


def label(
    vocabulary: Vocabulary,
    annotations: Sequence[Location],
    at: Workplace,
    *,
    implications: Location | None = None,
    options: LabelOptions = LabelOptions(),
    predictions: Location | None = None,
) -> StageResult[LabelsSummary]:
    """Augment annotation tables and write the `labels` tables `train/` and `val/`, one part for each input part.

    Args:
        vocabulary: the vocabulary of the annotations.
        annotations: folders of `annotations` tables.
        at: where to write.
        implications: `implications` or `rules` table; None for none.
        options: how labels are augmented and split.
        predictions: folder of a teacher's `predictions` of these images, for rules that read them.

    Raises:
        UsageError, DataError: a table is missing or damaged, or of another vocabulary, or an image is predicted twice.
        UsageError: rules read predictions and none are given, or none read those given.
    """
    # Absolute: the workers of an engine may have other working folders.
    parts = [part for folder in annotations for part in table_parts(folder.absolute())]
    mapper = in_threads(at.engine.mapper)
    n_classes = len(vocabulary)
    implied, likely = co_occurrences(implications, n_classes)
    teacher = teacher_of(likely, predictions, n_classes, where=implications)
    draw = _drawn(parts, options, n_classes, mapper) if options.validation_images else None
    work = functools.partial(
        _label_part,
        out=at.out,
        rules=augmentation_rules(vocabulary.closure, implied, options.absences),
        closure=vocabulary.closure,
        likely=likely,
        teacher=teacher,
        draw=draw,
        inputs=dict(at.inputs),
        journal=at.journal,
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
        at.engine.progress(result.counts.images)
    # One source of one folder has a row an image: `annotate` made it so.
    several = len(consistency) > 1 or len(annotations) > 1
    wnids = [category.wnid for category in vocabulary.categories]
    summary = LabelsSummary(
        conflicts=counts.conflicts,
        blocked_implications=counts.blocked,
        unpredicted=counts.unpredicted,
        validation_images_asked=options.validation_images,
        validation_images_drawn=0 if draw is None else len(draw.chosen),
        annotations_audit={source: consistency[source].summary(wnids) for source in sorted(consistency)},
        train=statistics["train"].summary(),
        val=statistics["val"].summary(),
        shared_ids=shared_ids(parts, (ANNOTATIONS,), at.out) if several else SharedIds(),
    )
    return StageResult(tuple(sorted(receipts, key=lambda receipt: receipt.path)), summary)


@dataclass(frozen=True, slots=True)
class _Draw:
    """The drawn images: those whose draw under the salt is among `chosen`, ascending."""

    salt: str
    chosen: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class _LabelledPart:
    receipts: tuple[Receipt, ...]
    counts: AugmentationCounts
    statistics: Mapping[str, LabelStatistics]
    consistency: Mapping[str, Consistency]


def _add(consistency: dict[str, Consistency], source: str, more: Consistency) -> None:
    consistency[source] = consistency[source] + more if source in consistency else more


def _label_part(
    numbered: tuple[int, Location],
    *,
    out: Location,
    rules: AugmentationRules,
    closure: sp.csr_array,
    likely: LabelRules | None,
    teacher: Teacher | None,
    draw: _Draw | None,
    inputs: dict[str, str],
    journal: Journal,
) -> _LabelledPart:
    """Audit and augment one numbered part of annotations and write its images by split, unless that was done."""
    number, part = numbered
    work = functools.partial(
        _labelled,
        number,
        part,
        out=out,
        rules=rules,
        closure=closure,
        likely=likely,
        teacher=teacher,
        draw=draw,
        inputs=inputs,
    )
    return journal.once(f"{number:05d}", work, _LabelledPart)


def _labelled(
    number: int,
    annotations: Location,
    *,
    out: Location,
    rules: AugmentationRules,
    closure: sp.csr_array,
    likely: LabelRules | None,
    teacher: Teacher | None,
    draw: _Draw | None,
    inputs: Inputs,
) -> _LabelledPart:
    n_classes = rules.n_classes
    statistics = {name: LabelStatistics.empty(n_classes) for name in SPLITS}
    consistency: dict[str, Consistency] = {}
    counts = AugmentationCounts()
    writers = {}
    seen = None if teacher is None else teacher.of_part(annotations)
    with contextlib.ExitStack() as stack:
        for batch in scan_table(annotations, ANNOTATIONS):
            checked_columns(batch.column("labels"), n_classes, annotations)
            for source, rows in _by_source(batch):
                found = audit_rows(columns_of(rows.column("labels")), closure)
                _add(consistency, source, Consistency.of(found, closure))
            for name, rows in _split(batch, draw):
                predicted = None if seen is None else seen.of(rows.column("image_id"))
                labels = columns_of(rows.column("labels"))
                with_more, of_batch = augmented(labels, rules, likely, closure, predicted)
                if name not in writers:
                    path = _part(out / name, number)
                    writers[name] = stack.enter_context(table_writer(path, LABELS, inputs))
                writers[name].write(_with_labels(rows, array_of(with_more)))
                statistics[name] += label_statistics(with_more, n_classes)
                counts += of_batch
    receipts = tuple(writer.receipt for writer in writers.values() if writer.receipt is not None)
    return _LabelledPart(receipts, counts, statistics, consistency)


def co_occurrences(path: Location | None, n_classes: int) -> tuple[sp.csr_array | None, LabelRules | None]:
    """Return the implications or the rules that a file holds; None for what it does not hold."""
    if path is None:
        return None, None
    schema = schema_of(path, (IMPLICATIONS, RULES)) if path.is_file() else IMPLICATIONS
    table = read_table(path, schema)
    if schema is RULES:
        return None, rules_of(table, n_classes, where=path)
    return implications_of(table, n_classes, where=path), None


def augmented(
    labels: LabelColumns,
    rules: AugmentationRules,
    likely: LabelRules | None,
    closure: sp.csr_array,
    predicted: Predicted | None,
) -> tuple[LabelColumns, AugmentationCounts]:
    """Return augmented labels, likely ones included, and the counts of events."""
    if likely is None:
        return augment(labels, rules)
    unpredicted = 0 if predicted is None else int((~predicted.known).sum())
    with_likely, blocked = likely_labels(labels, likely, closure, predicted)
    # By way of Arrow: its arrays are read-only, and for others Numba would compile the loops again.
    found, counts = augment(columns_of(array_of(with_likely)), rules)
    return found, counts + AugmentationCounts(blocked=blocked, unpredicted=unpredicted)


def split_statistics(parts: Sequence[Location], n_classes: int) -> LabelStatistics:
    """Return the statistics of some parts of a `labels` table; raises as `scan_table`, and for another vocabulary."""
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
            yield name, batch.filter(arrow_of(mask))


def _drawn(parts: Sequence[Location], options: LabelOptions, n_classes: int, mapper: Mapper) -> _Draw:
    """Return the draw of the validation images: first the limits of the quota, then the images within them.

    An image with several rows, such as one of two collections, must be within the limits in each row; all its rows are
    drawn.
    """
    salt, per_category = options.salt, options.validation_images_per_category
    lowest = LowestDraws.empty(n_classes, per_category)
    for of_part in mapper(functools.partial(_lowest_of, salt=salt, size=(n_classes, per_category)), parts):
        lowest += of_part
    found = mapper(functools.partial(_eligible_of, salt=salt, limits=lowest.limits), parts)
    candidates = np.unique(np.concatenate(list(found)))
    beyond = mapper(functools.partial(_beyond_of, salt=salt, limits=lowest.limits, candidates=candidates), parts)
    within = np.setdiff1d(candidates, np.concatenate(list(beyond)), assume_unique=False)
    return _Draw(salt, within[: options.validation_images])


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
    """Yield the draws of a part's rows, and whether each row is within the limits; the first batch is empty."""
    yield np.empty(0, np.uint64), np.empty(0, np.bool_)
    for batch in scan_table(part, ANNOTATIONS):
        draws = draws_of(batch.column("image_id"), salt)
        yield draws, eligible(draws, columns_of(batch.column("labels")), limits)


def _part(folder: Location, number: int) -> Location:
    return folder / f"part-{number:05d}.parquet"


def _with_labels(rows: pa.RecordBatch, labels: pa.ListArray) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*rows.columns[:-1], labels], schema=LABELS.arrow)

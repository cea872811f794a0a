"""The stage that maps the labels in files onto a vocabulary; see `runs` for its two passes."""

from __future__ import annotations

import contextlib
import functools
import operator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from mlimages_dataset.augment.annotation_counts import AnnotationCounts, AnnotationSummary
from mlimages_dataset.augment.annotations import (
    STATEMENTS,
    broader_ids,
    class_lookup,
    lookup_table,
    packed_statements,
)
from mlimages_dataset.augment.completeness import Completeness
from mlimages_dataset.augment.merged import annotation_batches
from mlimages_dataset.augment.runs import (
    Runs,
    absolute_pieces,
    most_frequent,
    sorted_runs,
    two_passes,
    with_threads,
)
from mlimages_dataset.core.config import check_folder_name, check_share
from mlimages_dataset.core.decimals import is_whole
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.core.locations import Location  # noqa: TC001 - the decoder reads it
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.sources.folders import is_wnid
from mlimages_dataset.sources.inputs import files_of
from mlimages_dataset.sources.layout import Layout
from mlimages_dataset.sources.registry import is_known, names, source_named
from mlimages_dataset.tables.files import Receipt, digests, prefixed
from mlimages_dataset.tables.parquet import read_range, table_writer
from mlimages_dataset.tables.schemas import ANNOTATIONS, PREDICTIONS
from mlimages_dataset.vocab.folder import read_vocabulary, vocabulary_digests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from mlimages_dataset.pipeline.journal import Journal
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog
    from mlimages_dataset.sources.source import Shown
    from mlimages_dataset.tables.schemas import TableSchema
    from mlimages_dataset.vocab.vocabulary import Vocabulary

ANNOTATIONS_FOLDER = "annotations"
"""Folder of a build's tables of collections, and prefix of the names of their stages."""
_LISTED_UNKNOWN = 10
_SHOWN_UNKNOWN = 3
_SHOWN_IDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedFiles(Layout):
    """One annotated collection, and what its user states of its files (`Layout`).

    Attributes:
        name: the table's folder and source column.
        format: the files' format: the name of a source.
        files: the files, folders of their parts, or patterns of them; or folders of images by wnid.
        ids_of: the class list whose ids the files use; None for the format's own.
        min_confidence: machine labels with a lower confidence are dropped.
        complete: every image was checked for every class of the list that `ids_of` names, else of the one that
            `classes` makes, else of the vocabulary's only list: what an image does not list is verified absent.
        regions: a build writes their boxes too, as the table `regions/NAME`.
        classes: their labels are names, which a build takes as a class list called NAME.
    """

    name: str
    format: str
    files: tuple[Location, ...]
    ids_of: str | None = None
    min_confidence: float = 0.0
    regions: bool = False
    complete: bool = False
    classes: bool = False

    def __post_init__(self) -> None:
        check_folder_name("name", self.name)
        if not is_known(self.format):
            raise ValueError(f"format is {self.format!r}, which is not one of {', '.join(names())}")
        if not self.files:
            raise ValueError("files is empty")
        check_share("min_confidence", self.min_confidence)
        Layout.__post_init__(self)  # super() does not know a class with slots

    @property
    def layout(self) -> Layout | None:
        """What is stated of the files, if anything."""
        stated = {one.name: getattr(self, one.name) for one in fields(Layout)}
        return Layout(**stated) if self.stated else None

    @property
    def complete_for(self) -> str | None:
        """The class list for which the collection is complete, where it is; None for the vocabulary's only one."""
        return self.ids_of or source_named(self.format).ids_of or (self.name if self.classes else None)

    @property
    def parameters(self) -> dict[str, object]:
        """All that decides what is read, but the files' content."""
        told = {"format": self.format, "ids_of": self.ids_of, "min_confidence": self.min_confidence}
        told |= {"complete": True} if self.complete else {}
        return {**told, **{name: getattr(self, name) for name in ("columns", "separator") if name in self.stated}}


def annotations_stage(
    vocabulary: Location, given: AnnotatedFiles, *, schema: TableSchema = ANNOTATIONS, into: str = ""
) -> Stage[AnnotationSummary]:
    """Return the stage that maps an annotated collection, or a model's predictions, onto a vocabulary.

    Its work is `annotate`.

    Raises:
        UsageError: a file is missing, or a folder or pattern has none, or predictions are called complete.
    """
    if given.complete and schema == PREDICTIONS:
        raise UsageError(
            "predictions cannot be complete: that a model does not predict a class does not verify its absence",
            remedy="leave out --complete, or --predictions if people looked for every class",
        )
    given = replace(given, files=files_of(given.format, given.files))
    inputs = {
        **vocabulary_digests(vocabulary),
        **prefixed("files", digests(given.files, source_named(given.format).digest)),
    }
    if given.synsets is not None:
        inputs |= prefixed("synsets", digests([given.synsets]))
    return Stage(
        name=f"{schema.name}/{given.name}",
        parameters=given.parameters,
        inputs=inputs,
        work=lambda at: annotate(read_vocabulary(vocabulary), given, at, schema=schema),
        summary=AnnotationSummary,
        into=into,
        resumes=True,
    )


def annotate(
    vocabulary: Vocabulary, given: AnnotatedFiles, at: Workplace, *, schema: TableSchema = ANNOTATIONS
) -> StageResult[AnnotationSummary]:
    """Write the labels in files as parts of a table, ascending by image id, of about `PART_IMAGES` each.

    Args:
        vocabulary: the vocabulary that the files' classes are mapped onto.
        given: the files.
        at: where to write.
        schema: `ANNOTATIONS`, or `PREDICTIONS` for a model's predictions.

    Raises:
        UsageError, DataError: a file is missing or not of the format, or no image keeps a label.
    """
    source = source_named(given.format)
    indices = class_lookup(vocabulary, source, given.ids_of)
    lookup = lookup_table(indices, broader_ids(vocabulary, source, given.ids_of))
    pieces = absolute_pieces(given.format, given.files, at.engine.mapper, given.layout)
    if schema == PREDICTIONS:
        _refuse_no_confidence(pieces)
    made = two_passes(
        pieces,
        with_threads(given.format, at),
        functools.partial(_runs_of, form=given.format, lookup=lookup, out=at.out, journal=at.journal),
        functools.partial(
            _part_of,
            out=at.out,
            source=given.name,
            min_confidence=given.min_confidence,
            schema=schema,
            complete=Completeness.for_list(vocabulary, given.complete_for) if given.complete else None,
            inputs=dict(at.inputs),
            journal=at.journal,
        ),
    )
    counts = functools.reduce(operator.add, (result.counts for result in made.results), AnnotationCounts())
    if given.complete:
        _refuse_unplaced(counts, made.rejects, given)
    summary = AnnotationSummary.of(counts, made.rejects, most_frequent(made.unknown, _LISTED_UNKNOWN), indices)
    if schema != PREDICTIONS:
        summary = replace(summary, files_with_origins=len({piece.path for piece in pieces if piece.exported}))
    if not counts.images:
        first = [f"; the first malformed row is {row}" for row in (*made.rejects.first, *made.rejects.malformed)]
        raise _nothing_kept(summary, given, vocabulary, "".join(first[:1]))
    return StageResult(tuple(receipt for result in made.results for receipt in result.receipts), summary)


def _refuse_no_confidence(pieces: Sequence[Piece]) -> None:
    """Raise `DataError` for a table of predictions without a column of confidences: all would be sure."""
    for piece in pieces:
        if piece.states and piece.columns and "confidence" not in map(str.casefold, piece.columns):
            raise DataError(
                "has no column confidence, which predictions need",
                where=piece.path,
                remedy="give each prediction one in 0..1",
            )


def _refuse_unplaced(counts: AnnotationCounts, rejects: RejectLog, given: AnnotatedFiles) -> None:
    """Raise `DataError` where rows cannot be used whose image is not known: its absences could be wrong."""
    n_unplaced = rejects.count - rejects.placed + counts.without_image
    if n_unplaced:
        rows = "1 row" if n_unplaced == 1 else f"{n_unplaced:,} rows"
        first = next((f". The first such row is {row}" for row in rejects.unplaced), "")
        raise DataError(
            f"has {rows} that cannot be used and whose image is unknown: in a complete collection, a class that such a "
            f"row states as present could become absent{first}",
            where=given.files[0],
            remedy="correct or remove such rows, or leave out --complete (in a recipe complete = true)",
        )


def _nothing_kept(summary: AnnotationSummary, given: AnnotatedFiles, vocabulary: Vocabulary, first: str) -> DataError:
    malformed = summary.rejected_rows + summary.malformed
    if not (malformed or summary.unknown or summary.dropped or summary.below_confidence or summary.absences or first):
        what = "no image keeps a label: the files state none"
        return DataError(what, where=given.files[0], remedy="check that the file is complete and in the right format")
    names = [repr(class_id) for class_id, _ in summary.most_frequent_unknown_classes]
    such = "such as " if len(names) > _SHOWN_UNKNOWN else ""
    unknown = f" ({such}{', '.join(names[:_SHOWN_UNKNOWN])})" if names else ""
    return DataError(
        f"no image keeps a label: {malformed:,} malformed rows, "
        f"{summary.unknown:,} labels of unknown classes{unknown}, "
        f"{summary.dropped:,} of dropped classes"
        + (f", {summary.below_confidence:,} below the least confidence" if summary.below_confidence else "")
        + first,
        where=given.files[0],
        remedy="lower --min-confidence of annotate (min_confidence in a recipe)"
        if summary.below_confidence >= max(1, summary.unknown, summary.dropped, summary.malformed)
        else hint_on(summary, vocabulary)
        or "check the format, and that the labels are wnids or ids of the vocabulary's class lists",
    )


def _are_names(parts: Sequence[str], vocabulary: Vocabulary) -> bool:
    """Return whether there are several parts, and each is a wnid or a name of a category."""
    return len(parts) > 1 and all(
        part.strip() in vocabulary.index_of_wnid or vocabulary.named(part.strip()) for part in parts
    )


def hint_on(summary: AnnotationSummary, vocabulary: Vocabulary) -> str:
    """Return what unknown labels are, where they are names or indices of categories or have blanks around them.

    Empty if none applies.

    >>> from mlimages_dataset import build_vocabulary
    >>> unknown = AnnotationSummary(most_frequent_unknown_classes=(("dog", 1),))
    >>> hint_on(unknown, build_vocabulary(imagenet=["n02084071"]))
    "'dog' is a name; give labels as wnids or ids of the class lists, here n02084071"
    """
    if blanks := summary.hint_on_blanks():
        return blanks
    return hint_on_labels([label for label, _ in summary.most_frequent_unknown_classes], vocabulary)


def hint_on_labels(unknown: Sequence[str], vocabulary: Vocabulary) -> str:
    """Return what unknown labels are, as `hint_on`."""
    for label in unknown:
        if sign := next((one for one in ";|," if _are_names(label.split(one), vocabulary)), ""):
            told = f"say what stands between labels (--separator {sign!r} of annotate, or separator in a recipe)"
            return f"{label!r} is several names: {told}"
        if named := vocabulary.named(label):
            kind, wnid = "a name", vocabulary.categories[named[0]].wnid
        elif is_whole(label) and int(label) < len(vocabulary):
            kind, wnid = "a class index", vocabulary.categories[int(label)].wnid
        else:
            continue
        ids = first_of((repr(one.source_id) for one in vocabulary.mapping if not is_wnid(one.source_id)), _SHOWN_IDS)
        such = f" (your ids are {ids})" if ids else ""
        return f"{label!r} is {kind}; give labels as wnids or ids of the class lists, here {wnid}{such}"
    return ""


@dataclass(frozen=True, slots=True)
class _Part:
    """The part that the second pass wrote for a range, or none if no image keeps a label."""

    receipts: tuple[Receipt, ...]
    counts: AnnotationCounts


def _runs_of(numbered: tuple[int, Piece], *, form: str, lookup: pa.Table, out: Location, journal: Journal) -> Runs:
    """Write the statements of a numbered piece, one run per block, unless an earlier run did."""
    number, piece = numbered

    def work() -> Runs:
        def pack(block: Shown, log: RejectLog) -> Iterator[pa.RecordBatch]:
            return packed_statements(block, piece, lookup, log)

        return sorted_runs(numbered, form, out, STATEMENTS, pack)

    return journal.once(f"piece-{number:05d}", work, Runs)


def _part_of(
    numbered: tuple[int, tuple[str, str]],
    *,
    runs: Sequence[Location],
    out: Location,
    source: str,
    min_confidence: float,
    schema: TableSchema,
    complete: Completeness | None,
    inputs: dict[str, str],
    journal: Journal,
) -> _Part:
    """Merge a numbered range of images from all runs and write their part, unless an earlier run did."""
    number, (first, below) = numbered
    name = f"part-{number:05d}"

    def work() -> _Part:
        counts = AnnotationCounts()
        with contextlib.ExitStack() as stack:
            writer = None
            statements = read_range(runs, STATEMENTS, "image_id", first, below)
            batches = annotation_batches(
                statements,
                below,
                source=source,
                min_confidence=min_confidence,
                complete=complete,
                schema=schema,
            )
            for table, of_batch in batches:
                counts += of_batch
                if writer is None and table.num_rows:
                    writer = stack.enter_context(table_writer(out / f"{name}.parquet", schema, inputs))
                if writer is not None:
                    writer.write(table)
        return _Part((writer.receipt,) if writer is not None and writer.receipt is not None else (), counts)

    return journal.once(name, work, _Part)

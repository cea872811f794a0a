"""The stage that maps the boxes that files state onto a vocabulary; its two passes are those of `runs`."""

from __future__ import annotations

import contextlib
import functools
import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlimages_dataset.augment.annotate import hint_on_labels
from mlimages_dataset.augment.annotations import class_lookup, lookup_table
from mlimages_dataset.augment.regions import (
    STATED_REGIONS,
    RegionCounts,
    RegionSummary,
    closure_table,
    region_batches,
    stated_regions,
)
from mlimages_dataset.augment.runs import (
    Runs,
    absolute_pieces,
    connection_if_needed,
    most_frequent,
    runs_of,
    two_passes,
    with_threads,
)
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.sources.inputs import files_of
from mlimages_dataset.sources.registry import names, source_named
from mlimages_dataset.sources.rejects import RejectLog
from mlimages_dataset.sources.source import joined_batches
from mlimages_dataset.tables.files import Receipt, digests, prefixed
from mlimages_dataset.tables.parquet import read_range, table_writer
from mlimages_dataset.tables.schemas import REGIONS
from mlimages_dataset.vocab.folder import read_vocabulary, vocabulary_digests

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from mlimages_dataset.augment.annotate import AnnotatedFiles
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.journal import Journal
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.vocab.vocabulary import Vocabulary

REGIONS_FOLDER = "regions"
"""The folder of a build in which the regions of its collections lie, and what their stages' names begin with."""
RANGE_IMAGES = 1 << 16
"""Images of a part: their boxes are held in memory, and masks may have thousands of signs."""
_LISTED_UNKNOWN = 10


def refuse_no_boxes(given: AnnotatedFiles) -> None:
    """Raise `UsageError` if files of a collection's format state no boxes."""
    if not source_named(given.format).has_regions:
        others = ", ".join(name for name in names() if source_named(name).has_regions)
        raise UsageError(
            f"files of the format {given.format} state no boxes", where=given.files[0], remedy=f"use one of {others}"
        )


def regions_stage(
    vocabulary: Location, given: AnnotatedFiles, *, ancestors: bool = False, into: str = ""
) -> Stage[RegionSummary]:
    """Return the stage that maps the boxes of an annotated collection onto a vocabulary; its work is `map_regions`.

    Raises:
        UsageError: a file is missing, or files of the format state no boxes.
    """
    refuse_no_boxes(given)
    source = source_named(given.format)
    given = replace(given, files=files_of(given.format, given.files))
    return Stage(
        name=f"{REGIONS_FOLDER}/{given.name}",
        parameters={
            "format": given.format,
            "ids_of": given.ids_of,
            "min_confidence": given.min_confidence,
            "ancestors": ancestors,
            **({"box_order": given.box_order} if given.box_order else {}),
        },
        inputs={**vocabulary_digests(vocabulary), **prefixed("files", digests(given.files, source.digest))},
        work=lambda at: map_regions(read_vocabulary(vocabulary), given, at, ancestors=ancestors),
        summary=RegionSummary,
        into=into,
        resumes=True,
    )


def map_regions(
    vocabulary: Vocabulary, given: AnnotatedFiles, at: Workplace, *, ancestors: bool = False
) -> StageResult[RegionSummary]:
    """Write the boxes that files state as parts of a `regions` table, of about `RANGE_IMAGES` images each.

    Args:
        vocabulary: the vocabulary that the files' classes are mapped onto.
        given: the files.
        at: where to write.
        ancestors: give each box the ancestors of its categories too.

    Raises:
        UsageError, DataError: a file is missing or not of the format, or states no boxes, or no box is kept.
    """
    lookup = lookup_table(class_lookup(vocabulary, source_named(given.format), given.ids_of))
    pieces = absolute_pieces(given.format, given.files, at.engine.mapper, given.layout)
    made = two_passes(
        pieces,
        with_threads(given.format, at),
        functools.partial(_runs_of, form=given.format, lookup=lookup, out=at.out, journal=at.journal),
        functools.partial(
            _part_of,
            out=at.out,
            given=given,
            closure=closure_table(vocabulary.closure) if ancestors else None,
            inputs=dict(at.inputs),
            journal=at.journal,
        ),
        range_images=RANGE_IMAGES,
    )
    counts = functools.reduce(operator.add, (result.counts for result in made.results), RegionCounts())
    summary = RegionSummary.of(counts, made.rejects, most_frequent(made.unknown, _LISTED_UNKNOWN))
    if not counts.regions:
        raise _nothing_kept(summary, given, vocabulary)
    return StageResult(tuple(receipt for result in made.results for receipt in result.receipts), summary)


def _nothing_kept(summary: RegionSummary, given: AnnotatedFiles, vocabulary: Vocabulary) -> DataError:
    told = [*summary.losses()]
    if summary.below_confidence:
        told.append(f"below the least confidence: {summary.below_confidence:,}")
    told += [f"unknown class {name!r}" for name, _ in summary.most_frequent_unknown_classes[:3]]
    told += [f"the first is {row}" for row in summary.first_rejected_rows[:1]]
    return DataError(
        f"no box is kept ({'; '.join(told) or 'the files state none'})",
        where=given.files[0],
        remedy=hint_on_labels([name for name, _ in summary.most_frequent_unknown_classes], vocabulary)
        or f"check that the files are in the format {given.format}, with boxes, and of the vocabulary's classes",
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What the second pass wrote of a range: a part, or none where no box is kept."""

    receipts: tuple[Receipt, ...]
    counts: RegionCounts


def _runs_of(numbered: tuple[int, Piece], *, form: str, lookup: pa.Table, out: Location, journal: Journal) -> Runs:
    """Write the boxes that a numbered piece states, a run for each block, unless that was done."""
    number, piece = numbered

    def work() -> Runs:
        rejects = RejectLog()
        tables = joined_batches(source_named(form).regions(piece, rejects))
        return runs_of(number, (stated_regions(one, lookup) for one in tables), out, STATED_REGIONS, rejects)

    return journal.once(f"piece-{number:05d}", work, Runs)


def _part_of(
    numbered: tuple[int, tuple[str, str]],
    *,
    runs: Sequence[Location],
    out: Location,
    given: AnnotatedFiles,
    closure: pa.Table | None,
    inputs: dict[str, str],
    journal: Journal,
) -> _Part:
    """Merge a numbered range of images from all runs and write their part, unless that was done."""
    number, (first, below) = numbered
    name = f"part-{number:05d}"

    def work() -> _Part:
        with contextlib.ExitStack() as stack:
            batches, counts = region_batches(
                stack.enter_context(connection_if_needed(out)),
                read_range(runs, STATED_REGIONS, "image_id", first, below),
                below,
                source=given.name,
                min_confidence=given.min_confidence,
                closure=closure,
            )
            if not counts.regions:
                return _Part((), counts)
            writer = stack.enter_context(table_writer(out / f"{name}.parquet", REGIONS, inputs))
            for batch in batches:
                writer.write(batch)
        assert writer.receipt is not None
        return _Part((writer.receipt,), counts)

    return journal.once(name, work, _Part)

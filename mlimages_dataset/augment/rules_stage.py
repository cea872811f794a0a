"""The stage that learns what known labels, and a teacher that sees each image, say of others.

It learns from a sample of images that fits in memory.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.cooccurrence import PROBABILITY, annotated_labels, predicted_labels
from mlimages_dataset.augment.cooccurrence_stage import inputs_of_both
from mlimages_dataset.augment.hidden_labels import HIDDEN_SHARE, with_hidden
from mlimages_dataset.augment.rule_fit import Examples, images_short, learned_rules
from mlimages_dataset.augment.rules import incidence, rules_table, scores_of
from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.core import sparse as sp
from mlimages_dataset.core.config import check_share
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.tables.batches import checked_columns
from mlimages_dataset.tables.label_columns import array_of, columns_of
from mlimages_dataset.tables.parquet import n_rows, scan_table, table_parts, write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS, PREDICTIONS, RULES, TableSchema
from mlimages_dataset.vocab.folder import read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.tables.label_columns import LabelColumns
    from mlimages_dataset.vocab.vocabulary import Vocabulary

RULES_STAGE = "rules"
RULES_FILE = "rules.parquet"
PRECISION = 0.9
MOST_IMAGES = 1 << 17
"""Images that are learned from, drawn by a hash of their ids."""
_HEEDS = {
    "pairs": {"probability", "strength"},
    "regression": {"probability", "precision", "hidden"},
    "image": {"precision", "hidden"},
}
"""The options that each rule of co-occurrence has, the paper's pairs among them."""
COPIES = 4
"""Times that the labels of each complete image are hidden, differently each time."""
_HELD_OUT = 5  # one image in so many
_SALT = "rules"
TAKEN_FOR_COMPLETE = (
    "the annotations list no verified absence, so they are taken for complete: every class that occurs counts as "
    "looked for in every image"
)


def idle_option(rule: str, stated: Iterable[str]) -> str:
    """Return the first option of co-occurrence that is stated and that a rule does not heed; empty if there is none."""
    return min(set(stated) - _HEEDS[rule], default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOptions:
    """What the rules are learned for.

    Attributes:
        precision: the share of the added labels that is to be right, in 0..1.
        probability: a prediction counts as true if its probability exceeds this, in 0..1.
        hidden: the share of the labels of complete images that is hidden to learn from the rest, in 0..1: what the
            images to be augmented lack.
        pictures: predictions are no truth but what a teacher says of each image; the annotations are complete.
    """

    precision: float = PRECISION
    probability: float = PROBABILITY
    hidden: float = HIDDEN_SHARE
    pictures: bool = False

    def __post_init__(self) -> None:
        check_share("precision", self.precision)
        check_share("probability", self.probability)
        check_share("hidden", self.hidden)


@dataclass(frozen=True, slots=True)
class RulesSummary:
    """What was learned, and what it gives on images that it was not learned from.

    Attributes:
        images: images that were drawn, those held out included.
        consequents: categories that a rule can add.
        terms: antecedents of all rules, alone and two together, and ramps of a teacher's probabilities.
        precision: the wanted one.
        least: the least estimate that adds a label; None if no limit gives the wanted precision.
        added: labels added to the held-out images.
        right: of these.
        missing: labels of the held-out images that were hidden or not annotated.
        taken_for_complete: the annotations are the truth, and list no verified absence.
        needed: images that are needed at least, where these are too few; else 0.
    """

    images: int
    consequents: int
    terms: int
    precision: float
    least: float | None
    added: int
    right: int
    missing: int
    taken_for_complete: bool = False
    needed: int = 0

    def line(self) -> str:
        """Return the number of rules and of images that they were learned from."""
        return f"rules for {self.consequents:,} categories, learned from {self.images:,} images"

    def findings(self) -> list[str]:
        """Return a sentence if nothing can be added, and one if nothing says that the annotations are complete."""
        found = [TAKEN_FOR_COMPLETE] if self.taken_for_complete else []
        if self.least is None and self.needed:
            found.append(f"too few images: {self.images:,} of at least {self.needed:,}: no label is added by a rule")
        elif self.least is None:
            found.append(f"no rule is right in {self.precision:.0%} of the labels that it would add: none is added")
        return found

    def lines(self) -> list[str]:
        """Return the counts."""
        lines = [
            f"{self.images:>12,}  images learned from, a fifth of them held out",
            f"{self.consequents:>12,}  categories that are added, by {self.terms:,} terms",
        ]
        if self.least is not None:
            lines += [
                f"{self.least:>12.3f}  least estimate of an added label",
                f"{self.right / self.added:>12.1%}  of {self.added:,} labels added to the held-out images are right",
                f"{self.right / self.missing:>12.1%}  of their {self.missing:,} missing labels are added",
            ]
        return [*lines, *self.findings()]


def rules_stage(
    vocabulary: Location, annotations: Location, predictions: Location, options: RuleOptions, *, into: str = ""
) -> Stage[RulesSummary]:
    """Return the stage that learns rules from annotated and predicted categories; its work is `rules`.

    If `predictions` are the annotations themselves, these must be complete: they say what else each image shows. With
    `options.pictures`, they must be complete too, and the predictions are a teacher's.

    Raises:
        UsageError, DataError: a table is missing, damaged, or of another vocabulary.
        UsageError: the teacher's predictions are the annotations.
    """
    if options.pictures and predictions == annotations:
        raise UsageError(
            "the annotations are named as a teacher's predictions",
            where=predictions,
            remedy="name the predictions of a model, or use the rule regression",
        )
    return Stage(
        name=RULES_STAGE,
        parameters=options,
        inputs=inputs_of_both(vocabulary, annotations, predictions),
        work=lambda at: rules(read_vocabulary(vocabulary), annotations, predictions, at, options),
        summary=RulesSummary,
        into=into,
    )


def rules(
    vocabulary: Vocabulary,
    annotations: Location,
    predictions: Location,
    at: Workplace,
    options: RuleOptions = RuleOptions(),
) -> StageResult[RulesSummary]:
    """Learn which categories images probably show beside the annotated ones, and write the table `rules`.

    Raises:
        UsageError, DataError: a table is missing or damaged, an image is predicted twice, or none is predicted at all.
    """
    examples = _examples(vocabulary, annotations, predictions, at, options)
    learned, found = learned_rules(examples, vocabulary.closure, options.precision)
    images = len(examples.held_out) // examples.copies
    short = images_short(examples, vocabulary.closure, found.missing) if found.least is None else 0.0
    receipt = write_table(at.out / RULES_FILE, rules_table(learned), RULES, at.inputs)
    summary = RulesSummary(
        images=images,
        consequents=len(learned.consequents),
        terms=int(learned.singles.nnz + learned.joint.nnz + np.count_nonzero(learned.ramps.rises)),
        precision=options.precision,
        least=found.least,
        added=found.added,
        right=found.right,
        missing=found.missing,
        taken_for_complete=_is_truth(annotations, predictions, options) and not _has_absences(annotations),
        needed=math.ceil(images * short) if short > 1 else 0,
    )
    return StageResult((receipt,), summary)


def _is_truth(annotations: Location, predictions: Location, options: RuleOptions) -> bool:
    """Return whether the annotations, and no predictions, say what else each image shows."""
    return predictions == annotations or options.pictures


def _has_absences(annotations: Location) -> bool:
    """Return whether an image of a table has a verified absence; the first one is looked for."""
    for part in table_parts(annotations.absolute()):
        for batch in scan_table(part, ANNOTATIONS, columns=("labels",)):
            if (columns_of(batch.column("labels")).confidence == 0).any():
                return True
    return False


def _examples(
    vocabulary: Vocabulary, annotations: Location, predictions: Location, at: Workplace, options: RuleOptions
) -> Examples:
    """Return what is known and what is true of the drawn images."""
    n_classes = len(vocabulary)
    parts = table_parts(annotations.absolute())
    share = min(1.0, MOST_IMAGES / max(1, n_rows(parts, ANNOTATIONS)))
    drawn = functools.partial(_drawn, n_classes=n_classes, share=share, progress=at.engine.progress)
    ids, left = drawn(at, parts, ANNOTATIONS, annotated_labels)
    draws = draws_of(ids, _SALT)
    right = left
    if predictions != annotations:
        probability = 0.0 if options.pictures else options.probability
        chosen = functools.partial(predicted_labels, probability=probability)
        seen, right = drawn(at, table_parts(predictions.absolute()), PREDICTIONS, chosen)
        if pc.count_distinct(seen).as_py() < len(seen):
            raise DataError("an image is predicted twice", where=predictions, remedy="keep one row per image")
        where = pc.index_in(ids, value_set=seen)
        known = pc.is_valid(where)
        draws, ids = draws[known.to_numpy(zero_copy_only=False)], ids.filter(known)
        left = columns_of(array_of(left).filter(known))
        right = columns_of(array_of(right).take(where.drop_null()))
    if not len(left):
        raise DataError(
            "no annotated image is predicted", where=predictions, remedy=f"predict the images of {annotations}"
        )
    held_out = np.asarray(draws % np.uint64(_HELD_OUT) == 0)
    if not _is_truth(annotations, predictions, options):
        return _stacked([left], right, held_out, n_classes)
    copies = [with_hidden(left, draws_of(ids, f"{_SALT} {copy}"), options.hidden) for copy in range(COPIES)]
    return _stacked(copies, left, held_out, n_classes, scores_of(right, n_classes) if options.pictures else None)


def _stacked(
    copies: list[LabelColumns],
    truth: LabelColumns,
    held_out: NDArray[np.bool_],
    n_classes: int,
    seen: sp.csr_array | None = None,
) -> Examples:
    known = [_ones(one, n_classes) for one in copies]
    true = [_ones(truth, n_classes)] * len(copies)
    return Examples(
        sp.csr_array(sp.vstack(known)),
        sp.csr_array(sp.vstack(true)),
        np.tile(held_out, len(copies)),
        len(copies),
        None if seen is None else sp.csr_array(sp.vstack([seen] * len(copies))),
    )


def _ones(labels: LabelColumns, n_classes: int) -> sp.csr_array:
    """Return 1 at each label, shape (N, C)."""
    found = incidence(labels, np.ones(len(labels.class_index), bool), n_classes)
    found.data[:] = 1
    return found


def _drawn(
    at: Workplace,
    parts: list[Location],
    schema: TableSchema,
    chosen: Callable[[LabelColumns], NDArray[np.bool_]],
    *,
    n_classes: int,
    share: float,
    progress: Callable[[int], None],
) -> tuple[pa.StringArray, LabelColumns]:
    """Return the ids and the chosen labels of the drawn images of all parts, in their order."""
    work = functools.partial(_drawn_of_part, schema=schema, chosen=chosen, n_classes=n_classes, share=share)
    tables = []
    for table in at.engine.mapper(work, parts):
        tables.append(table)
        progress(len(table))
    found = pa.concat_tables(tables).combine_chunks()
    ids, labels = (found[name].combine_chunks() for name in ("image_id", "labels"))
    return ids, columns_of(labels)


def _drawn_of_part(
    part: Location,
    *,
    schema: TableSchema,
    chosen: Callable[[LabelColumns], NDArray[np.bool_]],
    n_classes: int,
    share: float,
) -> pa.Table:
    kept = pa.schema([LABELS.arrow.field("image_id"), LABELS.arrow.field("labels")])
    tables = [kept.empty_table()]
    for batch in scan_table(part, schema, columns=("image_id", "labels")):
        ids = batch.column("image_id")
        rows = batch.filter(pa.array(draws_of(ids, _SALT) / 2.0**64 < share))
        labels = checked_columns(rows.column("labels"), n_classes, part)
        columns = [rows.column("image_id"), array_of(labels.only(chosen(labels)))]
        tables.append(pa.Table.from_arrays(columns, schema=kept))
    return pa.concat_tables(tables)

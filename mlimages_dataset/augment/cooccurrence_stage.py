"""The stage that finds strong pairs: two tables are joined piece by piece, and the counts added up."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.augment.cooccurrence import (
    PROBABILITY,
    STRENGTH,
    PairCounts,
    StrongPair,
    annotated_labels,
    implications_table,
    pair_counts_table,
    predicted_labels,
    strong_implications,
    strong_pairs,
)
from mlimages_dataset.augment.paired_rows import Side, pieces
from mlimages_dataset.augment.same_images import RepeatedIdError, rows_with
from mlimages_dataset.core.config import check_share
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.pipeline.engine import in_threads
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.tables.parquet import (
    n_rows,
    table_digests,
    table_parts,
    write_table,
)
from mlimages_dataset.tables.schemas import ANNOTATIONS, IMPLICATIONS, PAIR_COUNTS, PREDICTIONS
from mlimages_dataset.vocab.folder import read_vocabulary, refuse_other_vocabulary, vocabulary_digests

if TYPE_CHECKING:
    from mlimages_dataset.augment.paired_rows import Piece
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.vocab.vocabulary import Vocabulary

COOCCURRENCE = "cooccurrence"
PART_IMAGES = 1 << 20
"""Most images that are counted at once."""
_FEWEST_IMAGES = 1 << 17
_PIECES = 4
"""Pieces of small tables, so that both cores of small machines have work until the end."""
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
    is_predicted = functools.partial(predicted_labels, probability=thresholds.probability)
    left = Side("annotated", tuple(annotated), ANNOTATIONS, annotated_labels, len(vocabulary))
    right = Side("predicted", tuple(predictions_of), seen, is_predicted, len(vocabulary))
    rows = max(n_rows(annotated, ANNOTATIONS), n_rows(predictions_of, seen))
    mapper = in_threads(at.engine.mapper)
    counts = PairCounts.empty(len(vocabulary))
    images = predicted = 0
    with pieces(left, right, _images_of_a_piece(rows), at.out, mapper) as several:
        work = functools.partial(_count_piece, n_classes=len(vocabulary), where=predictions)
        for partial, n_images, n_predicted in mapper(work, several):
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


def _images_of_a_piece(rows: int) -> int:
    return min(PART_IMAGES, max(_FEWEST_IMAGES, rows // _PIECES + 1))


def _count_piece(piece: Piece, *, n_classes: int, where: Location) -> tuple[PairCounts, int, int]:
    """Return the pair counts of one piece, the number of annotated images, and how many have predictions."""
    left, right = piece.left(), piece.right()
    try:
        rows = rows_with(left.ids, right.ids)
    except RepeatedIdError as error:
        raise DataError(f"{error} is predicted twice", where=where, remedy="keep one row per image") from error
    counts = PairCounts.of(left.categories, right.categories.at(rows), n_classes)
    return counts, len(rows), int(np.count_nonzero(rows >= 0))

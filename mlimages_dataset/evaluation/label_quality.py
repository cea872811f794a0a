"""Precision and recall of added labels against complete annotations: the trade-off of noisy and missing labels.

Tencent ML-Images (section 3.3, "Noisy and missing tags") names the trade-off but does not measure it, because few
images have all their labels known. Some collections are annotated completely for some classes; here their labels are
hidden at random, the rest is augmented, and the added labels are compared with the truth.

Truth. The declared classes D are those that the annotators looked for in every image; an image lists those present.
P is the set of an image's listed categories and all their ancestors: an ancestor of a true label is true by definition.
A category c that augmentation adds to an image is

* `PRESENT` if it is in P;
* `ABSENT` if it is, or is below, a declared class that is not in P: annotators looked for it and saw none;
* `PRESUMED_ABSENT` if neither holds and a declared class is below c. None of those is present (else c would be in
  P), but an undeclared kind of c may be: these count as wrong, so precision is a lower bound;
* `UNJUDGED` otherwise. Its declared ancestors, if any, are all present, but nothing says which kinds of them are.

Collections such as Open Images and LVIS were checked for other classes in each image. If a table lists verified
absences, these alone say what annotators did not see in an image: c is `ABSENT` if it is, or is below, one of them that
is not in P, and `PRESUMED_ABSENT` if one of them is below it; only verified presences (confidence 1) are listed labels.

Kept labels K are the listed labels that were not hidden. The added labels of one origin are counted by verdict: with
n_v labels of verdict v,

    precision = n_PRESENT / (n_PRESENT + n_ABSENT + n_PRESUMED_ABSENT)
    recall    = n_PRESENT / (|P| - |K|)

summed over images, for all categories or for declared classes only (P and the added labels restricted to D). For all
output labels, kept labels included,

    noisy   = wrong / (|K| + right + wrong)        missing = (|P| - |K| - right) / |P|

Legend: N images, L labels in all of them, C categories, T thresholds, V verdicts.
"""

from __future__ import annotations

import enum
import functools
import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.augment.ancestors import augment, augmentation_rules
from mlimages_dataset.augment.cooccurrence import PairCounts, count_pairs, strong_implications
from mlimages_dataset.augment.hidden_labels import HIDDEN_SHARE, as_listed, with_hidden
from mlimages_dataset.augment.labels_stage import augmented, co_occurrences
from mlimages_dataset.augment.rules_stage import TAKEN_FOR_COMPLETE
from mlimages_dataset.augment.seen import teacher_of
from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.core import sparse as sp
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.batches import label_batches
from mlimages_dataset.tables.label_columns import LabelColumns
from mlimages_dataset.tables.parquet import table_parts
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.augment.rules import LabelRules
    from mlimages_dataset.augment.seen import Teacher
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.vocab.vocabulary import Vocabulary

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
JUDGED_ORIGINS = (Origin.ANCESTOR, Origin.CO_OCCURRENCE)


class Verdict(enum.IntEnum):
    """What complete annotations say about an added label; the module's docstring defines each."""

    PRESENT = 0
    ABSENT = 1
    PRESUMED_ABSENT = 2
    UNJUDGED = 3


@dataclass(frozen=True, slots=True)
class DeclaredClasses:
    """The classes that were annotated completely, and their places in the hierarchy.

    Attributes:
        declared: true at declared classes, bool, shape (C,).
        above: true at (category, declared ancestor or itself), bool sparse, shape (C, C).
        has_below: true if a declared class other than the category itself is below it, bool, shape (C,).
        above_of_all: the reflexive ancestor matrix, bool sparse, shape (C, C).
    """

    declared: NDArray[np.bool_]
    above: sp.csr_array
    has_below: NDArray[np.bool_]
    above_of_all: sp.csr_array


@dataclass(frozen=True, slots=True)
class QualityCounts:
    """Counts over images; counts of parts add up. Arrays of two hold all categories, then declared ones.

    Attributes:
        images: images with a listed label.
        kept: labels that were kept, |K|.
        present: true labels, |P|, int64, shape (2,).
        added: labels that augmentation added, int64, shape (T, 2 origins, 2, V).
    """

    images: int
    kept: int
    present: NDArray[np.int64]
    added: NDArray[np.int64]

    @classmethod
    def empty(cls, n_thresholds: int) -> QualityCounts:
        """Return the counts for no images."""
        return cls(
            0, 0, np.zeros(2, np.int64), np.zeros((n_thresholds, len(JUDGED_ORIGINS), 2, len(Verdict)), np.int64)
        )

    def __add__(self, other: QualityCounts) -> QualityCounts:
        return QualityCounts(
            self.images + other.images,
            self.kept + other.kept,
            self.present + other.present,
            self.added + other.added,
        )


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of the added labels of one origin, for all categories or for declared classes.

    Ratios are NaN if nothing was judged, or nothing was missing.
    """

    right: int
    absent: int
    presumed_absent: int
    unjudged: int
    missing: int
    images: int

    @property
    def added_per_image(self) -> float:
        """Mean number of labels added to an image, judged or not."""
        return _ratio(self.right + self.absent + self.presumed_absent + self.unjudged, self.images)

    @property
    def precision(self) -> float:
        """Share of the judged labels that are right; presumed absences count as wrong."""
        return _ratio(self.right, self.right + self.absent + self.presumed_absent)

    @property
    def precision_at_most(self) -> float:
        """The same if all presumed absences were right."""
        return _ratio(self.right + self.presumed_absent, self.right + self.absent + self.presumed_absent)

    @property
    def recall(self) -> float:
        """Share of the missing labels that were added."""
        return _ratio(self.right, self.missing)


@dataclass(frozen=True, slots=True)
class AugmentationEvaluation:
    """An evaluation of augmentation.

    Attributes:
        thresholds: strengths that a co-occurrence must exceed.
        implications: strong pairs of each threshold.
        declared: number of declared classes.
        learned_from: images that the implications were learned from; 0 if they were given.
        counts: counts over the evaluated images.
        absences: verified absences of the collection; without any it is taken for complete.
    """

    thresholds: tuple[float, ...]
    implications: tuple[int, ...]
    declared: int
    learned_from: int
    counts: QualityCounts
    absences: int = 0

    def findings(self) -> list[str]:
        """Return a sentence if the collection is taken for complete because it lists no verified absence."""
        return [] if self.absences else [TAKEN_FOR_COMPLETE]

    def quality(self, threshold: int, origin: Origin, *, declared_only: bool = False) -> Quality:
        """Return the figures of one origin at the threshold with that number."""
        scope = int(declared_only)
        right, absent, presumed_absent, unjudged = self._added(threshold, [origin], scope)
        missing = int(self.counts.present[scope]) - self.counts.kept
        return Quality(right, absent, presumed_absent, unjudged, missing, self.counts.images)

    def noisy(self, threshold: int, origins: Sequence[Origin] = JUDGED_ORIGINS) -> float:
        """Return the share of wrong labels among the kept and judged ones at a threshold, of some origins only."""
        right, absent, presumed_absent, _ = self._added(threshold, origins)
        wrong = absent + presumed_absent
        return _ratio(wrong, self.counts.kept + right + wrong)

    def missing(self, threshold: int, origins: Sequence[Origin] = JUDGED_ORIGINS) -> float:
        """Return the share of true labels neither kept nor added at a threshold, of some origins only."""
        right, *_ = self._added(threshold, origins)
        present = int(self.counts.present[0])
        return _ratio(present - self.counts.kept - right, present)

    def _added(self, threshold: int, origins: Sequence[Origin], scope: int = 0) -> list[int]:
        """Return the added labels of some origins by verdict."""
        chosen = [JUDGED_ORIGINS.index(origin) for origin in origins]
        return [int(n) for n in self.counts.added[threshold, chosen, scope].sum(axis=0)]


def declared_classes(declared: NDArray[np.bool_], closure: sp.csr_array) -> DeclaredClasses:
    """Return the places of declared classes, bool, shape (C,), in a reflexive ancestor matrix, shape (C, C)."""
    n_below = closure.astype(np.int32).T @ declared.astype(np.int32) - declared
    pairs = closure.tocoo()
    kept = declared[pairs.col]
    above = sp.csr_array((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=closure.shape)
    return DeclaredClasses(declared, above, n_below > 0, closure)


def listed_labels(labels: LabelColumns) -> LabelColumns:
    """Return the present labels as original annotations of confidence 1."""
    return as_listed(labels, labels.confidence > 0)


def verdicts(
    added: LabelColumns, true: LabelColumns, classes: DeclaredClasses, absent: LabelColumns | None = None
) -> NDArray[np.uint8]:
    """Return the `Verdict` of each added label, uint8, shape (L,).

    Args:
        added: labels of N images.
        true: the true labels P of the same images: the listed labels and their ancestors.
        classes: the declared classes.
        absent: the verified absences of the same images; None if each image was checked for all declared classes.
    """
    n_classes = len(classes.declared)
    present = _keys(true, n_classes)
    images = added.images
    found = np.full(len(images), Verdict.UNJUDGED, np.uint8)
    above = (classes.above if absent is None else classes.above_of_all)[added.class_index].tocoo()
    at = images[above.row] * n_classes + above.col
    ruled_out = ~_among(at, present)
    if absent is None:
        found[classes.has_below[added.class_index]] = Verdict.PRESUMED_ABSENT
    else:
        keys = _keys(absent, n_classes)
        over = classes.above_of_all[absent.class_index].tocoo()
        found[_among(_keys(added, n_classes), np.unique(absent.images[over.row] * n_classes + over.col))] = (
            Verdict.PRESUMED_ABSENT
        )
        ruled_out &= _among(at, keys)
    found[above.row[ruled_out]] = Verdict.ABSENT
    found[_among(_keys(added, n_classes), present)] = Verdict.PRESENT
    return found


def quality_counts(
    true: LabelColumns,
    kept: LabelColumns,
    classes: DeclaredClasses,
    outputs: Sequence[LabelColumns],
    absent: LabelColumns | None = None,
) -> QualityCounts:
    """Return the counts over N images, each with a true label, for the output at each threshold.

    Args:
        true: the images' true labels P.
        kept: the labels that are augmented.
        classes: the declared classes.
        outputs: what augmentation makes of the kept labels at each threshold.
        absent: the verified absences, as in `verdicts`.
    """
    counts = QualityCounts.empty(len(outputs)).added
    for number, emitted in enumerate(outputs):
        is_added = emitted.origin != Origin.ORIGINAL
        added, origin = as_listed(emitted, is_added), emitted.origin[is_added]
        found = verdicts(added, true, classes, absent)
        declared = classes.declared[added.class_index]
        for which, one in enumerate(JUDGED_ORIGINS):
            for scope, chosen in enumerate((origin == one, (origin == one) & declared)):
                counts[number, which, scope] = np.bincount(found[chosen], minlength=len(Verdict))
    present = np.array([len(true.class_index), classes.declared[true.class_index].sum()], np.int64)
    return QualityCounts(len(true), len(kept.class_index), present, counts)


def evaluate_labels(
    vocabulary: Vocabulary,
    truth: Location,
    *,
    implications: Location | None = None,
    predictions: Location | None = None,
    hidden: float = HIDDEN_SHARE,
    seed: int = 0,
    thresholds: Sequence[float] = THRESHOLDS,
    mapper: Mapper = map,
) -> AugmentationEvaluation:
    """Return the precision and recall of the labels that augmentation adds to a collection.

    The collection is annotated completely, or lists what was verified absent.

    The declared classes are the categories of the classes of the table's source, and every category that the table
    lists, without those that are only a parent of a class. Implications are learned from half of the images, chosen by
    hash, and the other half is evaluated; if implications are given, all images are evaluated.

    Args:
        vocabulary: the vocabulary of the annotations.
        truth: folder of an `annotations` table.
        implications: `implications` or `rules` table; None to learn implications.
        predictions: a teacher's, for rules that read them.
        hidden: the share of labels to hide.
        seed: another seed hides other labels and chooses another half of the images.
        thresholds: strengths that a co-occurrence must exceed; the estimate, for rules.
        mapper: runs the parts.

    Raises:
        UsageError, DataError: a table is missing or damaged, or of another vocabulary.
        DataError: no image is left to learn from or to evaluate.
    """
    n_classes, closure = len(vocabulary), vocabulary.closure
    parts = table_parts(truth.absolute())
    learn = functools.partial(_learned_from, n_classes=n_classes, seed=seed, pairs=implications is None)
    learned = functools.reduce(operator.add, mapper(learn, parts), _Learned.empty(n_classes))
    declared, sources = learned.declared.copy(), learned.sources
    rows = [row for row in vocabulary.mapping if row.source in sources and row.class_index >= 0]
    declared[[row.class_index for row in rows if row.is_broader]] = False
    declared[[row.class_index for row in rows if not row.is_broader]] = True
    every, likely = co_occurrences(implications, n_classes)
    teacher = teacher_of(likely, predictions, n_classes, where=implications)
    if implications is None:
        every = strong_implications(learned.pairs, closure, min(thresholds))
    added = [_stronger(every, likely, threshold) for threshold in thresholds]
    classes = declared_classes(declared, closure)
    judge = functools.partial(
        _judged,
        seed=seed,
        hidden=hidden,
        classes=classes,
        added=added,
        teacher=teacher,
        half=implications is None,
        verified=bool(learned.absences),
    )
    counts = functools.reduce(operator.add, mapper(judge, parts), QualityCounts.empty(len(added)))
    if not counts.images or (implications is None and not learned.images):
        raise DataError(
            f"{counts.images:,} images to evaluate and {learned.images:,} to learn from",
            where=truth,
            remedy="name a table of more images",
        )
    sizes, n_declared = tuple(one.size for one in added), int(declared.sum())
    return AugmentationEvaluation(tuple(thresholds), sizes, n_declared, learned.images, counts, learned.absences)


@dataclass(frozen=True, slots=True)
class _Learned:
    """Facts learned from parts of a table before evaluation; those of parts add up.

    Attributes:
        sources: the collections of the rows.
        declared: true at classes that a row lists, bool, shape (C,).
        pairs: pairs of listed classes in the images learned from.
        images: how many these are.
        absences: verified absences of all images.
    """

    sources: frozenset[str]
    declared: NDArray[np.bool_]
    pairs: PairCounts
    images: int
    absences: int = 0

    @classmethod
    def empty(cls, n_classes: int) -> _Learned:
        return cls(frozenset(), np.zeros(n_classes, bool), PairCounts.empty(n_classes), 0)

    def __add__(self, other: _Learned) -> _Learned:
        return _Learned(
            self.sources | other.sources,
            self.declared | other.declared,
            self.pairs + other.pairs,
            self.images + other.images,
            self.absences + other.absences,
        )


def _learned_from(part: Location, *, n_classes: int, seed: int, pairs: bool) -> _Learned:
    """Return the classes that a part lists and, on request, their pairs in the images that are not evaluated."""
    found = _Learned.empty(n_classes)
    for rows, draws, columns in _batches(part, n_classes, seed):
        listed = listed_labels(columns)
        declared = np.zeros(n_classes, bool)
        declared[columns.class_index] = True
        half = _rows(listed, (np.diff(listed.offsets) > 0) & ~_evaluated(draws) & pairs)
        sources = frozenset(rows.column("source").unique().to_pylist())
        absences = int((columns.confidence == 0).sum())
        found += _Learned(sources, declared, count_pairs(half, half, n_classes), len(half), absences)
    return found


def _judged(
    part: Location,
    *,
    seed: int,
    hidden: float,
    classes: DeclaredClasses,
    added: Sequence[_Added],
    teacher: Teacher | None,
    half: bool,
    verified: bool,
) -> QualityCounts:
    """Return the counts over a part's images, or over the evaluated half of them."""
    counts = QualityCounts.empty(len(added))
    closure = classes.above_of_all
    up = augmentation_rules(closure)
    rules = [augmentation_rules(closure, one.implied) for one in added]
    seen = None if teacher is None else teacher.of_part(part)
    for rows, draws, columns in _batches(part, len(classes.declared), seed):
        listed = as_listed(columns, columns.confidence == 1) if verified else listed_labels(columns)
        chosen = (np.diff(listed.offsets) > 0) & (_evaluated(draws) | (not half))
        judged = _rows(listed, chosen)
        absent = _rows(as_listed(columns, columns.confidence == 0), chosen) if verified else None
        true, _ = augment(judged, up)
        kept = with_hidden(judged, draws[chosen], hidden)
        predicted = None if seen is None else seen.of(rows.column("image_id").filter(pa.array(chosen)))
        outputs = [
            augmented(kept, of_one, one.likely, closure, predicted)[0] for one, of_one in zip(added, rules, strict=True)
        ]
        counts += quality_counts(true, kept, classes, outputs, absent)
    return counts


def _batches(
    part: Location, n_classes: int, seed: int
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.uint64], LabelColumns]]:
    """Yield rows of a part, with their draws and labels."""
    for rows, columns in label_batches(part, n_classes):
        yield rows, draws_of(rows.column("image_id"), f"hide {seed}"), columns


def _evaluated(draws: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which images are evaluated, by one bit of their draws; hiding mixes this bit with all others."""
    return np.asarray(draws >> np.uint64(63), bool)


@dataclass(frozen=True, slots=True)
class _Added:
    """What adds co-occurrences at a threshold: implications, or rules."""

    implied: sp.csr_array | None
    likely: LabelRules | None

    @property
    def size(self) -> int:
        """Number of strong pairs, or of categories that rules add."""
        return int(self.implied.nnz) if self.implied is not None else len(self.likely.consequents) if self.likely else 0


def _stronger(implied: sp.csr_array | None, likely: LabelRules | None, threshold: float) -> _Added:
    """Return the implications with a probability above a threshold, or rules that add only higher estimates."""
    if implied is None:
        above = float(np.nextafter(np.float32(threshold), np.float32(1)))
        return _Added(None, likely and replace(likely, least=max(likely.least, above)))
    pairs = implied.tocoo()
    kept = pairs.data > threshold
    return _Added(sp.csr_array((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=implied.shape), None)


def _rows(labels: LabelColumns, chosen: NDArray[np.bool_]) -> LabelColumns:
    """Return the labels of some images, all of confidence 1 and original."""
    of_chosen = as_listed(labels, chosen[labels.images])
    return LabelColumns(
        np.concatenate((of_chosen.offsets[:1], of_chosen.offsets[1:][chosen])),
        of_chosen.class_index,
        of_chosen.confidence,
        of_chosen.origin,
    )


def _keys(labels: LabelColumns, n_classes: int) -> NDArray[np.int64]:
    """Return one number for each image and class, ascending, shape (L,)."""
    return labels.images * n_classes + labels.class_index


def _among(keys: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which keys are among ascending ones."""
    if not len(ascending):
        return np.zeros(len(keys), bool)
    at = np.searchsorted(ascending, keys).clip(max=len(ascending) - 1)
    return np.asarray(ascending[at] == keys)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")

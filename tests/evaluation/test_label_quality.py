"""Judged by sets in plain Python and by sklearn; hidden labels are hidden as asked, whatever the batches."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score

from mlimages_dataset.augment.ancestors import augment, augmentation_rules
from mlimages_dataset.augment.hidden_labels import with_hidden
from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.evaluation.label_quality import (
    JUDGED_ORIGINS,
    AugmentationEvaluation,
    QualityCounts,
    Verdict,
    declared_classes,
    evaluate_labels,
    listed_labels,
    quality_counts,
    verdicts,
)
from mlimages_dataset.tables.label_columns import array_of
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, IMPLICATIONS, Origin
from tests.augment.strategies import Row, closure_of, columns_from, hierarchies, rows, rows_from
from tests.augment.tables import write_parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlimages_dataset.tables.label_columns import LabelColumns
    from mlimages_dataset.vocab.vocabulary import Vocabulary

N_DRAWN = 4000


class Case(NamedTuple):
    """A hierarchy, which of its classes are declared, images that list some of these, and labels to judge."""

    hierarchy: nx.DiGraph[int]
    declared: frozenset[int]
    images: list[frozenset[int]]
    added: list[frozenset[int]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    hierarchy = draw(hierarchies())
    classes = st.sampled_from(range(len(hierarchy)))
    declared = draw(st.frozensets(classes, min_size=1))
    images = draw(st.lists(st.frozensets(st.sampled_from(sorted(declared)), min_size=1), max_size=5))
    return Case(hierarchy, declared, images, [draw(st.frozensets(classes)) for _ in images])


def present(classes: Sequence[frozenset[int]]) -> LabelColumns:
    """Return images in which these classes are annotated as present."""
    return columns_from([dict.fromkeys(image, (1.0, int(Origin.ORIGINAL))) for image in classes])


def flags(declared: frozenset[int], n_classes: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.isin(np.arange(n_classes), list(declared))


def verdict(case: Case, image: frozenset[int], c: int) -> Verdict:
    """Return what the module's text says, in sets; edges of the graph lead to parents."""
    true = image.union(*(nx.descendants(case.hierarchy, label) for label in image))
    if c in true:
        return Verdict.PRESENT
    if ({c} | nx.descendants(case.hierarchy, c)) & case.declared - true:
        return Verdict.ABSENT
    return Verdict.PRESUMED_ABSENT if nx.ancestors(case.hierarchy, c) & case.declared else Verdict.UNJUDGED


@given(cases())
@pytest.mark.slow
def test_verdicts_are_those_of_the_definitions(case: Case) -> None:
    closure = closure_of(case.hierarchy)
    true, _ = augment(present(case.images), augmentation_rules(closure))
    classes = declared_classes(flags(case.declared, len(case.hierarchy)), closure)
    found = verdicts(present(case.added), true, classes)
    expected = [
        verdict(case, image, c) for image, added in zip(case.images, case.added, strict=True) for c in sorted(added)
    ]
    assert found.tolist() == expected


@given(cases())
@pytest.mark.slow
def test_where_all_declared_classes_were_checked_absences_say_the_same(case: Case) -> None:
    closure = closure_of(case.hierarchy)
    true, _ = augment(present(case.images), augmentation_rules(closure))
    classes = declared_classes(flags(case.declared, len(case.hierarchy)), closure)
    shown = [set(row) for row in rows_from(true)]
    absent = present([case.declared - of_image for of_image in shown])
    added = present(case.added)
    assert verdicts(added, true, classes, absent).tolist() == verdicts(added, true, classes).tolist()


@given(cases(), st.data())
@pytest.mark.slow
def test_verdicts_by_verified_absences_are_those_of_the_definitions(case: Case, data: st.DataObject) -> None:
    n_classes, closure = len(case.hierarchy), closure_of(case.hierarchy)
    true, _ = augment(present(case.images), augmentation_rules(closure))
    absent = [frozenset(data.draw(st.sets(st.integers(0, n_classes - 1), max_size=3))) for _ in case.images]
    classes = declared_classes(flags(case.declared, n_classes), closure)
    found = verdicts(present(case.added), true, classes, present(absent)).tolist()
    expected = []
    for shown, lacking, added in zip(map(set, rows_from(true)), absent, case.added, strict=True):
        for c in sorted(added):
            above, below = nx.descendants(case.hierarchy, c) | {c}, nx.ancestors(case.hierarchy, c)
            if c in shown:
                expected.append(Verdict.PRESENT)
            elif (lacking - shown) & above:
                expected.append(Verdict.ABSENT)
            else:
                expected.append(Verdict.PRESUMED_ABSENT if lacking & below else Verdict.UNJUDGED)
    assert found == expected


def test_each_verdict_in_words() -> None:
    # animal 0 > dog 1 > beagle 2; animal > fox 3; plant 4. Dogs and foxes were looked for.
    hierarchy: nx.DiGraph[int] = nx.DiGraph([(1, 0), (2, 1), (3, 0)])
    hierarchy.add_node(4)
    closure = closure_of(hierarchy)
    classes = declared_classes(flags(frozenset({1, 3}), 5), closure)
    dog, nothing = frozenset({0, 1}), frozenset[int]()
    everything = frozenset(range(5))
    found = verdicts(present([everything, everything]), present([dog, nothing]), classes)
    with_a_dog, without = found[:5].tolist(), found[5:].tolist()
    assert with_a_dog == [Verdict.PRESENT, Verdict.PRESENT, Verdict.UNJUDGED, Verdict.ABSENT, Verdict.UNJUDGED]
    assert without == [Verdict.PRESUMED_ABSENT, Verdict.ABSENT, Verdict.ABSENT, Verdict.ABSENT, Verdict.UNJUDGED]


class Judged(NamedTuple):
    """Labels emitted for images over C classes, as sklearn takes them: what is true, what was added, what is judged."""

    true: list[bool]
    added: list[bool]


def judged(case: Case, kept: LabelColumns, emitted: LabelColumns, origin: Origin, scope: Sequence[int]) -> Judged:
    """Return every judged pair of an image and a class that the image does not list already."""
    true, added = [], []
    for image, before, after in zip(case.images, rows_from(kept), rows_from(emitted), strict=True):
        for c in scope:
            found = verdict(case, image, c)
            if c in before or found is Verdict.UNJUDGED:
                continue
            true.append(found is Verdict.PRESENT)
            added.append(c in after and after[c][1] == origin)
    return Judged(true, added)


@pytest.mark.slow
@given(case=cases(), strengths=st.lists(st.floats(0.05, 0.95), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_precision_and_recall_are_sklearns(case: Case, strengths: list[float], seed: int) -> None:
    n_classes, closure = len(case.hierarchy), closure_of(case.hierarchy)
    listed = present(case.images)
    kept = with_hidden(listed, np.random.default_rng(seed).integers(0, 2**64, len(listed), np.uint64), 0.6)
    rules = [augmentation_rules(closure, implications(n_classes, strength, seed)) for strength in strengths]
    true, _ = augment(listed, augmentation_rules(closure))
    outputs = [augment(kept, of_threshold)[0] for of_threshold in rules]
    counts = quality_counts(true, kept, declared_classes(flags(case.declared, n_classes), closure), outputs)
    evaluation = AugmentationEvaluation(tuple(strengths), (0,) * len(strengths), len(case.declared), 0, counts)
    for number, of_threshold in enumerate(rules):
        emitted, _ = augment(kept, of_threshold)
        for origin in JUDGED_ORIGINS:
            for declared_only, scope in ((False, range(n_classes)), (True, sorted(case.declared))):
                quality = evaluation.quality(number, origin, declared_only=declared_only)
                oracle = judged(case, kept, emitted, origin, scope)
                if not oracle.true:
                    assert math.isnan(quality.precision)
                    continue
                expected = [score(*oracle, zero_division=np.nan) for score in (precision_score, recall_score)]
                np.testing.assert_allclose([quality.precision, quality.recall], expected)
                assert math.isnan(quality.precision) or quality.precision <= quality.precision_at_most <= 1


def implications(n_classes: int, strength: float, seed: int) -> sp.csr_array:
    """Return random implications above a strength between some classes."""
    probability = np.random.default_rng(seed).random((n_classes, n_classes))
    return sp.csr_array(np.where(probability > max(strength, 0.7), probability, 0))


@given(case=cases(), cut=st.integers(0, 5), seed=st.integers(0, 99))
def test_counts_of_parts_add_up(case: Case, cut: int, seed: int) -> None:
    n_classes, closure = len(case.hierarchy), closure_of(case.hierarchy)
    classes = declared_classes(flags(case.declared, n_classes), closure)
    rules = [augmentation_rules(closure, implications(n_classes, 0.2, seed))]

    def counts(images: list[frozenset[int]]) -> QualityCounts:
        true, _ = augment(present(images), augmentation_rules(closure))
        kept = present([frozenset({min(image)}) for image in images])
        return quality_counts(true, kept, classes, [augment(kept, one)[0] for one in rules])

    whole, parts = counts(case.images), counts(case.images[:cut]) + counts(case.images[cut:])
    assert (whole.images, whole.kept) == (parts.images, parts.kept)
    np.testing.assert_array_equal(whole.present, parts.present)
    np.testing.assert_array_equal(whole.added, (parts + QualityCounts.empty(1)).added)


@given(images=rows(6), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_hiding_keeps_a_label_of_every_image_and_invents_none(images: list[Row], share: float, seed: int) -> None:
    listed = listed_labels(columns_from(images))
    draws = np.random.default_rng(seed).integers(0, 2**64, len(images), np.uint64)
    before, after = rows_from(listed), rows_from(with_hidden(listed, draws, share))
    assert [set(row) for row in before] == [{c for c in row if row[c][0] > 0} for row in images]
    assert all(row.keys() <= listed_row.keys() for row, listed_row in zip(after, before, strict=True))
    assert all(bool(row) == bool(listed_row) for row, listed_row in zip(after, before, strict=True))
    if share == 0:
        assert after == before
    if share == 1:
        assert all(len(row) <= 1 for row in after)


def test_the_share_asked_for_is_hidden_whatever_the_class() -> None:
    listed = present([frozenset(range(8))] * N_DRAWN)
    draws = draws_of(pa.array([str(number) for number in range(N_DRAWN)]), "")
    kept = Counter(with_hidden(listed, draws, 0.3).class_index.tolist())
    # Five standard deviations of a binomial; an image keeps one of eight labels anyway, which adds next to nothing.
    slack = 5 * math.sqrt(0.3 * 0.7 / N_DRAWN)
    assert all(abs(kept[c] / N_DRAWN - 0.7) < slack for c in range(8))


# Tables


@pytest.fixture
def annotated(tmp_path: Path, mini_vocabulary: Vocabulary) -> Path:
    """Return a table of images in which a person comes with three of four dogs, in several parts."""
    person, dog, car = (mini_vocabulary.index_of_wnid[wnid] for wnid in ("n00007846", "n02084071", "n02958343"))
    images = []
    for number in range(400):
        listed = {dog, person} if number % 4 else {dog}
        row: Row = dict.fromkeys(listed if number % 2 else listed | {car}, (1.0, int(Origin.ORIGINAL)))
        images.append((f"image {number:03d}", row))
    return write_parts(tmp_path / "truth", images, ANNOTATIONS, sizes=(100, 7))


def test_a_table_is_learned_from_in_one_half_and_evaluated_in_the_other(
    annotated: Path, mini_vocabulary: Vocabulary
) -> None:
    found = evaluate_labels(mini_vocabulary, annotated, thresholds=(0.3, 0.9))
    assert found.learned_from + found.counts.images == 400
    assert 140 < found.learned_from < 260
    assert found.declared == 3
    # dog -> person is learned at 0.75, person -> dog and car -> dog at 1: the strict threshold leaves these.
    assert found.implications[0] > found.implications[1] == 2
    certain = found.quality(1, Origin.CO_OCCURRENCE)
    assert certain.precision == 1
    assert certain.right > 0
    guessed = found.quality(0, Origin.CO_OCCURRENCE, declared_only=True)
    assert guessed.precision < 1
    assert guessed.recall > found.quality(1, Origin.CO_OCCURRENCE, declared_only=True).recall
    assert found.quality(0, Origin.ANCESTOR).precision == 1
    assert found.noisy(0) > found.noisy(1) == 0
    assert found.missing(0) < found.missing(1) < found.missing(1, [Origin.ANCESTOR]) < 1


def test_the_same_seed_gives_the_same_counts_and_another_seed_others(
    annotated: Path, mini_vocabulary: Vocabulary
) -> None:
    first, again, other = (evaluate_labels(mini_vocabulary, annotated, seed=seed).counts for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.added, again.added)
    assert not np.array_equal(first.added, other.added)


def test_given_implications_are_evaluated_on_every_image(
    tmp_path: Path, annotated: Path, mini_vocabulary: Vocabulary
) -> None:
    index = mini_vocabulary.index_of_wnid
    pairs = {
        "antecedent": [index["n02084071"]],
        "consequent": [index["n02012849"]],
        "probability": [0.6],
        "support": [9],
        "lower_bound": [0.4],
    }
    path = tmp_path / "implications.parquet"
    write_table(path, pa.table(pairs, schema=IMPLICATIONS.arrow), IMPLICATIONS, {})
    found = evaluate_labels(mini_vocabulary, annotated, implications=path, hidden=0, thresholds=(0.5, 0.6))
    assert (found.counts.images, found.learned_from, found.implications) == (400, 0, (1, 0))
    # Cranes were never looked for: each of the 400 dogs brings one, and nobody can say whether it is there.
    crane = found.quality(0, Origin.CO_OCCURRENCE)
    assert (crane.right, crane.absent, crane.unjudged) == (0, 0, 400)
    assert math.isnan(crane.precision)


def test_classes_of_the_mapping_are_declared_though_no_image_lists_them(
    tmp_path: Path, mini_vocabulary: Vocabulary
) -> None:
    dog = mini_vocabulary.index_of_wnid["n02084071"]
    labels = array_of(present([frozenset({dog})] * 40))
    table = pa.table(
        {
            "image_id": [f"{number}" for number in range(40)],
            "source": ["open-images"] * 40,
            "location": [""] * 40,
            "labels": labels,
        },
        schema=ANNOTATIONS.arrow,
    )
    write_table(tmp_path / "part-00000.parquet", table, ANNOTATIONS, {})
    kept = {row.class_index for row in mini_vocabulary.mapping if row.source == "open-images" and row.class_index >= 0}
    assert evaluate_labels(mini_vocabulary, tmp_path).declared == len(kept)
    # Nobody looked for every dog if the source knows them only as the parent of its own class.
    rows = (
        replace(row, rule="reviewed: nearest parent") if row.class_index == dog and row.source == "open-images" else row
        for row in mini_vocabulary.mapping
    )
    assert evaluate_labels(replace(mini_vocabulary, mapping=tuple(rows)), tmp_path).declared == len(kept - {dog})


def test_a_table_of_one_image_is_too_small(tmp_path: Path, mini_vocabulary: Vocabulary) -> None:
    truth = write_parts(tmp_path, [("only", {3: (1.0, 0)})], ANNOTATIONS)
    with pytest.raises(DataError, match="more images"):
        evaluate_labels(mini_vocabulary, truth)


def test_a_table_of_another_vocabulary_is_refused(tmp_path: Path, mini_vocabulary: Vocabulary) -> None:
    truth = write_parts(tmp_path, [("a", {len(mini_vocabulary): (1.0, 0)})], ANNOTATIONS)
    with pytest.raises(DataError, match=r"part-00000\.parquet: a class index is not in"):
        evaluate_labels(mini_vocabulary, truth)

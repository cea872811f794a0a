"""Augmentation equals its rules, applied to one image's dictionary at a time over networkx's ancestors."""

from __future__ import annotations

import csv
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.augment.ancestors import (
    Absences,
    AugmentationCounts,
    AugmentationRules,
    _room,
    augment,
    augmentation_rules,
)
from mlimages_dataset.tables.label_columns import LabelColumns
from mlimages_dataset.tables.schemas import Origin
from mlimages_dataset.vocab.stage import read_tencent_dictionary
from tests.augment.strategies import CONFIDENCES, ORIGINS, Row, closure_of, columns_from, hierarchies, rows, rows_from

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Implications = dict[int, dict[int, float]]
"""P(j | i) by i, then by j."""


@dataclass(frozen=True, slots=True)
class Case:
    """Images to augment, and what augmentation knows."""

    hierarchy: nx.DiGraph[int]
    implications: Implications
    absences: Absences
    images: list[Row]

    @property
    def rules(self) -> AugmentationRules:
        """The rules as the package holds them."""
        return rules_of(self.hierarchy, self.implications, self.absences)


def rules_of(hierarchy: nx.DiGraph[int], implications: Implications, absences: Absences) -> AugmentationRules:
    triples = [(i, j, probability) for i, row in implications.items() for j, probability in row.items()]
    antecedents, consequents, values = zip(*triples, strict=True) if triples else ((), (), ())
    shape = (len(hierarchy), len(hierarchy))
    matrix = sp.csr_array((np.array(values, np.float32), (antecedents, consequents)), shape=shape)
    return augmentation_rules(closure_of(hierarchy), matrix, absences)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    hierarchy = draw(hierarchies())
    n = len(hierarchy)
    consequents = st.dictionaries(st.integers(0, n - 1), st.floats(0.5, 1, width=32), max_size=3)
    implications = draw(st.dictionaries(st.integers(0, n - 1), consequents, max_size=3))
    return Case(hierarchy, implications, draw(st.sampled_from(Absences)), draw(rows(n)))


Ways = dict[int, list[tuple[float, int]]]
"""Confidence and origin by each way that a class comes to an image."""


def augmented_by_the_rules(
    row: Row, hierarchy: nx.DiGraph[int], implications: Implications, absences: Absences
) -> tuple[Row, int, int]:
    """Return the augmented labels of one image, its conflicts and its blocked implications, from the rules' words."""
    present = {c: label for c, label in row.items() if label[0] > 0}
    absent = {c: label for c, label in row.items() if label[0] == 0}
    ways = spread(present, {c: nx.descendants(hierarchy, c) for c in present})  # edges lead to parents
    conflicts = len(absent.keys() & ways.keys())
    below = spread(absent, {c: nx.ancestors(hierarchy, c) for c in absent})
    absent_ways = {c: found for c, found in below.items() if c not in ways}
    original = {i: confidence for i, (confidence, origin) in present.items() if origin == Origin.ORIGINAL}
    implied = [(j, original[i] * p) for i in original for j, p in implications.get(i, {}).items()]
    for j, confidence in implied:
        for a in {j} | nx.descendants(hierarchy, j) if j not in absent_ways else ():
            ways.setdefault(a, []).append((float(np.float32(confidence)), Origin.CO_OCCURRENCE))
    listed = {
        Absences.EXPAND: absent_ways,
        Absences.KEEP: {c: [absent[c]] for c in absent.keys() & absent_ways.keys()},
        Absences.DROP: {},
    }[absences]
    result = {c: (max(w[0] for w in found), min(w[1] for w in found)) for c, found in (ways | listed).items()}
    return result, conflicts, sum(j in absent_ways for j, _ in implied)


def spread(labels: Row, reached: Mapping[int, set[int]]) -> Ways:
    """Return the labels' own ways and those of the classes that each reaches."""
    ways: Ways = {}
    for c, (confidence, origin) in labels.items():
        ways.setdefault(c, []).append((confidence, origin))
        for other in reached[c]:
            ways.setdefault(other, []).append((confidence, max(origin, Origin.ANCESTOR)))
    return ways


@given(cases())
def test_augment_equals_the_rules(case: Case) -> None:
    columns, counts = augment(columns_from(case.images), case.rules)
    expected = [augmented_by_the_rules(row, case.hierarchy, case.implications, case.absences) for row in case.images]
    assert rows_from(columns) == [row for row, _, _ in expected]
    assert counts == AugmentationCounts(
        images=len(case.images),
        conflicts=sum(conflicts for _, conflicts, _ in expected),
        blocked=sum(blocked for _, _, blocked in expected),
    )


@pytest.mark.parametrize("absences", Absences)
def test_augment_equals_the_rules_on_images_with_many_labels(absences: Absences) -> None:
    n_classes = 150
    rng = np.random.default_rng(7)
    hierarchy: nx.DiGraph[int] = nx.gnp_random_graph(n_classes, 0.02, seed=7, directed=True)
    hierarchy.remove_edges_from([(child, parent) for child, parent in hierarchy.edges if parent >= child])
    implications: Implications = {i: {int(j): 0.75 for j in rng.integers(n_classes, size=3)} for i in range(n_classes)}
    images: list[Row] = [
        {
            int(c): (float(rng.choice(np.array([0, 0.25, 0.5, 1], np.float32))), int(rng.integers(len(Origin))))
            for c in rng.choice(n_classes, size, replace=False)
        }
        for size in range(0, n_classes, 5)
    ]
    columns, counts = augment(columns_from(images), rules_of(hierarchy, implications, absences))
    expected = [augmented_by_the_rules(row, hierarchy, implications, absences) for row in images]
    assert rows_from(columns) == [row for row, _, _ in expected]
    assert counts.conflicts == sum(conflicts for _, conflicts, _ in expected) > 0
    assert counts.blocked == sum(blocked for _, _, blocked in expected) > 0


@given(cases())
def test_every_image_is_closed_under_ancestors_and_confidence_never_falls_on_the_way_up(case: Case) -> None:
    for row in rows_from(augment(columns_from(case.images), case.rules)[0]):
        for c, (confidence, _) in row.items():
            for ancestor in nx.descendants(case.hierarchy, c) if confidence > 0 else ():
                assert row[ancestor][0] >= confidence


@given(cases())
def test_every_image_is_closed_under_descendants_of_expanded_absences(case: Case) -> None:
    for row in rows_from(augment(columns_from(case.images), replace(case.rules, absences=Absences.EXPAND))[0]):
        for c, (confidence, _) in row.items():
            if confidence == 0:
                assert all(row[d][0] == 0 for d in nx.ancestors(case.hierarchy, c))


@given(cases())
def test_augmenting_again_changes_nothing(case: Case) -> None:
    rules = rules_of(case.hierarchy, {}, case.absences)
    once, _ = augment(columns_from(case.images), rules)
    twice, counts = augment(once, rules)
    assert rows_from(twice) == rows_from(once)
    assert counts == AugmentationCounts(images=len(case.images))


@given(case=cases(), data=st.data())
def test_stronger_annotations_never_weaken_a_label(case: Case, data: st.DataObject) -> None:
    some = st.dictionaries(
        st.integers(0, len(case.hierarchy) - 1), st.tuples(CONFIDENCES.filter(bool), ORIGINS), max_size=3
    )
    stronger = [{**row, **joined(row, data.draw(some))} for row in case.images]
    before, after = (rows_from(augment(columns_from(images), case.rules)[0]) for images in (case.images, stronger))
    for weak, strong in zip(before, after, strict=True):
        for c, (confidence, origin) in weak.items():
            if confidence > 0:
                assert strong[c][0] >= confidence
                assert strong[c][1] <= origin


def joined(row: Row, more: Row) -> Row:
    """Return the labels of `more`, each at least as confident and as direct as the row's own."""
    return {
        c: (max(confidence, row[c][0]), min(origin, row[c][1])) if c in row else (confidence, origin)
        for c, (confidence, origin) in more.items()
    }


@given(case=cases(), data=st.data())
def test_images_are_independent(case: Case, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(case.images))))
    columns, counts = augment(columns_from(case.images), case.rules)
    permuted, permuted_counts = augment(columns_from([case.images[i] for i in order]), case.rules)
    whole = rows_from(columns)
    assert rows_from(permuted) == [whole[i] for i in order]
    assert permuted_counts == counts


@given(case=cases(), data=st.data())
def test_parts_concatenate_and_their_counts_add_up(case: Case, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(case.images)))
    parts = [augment(columns_from(images), case.rules) for images in (case.images[:cut], case.images[cut:])]
    columns, counts = augment(columns_from(case.images), case.rules)
    assert [row for part, _ in parts for row in rows_from(part)] == rows_from(columns)
    assert parts[0][1] + parts[1][1] == counts
    assert counts + AugmentationCounts() == counts


@given(cases())
def test_the_room_is_enough(case: Case) -> None:
    labels = columns_from(case.images)
    columns, _ = augment(labels, case.rules)
    assert columns.offsets[-1] == len(columns.class_index) <= _room(labels, case.rules)


# 0 animal, 1 canine and 2 domestic animal are its children, 3 dog has both as parents; 4 artifact, 5 leash below it.
ANIMAL, CANINE, DOMESTIC, DOG, ARTIFACT, LEASH = range(6)
PETS: nx.DiGraph[int] = nx.DiGraph([(1, 0), (2, 0), (3, 1), (3, 2), (5, 4)])
PETS_IMPLY: Implications = {DOG: {LEASH: 0.75}}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(
            {DOMESTIC: (1.0, 0)}, {ANIMAL: (1.0, 1), DOMESTIC: (1.0, 0)}, id="an ancestor is as confident as its label"
        ),
        pytest.param(
            {ANIMAL: (0.25, 0), DOG: (0.5, 3)},
            {ANIMAL: (0.5, 0), CANINE: (0.5, 3), DOMESTIC: (0.5, 3), DOG: (0.5, 3)},
            id="the maximum of confidences, the lowest of origins",
        ),
        pytest.param(
            {ARTIFACT: (0.25, 0), DOG: (1.0, 0)},
            {
                ANIMAL: (1.0, 1),
                CANINE: (1.0, 1),
                DOMESTIC: (1.0, 1),
                DOG: (1.0, 0),
                ARTIFACT: (0.75, 0),
                LEASH: (0.75, 2),
            },
            id="an implied label brings its ancestors",
        ),
        pytest.param(
            {CANINE: (0.0, 0)}, {CANINE: (0.0, 0), DOG: (0.0, 1)}, id="an absence goes down and never up or sideways"
        ),
        pytest.param(
            {ARTIFACT: (0.0, 0), DOG: (1.0, 0)},
            {
                ANIMAL: (1.0, 1),
                CANINE: (1.0, 1),
                DOMESTIC: (1.0, 1),
                DOG: (1.0, 0),
                ARTIFACT: (0.0, 0),
                LEASH: (0.0, 1),
            },
            id="an absence blocks an implication",
        ),
        pytest.param(
            {ANIMAL: (0.0, 0), CANINE: (0.5, 0)},
            {ANIMAL: (0.5, 1), CANINE: (0.5, 0), DOMESTIC: (0.0, 1), DOG: (0.0, 1)},
            id="a present descendant outweighs an absence",
        ),
    ],
)
def test_examples_of_the_rules(row: Row, expected: Row) -> None:
    columns, _ = augment(columns_from([row]), rules_of(PETS, PETS_IMPLY, Absences.EXPAND))
    assert rows_from(columns) == [expected]


@pytest.mark.parametrize("class_index", [-1, 6])
def test_a_class_outside_the_vocabulary_is_refused(class_index: int) -> None:
    with pytest.raises(IndexError, match=r"not in 0\.\.5"):
        augment(columns_from([{class_index: (1.0, 0)}]), rules_of(PETS, {}, Absences.EXPAND))


def test_a_confidence_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="confidence"):
        augment(columns_from([{DOG: (float("nan"), 0)}]), rules_of(PETS, {}, Absences.KEEP))


def test_implications_over_another_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(9, 9\)"):
        augmentation_rules(closure_of(PETS), closure_of(nx.path_graph(9, create_using=nx.DiGraph)))


@pytest.mark.slow
def test_more_labels_than_one_array_counts_are_refused_before_any_is_written() -> None:
    n_classes = 1000
    star: nx.DiGraph[int] = nx.DiGraph((child, 0) for child in range(1, n_classes))
    n_images = 2**31 // n_classes + 1
    absent_at_the_root = LabelColumns(
        np.arange(n_images + 1, dtype=np.int32),
        np.zeros(n_images, np.int32),
        np.zeros(n_images, np.float32),
        np.zeros(n_images, np.uint8),
    )
    with pytest.raises(OverflowError, match="augment fewer"):
        augment(absent_at_the_root, rules_of(star, {}, Absences.EXPAND))
    kept, _ = augment(absent_at_the_root, rules_of(star, {}, Absences.KEEP))
    assert len(kept.class_index) == n_images


def test_published_rows_become_closed_under_the_published_tree(shared_data: Path) -> None:
    dictionary = shared_data / "tencent" / "dictionary_first_9418.txt"
    with dictionary.open(newline="", encoding="utf-8") as file:
        parents = [int(row[2]) for row in itertools.islice(csv.reader(file, delimiter="\t", quotechar=None), 1, None)]
    tree: nx.DiGraph[int] = nx.DiGraph((c, parent) for c, parent in enumerate(parents) if parent >= 0)
    lines = (shared_data / "tencent" / "train_urls_61.txt").read_text(encoding="utf-8").splitlines()
    published = [published_row(line) for line in lines]
    columns, _ = augment(columns_from(published), augmentation_rules(read_tencent_dictionary(dictionary).closure))
    augmented = rows_from(columns)
    assert len(augmented) == 61
    assert 0 < sum(is_closed(row, tree) for row in published) < 61
    assert all(is_closed(row, tree) for row in augmented)
    for before, after in zip(published, augmented, strict=True):
        assert after.keys() == set(before).union(*(nx.descendants(tree, c) for c in before))
        assert all(after[c][0] >= confidence and after[c][1] == origin for c, (confidence, origin) in before.items())


def published_row(line: str) -> Row:
    pairs = (field.split(":") for field in line.split("\t")[1:])
    return {int(c): (float(np.float32(confidence)), int(Origin.ORIGINAL)) for c, confidence in pairs}


def is_closed(row: Mapping[int, object], hierarchy: nx.DiGraph[int]) -> bool:
    return all(ancestor in row for c in row for ancestor in nx.descendants(hierarchy, c))

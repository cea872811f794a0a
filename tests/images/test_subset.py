"""Subsets keep their budgets, meet their minima where they can, grow without losing, and are even when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.images import subset
from mlimages_dataset.images.subset import (
    Candidates,
    Memberships,
    Rows,
    Rules,
    by_minimum,
    chosen_images,
    memberships,
    starts_of,
    subtree,
)
from mlimages_dataset.vocab.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from numpy.typing import NDArray

LABELS = hnp.arrays(np.bool_, st.tuples(st.integers(0, 25), st.integers(1, 6)))


def matrix(labels: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Memberships:
    found = sp.csr_array(labels)
    return Memberships(found.indptr.astype(np.int64), found.indices.astype(np.uint16), labels.shape[1])


def dense(found: Memberships) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    values = np.ones(len(found.classes), np.bool_)
    shape = (len(found), found.n_classes)
    return np.asarray(sp.csr_array((values, found.classes.astype(np.int32), found.starts), shape=shape).toarray())


UNLABELLED = Candidates(np.arange(9, dtype=np.uint64), np.full(9, 10), None)


def candidates(labels: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Candidates:
    return Candidates(np.arange(len(labels), dtype=np.uint64), sizes_of(len(labels)), matrix(labels))


def labels_of(rows: Sequence[list[int]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    return np.array([len(row) for row in rows], np.int32), np.array([c for row in rows for c in row], np.int32)


def sizes_of(n: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng(n).integers(0, 100, n)


@given(LABELS, st.integers(0, 3), st.randoms(use_true_random=False), st.sampled_from([6, 100_000]))
@pytest.mark.slow
def test_memberships_are_the_pairs_in_whatever_rows_they_come(
    labels: np.ndarray[tuple[int, int], np.dtype[np.bool_]], repeats: int, random: Random, n_classes: int
) -> None:
    rows = [
        (image, random.choices(range(labels.shape[1]), k=3)) for image in range(len(labels)) for _ in range(repeats)
    ]
    rows += [(image, np.flatnonzero(row).tolist()) for image, row in enumerate(labels)]
    random.shuffle(rows)
    expected = np.zeros((len(labels), labels.shape[1]), np.bool_)
    for image, classes in rows:
        expected[image, classes] = True
    of_row = np.array([image for image, _ in rows], np.int32)
    cut = random.randint(0, len(rows))
    parts = [labels_of([classes for _, classes in some]) for some in (rows[:cut], rows[cut:])]
    found = memberships(
        of_row,
        starts_of(of_row, labels_of([classes for _, classes in rows])[0], len(labels)),
        parts,
        n_classes,
    )
    assert (dense(found)[:, : labels.shape[1]] == expected).all()
    for image in range(len(labels)):
        classes = found.classes[found.starts[image] : found.starts[image + 1]].tolist()
        assert classes == sorted(set(classes))
    chosen = np.array(random.sample(range(len(labels)), len(labels) // 2), np.int64)
    assert found.counts(chosen)[: labels.shape[1]].tolist() == expected[chosen].sum(axis=0).tolist()


def test_an_image_of_several_rows_is_one_candidate_with_the_labels_of_all() -> None:
    def rows(draws: list[int], *labels: list[int]) -> Rows:
        return Rows(np.array(draws, np.uint64), np.array(draws) * 10, labels_of(labels))

    found = Candidates.of(lambda: [rows([9, 4], [0], [1, 2]), rows([7, 9], [], [0, 3])], 5)
    assert found.draws.tolist() == [4, 7, 9]
    assert found.sizes.tolist() == [40, 70, 90]
    assert found.categories is not None
    assert dense(found.categories).astype(int).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1]]
    assert Candidates.of(list, 0).draws.tolist() == []


@given(
    labels=LABELS,
    images=st.integers(0, 30),
    size=st.integers(0, 2000),
    minimum=st.integers(0, 4),
    balanced=st.booleans(),
)
def test_budgets_are_never_exceeded_and_larger_ones_only_add(
    labels: np.ndarray[tuple[int, int], np.dtype[np.bool_]], images: int, size: int, minimum: int, *, balanced: bool
) -> None:
    sizes = sizes_of(len(labels))
    small = chosen_images(
        Rules(images=images, bytes=size, min_per_category=minimum, balanced=balanced), candidates(labels)
    )
    assert len(small) == len(set(small.tolist())) <= images
    assert sizes[small].sum() <= size
    large = chosen_images(
        Rules(images=images + 3, bytes=size + 150, min_per_category=minimum, balanced=balanced), candidates(labels)
    )
    assert large[: len(small)].tolist() == small.tolist()
    whole = chosen_images(Rules(images=100, min_per_category=minimum, balanced=balanced), candidates(labels))
    assert sorted(whole.tolist()) == list(range(len(labels)))


@given(LABELS, st.integers(1, 8))
def test_minima_are_met_where_there_are_as_many(
    labels: np.ndarray[tuple[int, int], np.dtype[np.bool_]], minimum: int
) -> None:
    chosen = chosen_images(Rules(min_per_category=minimum), candidates(labels))
    assert (labels[chosen].sum(axis=0) >= np.minimum(labels.sum(axis=0), minimum)).all()
    assert len(chosen) <= minimum * labels.shape[1]


@given(LABELS, st.integers(1, 25))
def test_rounds_are_those_of_a_plain_loop(
    labels: np.ndarray[tuple[int, int], np.dtype[np.bool_]], minimum: int
) -> None:
    expected: list[int] = []
    rarity = np.argsort(labels.sum(axis=0), kind="stable")
    for wanted in range(1, minimum + 1):
        for c in rarity:
            left = [i for i in np.flatnonzero(labels[:, c]) if i not in expected]
            if labels[expected, c].sum() < wanted and left:
                expected.append(int(left[0]))
    for at_once in (1, 3, 1 << 8):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(subset, "_FIRST_AT_ONCE", at_once)
            assert by_minimum(matrix(labels), minimum, len(labels)).tolist() == expected


@given(st.lists(st.integers(0, 4), max_size=40), st.integers(0, 40))
def test_a_balanced_subset_of_single_labels_is_as_even_as_can_be(classes: list[int], budget: int) -> None:
    labels = np.eye(5, dtype=np.bool_)[np.array(classes, np.int64)].reshape(-1, 5)
    chosen = chosen_images(Rules(images=budget, balanced=True), candidates(labels))
    counts, available = labels[chosen].sum(axis=0), labels.sum(axis=0)
    for c in range(5):
        if counts[c] < available[c]:
            assert counts[c] >= counts.max() - 1


@pytest.mark.parametrize("rules", [Rules(images=3), Rules(images=3, balanced=True), Rules(min_per_category=2, bytes=9)])
def test_of_no_rows_none_is_chosen(rules: Rules) -> None:
    for read in (list, lambda: [Rows(np.empty(0, np.uint64), None, labels_of(()))]):
        assert chosen_images(rules, Candidates.of(read, 0)).tolist() == []


def test_without_categories_the_lowest_draws_are_taken() -> None:
    assert chosen_images(Rules(images=3), UNLABELLED).tolist() == [0, 1, 2]
    assert chosen_images(Rules(bytes=29), UNLABELLED).tolist() == [0, 1]


def test_subtrees_are_the_closure(mini_vocabulary: Vocabulary) -> None:
    closure = mini_vocabulary.closure.toarray()
    for index, category in enumerate(mini_vocabulary.categories):
        assert (subtree(mini_vocabulary, [category.wnid]) == closure[:, index]).all()
    roots = [category.wnid for category in mini_vocabulary.categories if category.parent < 0]
    assert subtree(mini_vocabulary, roots).all()
    named = [c for c in mini_vocabulary.categories if c.name.split(",")[0] == "dog"]
    assert named, "the mini vocabulary has a dog"
    assert (subtree(mini_vocabulary, ["Dog"]) == subtree(mini_vocabulary, [named[0].wnid])).all()


def test_names_that_are_none_or_many_are_told(mini_vocabulary: Vocabulary) -> None:
    with pytest.raises(UsageError, match="no category has the wnid or the name 'unicorn'"):
        subtree(mini_vocabulary, ["unicorn"])
    double = Vocabulary((*mini_vocabulary.categories, mini_vocabulary.categories[-1]), mini_vocabulary.mapping)
    name = mini_vocabulary.categories[-1].name.split(",")[0]
    with pytest.raises(UsageError, match="is the name of 2 categories"):
        subtree(double, [name])


def test_rules_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="no rule is given"):
        Rules()
    with pytest.raises(ValueError, match="--balanced needs a budget"):
        Rules(balanced=True)

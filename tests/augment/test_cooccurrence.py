"""Co-occurrence equals its equation, computed on dense matrices with exact ratios."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from mlimages_dataset.augment.cooccurrence import (
    PairCounts,
    count_pairs,
    implications_of,
    implications_table,
    pair_counts_table,
    strong_implications,
    strong_pairs,
    wilson_lower_bound,
)
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.schemas import IMPLICATIONS, PAIR_COUNTS, Origin
from tests.augment.strategies import Row, closure_of, columns_from, hierarchies, rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

AT_THRESHOLD = float(np.float32(0.95))
JUST_ABOVE = float(np.nextafter(np.float32(0.95), np.float32(1)))
JUST_BELOW = float(np.nextafter(np.float32(0.95), np.float32(0)))

Images = list[tuple[Row, Row]]
"""Each image's annotations and predictions."""


@dataclass(frozen=True, slots=True)
class Case:
    """Images annotated and predicted over a hierarchy."""

    hierarchy: nx.DiGraph[int]
    images: Images

    def counts(self, images: Images | None = None) -> PairCounts:
        """Return the pair counts of the images, or of some of them."""
        chosen = self.images if images is None else images
        return count_pairs(
            columns_from([annotations for annotations, _ in chosen]),
            columns_from([predictions for _, predictions in chosen]),
            len(self.hierarchy),
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    hierarchy = draw(hierarchies())
    n = len(hierarchy)
    probabilities = st.sampled_from([0.0, 0.5, JUST_BELOW, AT_THRESHOLD, JUST_ABOVE, 1.0, 1.0, 1.0])
    predictions = st.dictionaries(
        st.integers(0, n - 1), st.tuples(probabilities, st.just(int(Origin.MODEL_PREDICTION)))
    )
    annotations = draw(rows(n, origins=st.sampled_from([0, 0, 0, 1, 2]), max_images=12))
    return Case(hierarchy, [(row, draw(predictions)) for row in annotations])


def dense_counts(case: Case) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return n_i, shape (C,), and n_ij, shape (C, C), counted image by image."""
    n = len(case.hierarchy)
    n_left, n_both = np.zeros(n, np.int64), np.zeros((n, n), np.int64)
    for annotated, predicted in case.images:
        for i, (confidence, origin) in annotated.items():
            if confidence > 0 and origin == Origin.ORIGINAL:
                n_left[i] += 1
                for j, (probability, _) in predicted.items():
                    n_both[i, j] += probability > AT_THRESHOLD
    return n_left, n_both


@given(cases())
def test_counts_equal_the_equation(case: Case) -> None:
    counts = case.counts()
    n_left, n_both = dense_counts(case)
    np.testing.assert_array_equal(counts.n_left, n_left)
    np.testing.assert_array_equal(counts.n_both.toarray(), n_both)
    assert counts.n_left.dtype == counts.n_both.dtype == np.int64


@pytest.mark.slow
@given(cases(), st.sampled_from([Fraction(1, 4), Fraction(1, 2), Fraction(3, 4)]))
def test_strong_pairs_equal_the_equation(case: Case, strength: Fraction) -> None:
    n_left, n_both = dense_counts(case)
    expected = {}
    for i, j in np.argwhere(n_both).tolist():
        ratio = Fraction(int(n_both[i, j]), int(n_left[i]))
        path = nx.has_path(case.hierarchy, i, j) or nx.has_path(case.hierarchy, j, i)
        if ratio > strength and not path:
            expected[i, j] = float(ratio)
    strong = strong_implications(case.counts(), closure_of(case.hierarchy), float(strength))
    assert entries(strong) == expected
    assert list(entries(strong)) == sorted(expected)


def entries(matrix: sp.csr_array) -> dict[tuple[int, int], float]:
    """Return the stored entries by row and column, in the order in which they are stored."""
    pairs = matrix.tocoo()
    return dict(zip(zip(pairs.row.tolist(), pairs.col.tolist(), strict=True), pairs.data.tolist(), strict=True))


def flat(n: int) -> nx.DiGraph[int]:
    """Return C categories without a parent."""
    hierarchy: nx.DiGraph[int] = nx.DiGraph()
    hierarchy.add_nodes_from(range(n))
    return hierarchy


@pytest.mark.parametrize(("probability", "n_both"), [(JUST_BELOW, 0), (AT_THRESHOLD, 0), (JUST_ABOVE, 1)])
def test_a_stored_probability_of_095_is_not_more_than_095(probability: float, n_both: int) -> None:
    counts = Case(flat(2), [({0: (1.0, 0)}, {1: (probability, 3)})]).counts()
    assert counts.n_both[0, 1] == n_both


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95])
def test_a_probability_stored_at_any_threshold_is_not_more_than_it(threshold: float) -> None:
    annotations = columns_from([{0: (1.0, 0)}])
    predictions = columns_from([{1: (float(np.float32(threshold)), 3)}])
    assert count_pairs(annotations, predictions, 2, threshold).n_both.nnz == 0


def test_half_of_the_images_is_not_more_than_half() -> None:
    dog, leash, grass = 0, 1, 2
    images: Images = [
        ({dog: (1.0, 0)}, {leash: (1.0, 3), grass: (1.0, 3)}),
        ({dog: (1.0, 0)}, {leash: (1.0, 3), grass: (1.0, 3)}),
        ({dog: (1.0, 0)}, {leash: (1.0, 3)}),
        ({dog: (1.0, 0)}, {}),
    ]
    strong = strong_implications(Case(flat(3), images).counts(), closure_of(flat(3)))
    assert entries(strong) == {(dog, leash): 0.75}


def test_an_ancestor_in_either_direction_is_no_strong_pair() -> None:
    animal, dog, leash = range(3)
    hierarchy: nx.DiGraph[int] = nx.DiGraph([(dog, animal)])
    hierarchy.add_node(leash)
    both = ({animal: (1.0, 0), dog: (1.0, 0)}, {animal: (1.0, 3), dog: (1.0, 3), leash: (1.0, 3)})
    counts = Case(hierarchy, [both]).counts()
    assert counts.n_both.nnz == 6
    strong = strong_implications(counts, closure_of(hierarchy))
    assert entries(strong) == {(animal, leash): 1.0, (dog, leash): 1.0}


def assert_same(left: PairCounts, right: PairCounts) -> None:
    np.testing.assert_array_equal(left.n_left, right.n_left)
    np.testing.assert_array_equal(left.n_both.toarray(), right.n_both.toarray())
    assert left.n_left.dtype == right.n_left.dtype
    assert left.n_both.dtype == right.n_both.dtype


@pytest.mark.slow
@given(case=cases(), data=st.data())
def test_counts_of_parts_add_up_in_any_grouping(case: Case, data: st.DataObject) -> None:
    first, second = sorted(data.draw(st.tuples(*[st.integers(0, len(case.images))] * 2)))
    cuts = (case.images[:first], case.images[first:second], case.images[second:])
    a, b, c = (case.counts(images) for images in cuts)
    assert_same((a + b) + c, case.counts())
    assert_same(a + (b + c), case.counts())
    assert_same(c + b + a, case.counts())
    assert_same(a + PairCounts.empty(len(case.hierarchy)), a)


@given(cases())
def test_the_pair_counts_table_lists_every_pair_that_occurs(case: Case) -> None:
    n_left, n_both = dense_counts(case)
    table = pair_counts_table(case.counts())
    assert table.schema == PAIR_COUNTS.arrow
    assert table.to_pylist() == [
        {"left": i, "right": j, "n_left": n_left[i], "n_both": n_both[i, j]} for i, j in np.argwhere(n_both).tolist()
    ]


@given(cases())
def test_implications_survive_their_table(case: Case) -> None:
    counts = case.counts()
    strong = strong_implications(counts, closure_of(case.hierarchy))
    table = implications_table(strong, counts)
    assert table.schema == IMPLICATIONS.arrow
    assert table["support"].to_pylist() == [
        counts.n_both[i, j] for i, j in zip(*(table[c].to_pylist() for c in ("antecedent", "consequent")), strict=True)
    ]
    bounds = [
        binomtest(counts.n_both[i, j], counts.n_left[i]).proportion_ci(method="wilson").low for i, j in entries(strong)
    ]
    np.testing.assert_allclose(table["lower_bound"].to_numpy(), bounds, rtol=1e-6)
    back = implications_of(table, len(case.hierarchy))
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back.toarray(), strong.toarray().astype(np.float32))


@given(cases())
def test_strong_pairs_come_surest_first_with_the_counts_they_are_made_of(case: Case) -> None:
    counts = case.counts()
    table = implications_table(strong_implications(counts, closure_of(case.hierarchy), 0.25), counts)
    pairs = strong_pairs(table, pair_counts_table(counts))
    assert len(pairs) == len(table)
    order = [(-pair.lower_bound, -pair.support, pair.antecedent, pair.consequent) for pair in pairs]
    assert order == sorted(order)
    for pair in pairs:
        assert (pair.support, pair.images) == (
            counts.n_both[pair.antecedent, pair.consequent],
            counts.n_left[pair.antecedent],
        )
        assert pair.probability == np.float32(pair.support / pair.images)
        assert 0 < pair.lower_bound < pair.probability


def test_counts_of_other_images_are_refused() -> None:
    counts = PairCounts(np.array([2, 0]), sp.csr_array(np.array([[0, 2], [0, 0]])))
    table = implications_table(strong_implications(counts, closure_of(flat(2))), counts)
    with pytest.raises(DataError, match=r"pairs: the pair counts do not belong to the implications; run cooccurrence"):
        strong_pairs(table, pair_counts_table(PairCounts.empty(2)), where="pairs")


@given(st.lists(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1))
def test_the_bound_of_a_share_is_wilsons(pairs: list[tuple[int, int]]) -> None:
    successes, trials = np.array(pairs, np.int64).T
    expected = [binomtest(k, n).proportion_ci(method="wilson").low for k, n in pairs]
    np.testing.assert_allclose(wilson_lower_bound(successes, trials), expected, atol=1e-12)


def test_pairs_ascend_however_the_counts_store_them() -> None:
    n_both = sp.csr_array((np.array([1, 2]), np.array([2, 1]), np.array([0, 2, 2, 2])), shape=(3, 3))
    counts = PairCounts(np.array([2, 0, 0]), n_both)
    assert pair_counts_table(counts)["right"].to_pylist() == [1, 2]
    assert list(entries(strong_implications(counts, closure_of(flat(3)), 0.25))) == [(0, 1), (0, 2)]
    assert n_both.indices.tolist() == [2, 1]


def test_no_pair_gives_empty_tables() -> None:
    counts = PairCounts.empty(3)
    strong = strong_implications(counts, closure_of(flat(3)))
    assert strong.nnz == 0
    assert pair_counts_table(counts).equals(PAIR_COUNTS.arrow.empty_table())
    assert implications_table(strong, counts).equals(IMPLICATIONS.arrow.empty_table())
    assert implications_of(IMPLICATIONS.arrow.empty_table(), 3).shape == (3, 3)


@pytest.mark.parametrize(
    ("rows_of_table", "problem"),
    [
        ([(0, 3, 0.75)], r"a category that is not in 0\.\.2"),
        ([(-1, 1, 0.75)], r"a category that is not in 0\.\.2"),
        ([(0, 1, 1.5)], "a probability"),
        ([(0, 1, 0.0)], "a probability"),
        ([(0, 1, float("nan"))], "a probability"),
        ([(0, 1, 0.75), (0, 1, 0.75)], "a pair twice"),
    ],
)
def test_implications_of_another_vocabulary_or_hand_are_refused(
    rows_of_table: list[tuple[int, int, float]], problem: str
) -> None:
    table = pa.Table.from_pylist(
        [dict(zip(IMPLICATIONS.arrow.names, (*row, 1, 0.1), strict=True)) for row in rows_of_table], IMPLICATIONS.arrow
    )
    with pytest.raises(DataError, match=f"implications.parquet: .*{problem}.*; build"):
        implications_of(table, 3, where="implications.parquet")


def test_annotations_and_predictions_of_different_images_are_refused() -> None:
    with pytest.raises(ValueError, match="one side has 2 images, the other 1"):
        count_pairs(columns_from([{}, {}]), columns_from([{}]), 3)

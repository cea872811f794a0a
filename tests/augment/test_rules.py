"""Rules add what their words say, survive their table, and are right as often as they estimate on unseen images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from mlimages_dataset.augment.labels_stage import label
from mlimages_dataset.augment.rule_fit import Examples, fitted, learned_rules
from mlimages_dataset.augment.rules import likely_labels, rules_of, rules_table
from mlimages_dataset.augment.rules_stage import RULES_FILE, TAKEN_FOR_COMPLETE, RuleOptions, rules
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.pipeline.engine import local
from mlimages_dataset.pipeline.stage import Engine, Workplace
from mlimages_dataset.tables.confidences import of_a_model
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS, PREDICTIONS, RULES, Origin
from tests.augment.strategies import CONFIDENCES, ORIGINS, Row, closure_of, columns_from, hierarchies, rows_from
from tests.augment.tables import read_parts, write_parts

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.vocab.vocabulary import Vocabulary

Terms = dict[tuple[int, int, int], float]
"""The weight of each antecedent (-1: the intercept), second antecedent or -1, and consequent."""
_WEIGHTS = st.floats(-4, 4, width=32).filter(lambda weight: abs(weight) > 1e-3)


def table_of_terms(terms: Terms, least: float) -> pa.Table:
    rows = [(*term, weight, least, 0.0, 0.0) for term, weight in terms.items()]
    return pa.Table.from_pylist(
        [dict(zip(RULES.arrow.names, row, strict=True)) for row in sorted(rows)], schema=RULES.arrow
    )


@st.composite
def terms_over(draw: st.DrawFn, n_classes: int) -> Terms:
    """Draw rules over C categories; no term holds its own consequent."""
    terms: Terms = {}
    classes = st.integers(0, n_classes - 1)
    for j in draw(st.sets(classes, max_size=3)):
        terms[-1, -1, j] = draw(_WEIGHTS)
        for i, k in draw(st.sets(st.tuples(classes, st.integers(-1, n_classes - 1)), max_size=5)):
            if j not in {i, k} and (k == -1 or i < k):
                terms[i, k, j] = draw(_WEIGHTS)
    return terms


def likely_by_the_words(row: Row, hierarchy: nx.DiGraph[int], terms: Terms, least: float) -> tuple[Row, int]:
    """Return a row with its likely labels, and the blocked ones, straight from the module's words."""
    known = {c: share for c, (share, origin) in row.items() if share > 0 and origin == Origin.ORIGINAL}
    present = {a for c, (share, _) in row.items() if share > 0 for a in {c} | nx.descendants(hierarchy, c)}
    absent = {c for c, (share, _) in row.items() if share == 0}
    found, blocked = dict(row), 0
    for j in {j for _, _, j in terms}:
        said = [
            weight * known[i] * known.get(k, 1.0)
            for (i, k, one), weight in terms.items()
            if one == j and i in known and k in {-1, *known}
        ]
        estimate = of_a_model(np.array([expit(math.fsum([*said, terms[-1, -1, j]]))]))[0]
        if not said or math.fsum(said) <= 0 or estimate < np.float32(least) or j in present:
            continue
        above = {j} | nx.descendants(hierarchy, j)
        if absent & above:
            blocked += 1
        else:
            found[j] = (float(estimate), int(Origin.CO_OCCURRENCE))
    return found, blocked


@given(hierarchies(), st.data())
def test_likely_labels_equal_the_words(hierarchy: nx.DiGraph[int], data: st.DataObject) -> None:
    n_classes = len(hierarchy)
    terms = data.draw(terms_over(n_classes))
    row = st.dictionaries(st.integers(0, n_classes - 1), st.tuples(CONFIDENCES, ORIGINS), max_size=5)
    rows = data.draw(st.lists(row, max_size=4))
    least = data.draw(st.sampled_from([0.1234, 0.5678, 0.8765]))
    stated = rules_of(table_of_terms(terms, least), n_classes)
    found, blocked = likely_labels(columns_from(rows), stated, closure_of(hierarchy))
    expected = [likely_by_the_words(one, hierarchy, terms, least) for one in rows]
    assert [sorted(one) for one in rows_from(found)] == [sorted(one) for one, _ in expected]
    for one, (other, _) in zip(rows_from(found), expected, strict=True):
        assert {c: origin for c, (_, origin) in one.items()} == {c: origin for c, (_, origin) in other.items()}
        np.testing.assert_allclose([one[c][0] for c in other], [share for share, _ in other.values()], rtol=1e-5)
    assert blocked == sum(number for _, number in expected)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), terms_over(n))))
def test_a_table_of_rules_is_read_as_it_was_written(case: tuple[int, Terms]) -> None:
    n_classes, terms = case
    table = table_of_terms(terms, 0.75)
    again = rules_table(rules_of(table, n_classes))
    assert sorted(again.to_pylist(), key=str) == sorted(table.to_pylist(), key=str)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(-1, -1, 9, 0.0, 0.5)], "not in 0..3"),
        ([(-1, -1, 1, 0.0, 0.5), (7, -1, 1, 0.0, 0.5)], "not in 0..3"),
        ([(-1, -1, 1, 0.0, 0.5), (0, 8, 1, 0.0, 0.5)], "not in 0..3"),
        ([(-1, -1, 1, math.nan, 0.5)], "not a finite number"),
        ([(-1, -1, 1, 0.0, 0.5), (0, -1, 1, 1.0, 0.6)], "different limits"),
        ([(-1, -1, 1, 0.0, 1.5)], "not in 0..1"),
        ([(-1, -1, 1, 0.0, 0.5), (-1, -1, 1, 1.0, 0.5)], "a term twice"),
        ([(0, -1, 1, 0.0, 0.5)], "without an intercept"),
        ([(-1, 0, 1, 0.0, 0.5)], "without an intercept"),
    ],
)
def test_damaged_rules_are_refused(rows: list[tuple[int, int, int, float, float]], said: str) -> None:
    whole = [(*row, 0.0, 0.0) for row in rows]
    table = pa.Table.from_pylist([dict(zip(RULES.arrow.names, row, strict=True)) for row in whole], RULES.arrow)
    with pytest.raises(DataError, match=said):
        rules_of(table, 4, where="rules.parquet")


def drawn_images(n_images: int, seed: int) -> sp.csr_array:
    """Return images of 6 categories: 4 is shown where 0 and 1 are both, 5 in four fifths of those with 2; 3 at random.

    Returns:
        1 at true labels, shape (N, 6).
    """
    rng = np.random.default_rng(seed)
    shown = rng.random((n_images, 6)) < [0.5, 0.5, 0.3, 0.4, 0.03, 0.1]
    shown[:, 4] |= shown[:, 0] & shown[:, 1] & (rng.random(n_images) < 0.95)
    shown[:, 5] |= shown[:, 2] & (rng.random(n_images) < 0.8)
    return sp.csr_array(shown.astype(np.float64))


def examples_of(true: sp.csr_array, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    known = sp.csr_array(true.toarray() * (rng.random(true.shape) < 0.5))
    return Examples(known, true, rng.random(true.shape[0]) < 0.3)


UNRELATED = sp.csr_array(np.eye(6, dtype=bool))


@pytest.mark.parametrize("precision", [0.5, 0.7, 0.9])
def test_added_labels_are_right_as_often_as_wanted_and_as_estimated(precision: float) -> None:
    learned, found = learned_rules(examples_of(drawn_images(20_000, 1), 2), UNRELATED, precision)
    assert found.right >= precision * found.added > 0
    unseen = examples_of(drawn_images(20_000, 3), 4)
    rows = [{int(c): (1.0, 0) for c in unseen.known[[n]].indices} for n in range(unseen.known.shape[0])]
    added, _ = likely_labels(columns_from(rows), learned, UNRELATED)
    chosen = added.origin == Origin.CO_OCCURRENCE
    right = unseen.true[added.images[chosen], added.class_index[chosen]] > 0
    # Four standard deviations of the share, plus those of the limit, which was learned from as many labels.
    margin = 4 * math.sqrt(precision * (1 - precision) / found.added)
    assert right.mean() >= precision - margin
    assert abs(right.mean() - added.confidence[chosen].mean()) < margin + 0.02


def test_two_antecedents_say_what_neither_says_alone() -> None:
    learned = fitted(examples_of(drawn_images(20_000, 1), 2), UNRELATED)
    at = learned.consequents.tolist().index(4)
    weights = {tuple(pair): learned.joint[[n]].toarray()[0, at] for n, pair in enumerate(learned.together.tolist())}
    assert max(weights, key=lambda pair: weights[pair]) == (0, 1)


def test_relatives_are_no_antecedents_and_what_is_implied_is_not_asked_for() -> None:
    closure = UNRELATED.toarray()
    closure[2, 5] = closure[0, 4] = True
    learned = fitted(examples_of(drawn_images(5_000, 1), 2), sp.csr_array(closure))
    places = {c: n for n, c in enumerate(learned.consequents.tolist())}
    for below, above in ((2, 5), (0, 4)):
        for i, j in ((below, above), (above, below)):
            assert learned.singles[[i]].toarray()[0, places[j]] == 0
            of_pairs = learned.joint[(learned.together == i).any(axis=1)]
            assert not of_pairs.toarray()[:, places[j]].any()


def test_the_regression_is_at_its_minimum() -> None:
    """The penalised likelihood, computed densely, has no slope at the weights found."""
    examples = examples_of(drawn_images(3_000, 1), 2)
    learned = fitted(examples, UNRELATED)
    at = learned.consequents.tolist().index(5)
    fit = ~examples.held_out & (examples.known[:, [5]].toarray().ravel() == 0)
    known, target = examples.known[fit].toarray(), examples.true[fit][:, [5]].toarray().ravel()
    terms = np.hstack((known, known[:, learned.together[:, 0]] * known[:, learned.together[:, 1]]))
    weights = np.concatenate((learned.singles[:, [at]].toarray(), learned.joint[:, [at]].toarray())).ravel()
    residual = expit(terms @ weights + learned.intercepts[at]) - target
    slope = terms.T @ residual + 5.0 * weights
    allowed = np.concatenate((np.arange(6) != 5, (learned.together != 5).all(axis=1)))
    assert abs(residual.sum()) < 2
    assert np.abs(slope[allowed]).max() < 2


def test_nothing_is_added_where_nothing_is_right_often_enough() -> None:
    rng = np.random.default_rng(0)
    true = sp.csr_array((rng.random((5_000, 6)) < 0.4).astype(np.float64))
    learned, found = learned_rules(examples_of(true, 1), UNRELATED, 0.9)
    assert found.least is None
    assert not rules_table(learned).num_rows
    labels = columns_from([{0: (1.0, 0)}])
    assert likely_labels(labels, rules_of(rules_table(learned), 6), UNRELATED) == (labels, 0)


@pytest.fixture(name="complete", scope="module")
def _complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write complete annotations of the drawn images, as classes of the mini vocabulary that are unrelated."""
    true = drawn_images(4_000, 5)
    rows = [(f"i{n:05d}", {int(c): (1.0, 0) for c in true[[n]].indices}) for n in range(true.shape[0])]
    return write_parts(tmp_path_factory.mktemp("rules") / "complete", [one for one in rows if one[1]], ANNOTATIONS)


def test_cuts_and_workers_change_no_byte(complete: Path, mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    rows = read_parts(complete, ANNOTATIONS)
    cut = write_parts(tmp_path / "cut", rows, ANNOTATIONS, [500, 1, 900])
    options = RuleOptions(precision=0.5)
    digests = set()
    for workers, folder in ((1, complete), (2, cut)):
        out = tmp_path / str(workers)
        with local(workers) as mapper:
            rules(mini_vocabulary, folder, folder, Workplace(out, engine=Engine(mapper=mapper)), options)
        digests.add(file_digest(out / RULES_FILE))
    assert len(digests) == 1


@pytest.mark.parametrize("absent", [False, True])
def test_that_annotations_without_absences_are_taken_for_complete_is_told(
    complete: Path, mini_vocabulary: Vocabulary, tmp_path: Path, *, absent: bool
) -> None:
    rows = read_parts(complete, ANNOTATIONS)
    taken: Row = {max(rows[-1][1]) + 1: (0.0, int(Origin.ORIGINAL))}
    truth = write_parts(tmp_path / "truth", [*rows, *([("z", rows[-1][1] | taken)] if absent else [])], ANNOTATIONS)
    predictions = write_parts(tmp_path / "predictions", [(i, {0: (0.99, 0)}) for i, _ in rows], PREDICTIONS)
    tells = {
        (teacher.name, pictures): TAKEN_FOR_COMPLETE
        in rules(
            mini_vocabulary,
            truth,
            teacher,
            Workplace(tmp_path / f"{teacher.name}{pictures}"),
            RuleOptions(precision=0.5, pictures=pictures),
        ).summary.lines()
        for teacher, pictures in ((truth, False), (predictions, True), (predictions, False))
    }
    # A teacher's predictions are the truth themselves, but with pictures.
    assert tells == {("truth", False): not absent, ("predictions", True): not absent, ("predictions", False): False}


def test_labels_are_made_by_the_rules(complete: Path, mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    at = Workplace(tmp_path / "rules")
    summary = rules(mini_vocabulary, complete, complete, at, RuleOptions(precision=0.5)).summary
    assert summary.consequents
    assert summary.lines()
    learned = rules_of(read_table(tmp_path / "rules" / RULES_FILE, RULES), len(mini_vocabulary))
    label(mini_vocabulary, [complete], Workplace(tmp_path / "labels"), implications=tmp_path / "rules" / RULES_FILE)
    written = dict(read_parts(tmp_path / "labels" / "train", LABELS))
    for image_id, row in read_parts(complete, ANNOTATIONS):
        with_likely, _ = likely_labels(columns_from([row]), learned, mini_vocabulary.closure)
        for c, (share, _) in rows_from(with_likely)[0].items():
            assert written[image_id][c][0] >= share
        origins = {c for c, (_, origin) in written[image_id].items() if origin == Origin.CO_OCCURRENCE}
        assert {c for c, (_, origin) in rows_from(with_likely)[0].items() if origin} <= origins | set(row)

"""Rules that read a teacher's predictions add what their words say, and are right as often as they estimate."""

from __future__ import annotations

import itertools
import math
import tempfile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from mlimages_dataset.augment.labels_stage import label
from mlimages_dataset.augment.rule_fit import Examples, fitted, learned_rules
from mlimages_dataset.augment.rules import (
    INTERCEPT,
    PICTURE,
    LabelRules,
    Ramps,
    candidates,
    likely_labels,
    log_odds,
    ramp,
    rules_of,
    rules_table,
    scores_of,
)
from mlimages_dataset.augment.rules_stage import RULES_FILE, RuleOptions, rules
from mlimages_dataset.augment.seen import Predicted, SeenImages, Teacher, least_scores, places, teacher_of
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.pipeline.engine import local
from mlimages_dataset.pipeline.stage import Engine, Workplace
from mlimages_dataset.tables.confidences import of_a_model
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS, PREDICTIONS, RULES, Origin
from tests.augment.strategies import Row, columns_from, rows_from
from tests.augment.tables import read_parts, write_parts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mlimages_dataset.augment.labels_stage import LabelsSummary
    from mlimages_dataset.vocab.vocabulary import Vocabulary


def predicted_of(rows: list[Row]) -> Predicted:
    """Return what a teacher says of images that it has seen."""
    return Predicted.of_matrix(scores_of(columns_from(rows), 6))


UNRELATED = sp.csr_array(np.eye(6, dtype=bool))
_SCORES = st.floats(2**-10, 1 - 2**-10, width=32)


def table_of(rows: list[tuple[int, int, float, float, float]], least: float = 0.5) -> pa.Table:
    """Return rules of the antecedents, consequents, weights and probabilities of ramps."""
    whole = [(i, -1, j, weight, least, start, end) for i, j, weight, start, end in sorted(rows)]
    return pa.Table.from_pylist([dict(zip(RULES.arrow.names, row, strict=True)) for row in whole], RULES.arrow)


@st.composite
def ramps(draw: st.DrawFn) -> list[tuple[float, float, float]]:
    """Draw ramps that meet: weight, start and end of each."""
    knots = sorted(draw(st.sets(_SCORES, min_size=2, max_size=5)))
    return [(draw(st.floats(0.25, 4, width=16)), start, end) for start, end in itertools.pairwise(knots)]


def value(stated: list[tuple[float, float, float]], score: float) -> float:
    """Return what ramps say of a probability, straight from the module's words."""
    at, found = logit(score), 0.0
    for weight, start, end in stated:
        if score >= end:
            found += weight
        elif score > start:
            found += weight * (at - logit(start)) / (logit(end) - logit(start))
    return found


@given(ramps(), st.floats(-4, 1, width=16), st.floats(-2, 2, width=16), st.lists(st.none() | _SCORES, min_size=1))
def test_what_is_added_equals_the_words(
    stated: list[tuple[float, float, float]], intercept: float, weight: float, scores: list[float | None]
) -> None:
    """Images show 0; the rules say of 1 what 0 and the prediction of 1 do; no prediction of 1 says nothing."""
    table = table_of([(INTERCEPT, 1, intercept, 0, 0), (0, 1, weight, 0, 0), *((PICTURE, 1, *one) for one in stated)])
    learned = rules_of(table, 6)
    known = columns_from([{0: (1.0, 0)}] * len(scores))
    seen: list[Row] = [{} if one is None else {1: (one, 3), 2: (0.5, 3)} for one in scores]
    found, _ = likely_labels(known, learned, UNRELATED, predicted_of(seen))
    for score, row in zip(scores, rows_from(found), strict=True):
        evidence = weight + (0 if score is None else value(stated, score))
        estimate = of_a_model(np.array([expit(intercept + evidence)]))[0]
        if abs(estimate - 0.5) > 1e-5 and abs(evidence) > 1e-9:
            assert (1 in row) == (estimate >= 0.5 and evidence > 0)
        if 1 in row:
            confidence, origin = row[1]
            assert origin == Origin.CO_OCCURRENCE
            assert confidence == pytest.approx(estimate, rel=1e-4)
            assert 0 < confidence < 1
    assert rules_table(learned).to_pylist() == rules_table(rules_of(rules_table(learned), 6)).to_pylist()


@given(ramps(), st.lists(_SCORES, min_size=1))
def test_predictions_that_are_not_held_say_nothing(
    stated: list[tuple[float, float, float]], scores: list[float]
) -> None:
    learned = rules_of(table_of([(INTERCEPT, 1, -1.0, 0, 0), *((PICTURE, 1, *one) for one in stated)]), 6)
    least = least_scores(learned, 6)
    assert (least[[0, 2, 3, 4, 5]] > 1).all()
    for score in scores:
        if np.float32(score) < least[1]:
            assert evidence_of(learned.ramps, np.zeros(1, np.int32), np.array([score])) == 0


def evidence_of(ramps: Ramps, consequent: NDArray[np.int32], score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what probabilities add to the log-odds of consequents; each array has the shape (Q,)."""
    found = np.zeros(len(score))
    at = log_odds(score)
    for r in range(ramps.rises.shape[1]):
        share = ramp(at, ramps.start[consequent, r], ramps.end[consequent, r])
        found += ramps.rises[consequent, r] * share
    return found


@pytest.mark.parametrize(
    ("ramp", "said"),
    [
        ((1.0, 0.5, 0.5), "do not ascend"),
        ((1.0, 0.5, 1.5), "do not ascend"),
        ((1.0, -0.5, 0.5), "do not ascend"),
        ((1.0, math.nan, 0.5), "do not ascend"),
        ((-1.0, 0.25, 0.5), "less likely"),
        ((math.inf, 0.25, 0.5), "not a finite number"),
    ],
)
def test_damaged_ramps_are_refused(ramp: tuple[float, float, float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        rules_of(table_of([(INTERCEPT, 1, 0.0, 0, 0), (PICTURE, 1, *ramp)]), 6, where="rules.parquet")


@pytest.mark.parametrize("antecedent", [-3, 6])
def test_antecedents_that_are_nothing_are_refused(antecedent: int) -> None:
    with pytest.raises(DataError, match=r"names a category that is not in 0\.\.5"):
        rules_of(table_of([(INTERCEPT, 1, 0.0, 0, 0), (antecedent, 1, 1.0, 0, 0)]), 6)


def test_rules_that_add_nothing_need_no_predictions_and_bear_them(tmp_path: Path) -> None:
    nothing = rules_of(table_of([]), 6)
    assert teacher_of(nothing, tmp_path, 6, where=None) is None
    assert teacher_of(nothing, None, 6, where=None) is None


def test_a_teacher_of_no_use_is_still_read() -> None:
    flat = rules_of(table_of([(INTERCEPT, 1, 0.0, 0, 0), (PICTURE, 1, 0.0, 0.25, 0.5)]), 6)
    assert rules_of(rules_table(flat), 6).read_pictures


def seen_images(n_images: int, seed: int) -> tuple[sp.csr_array, sp.csr_array]:
    """Return what images of 6 categories show, and a teacher's probabilities, each of shape (N, 6).

    0 and 1 appear together. The teacher is bold: its log-odds are three times what they should be. 5 is rare.
    """
    rng = np.random.default_rng(seed)
    shown = rng.random((n_images, 6)) < [0.5, 0.3, 0.3, 0.2, 0.1, 0.003]
    shown[:, 1] |= shown[:, 0] & (rng.random(n_images) < 0.6)
    at = rng.standard_normal((n_images, 6)) + 2 * shown
    score = of_a_model(expit(3 * (2 * at - 4))).astype(np.float64)
    return sp.csr_array(shown.astype(np.float64)), sp.csr_array(score)


def examples_of(true: sp.csr_array, seen: sp.csr_array, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    known = sp.csr_array(true.toarray() * (rng.random(true.shape) < 0.5))
    return Examples(known, true, rng.random(true.shape[0]) < 0.3, 1, seen)


def estimates_of(examples: Examples, precision: float, unseen: Examples) -> tuple[np.ndarray, np.ndarray]:
    """Return the estimates of what is added to unseen images, and whether it is right."""
    learned, _ = learned_rules(examples, UNRELATED, precision)
    assert unseen.seen is not None
    rows = [{int(c): (1.0, 0) for c in unseen.known[[n]].indices} for n in range(unseen.known.shape[0])]
    seen: list[Row] = [
        {int(c): (float(s), 3) for c, s in enumerate(one) if s > 0} for one in unseen.seen.toarray().tolist()
    ]
    predicted = predicted_of(seen)
    added, _ = likely_labels(columns_from(rows), rules_of(rules_table(learned), 6), UNRELATED, predicted)
    chosen = added.origin == Origin.CO_OCCURRENCE
    return added.confidence[chosen], np.asarray(unseen.true[added.images[chosen], added.class_index[chosen]] > 0)


@pytest.mark.parametrize("precision", [0.6, 0.9])
def test_added_labels_are_right_as_often_as_wanted_and_as_estimated(precision: float) -> None:
    unseen = examples_of(*seen_images(5_000, 3), 4)
    estimate, right = estimates_of(examples_of(*seen_images(10_000, 1), 2), precision, unseen)
    margin = 4 * math.sqrt(precision * (1 - precision) / len(right)) + 0.02
    assert right.mean() >= precision - margin
    assert abs(right.mean() - estimate.mean()) < margin
    for low in np.arange(precision, 1, 0.1):
        tenth = (estimate >= low) & (estimate < low + 0.1)
        if tenth.sum() > 200:
            assert abs(right[tenth].mean() - estimate[tenth].mean()) < 0.06


def test_the_picture_finds_what_labels_do_not_tell() -> None:
    examples, unseen = examples_of(*seen_images(10_000, 1), 2), examples_of(*seen_images(5_000, 3), 4)
    _, by_both = estimates_of(examples, 0.9, unseen)
    _, alone = learned_rules(Examples(examples.known, examples.true, examples.held_out), UNRELATED, 0.9)
    assert by_both.sum() > 3 * alone.right


def test_a_category_that_nothing_co_occurs_with_is_as_scikit_learn_s_isotonic_fit_estimates_it() -> None:
    examples = examples_of(*seen_images(30_000, 1), 2)
    learned = fitted(examples, UNRELATED)
    at = learned.consequents.tolist().index(3)
    fit = ~examples.held_out & (examples.known[:, [3]].toarray().ravel() == 0)
    assert examples.seen is not None
    score, shown = (one[fit][:, [3]].toarray().ravel() for one in (examples.seen, examples.true))
    peer = IsotonicRegression(out_of_bounds="clip").fit(logit(score), shown)
    grid = np.quantile(score, np.linspace(0.02, 0.995, 40))
    said = evidence_of(learned.ramps, np.full(len(grid), at, np.int32), grid)
    ours = expit(learned.intercepts[at] + said)
    assert (np.diff(ours) >= 0).all()
    assert np.abs(ours - peer.predict(logit(grid))).max() < 0.08


def test_a_rare_category_leans_on_the_others() -> None:
    """Of 90 images with it, the ramps have nearly the slope of all categories, and the estimates are no worse."""
    examples = examples_of(*seen_images(30_000, 1), 2)
    learned = fitted(examples, UNRELATED)
    places = {c: n for n, c in enumerate(learned.consequents.tolist())}
    rises, starts, ends = learned.ramps.rises, logit(learned.ramps.start), logit(learned.ramps.end)
    slopes = {c: rises[n].sum() / (ends[n, rises[n] > 0].max() - starts[n].min()) for c, n in places.items()}
    assert slopes[5] == pytest.approx(np.median(list(slopes.values())), rel=0.5)


@pytest.fixture(name="tables", scope="module")
def _tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write complete annotations and a teacher's predictions of the same images."""
    true, seen = seen_images(4_000, 5)
    folder = tmp_path_factory.mktemp("image-rule")
    complete: list[tuple[str, Row]] = [
        (f"i{n:05d}", {int(c): (1.0, 0) for c in true[[n]].indices}) for n in range(true.shape[0])
    ]
    said: list[tuple[str, Row]] = [
        (f"i{n:05d}", {int(c): (float(np.float32(s)), 3) for c, s in enumerate(one) if s > 0.01})
        for n, one in enumerate(seen.toarray())
    ]
    write_parts(folder / "complete", [one for one in complete if one[1]], ANNOTATIONS)
    write_parts(folder / "predictions", said, PREDICTIONS)
    return folder / "complete", folder / "predictions"


OPTIONS = RuleOptions(precision=0.8, pictures=True)


def test_cuts_order_and_workers_change_no_byte(
    tables: tuple[Path, Path], mini_vocabulary: Vocabulary, tmp_path: Path
) -> None:
    complete, predictions = tables
    rows = read_parts(predictions, PREDICTIONS)
    shuffled = [rows[n] for n in np.random.default_rng(0).permutation(len(rows))]
    cut = write_parts(tmp_path / "cut", shuffled, PREDICTIONS, [500, 1, 900])
    digests = set()
    for workers, folder in ((1, predictions), (2, cut)):
        at = tmp_path / str(workers)
        with local(workers) as mapper:
            engine = Engine(mapper=mapper)
            rules(mini_vocabulary, complete, folder, Workplace(at / "rules", engine=engine), OPTIONS)
            label(
                mini_vocabulary,
                [complete],
                Workplace(at / "labels", engine=engine),
                implications=at / "rules" / RULES_FILE,
                predictions=folder,
            )
        digests.add(tuple(file_digest(path) for path in sorted(at.rglob("*.parquet"))))
    assert len(digests) == 1
    assert len(next(iter(digests))) == 2


def labelled(
    vocabulary: Vocabulary, tables: tuple[Path, Path], predictions: Path, out: Path
) -> tuple[LabelsSummary, dict[str, Row]]:
    rules(vocabulary, *tables, Workplace(out / "rules"), OPTIONS)
    summary = label(
        vocabulary,
        [tables[0]],
        Workplace(out / "labels"),
        implications=out / "rules" / RULES_FILE,
        predictions=predictions,
    ).summary
    return summary, dict(read_parts(out / "labels" / "train", LABELS))


def test_images_without_predictions_get_nothing_and_are_counted(
    tables: tuple[Path, Path], mini_vocabulary: Vocabulary, tmp_path: Path
) -> None:
    half = write_parts(tmp_path / "half", read_parts(tables[1], PREDICTIONS)[::2], PREDICTIONS)
    _, whole = labelled(mini_vocabulary, tables, tables[1], tmp_path / "a")
    summary, some = labelled(mini_vocabulary, tables, half, tmp_path / "b")
    predicted = {image_id for image_id, _ in read_parts(half, PREDICTIONS)}
    assert summary.unpredicted == len(some.keys() - predicted) > 0
    assert any("have no predictions" in said for said in summary.findings())
    for image_id, row in some.items():
        likely = {c for c, (_, origin) in row.items() if origin == Origin.CO_OCCURRENCE}
        assert row == whole[image_id] if image_id in predicted else not likely
    assert any(origin == Origin.CO_OCCURRENCE for row in some.values() for _, origin in row.values())


def test_what_cannot_be_is_refused(tables: tuple[Path, Path], mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    complete, predictions = tables
    twice = [*read_parts(predictions, PREDICTIONS), read_parts(predictions, PREDICTIONS)[7]]
    repeated = write_parts(tmp_path / "twice", twice, PREDICTIONS)
    with pytest.raises(DataError, match="predicted twice"):
        labelled(mini_vocabulary, tables, repeated, tmp_path / "a")
    with pytest.raises(DataError, match="predicted twice"):
        rules(mini_vocabulary, complete, repeated, Workplace(tmp_path / "b"), OPTIONS)
    stated = rules_of(read_table(tmp_path / "a" / "rules" / RULES_FILE, RULES), len(mini_vocabulary))
    with pytest.raises(UsageError, match="and none are given"):
        teacher_of(stated, None, len(mini_vocabulary), where=tmp_path)
    with pytest.raises(UsageError, match="no rule reads them"):
        teacher_of(None, predictions, len(mini_vocabulary), where=None)


def test_images_are_found_by_their_ids() -> None:
    ids = pa.array(["a", "b"], pa.large_string())
    found = SeenImages(ids, predicted_of([{0: (0.5, 3)}, {1: (0.5, 3)}])).of(pa.array(["b", "c", "a"]))
    assert found.known.tolist() == [True, False, True]
    assert [found.class_index[a:b].tolist() for a, b in zip(found.starts, found.stops, strict=True)] == [[1], [], [0]]


_TEXTS = st.text(st.characters(codec="utf-8"), max_size=3) | st.sampled_from(["a", "ab", "b"])


@given(st.lists(_TEXTS), st.sets(_TEXTS), st.integers(0, 3))
def test_places_are_as_arrow_finds_them(ids: list[str], wanted: set[str], left_out: int) -> None:
    ascending = pa.array(sorted(wanted, key=str.encode), pa.large_string())
    array = pa.array(ids, pa.string())[left_out:]
    assert (
        places(array, ascending).tolist()
        == pc.index_in(array, value_set=ascending.cast(pa.string())).fill_null(-1).to_pylist()
    )


@st.composite
def predictions(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, Row]]]:
    """Draw ids of annotated images, some in several rows, and what a teacher says of these and of others."""
    ids = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1))
    row = st.dictionaries(st.integers(0, 5), st.tuples(_SCORES, st.just(3)), max_size=4)
    seen = draw(st.lists(st.tuples(st.sampled_from("abcdefghij"), row), min_size=1, unique_by=lambda one: one[0]))
    return ids, [(image_id, dict(sorted(of_image.items()))) for image_id, of_image in seen]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(predictions(), st.lists(_SCORES, min_size=6, max_size=6), st.integers(1, 4))
def test_of_a_part_is_held_what_rules_need_of_its_images(
    tmp_path: Path, drawn: tuple[list[str], list[tuple[str, Row]]], least: list[float], size: int
) -> None:
    """In whatever order and parts the tables are, what is held equals a plain search in them."""
    ids, seen = drawn
    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        folder = tmp_path / name
        write_parts(folder / "given", [(one, {0: (1.0, 0)}) for one in ids], ANNOTATIONS)
        write_parts(folder / "seen", seen, PREDICTIONS, [size] * (len(seen) // size))
        parts = tuple(table_parts(folder / "seen"))
        held = Teacher(parts, np.array(least, np.float32), folder).of_part(folder / "given" / "part-00000.parquet")
    found = held.of(pa.array([*ids, "z"]))
    for image_id, known, start, stop in zip([*ids, "z"], found.known, found.starts, found.stops, strict=True):
        stated = dict(seen).get(image_id)
        assert known == (stated is not None)
        needed = {c: np.float32(s) for c, (s, _) in (stated or {}).items() if np.float32(s) >= np.float32(least[c])}
        assert dict(zip(found.class_index[start:stop].tolist(), found.scores[start:stop], strict=True)) == needed


@given(st.data())
def test_candidates_equal_the_plain_sums(data: st.DataObject) -> None:
    """Of any known labels, predictions and rules: each estimate at the limit or above it, to the bit, and in order."""
    n = 5
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    weights = np.where(rng.random((n, n)) < 0.6, rng.normal(0, 2, (n, n)), 0)
    knots = np.sort(rng.random((n, 4)).astype(np.float32), axis=1)
    stated = Ramps(knots[:, :-1], knots[:, 1:], np.where(rng.random((n, 3)) < 0.8, rng.exponential(2, (n, 3)), 0))
    none = np.empty((0, 2), np.int32)
    learned = LabelRules(
        np.arange(n, dtype=np.int32),
        rng.normal(-2, 1, n),
        sp.csr_array(weights),
        none,
        sp.csr_array((0, n)),
        0.5,
        stated,
    )
    known = np.where(rng.random((8, n)) < 0.3, rng.random((8, n)), 0)
    score = np.where(rng.random((8, n)) < 0.6, rng.random((8, n)), 0).astype(np.float32)
    least = data.draw(st.sampled_from([0.0, 0.3, 0.8]))
    found = candidates(sp.csr_array(known), learned, Predicted.of_matrix(sp.csr_array(score)), least)
    got = dict(zip(zip(found.image.tolist(), found.consequent.tolist(), strict=True), found.evidence, strict=True))
    assert list(got) == sorted(got)
    for image, k in itertools.product(range(8), range(n)):
        total = 0.0
        for a in range(n):
            total += known[image, a] * weights[a, k]
        if score[image, k] > 0:
            at = math.log(float(score[image, k])) - math.log1p(-float(score[image, k]))
            for r in range(3):
                first, last = log_odds(stated.start)[k, r], log_odds(stated.end)[k, r]
                total += stated.rises[k, r] * min((at - first) / (last - first), 1.0) if at > first else 0.0
        if (image, k) in got:
            assert got[image, k] == total
        else:
            assert total == 0 or expit(total + learned.intercepts[k]) < least

"""The stages on tables on the disk: any cut into parts and any engine gives the rows that the rules give."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from mlimages_dataset.augment import cooccurrence_stage
from mlimages_dataset.augment.ancestors import Absences
from mlimages_dataset.augment.cooccurrence_stage import IMPLICATIONS_FILE, PAIR_COUNTS_FILE, Thresholds, cooccurrence
from mlimages_dataset.augment.label_audit import audit
from mlimages_dataset.augment.labels_stage import LabelOptions, label
from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.core.errors import DataError, SchemaError, UsageError
from mlimages_dataset.pipeline.engine import local
from mlimages_dataset.pipeline.stage import Engine, Workplace
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.tables.parquet import read_table, table_inputs, write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, IMPLICATIONS, LABELS, PAIR_COUNTS, PREDICTIONS, Origin
from tests.augment.strategies import CONFIDENCES, Row
from tests.augment.tables import Images, by_image, read_parts, table_of, write_parts
from tests.augment.test_ancestors import Implications, augmented_by_the_rules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlimages_dataset.vocab.vocabulary import Vocabulary

N_CLASSES = 18
"""Categories of the mini vocabulary."""

original_rows = st.dictionaries(
    st.integers(0, N_CLASSES - 1), st.tuples(CONFIDENCES, st.just(int(Origin.ORIGINAL))), max_size=4
)


def numbered(rows: Sequence[Row]) -> Images:
    """Return the rows with image ids that ascend."""
    return [(f"image{number:04d}", row) for number, row in enumerate(rows)]


images_of = st.lists(original_rows, min_size=1, max_size=14).map(numbered)
part_sizes = st.lists(st.integers(0, 5), max_size=4)


@pytest.fixture(name="hierarchy", scope="module")
def _hierarchy(mini_vocabulary: Vocabulary) -> nx.DiGraph[int]:
    """Return the edges of the mini vocabulary, from child to parent."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(mini_vocabulary)))
    graph.add_edges_from((c, p) for c, category in enumerate(mini_vocabulary.categories) for p in category.parents)
    assert len(graph) == N_CLASSES
    return graph


def write_implications(path: Path, pairs: Sequence[tuple[int, int, float]]) -> Path:
    left, right, probability = zip(*pairs, strict=True)
    columns = {"antecedent": left, "consequent": right, "probability": probability, "support": [1] * len(pairs)}
    columns["lower_bound"] = [0.1] * len(pairs)
    write_table(path, pa.table(columns, schema=IMPLICATIONS.arrow), IMPLICATIONS, {})
    return path


def snapshot(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in folder.rglob("*") if path.is_file()}


# Labels


@pytest.mark.slow
@settings(max_examples=25)
@given(images=images_of, sizes=part_sizes, more=images_of, absences=st.sampled_from(Absences), n=st.integers(0, 6))
def test_labels_are_those_of_the_rules_however_annotations_are_cut(
    *,
    mini_vocabulary: Vocabulary,
    hierarchy: nx.DiGraph[int],
    tmp_path_factory: pytest.TempPathFactory,
    images: Images,
    sizes: list[int],
    more: Images,
    absences: Absences,
    n: int,
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    pairs = [(6, 4, 0.75), (15, 6, 0.5), (4, 11, 1.0)]
    others = [(f"other-{image_id}", row) for image_id, row in more]
    result = label(
        mini_vocabulary,
        [write_parts(folder / "a", images, ANNOTATIONS, sizes), write_parts(folder / "b", others, ANNOTATIONS)],
        Workplace(folder / "labels", {"a": "0" * 64}),
        implications=write_implications(folder / "implications", pairs),
        options=LabelOptions(validation_images=n, validation_images_per_category=2, absences=absences),
    )
    implications: Implications = {}
    for i, j, probability in pairs:
        implications.setdefault(i, {})[j] = probability
    expected = {
        image_id: augmented_by_the_rules(row, hierarchy, implications, absences) for image_id, row in images + others
    }
    train, val = (read_parts(folder / "labels" / name, LABELS) for name in ("train", "val"))
    assert by_image(train + val) == {image_id: row for image_id, (row, _, _) in expected.items()}
    order = [image_id for image_id, _ in images + others]
    for rows in (train, val):
        assert [i for i, _ in rows] == [i for i in order if i in dict(rows)], "rows keep their order"
    assert result.summary.conflicts == sum(conflicts for _, conflicts, _ in expected.values())
    assert result.summary.blocked_implications == sum(blocked for _, _, blocked in expected.values())
    assert [result.summary.train.images, result.summary.val.images] == [len(train), len(val)]
    for receipt in result.receipts:
        assert file_digest(receipt.path) == receipt.sha256
        assert table_inputs(receipt.path) == {"a": "0" * 64}


@pytest.mark.slow
@settings(max_examples=40)
@given(images=images_of, sizes=part_sizes, n=st.integers(1, 8), k=st.integers(1, 3), salt=st.sampled_from("ab"))
def test_splits_obey_both_quotas_and_take_the_lowest_draws(
    *,
    mini_vocabulary: Vocabulary,
    tmp_path_factory: pytest.TempPathFactory,
    images: Images,
    sizes: list[int],
    n: int,
    k: int,
    salt: str,
) -> None:
    folder = tmp_path_factory.mktemp("splits")
    label(
        mini_vocabulary,
        [write_parts(folder / "annotations", images, ANNOTATIONS, sizes)],
        Workplace(folder / "labels"),
        options=LabelOptions(validation_images=n, validation_images_per_category=k, salt=salt),
    )
    drawn = {image_id for image_id, _ in read_parts(folder / "labels" / "val", LABELS)}
    draws = dict(zip(dict(images), draws_of(pa.array(list(dict(images))), salt).tolist(), strict=True))
    present = {image_id: {c for c, (confidence, _) in row.items() if confidence > 0} for image_id, row in images}
    for c in range(N_CLASSES):
        assert sum(c in present[image_id] for image_id in drawn) <= k
    lowest = {c: sorted(draws[i] for i in present if c in present[i])[: k + 1] for c in range(N_CLASSES)}
    fit = [i for i in present if present[i] and all(len(lowest[c]) <= k or draws[i] < lowest[c][k] for c in present[i])]
    assert drawn == set(sorted(fit, key=draws.__getitem__)[:n])


@pytest.mark.slow
@settings(max_examples=40)
@given(images=images_of, sizes=part_sizes, n=st.integers(1, 8), k=st.integers(1, 3))
def test_an_image_of_two_collections_is_in_one_split_and_in_its_quotas(
    *,
    mini_vocabulary: Vocabulary,
    tmp_path_factory: pytest.TempPathFactory,
    images: Images,
    sizes: list[int],
    n: int,
    k: int,
) -> None:
    folder = tmp_path_factory.mktemp("splits")
    other = [(image_id, row) for (image_id, _), (_, row) in zip(images, reversed(images), strict=True)]
    tables = [write_parts(folder / str(i), rows, ANNOTATIONS, sizes) for i, rows in enumerate((images, other))]
    summary = label(
        mini_vocabulary,
        tables,
        Workplace(folder / "labels"),
        options=LabelOptions(validation_images=n, validation_images_per_category=k),
    ).summary
    train, val = (read_parts(folder / "labels" / name, LABELS) for name in ("train", "val"))
    drawn = dict(val).keys()
    assert not drawn & dict(train).keys()
    assert len(drawn) <= n
    assert (summary.validation_images_drawn, summary.val.images) == (len(drawn), 2 * len(drawn))
    assert any("of" in one and "validation images" in one for one in summary.findings()) is (len(drawn) < n)
    for c in range(N_CLASSES):
        said = {i for rows in (images, other) for i, row in rows if i in drawn and row.get(c, (0, 0))[0] > 0}
        assert len(said) <= k


def test_an_image_without_labels_stays_an_image(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    images: Images = [("a", {}), ("b", {15: (1.0, 0)}), ("c", {15: (0.0, 0)})]
    label(
        mini_vocabulary,
        [write_parts(tmp_path / "annotations", images, ANNOTATIONS)],
        Workplace(tmp_path / "labels"),
        options=LabelOptions(validation_images=3, absences=Absences.DROP),
    )
    assert [image_id for image_id, _ in read_parts(tmp_path / "labels" / "val", LABELS)] == ["b"]
    assert read_parts(tmp_path / "labels" / "train", LABELS) == [("a", {}), ("c", {})]


def test_the_columns_beside_the_labels_are_kept(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    folder = write_parts(tmp_path / "annotations", [("a", {15: (1.0, 0)})], ANNOTATIONS)
    (receipt,) = label(mini_vocabulary, [folder], Workplace(tmp_path / "labels")).receipts
    (row,) = read_table(receipt.path, LABELS).drop_columns("labels").to_pylist()
    assert row == {"image_id": "a", "source": "tests", "location": "http://a"}


def label_and_count(vocabulary: Vocabulary, folder: Path, mapper: Any) -> None:
    """Run both stages over the annotations and predictions of a folder, into it."""
    cooccurrence(
        vocabulary,
        folder / "annotations",
        folder / "predictions",
        Workplace(folder / "pairs", engine=Engine(mapper=mapper)),
    )
    label(
        vocabulary,
        [folder / "annotations"],
        Workplace(folder / "labels", engine=Engine(mapper=mapper)),
        implications=folder / "pairs" / IMPLICATIONS_FILE,
        options=LabelOptions(validation_images=20),
    )


@pytest.mark.slow
def test_every_engine_writes_the_same_bytes(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows: list[Row] = [
        {int(c): (float(rng.choice([0, 0.5, 1])), 0) for c in rng.choice(N_CLASSES, 3, replace=False)}
        for _ in range(400)
    ]
    predicted: list[Row] = [{int(c): (1.0, 3) for c in rng.choice(4, 2, replace=False)} for _ in rows]
    for folder in (tmp_path / "one", tmp_path / "two"):
        write_parts(folder / "annotations", numbered(rows), ANNOTATIONS, [100, 0, 150])
        write_parts(folder / "predictions", numbered(predicted), PREDICTIONS, [170])
    label_and_count(mini_vocabulary, tmp_path / "one", map)
    with local(2) as mapper:
        label_and_count(mini_vocabulary, tmp_path / "two", mapper)
    assert read_table(tmp_path / "one" / "pairs" / IMPLICATIONS_FILE, IMPLICATIONS).num_rows
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_annotations_of_another_vocabulary_are_refused(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    folder = write_parts(tmp_path / "annotations", [("a", {N_CLASSES: (1.0, 0)})], ANNOTATIONS)
    told = rf"^{folder / 'part-00000.parquet'}: .*not in 0\.\.17; build it again with the vocabulary that you pass now$"
    for split in (LabelOptions(), LabelOptions(validation_images=1)):
        with pytest.raises(DataError, match=told):
            label(mini_vocabulary, [folder], Workplace(tmp_path / "labels"), options=split)
    predictions = write_parts(tmp_path / "predictions", [("a", {})], PREDICTIONS)
    with pytest.raises(DataError, match=told):
        cooccurrence(mini_vocabulary, folder, predictions, Workplace(tmp_path / "pairs"))


def test_predictions_of_another_vocabulary_are_refused(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    annotations = write_parts(tmp_path / "annotations", [("a", {1: (1.0, 0)})], ANNOTATIONS)
    predictions = write_parts(tmp_path / "predictions", [("a", {N_CLASSES: (1.0, 3)})], PREDICTIONS)
    with pytest.raises(DataError, match=rf"^{predictions}.*not in 0\.\.17; "):
        cooccurrence(mini_vocabulary, annotations, predictions, Workplace(tmp_path / "pairs"))


def test_implications_of_another_vocabulary_are_refused(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    folder = write_parts(tmp_path / "annotations", [("a", {1: (1.0, 0)})], ANNOTATIONS)
    path = write_implications(tmp_path / "implications.parquet", [(0, N_CLASSES, 0.9)])
    with pytest.raises(DataError, match=rf"^{path}: names a category that is not in 0\.\.17; "):
        label(mini_vocabulary, [folder], Workplace(tmp_path / "labels"), implications=path)


@pytest.mark.parametrize("table", ["predictions", "implications"])
def test_a_table_in_the_wrong_place_is_refused(mini_vocabulary: Vocabulary, tmp_path: Path, table: str) -> None:
    wrong = write_parts(tmp_path / "wrong", [("a", {1: (1.0, 0)})], PREDICTIONS)
    right = write_parts(tmp_path / "right", [("a", {1: (1.0, 0)})], ANNOTATIONS)
    given_as = {"predictions": ([wrong], None), "implications": ([right], wrong / "part-00000.parquet")}[table]
    with pytest.raises(
        SchemaError, match=r"the table's schema is predictions/1, but (annotations/1|implications/2) is"
    ):
        label(mini_vocabulary, given_as[0], Workplace(tmp_path / "labels"), implications=given_as[1])


def test_a_folder_without_tables_is_refused(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^{tmp_path}: there is no part"):
        label(mini_vocabulary, [tmp_path], Workplace(tmp_path / "labels"))


def test_a_damaged_part_is_named(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    folder = write_parts(tmp_path / "annotations", numbered([{1: (1.0, 0)}] * 9), ANNOTATIONS, [5])
    part = folder / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(DataError, match=f"^{part}: cannot be read as a Parquet file"):
        label(mini_vocabulary, [folder], Workplace(tmp_path / "labels"))
    assert not list((tmp_path / "labels").rglob(".partial*"))


# Co-occurrence


@pytest.mark.slow
@settings(max_examples=25)
@given(
    images=images_of,
    sizes=part_sizes,
    prediction_sizes=part_sizes,
    data=st.data(),
    strength=st.sampled_from([0.25, 0.5]),
    rows_at_once=st.sampled_from([1, 3, 1 << 19]),
)
def test_pairs_are_those_of_the_equation_however_tables_are_cut_and_sorted(
    *,
    mini_vocabulary: Vocabulary,
    hierarchy: nx.DiGraph[int],
    tmp_path_factory: pytest.TempPathFactory,
    images: Images,
    sizes: list[int],
    prediction_sizes: list[int],
    data: st.DataObject,
    strength: float,
    rows_at_once: int,
) -> None:
    probabilities = st.tuples(st.sampled_from([0.5, 0.875, 0.9, 1.0]), st.just(int(Origin.MODEL_PREDICTION)))
    predictions = st.dictionaries(st.integers(0, N_CLASSES - 1), probabilities, max_size=5)
    ids = data.draw(st.permutations([*dict(images), "before", "image0003b", "zebra"]))
    predicted = [(image_id, data.draw(predictions)) for image_id in ids[: data.draw(st.integers(1, len(ids)))]]
    known = dict(images).keys() & dict(predicted).keys()
    folder = tmp_path_factory.mktemp("pairs")

    def count() -> Any:
        return cooccurrence(
            mini_vocabulary,
            write_parts(folder / "annotations", images, ANNOTATIONS, sizes),
            write_parts(folder / "predictions", predicted, PREDICTIONS, prediction_sizes),
            Workplace(folder / "pairs"),
            Thresholds(probability=0.875, strength=strength),
        )

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cooccurrence_stage, "PART_IMAGES", rows_at_once)
        if not known:
            with pytest.raises(DataError, match="no annotated image is predicted; predict the images of"):
                count()
            assert not list(folder.rglob(".partial*"))
            return
        result = count()
    assert not list(folder.rglob(".partial*"))
    assert (result.summary.images, result.summary.predicted_images) == (len(images), len(known))

    n_left, n_both = np.zeros(N_CLASSES, int), np.zeros((N_CLASSES, N_CLASSES), int)
    for image_id, row in images:
        present = [c for c, (confidence, _) in row.items() if confidence > 0]
        found = [c for c, (p, _) in dict(predicted).get(image_id, {}).items() if p > 0.875]
        for i in present:
            n_left[i] += 1
        for i, j in itertools.product(present, found):
            n_both[i, j] += 1
    counts = read_table(folder / "pairs" / PAIR_COUNTS_FILE, PAIR_COUNTS).to_pylist()
    assert [tuple(row.values()) for row in counts] == [
        (i, j, n_left[i], n_both[i, j]) for i, j in np.argwhere(n_both).tolist()
    ]
    strong = [
        (i, j)
        for i, j in np.argwhere(n_both).tolist()
        if Fraction(int(n_both[i, j]), int(n_left[i])) > Fraction(strength)
        and not (i == j or nx.has_path(hierarchy, i, j) or nx.has_path(hierarchy, j, i))
    ]
    table = read_table(folder / "pairs" / IMPLICATIONS_FILE, IMPLICATIONS)
    assert list(zip(table["antecedent"].to_pylist(), table["consequent"].to_pylist(), strict=True)) == strong
    assert table["probability"].to_pylist() == [float(np.float32(n_both[i, j] / n_left[i])) for i, j in strong]
    assert table["support"].to_pylist() == [n_both[i, j] for i, j in strong]
    bounds = [binomtest(n_both[i, j], n_left[i]).proportion_ci(method="wilson").low for i, j in strong]
    np.testing.assert_allclose(table["lower_bound"].to_numpy(), bounds, rtol=1e-6)
    surest = result.summary.surest
    assert [pair.lower_bound for pair in surest] == sorted(table["lower_bound"].to_pylist(), reverse=True)[:10]
    wnids = [category.wnid for category in mini_vocabulary.categories]
    assert {(pair.antecedent, pair.consequent): (pair.support, pair.images) for pair in surest}.items() <= {
        (wnids[i], wnids[j]): (n_both[i, j], n_left[i]) for i, j in strong
    }.items()


@pytest.mark.parametrize("sizes", [(), (1,), (2,)])
def test_an_image_predicted_twice_is_refused(
    mini_vocabulary: Vocabulary, tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    annotations = write_parts(tmp_path / "annotations", [("a", {1: (1.0, 0)}), ("b", {1: (1.0, 0)})], ANNOTATIONS)
    twice: Images = [("b", {2: (1.0, 3)}), ("a", {2: (1.0, 3)}), ("b", {3: (1.0, 3)})]
    predictions = write_parts(tmp_path / "predictions", twice, PREDICTIONS, sizes)
    with pytest.raises(DataError, match=f"^{predictions}: b is predicted twice; keep one row per image$"):
        cooccurrence(mini_vocabulary, annotations, predictions, Workplace(tmp_path / "pairs"))


# Audits of files


def test_an_audit_reads_published_lists_and_tables_alike(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    rows: Images = [("a", {15: (1.0, 0)}), ("b", {5: (0.5, 0), 13: (0.9, 0), 2: (1.0, 0)}), ("a", {2: (1.0, 0)})]
    folder = write_parts(tmp_path / "tables", rows, LABELS, [1])
    labels = ["\t".join([i, *(f"{c}:{p}" for c, (p, _) in row.items())]) for i, row in rows]
    (tmp_path / "list.txt").write_text("\n".join([*labels, "bad", "c\t5:7"]))
    for files in ([folder], [folder / "part-00000.parquet", folder / "part-00001.parquet"], [tmp_path / "list.txt"]):
        found = audit(mini_vocabulary, files)
        assert (found.counts.rows, found.counts.closed, found.counts.monotone) == (3, 2, 2)
        assert found.repeated_images == 1
        expected = 2 if files == [tmp_path / "list.txt"] else 0
        assert found.rejects.count == expected


def test_an_audit_names_what_it_cannot_read(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        audit(mini_vocabulary, [tmp_path / "absent.txt"])
    with pytest.raises(UsageError, match=f"^{tmp_path}: there is no part"):
        audit(mini_vocabulary, [tmp_path])
    pq.write_table(table_of([("a", {})], LABELS), tmp_path / "bare.parquet")
    with pytest.raises(SchemaError, match="the table's schema is none, but labels/1 is needed"):
        audit(mini_vocabulary, [tmp_path / "bare.parquet"])

"""What is shown of images and categories is what the whole tables say."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlimages_dataset as ml
from mlimages_dataset.api.places import places_of
from mlimages_dataset.api.shown import ShownImage, ShownLabel
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.tables import label_search
from mlimages_dataset.tables.label_search import count_with, ids_below, images_with, row_at, rows_of_image
from mlimages_dataset.tables.parquet import overlaps, table_writer
from mlimages_dataset.tables.parts import BEGUN_PREFIX
from mlimages_dataset.tables.schemas import LABELS
from tests.golden.inputs_and_tables import write_inputs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="built", scope="module")
def _built(tmp_path_factory: pytest.TempPathFactory) -> ml.Build:
    """Return the golden build, which has pairs, absences and two splits."""
    folder = tmp_path_factory.mktemp("golden")
    return ml.run(write_inputs(folder / "inputs"), folder / "out")


def test_every_image_has_the_labels_and_reasons_of_the_whole_table(built: ml.Build) -> None:
    frame = built.labels.to_pandas(columns=["image_id", "source", "class_index", "confidence", "split"])
    for image_id, rows in list(frame.groupby("image_id"))[:40]:
        shown = ml.show(built.folder, str(image_id)).images
        found = {(one.source, one.split, label.class_index, label.confidence) for one in shown for label in one.labels}
        assert found == set(rows[["source", "split", "class_index", "confidence"]].itertuples(index=False, name=None))
        why = built.labels.why(str(image_id))
        said = {(one.source, label.wnid): label.why for one in shown for label in one.labels}
        assert said == {(row.source, row.wnid): row.why for row in why.itertuples()}


def test_every_category_is_what_vocabulary_pairs_and_labels_say(built: ml.Build) -> None:
    frame = built.labels.to_pandas(columns=["image_id", "class_index", "confidence", "split"]).query("confidence > 0")
    assert built.pairs is not None
    pairs = built.pairs.implications
    for at, category in enumerate(built.vocabulary.categories):
        (shown,) = (one for one in ml.show(built.folder, category.wnid).categories if one.name.class_index == at)
        of_class = frame[frame["class_index"] == at]
        assert shown.images == {split: int((of_class["split"] == split).sum()) for split in ("train", "val")}
        assert set(shown.examples) <= set(of_class["image_id"])
        assert len(shown.examples) == min(5, len(of_class))
        assert [one.class_index for one in shown.parents] == list(category.parents)
        assert {one.wnid for one in shown.children} == {one.wnid for one in built.vocabulary.children(at)}
        for given_pairs, side, other in (
            (shown.brings, "antecedent", "consequent"),
            (shown.comes_with, "consequent", "antecedent"),
        ):
            rows = pairs[pairs[side] == at]
            expected = set(rows[[other, "support", "images"]].itertuples(index=False, name=None))
            assert {(one.other.class_index, one.support, one.images) for one in given_pairs} == expected


def test_labels_of_one_name_are_told_apart_by_their_wnids() -> None:
    said = [("n1", "food, nutrient"), ("n2", "food, solid food"), ("n3", "hen")]
    labels = tuple(ShownLabel(at, wnid, name, 1.0, "ancestor", "why") for at, (wnid, name) in enumerate(said))
    lines = list(ShownImage("a", "train", "csv", "", "", -1, labels).lines())
    assert lines[1:] == ["  food (n1), why", "  food (n2), why", "  hen, why"]


def test_a_reason_by_a_pair_has_its_counts_wherever_the_pairs_come_from(built: ml.Build) -> None:
    assert built.pairs is not None
    labels = built.labels
    implied = labels.to_pandas().query("origin == 2")["image_id"].iloc[0]
    expected = labels.why(implied)
    assert expected["why"].str.contains(r"because of .*: \d+ of \d+ images").any()
    for pairs in (built.pairs, built.pairs.folder, built.folder, built.pairs.implications):
        other = ml.Labels.read(built.folder, built.folder, pairs)
        pd.testing.assert_frame_equal(other.why(implied), expected)
    uncounted = ml.Labels.read(built.folder, built.folder, built.pairs.implications.drop(columns="images"))
    assert uncounted.why(implied)["why"].str.contains(r"because of .*: \d+ % of its images").any()


def test_labels_and_a_split_alone_are_shown_with_what_lies_around_them(built: ml.Build, tmp_path: Path) -> None:
    image_id = built.labels.first_ids(1)[0]
    whole = ml.show(built.folder, image_id)
    assert ml.show(built.folder / "labels", image_id) == whole
    assert ml.show(built.folder / "labels" / whole.images[0].split, image_id).images[:1] == whole.images[:1]
    built.labels.write(tmp_path / "labels")
    with pytest.raises(UsageError, match="no vocabulary beside these labels"):
        ml.show(tmp_path / "labels", image_id)
    alone = ml.show(tmp_path / "labels", image_id, vocabulary=built.folder)
    assert [one.wnid for one in alone.images[0].labels] == [one.wnid for one in whole.images[0].labels]
    assert built.pairs is not None
    file = built.pairs.folder / "implications.parquet"
    with_pairs = ml.show(tmp_path / "labels", image_id, vocabulary=built.folder, implications=file)
    assert [one.why for one in with_pairs.images[0].labels] == [one.why for one in whole.images[0].labels]
    wnid = alone.images[0].labels[0].wnid
    built.labels.write(tmp_path / "counted")
    (tmp_path / "counted" / "manifest.json").unlink()  # images are counted now
    counted = ml.show(tmp_path / "counted", wnid, vocabulary=built.folder).categories[0]
    assert counted.images == ml.show(built.folder, wnid).categories[0].images


def test_all_senses_of_a_name_are_shown_and_near_ones_of_none_named(built: ml.Build) -> None:
    names: dict[str, set[str]] = {}
    for one in built.vocabulary.categories:
        for name in one.name.split(", "):
            names.setdefault(name.casefold(), set()).add(one.wnid)
    for name, wnids in names.items():
        assert {one.name.wnid for one in ml.show(built.folder, name.upper()).categories} >= wnids
    assert ml.show(built.folder, 1).categories[0].name.class_index == 1
    first = built.vocabulary.categories[3].name.partition(",")[0]
    with pytest.raises(UsageError, match=f"no image and no category .*near are the categories .*{re.escape(first)}"):
        ml.show(built.folder, first + "x")
    with pytest.raises(UsageError, match="ids of images are such as"):
        ml.show(built.folder, "qqqqqqqq")


IDS = st.lists(st.sampled_from(["a", "b", "dogs/a", "cats/a", "cats/b", "é", "zz"]), max_size=12)


@given(IDS, st.integers(1, 4), st.integers(0, 3))
def test_few_row_groups_give_what_the_whole_table_gives(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], rows_of_group: int, class_index: int
) -> None:
    random = np.random.default_rng([len(ids), rows_of_group])
    labels = [
        [{"class_index": i, "confidence": float(random.integers(0, 3)) / 2, "origin": 0} for i in sorted({*chosen})]
        for chosen in (random.integers(0, 4, random.integers(0, 4)).tolist() for _ in ids)
    ]
    table = pa.table({"image_id": ids, "source": ["s"] * len(ids), "location": [""] * len(ids), "labels": labels})
    part = tmp_path_factory.mktemp("part") / "part-00000.parquet"
    whole = table.select(LABELS.arrow.names).cast(LABELS.arrow)
    with table_writer(part, LABELS, {}) as writer:
        for first in range(0, len(ids), rows_of_group):
            writer.write(whole.slice(first, rows_of_group))
    for image_id in {*ids, "none"}:
        at = [row for row, one in enumerate(ids) if one == image_id]
        assert rows_of_image([part], image_id).equals(whole.take(pa.array(at, pa.int64())))
    present = [
        one
        for one, of_image in zip(ids, labels, strict=True)
        if any(label["class_index"] == class_index and label["confidence"] > 0 for label in of_image)
    ]
    assert images_with([part], class_index, 3) == present[:3]
    assert count_with([part], class_index) == len(present)
    assert [row_at(part, row) for row in range(len(ids) + 1)] == [whole.slice(row, 1) for row in range(len(ids) + 1)]
    assert ids_below([part], "a", 2) == [one for one in ids if one.endswith("/a")][:2]


def test_groups_that_cannot_hold_an_image_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"{number:04d}" for number in range(100)]
    label = [{"class_index": 0, "confidence": 1.0, "origin": 0}]
    table = pa.table({"image_id": ids, "source": [""] * 100, "location": [""] * 100, "labels": [label] * 100})
    whole = table.cast(LABELS.arrow)
    with table_writer(tmp_path / "part-00000.parquet", LABELS, {}) as writer:
        for first in range(0, 100, 10):
            writer.write(whole.slice(first, 10))
    asked: list[bool] = []

    def noted(*bounds: Any) -> bool:
        asked.append(overlaps(*bounds))
        return asked[-1]

    monkeypatch.setattr(label_search, "overlaps", noted)
    assert rows_of_image([tmp_path / "part-00000.parquet"], "0042").equals(whole.slice(42, 1))
    assert (len(asked), sum(asked)) == (10, 1)


def test_what_is_missing_is_told_in_the_words_of_python(built: ml.Build, tmp_path: Path) -> None:
    shutil.copytree(str(built.folder / "labels"), tmp_path / "labels")
    with pytest.raises(ml.MLImagesError, match=r"or the vocabulary \(vocabulary\)"):
        ml.show(tmp_path / "labels", "a")
    (tmp_path / f"{BEGUN_PREFIX}vocabulary").touch()
    with pytest.raises(ml.MLImagesError, match="has not finished: run it again, with overwrite=True"):
        ml.show(tmp_path / "labels", "a")
    said = pd.DataFrame({"image_id": ["a"], "label": [built.vocabulary.categories[0].wnid]})
    ml.augment(said, built.vocabulary, out=tmp_path / "more")
    with pytest.raises(ml.MLImagesError, match="pass overwrite=True to replace it"):
        ml.augment(said, built.vocabulary, salt="other", out=tmp_path / "more")


def test_labels_of_another_version_are_refused(built: ml.Build, tmp_path: Path) -> None:
    part = built.labels.parts()[0]
    other = pa.parquet.read_table(part)
    metadata = {**other.schema.metadata, b"mlimages.schema": b"labels/99"}
    pa.parquet.write_table(other.replace_schema_metadata(metadata), tmp_path / "part-00000.parquet")
    with pytest.raises(ml.MLImagesError, match="labels/99, but labels/1 is needed; build it again with this version"):
        ml.show(tmp_path, "a", vocabulary=built.folder)


def test_pairs_that_lie_beside_labels_count_only_if_they_were_applied(built: ml.Build, tmp_path: Path) -> None:
    assert built.pairs is not None
    ml.write_vocabulary(built.vocabulary, tmp_path / "vocabulary")
    built.pairs.write(tmp_path / "cooccurrence")
    built.labels.write(tmp_path / "labels")
    ml.augment(list(built.annotations.values()), built.vocabulary).write(tmp_path / "parents")
    assert places_of(tmp_path / "labels").pairs == tmp_path / "cooccurrence"
    assert places_of(tmp_path / "parents").pairs is None

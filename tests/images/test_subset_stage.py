"""A written subset is a list, the rows of its labels and its pictures, and all of them agree."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.images.index import ImageIndex
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.images.subset import Rules
from mlimages_dataset.images.subset_stage import choose_subset, copy_pictures
from mlimages_dataset.images.verification import coverage, verify_images
from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.tables.parquet import read_table, table_parts, write_table
from mlimages_dataset.tables.schemas import CATEGORIES, LABELS, MAPPING
from mlimages_dataset.vocab.folder import CATEGORIES_FILE, MAPPING_FILE
from mlimages_dataset.vocab.tables import categories_table, mapping_table
from tests.images.folders import image_folder, picture
from tests.images.foreign_folders import image_table, tar_folder, write_parquet
from tests.images.test_ingest import ingested, rows
from tests.images.test_masks import MASKS, collection
from tests.images.test_verification import label_part

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.vocab.vocabulary import Vocabulary

CONTENTS = {f"i{k:02d}": picture(k, 30 + k, 20) for k in range(20)}


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """Return a label table of two splits, and images of which one has no picture and one no labels."""
    ids = list(CONTENTS)
    label_part(
        tmp_path / "labels" / "train" / "part-00000.parquet", {i: {k % 4: 1.0, 5: 0.0} for k, i in enumerate(ids[:12])}
    )
    label_part(
        tmp_path / "labels" / "val" / "part-00000.parquet",
        {i: {k % 3: 0.9} for k, i in enumerate([*ids[12:19], ids[0]])},
    )
    parts: list[dict[str, bytes | None]] = [dict(list(CONTENTS.items())[:7]), dict(list(CONTENTS.items())[7:])]
    parts[0]["i03"] = None
    return tmp_path / "labels", image_folder(tmp_path / "pictures", parts)


def listed(out: Path) -> list[str]:
    with (out / "images.csv").open(newline="") as stream:
        header, *lines = csv.reader(stream)
    assert header == ["image_id", "location"]
    return [image_id for image_id, _ in lines]


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [row for part in table_parts(out / "labels") for row in read_table(part, LABELS).to_pylist()]


def pictures_of(out: Path) -> dict[str, bytes]:
    index = ImageIndex.open(out / "images")
    return {index.image_id(k): index.read(k) for k in range(len(index))}


def test_list_labels_and_pictures_agree(tables: tuple[Path, Path], tmp_path: Path) -> None:
    labels, images = tables
    outcome = choose_subset(tmp_path / "out", Rules(images=9), labels=labels, images=images, shards=True)
    chosen = listed(tmp_path / "out")
    assert len(chosen) == len(set(chosen)) == outcome.record.summary["images"] == 9
    assert not {"i03", "i19"} & set(chosen), "one has no picture, one no labels"
    wanted = [row for row in rows_of(labels.parent) if row["image_id"] in chosen]
    assert rows_of(tmp_path / "out") == wanted, "all rows of an image are kept, as they are"
    assert pictures_of(tmp_path / "out") == {i: content for i, content in CONTENTS.items() if i in chosen}
    assert coverage(tmp_path / "out" / "labels", tmp_path / "out" / "images").missing == 0
    assert verify_images(tmp_path / "out" / "images") == (9, [])
    assert verify_folder(tmp_path / "out") == []
    again = choose_subset(tmp_path / "out", Rules(images=9), labels=labels, images=images, shards=True)
    assert not again.fresh


def test_larger_budgets_keep_what_smaller_ones_have(tables: tuple[Path, Path], tmp_path: Path) -> None:
    labels, images = tables
    before: set[str] = set()
    for size in (3000, 8000, 14000):
        outcome = choose_subset(tmp_path / str(size), Rules(bytes=size, balanced=True), labels=labels, images=images)
        chosen = set(listed(tmp_path / str(size)))
        assert before < chosen
        assert sum(len(CONTENTS[i]) for i in chosen) == outcome.record.summary["bytes"]
        before = chosen


def test_seeds_choose_others_and_places_do_not(tables: tuple[Path, Path], tmp_path: Path) -> None:
    labels, images = tables
    found = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        choose_subset(tmp_path / name, Rules(images=5, seed=seed), labels=labels, images=images)
        found[name] = {path: record.sha256 for path, record in read_manifest(tmp_path / name).files.items()}
    assert found["a"] == found["b"] != found["c"]


def test_pictures_alone_and_labels_alone(tables: tuple[Path, Path], tmp_path: Path) -> None:
    labels, images = tables
    choose_subset(tmp_path / "a", Rules(images=8), images=images)
    assert len(listed(tmp_path / "a")) == 8
    assert not (tmp_path / "a" / "labels").exists()
    outcome = choose_subset(tmp_path / "b", Rules(min_per_category=2), labels=labels)
    present = [
        {label["class_index"] for label in row["labels"] if label["confidence"]} for row in rows_of(tmp_path / "b")
    ]
    assert {c: min(2, sum(c in row for row in present)) for c in range(4)} == dict.fromkeys(range(4), 2)
    assert outcome.record.summary["categories_below_minimum"] == 0
    assert outcome.record.summary["categories"] == 4, "an absence counts for nothing"


def test_a_subtree(tables: tuple[Path, Path], tmp_path: Path, mini_vocabulary: Vocabulary) -> None:
    labels, _ = tables
    write_table(tmp_path / "vocabulary" / CATEGORIES_FILE, categories_table(mini_vocabulary), CATEGORIES, {})
    write_table(tmp_path / "vocabulary" / MAPPING_FILE, mapping_table(mini_vocabulary), MAPPING, {})
    wnid = mini_vocabulary.categories[2].wnid
    below = set(mini_vocabulary.closure[:, [2]].nonzero()[0].tolist())
    choose_subset(tmp_path / "out", Rules(under=(wnid,)), labels=labels, vocabulary=tmp_path / "vocabulary")
    expected = {
        row["image_id"]
        for row in rows_of(labels.parent)
        if any(label["confidence"] and label["class_index"] in below for label in row["labels"])
    }
    assert set(listed(tmp_path / "out")) == expected
    assert 0 < len(expected) < 19


@pytest.mark.parametrize(
    ("rules", "given", "told"),
    [
        (Rules(images=1), "", "there is nothing to choose from"),
        (Rules(images=1, balanced=True), "images", "categories need labels"),
        (Rules(bytes=1), "labels", "sizes are known only of saved pictures"),
        (Rules(under=("dog",)), "labels", "--under needs the vocabulary"),
        (Rules(bytes=1), "labels images", "none of 18 images is chosen"),
    ],
)
def test_what_cannot_be_is_told(tables: tuple[Path, Path], tmp_path: Path, rules: Rules, given: str, told: str) -> None:
    labels, images = tables
    with pytest.raises(UsageError, match=told):
        choose_subset(
            tmp_path / "out",
            rules,
            labels=labels if "labels" in given else None,
            images=images if "images" in given else None,
        )
    with pytest.raises(UsageError, match="there are no pictures to copy"):
        choose_subset(tmp_path / "out", Rules(images=1), labels=labels, shards=True)


@pytest.mark.parametrize("rules", [Rules(images=1, balanced=True), Rules(min_per_category=1), Rules(images=1)])
def test_a_table_without_rows_is_told(tmp_path: Path, rules: Rules) -> None:
    label_part(tmp_path / "labels" / "part-00000.parquet", {})
    with pytest.raises(UsageError, match="none of 0 images is chosen"):
        choose_subset(tmp_path / "out", rules, labels=tmp_path / "labels")


def test_damaged_pictures_are_not_copied(tables: tuple[Path, Path], tmp_path: Path) -> None:
    _, images = tables
    shard = images / "shard-00000.tar"
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DataError, match="has another digest than its row"):
        choose_subset(tmp_path / "out", Rules(images=19), images=images, shards=True)


def test_a_list_that_names_other_pictures_is_refused(tables: tuple[Path, Path], tmp_path: Path) -> None:
    _, images = tables
    choose_subset(tmp_path / "out", Rules(images=3), images=images)
    path = tmp_path / "out" / "images.csv"
    path.write_bytes(path.read_bytes() + b"stranger,\n")
    with pytest.raises(DataError, match="names stranger, which has no picture"):
        copy_pictures(path, images, Workplace(tmp_path / "copies"))


def test_ids_of_any_letters_are_listed_and_copied(tmp_path: Path) -> None:
    contents = {f'a{letter}"b,': picture(k, 30, 20) for k, letter in enumerate("\n\r\t;é")}
    images = image_folder(tmp_path / "pictures", [dict(contents)])
    choose_subset(tmp_path / "out", Rules(images=9), images=images, shards=True)
    assert sorted(listed(tmp_path / "out")) == sorted(contents)
    assert pictures_of(tmp_path / "out") == contents


@pytest.mark.parametrize("form", ["files", "tar", "parquet"])
def test_any_store_gives_the_subset_that_our_shards_give(tables: tuple[Path, Path], tmp_path: Path, form: str) -> None:
    labels, _ = tables
    ours = image_folder(tmp_path / "ours", [CONTENTS])
    theirs = tmp_path / form
    if form == "files":
        theirs.mkdir()
        for name, content in CONTENTS.items():
            (theirs / f"{name}.jpg").write_bytes(content)
    elif form == "tar":
        tar_folder(theirs, {"00000.tar": {f"{name}.jpg": content for name, content in CONTENTS.items()}})
    else:
        rows_of_table = [{"bytes": content, "path": f"{name}.jpg"} for name, content in CONTENTS.items()]
        write_parquet(theirs / "train-0.parquet", image_table(rows_of_table), row_group_size=6)
    for rules in (Rules(images=9), Rules(bytes=9000, balanced=True)):
        found = {}
        for images in (ours, theirs):
            out = tmp_path / f"out-{images.name}-{rules.images}"
            outcome = choose_subset(out, rules, labels=labels, images=images, shards=True)
            found[images] = (outcome.record.summary, listed(out), rows_of(out), pictures_of(out))
            assert verify_images(out / "images")[1] == []
        assert found[ours] == found[theirs]


def test_masks_are_copied_with_their_pictures_and_damaged_pictures_are_told(tmp_path: Path) -> None:
    source = collection(tmp_path / "in")
    (source / "broken.jpg").write_bytes(picture(1)[:300])
    ingested(tmp_path / "shards", source)
    for images in (source, tmp_path / "shards"):
        out = tmp_path / f"out-{images.name}"
        choose_subset(out, Rules(images=9), images=images, shards=True)
        store = open_store(out / "images")
        assert {store.image_id(k): store.masks(k) for k in range(len(store)) if store.masks(k)} == MASKS
    statuses = {row["image_id"]: row["status"] for row in rows(tmp_path / "out-in" / "images")}
    assert statuses["broken"] == "broken"


def test_two_pictures_of_one_id_are_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(picture(1))
    with pytest.raises(UsageError, match=r"a.jpg and a.png would be one image, a; rename one"):
        choose_subset(tmp_path / "out", Rules(images=1), images=tmp_path / "in")

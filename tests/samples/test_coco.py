"""The packaged sample of COCO's complete labels: what it says, what is learned from it, and that the pairs are true."""

from __future__ import annotations

import csv
import gzip
import itertools
from collections import Counter
from typing import TYPE_CHECKING

import pytest

import mlimages_dataset as ml
from mlimages_dataset import samples
from mlimages_dataset.recipes import build
from mlimages_dataset.recipes.recipe import default_recipe, read_recipe
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import IMPLICATIONS
from mlimages_dataset.vocab.folder import read_vocabulary
from mlimages_dataset.vocab.packaged import packaged_class_list
from tests.golden.boxable_classes import default_vocabulary

if TYPE_CHECKING:
    from pathlib import Path

N_IMAGES, N_CLASSES, PERSON = 5_000, 80, "person"
SHARE = 0.9
RECIPE = """
[vocabulary]
classes = { coco = "packaged:coco.csv" }
narrower = true

[[annotations]]
name = "coco"
format = "csv"
files = ["packaged:coco.csv.gz"]
separator = "|"
ids_of = "coco"
complete = true

[cooccurrence]
annotations = "coco"
strength = 0.9

[labels]
absences = "keep"
"""


def labels() -> dict[str, list[str]]:
    with gzip.open(samples.coco_csv(), "rt", encoding="utf-8", newline="") as file:
        return {row["image_id"]: row["label"].split("|") for row in csv.DictReader(file)}


def classes() -> list[str]:
    with packaged_class_list("coco.csv").open(encoding="utf-8", newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


def strong_pairs() -> dict[tuple[str, str], tuple[int, int]]:
    """Return the pairs of classes whose share exceeds 0.9: images with both, and with the first."""
    images, both = Counter[str](), Counter[tuple[str, str]]()
    for names in labels().values():
        images.update(names)
        both.update(itertools.permutations(names, 2))
    return {pair: (n, images[pair[0]]) for pair, n in both.items() if n > SHARE * images[pair[0]]}


def test_each_image_has_labels_of_the_packaged_list_each_once() -> None:
    said = labels()
    assert (len(said), len(classes())) == (N_IMAGES, N_CLASSES)
    assert {name for names in said.values() for name in names} == set(classes())
    assert all(len(set(names)) == len(names) > 0 for names in said.values())


def test_each_class_is_a_category_of_the_default_build() -> None:
    rows = [row for row in default_vocabulary().mapping if row.source == "coco"]
    assert len(rows) == N_CLASSES
    assert all(row.is_kept and not row.is_broader for row in rows)
    own = {row.source_id: row.wnid for row in rows if ":" in row.wnid}
    assert own == {
        "stop sign": "open-images:/m/02pv19",
        **{name: f"coco:{name}" for name in ("cup", "potted plant", "dining table", "tv")},
    }


def test_pairs_are_learned_from_complete_labels_as_plain_counting_finds_them(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    build.build_recipe(
        read_recipe(tmp_path / "recipe.toml"),
        tmp_path / "build",
        ended=lambda stage, outcome: None,  # noqa: ARG005 - nobody watches
    )
    vocabulary = read_vocabulary(tmp_path / "build" / "vocabulary")
    id_of_class = {row.class_index: row.source_id for row in vocabulary.mapping}
    rows = read_table(tmp_path / "build" / "cooccurrence" / "implications.parquet", IMPLICATIONS).to_pylist()
    found = {(id_of_class[row["antecedent"]], id_of_class[row["consequent"]]): row for row in rows}
    expected = strong_pairs()
    assert found.keys() == expected.keys()
    for pair, (both, images) in expected.items():
        assert found[pair]["support"] == both
        assert found[pair]["probability"] == pytest.approx(both / images)


def test_the_pairs_of_the_default_build_were_read_and_are_true() -> None:
    pairs = default_recipe().cooccurrence
    assert pairs is not None
    assert pairs.strength == SHARE
    carried = ("skis", "tennis racket", "surfboard", "baseball glove", "skateboard", "sports ball", "snowboard")
    worn = ("baseball bat", "tie", "backpack", "kite", "handbag")
    assert set(strong_pairs()) == {(thing, PERSON) for thing in (*carried, *worn)}


@pytest.mark.shared_data
def test_the_sample_says_what_the_published_list_says(shared_data: Path) -> None:
    names = [line.split("\t")[0] for line in (shared_data / "coco" / "classes_80_wn30.tsv").read_text().splitlines()]
    published = {}
    for line in (shared_data / "coco" / "train_full.txt").read_text("utf-8").splitlines():
        image, _, numbers = line.partition(",")
        published[image.removesuffix(".jpg")] = [names[int(number)] for number in numbers.split()]
    assert labels().items() <= published.items()


def test_the_labels_of_a_complete_collection_are_its_own_predictions(tmp_path: Path) -> None:
    lists = {"coco": packaged_class_list("coco.csv")}
    vocabulary = ml.build_vocabulary(classes=lists, narrower=True, out=tmp_path / "vocabulary")
    said = ml.annotate(
        samples.coco_csv(), vocabulary, source="coco", separator="|", complete=True, out=tmp_path / "said"
    )
    found = [
        ml.cooccurrence(left, right, vocabulary, strength=SHARE).implications
        for left in (said, tmp_path / "said")
        for right in (said, str(tmp_path / "said"))
    ]
    id_of_wnid = {row.wnid: row.source_id for row in vocabulary.mapping}
    wnids = found[0][["antecedent_wnid", "consequent_wnid"]].to_numpy().tolist()
    assert {(id_of_wnid[left], id_of_wnid[right]) for left, right in wnids} == set(strong_pairs())
    assert all(each.equals(found[0]) for each in found)

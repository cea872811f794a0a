"""The recipe of a first build says exactly what was found, in TOML that is read again as the same."""

from __future__ import annotations

import gzip
import json
import tomllib
from pathlib import Path, PurePosixPath

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import is_folder_name
from mlimages_dataset.recipes.class_names import csv_of, row_of
from mlimages_dataset.recipes.recipe import read_recipe
from mlimages_dataset.recipes.starting import Said, beside_pictures, recipe_of, said_by
from mlimages_dataset.sources.class_lists import parse_class_table

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in {".", ".."}
)


@given(st.lists(NAMES, min_size=1, max_size=3), NAMES, NAMES, st.booleans())
def test_every_path_is_read_again_as_it_was(photos: list[str], classes: str, labels: str, attach: bool) -> None:  # noqa: FBT001
    root = Path("/")
    said = [Said(root / classes, lists_classes=True, form=""), Said(root / labels, lists_classes=False, form="csv")]
    read = tomllib.loads(recipe_of([root / one for one in photos], said, attach=attach))
    assert read["images"]["sources"] == [str(root / one) for one in photos]
    assert list(read["vocabulary"]["classes"].values()) == [str(root / classes)]
    assert [one["files"] for one in read["annotations"]] == [[str(root / labels)]]
    assert read["vocabulary"].get("attach", False) == attach


@given(st.lists(st.text("a:?*\u00e9 \U0001f600\n", max_size=120), min_size=1, max_size=4))
def test_every_name_of_a_file_becomes_one_that_a_collection_can_have(stems: list[str]) -> None:
    said = [Said(Path(f"/{number}") / f"{stem}.csv", True, "csv") for number, stem in enumerate(stems)]
    found = [one["name"] for one in tomllib.loads(recipe_of([Path("/photos")], said))["annotations"]]
    assert len(set(found)) == len(stems)
    assert all(map(is_folder_name, found))


def test_a_name_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(UsageError, match="not valid Unicode; rename it"):
        recipe_of([Path("/photos\udcff")], [])


@pytest.mark.parametrize(
    ("said", "folders_are_labels", "folders_are_classes", "labels_are_classes"),
    [
        ([], True, True, []),
        ([("list.csv", True, "")], True, False, []),
        ([("labels.csv", False, "csv")], False, False, [True]),
        ([("list.csv", True, ""), ("labels.csv", False, "csv")], False, False, [False]),
        ([("coco.json", True, "coco")], False, False, [False]),
    ],
)
def test_what_a_file_says_is_not_guessed_from_folders(
    tmp_path: Path,
    said: list[tuple[str, bool, str]],
    folders_are_labels: bool,  # noqa: FBT001
    folders_are_classes: bool,  # noqa: FBT001
    labels_are_classes: list[bool],
) -> None:
    files = [Said(tmp_path / name, lists_classes=lists, form=form) for name, lists, form in said]
    (tmp_path / "recipe.toml").write_text(recipe_of([tmp_path / "photos"], files), "utf-8")
    recipe = read_recipe(tmp_path / "recipe.toml")
    assert recipe.images is not None
    assert recipe.images.sources == (tmp_path / "photos",)
    assert (recipe.images.labels, recipe.images.classes) == (folders_are_labels, folders_are_classes)
    assert [one.classes for one in recipe.annotations] == labels_are_classes
    assert {path.name for _, path in recipe.vocabulary.classes} == {name for name, lists, _ in said if lists}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(("columns", "lists"), [(("id", "name", "wnid"), True), (("Image_ID", "label", "more"), False)])
def test_the_header_says_what_a_table_is(
    tmp_path: Path,
    encoding: str,
    delimiter: str,
    columns: tuple[str, ...],
    lists: bool,  # noqa: FBT001
) -> None:
    path = tmp_path / "mine.csv"
    rows = [columns, ("chèvre", "goat", "n02416519")]
    path.write_text("".join(delimiter.join(row) + "\n" for row in rows), encoding)
    assert said_by(path) == Said(path, lists_classes=lists, form="" if lists else "csv")


def test_tables_of_parquet_and_annotations_are_told_apart(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["d"], "name": ["dog"]}).to_parquet(tmp_path / "list.parquet")
    pd.DataFrame({"image_id": ["a"], "label": ["dog"]}).to_parquet(tmp_path / "labels.parquet")
    (tmp_path / "coco.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}), "utf-8")
    found = {path.name: (said_by(path).lists_classes, said_by(path).form) for path in sorted(tmp_path.iterdir())}
    assert found == {"list.parquet": (True, ""), "labels.parquet": (False, "parquet"), "coco.json": (True, "coco")}


ROWS = [{"image_id": "a.jpg", "label": "dog"}, {"image_id": "b.jpg", "label": ["cat", "dog"]}]


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.ndjson", "mine.JSONL", "mine.jsonl.gz", "mine.json"])
def test_rows_of_json_are_labels(tmp_path: Path, name: str) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    content = (json.dumps(ROWS) if name.endswith(".json") else f"\nno row\n{lines}").encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert said_by(tmp_path / name) == Said(tmp_path / name, lists_classes=False, form="jsonl")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "mine.jsonl",
            '{"id": 1, "name": "dog"}\n',
            "labels of pictures\\), but id, name; .*a class list .* is a CSV or",
        ),
        (
            "mine.json",
            '[{"image_id": 1, "category_id": 2}]',
            "the keys image_id and label .* but category_id, image_id",
        ),
        ("mine.ndjson", "dog\n", "but none; name its keys so"),
        ("mine.jsonl", "", "is empty"),
        ("mine.json", '[{"image_id": "a"', "is not a complete JSON file"),
    ],
)
def test_json_that_is_no_labels_is_told_so(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(DataError, match=sentence):
        said_by(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("id,name\n1,dog\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (b"animal,colour\ndog,red\n", "neither the columns id and name .* nor image_id and label .* animal, colour"),
        (b"", "is empty"),
        (b"\x89PNG\0\0\0", "is not a text file"),
    ],
)
def test_a_file_that_says_nothing_is_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "classes.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence) as raised:
        said_by(path)
    assert str(raised.value).startswith(str(path))
    with pytest.raises(UsageError, match="there is no such file"):
        said_by(tmp_path / "missing.csv")


def test_only_tables_directly_beside_pictures_are_heard(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("labels.csv", "deep/labels.csv", "notes.txt", "broken.csv"):
        (tmp_path / name).write_text("image_id,label\na,dog\n" if "labels" in name else "a note\n", "utf-8")
    (tmp_path / "folder.csv").mkdir()
    assert beside_pictures([tmp_path, tmp_path / "missing", tmp_path / "labels.csv"]) == [
        said_by(tmp_path / "labels.csv")
    ]


@given(st.lists(NAMES.filter(lambda name: not {*name} & {*"\r\n"})))
def test_labels_are_a_class_list_that_the_vocabulary_reads(labels: list[str]) -> None:
    found = parse_class_table(csv_of([*labels, " ", " dog", "dog "]).split("\n")[:-1], "labels")
    assert [one.source_id for one in found] == sorted({label.strip() for label in (*labels, "dog")} - {""})


def test_a_label_that_begins_with_a_wnid_means_it() -> None:
    assert row_of("n02085620-Chihuahua") == ("n02085620-Chihuahua", "Chihuahua", "n02085620", "")
    assert row_of("n02085620") == ("n02085620", "", "n02085620", "")
    for name in ("dog", "n0208562", "n020856201", str(PurePosixPath("a/b"))):
        assert row_of(name) == (name, name, "", "")

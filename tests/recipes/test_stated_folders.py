"""A folder that a class list names is a class, whatever its name and wherever it lies."""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest

import mlimages_dataset as ml
from mlimages_dataset.sources.folders import class_of_path, innermost_folder, names_of_parts
from tests.images.folders import picture

if TYPE_CHECKING:
    from pathlib import Path

DOG, CAT, TREE, CAR, TRAIN = "n02084071", "n02121620", "n13104059", "n02958343", "n04468005"
MEANING = {"pics": ("dog", DOG), "cat": ("cat", CAT), "other": ("tree", TREE), "unlabelled": ("car", CAR)}
MEANING |= {"train": ("train", TRAIN), "0001": ("dog", DOG), "temp": ("cat", CAT)}


@pytest.fixture(name="photos", scope="module")
def _photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of folders with names that are read as parts of collections, but one; and one nobody states."""
    folder = tmp_path_factory.mktemp("given") / "photos"
    for number, name in enumerate([*MEANING, "misc"]):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{number}.jpg").write_bytes(picture(number))
    return folder


def stated(build: ml.Build) -> dict[str, str]:
    frame = build.labels.to_pandas(columns=["image_id", "wnid", "origin"]).query("origin == 0")
    return {
        image_id.rpartition("/")[0].rpartition("/")[2]: wnid
        for image_id, wnid in zip(frame["image_id"], frame["wnid"], strict=True)
    }


def test_every_stated_folder_is_a_class_in_any_layout(photos: Path, tmp_path: Path) -> None:
    rows = [f"{name},{of},{wnid}" for name, (of, wnid) in MEANING.items()]
    (tmp_path / "mine.csv").write_text("\n".join(["id,name,wnid", *rows]) + "\n", "utf-8")
    with zipfile.ZipFile(tmp_path / "zip.zip", "w") as packed:
        for file in sorted(photos.rglob("*.jpg")):
            packed.write(file, str(file.relative_to(photos)))
    shutil.make_archive(str(tmp_path / "tar"), "tar", photos)
    shutil.copytree(photos, tmp_path / "deep" / "set")
    for source in (photos, tmp_path / "zip.zip", tmp_path / "tar.tar", tmp_path / "deep"):
        build = ml.start(source, classes=tmp_path / "mine.csv", out=tmp_path / f"build of {source.name}")
        assert stated(build) == {name: wnid for name, (_, wnid) in MEANING.items()}
        assert [one.text.count("misc") for one in build.decisions if one.kind == "pictures without a label"] == [1]


def test_the_only_folder_may_be_stated_in_memory_and_the_recipe_builds_it_again(tmp_path: Path) -> None:
    (tmp_path / "photos" / "pics").mkdir(parents=True)
    (tmp_path / "photos" / "pics" / "0.jpg").write_bytes(picture(1))
    build = ml.start(tmp_path / "photos", classes={"pics": "dog"}, out=tmp_path / "build")
    assert stated(build) == {"pics": DOG}
    again = ml.run(tmp_path / "build" / "recipe.toml", tmp_path / "again")
    assert stated(again) == {"pics": DOG}


@pytest.mark.parametrize("name", ["train", "Images", "val_images", "0001", "set 3", " pics "])
def test_names_of_parts_are_those_that_are_no_class_by_themselves(name: str) -> None:
    path = f"a/{name}/1.jpg"
    assert class_of_path(path) == ""
    assert names_of_parts([name, "dog"]) == [innermost_folder(path)] == [class_of_path(path, is_class_folder=True)]

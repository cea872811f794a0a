"""A folder that a class list names is a class, whatever its name and wherever it lies."""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING

import pandas as pd
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
        assert ["misc (1)" in one.text for one in build.decisions if one.kind == "pictures without a label"] == [True]


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


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_in_the_folder_tells_whose_names_it_replaces_and_the_advice_works(tmp_path: Path, form: str) -> None:
    photos = tmp_path / "photos"
    for number, name in enumerate(("dog/a", "dog/b", "cat/c")):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / f"{name}.jpg").write_bytes(picture(number))
    frame = pd.DataFrame({"image_id": ["dog/a"], "label": ["dog"]})
    frame.to_csv(photos / "labels.csv", index=False) if form == "csv" else frame.to_parquet(photos / "labels.parquet")
    build = ml.start(photos, out=tmp_path / "build")
    told = build.decisions[0]
    assert told.kind == "folders whose names are not used"
    assert told.text.startswith(
        f"3 labels by folders or files beside pictures; labels.{form}, in the folder itself, says "
    )
    assert stated(build) == {"dog": DOG}

    (photos / f"labels.{form}").rename(tmp_path / f"labels.{form}")
    build = ml.start(photos, out=tmp_path / "build", overwrite=True)
    assert stated(build) == {"dog": DOG, "cat": CAT}
    assert told.kind not in {one.kind for one in build.decisions}

    build = ml.start(photos, classes=tmp_path / f"labels.{form}", out=tmp_path / "build", overwrite=True)
    assert told.kind not in {one.kind for one in build.decisions}  # who names the file knows


def test_a_table_beside_flat_pictures_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(picture(1))
    (tmp_path / "photos" / "labels.csv").write_text("image_id,label\na,dog\n", "utf-8")
    assert ml.start(tmp_path / "photos", out=tmp_path / "build").decisions == ()

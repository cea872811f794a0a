"""The usual folders of YOLO, VOC and COCO can be started from their root, or the advice says what can be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlimages_dataset as ml
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.recipes.starting import Said, pictures_in
from mlimages_dataset.sources.folders import without_folder
from tests.images.folders import picture
from tests.recipes.test_start_annotations import coco, voc

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.sampled_from(["images", "labels", "train", "a"])


def put(root: Path, *names: str) -> Path:
    """Write pictures, YOLO's labels and its names of classes by their paths."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = b"names: [dog]\n" if path.suffix == ".yaml" else b"0 .5 .5 .2 .2\n"
        path.write_bytes(picture(number) if path.suffix == ".jpg" else content)
    return root


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["images/train/a.jpg", "labels/train/a.txt", "images/val/b.jpg", "labels/val/b.txt"], ["train/a", "val/b"]),
        (
            ["train/images/a.jpg", "train/labels/a.txt", "valid/images/b.jpg", "valid/labels/b.txt"],
            ["train/a", "valid/b"],
        ),
        (["images/a.jpg", "labels/a.txt"], ["a"]),
        (["images/a.jpg", "images/a.txt"], ["images/a"]),
        (["a.jpg", "a.txt"], ["a"]),
    ],
)
def test_a_root_of_yolo_is_started_and_without_its_name_the_advice_works(
    tmp_path: Path, names: list[str], ids: list[str]
) -> None:
    root, out = put(tmp_path / "yolo", "data.yaml", *names), tmp_path / "build"
    with pytest.raises(ml.MLImagesError, match="no picture says what it shows; name ") as raised:
        ml.start(root, out=out)
    advised = re.search(r"name (\S+) as classes of start .*, and add overwrite=True,", str(raised.value))
    assert advised is not None
    built = ml.start(root, classes=advised[1], out=out, overwrite=True)
    assert sorted(built.labels.to_pandas(columns=["image_id"])["image_id"].unique()) == ids
    assert built.images is not None
    assert sorted(open_store(built.images).image_ids.to_pylist()) == ids
    again = ml.run(out / "recipe.toml", tmp_path / "again")
    assert sorted(again.labels.to_pandas(columns=["image_id"])["image_id"].unique()) == ids


def test_ids_keep_folders_of_any_other_layout(tmp_path: Path) -> None:
    def found(root: Path, given: Path | None = None, form: str = "yolo") -> str:
        return pictures_in([root], [Said(given or root, lists_classes=True, form=form)])

    both = put(tmp_path / "both", "data.yaml", "images/a.jpg", "labels/a.txt")
    assert found(both) == found(both, both / "labels") == "images"
    assert found(both, tmp_path) == found(both, form="voc") == pictures_in([both, both], []) == ""
    assert found(put(tmp_path / "no pictures", "data.yaml", "labels/a.txt")) == ""
    assert found(put(tmp_path / "mixed", "data.yaml", "images/a.jpg", "images/b.txt", "labels/a.txt")) == ""


@given(st.lists(NAMES, max_size=4))
def test_at_most_one_folder_is_left_out(folders: list[str]) -> None:
    path = "/".join([*folders, "images"])  # the file may be called like the folder
    left = without_folder(path, "images").split("/")
    assert left[-1] == "images"
    assert len(left) == len(folders) + 1 - ("images" in folders)
    assert [one for one in left[:-1] if one != "images"] == [one for one in folders if one != "images"]


def test_the_advice_leads_from_a_root_of_coco_to_a_build(tmp_path: Path) -> None:
    root, out = put(tmp_path / "coco", "train2017/a.jpg"), tmp_path / "build"
    (root / "annotations").mkdir()
    file = coco(root / "annotations" / "instances_train2017")
    with pytest.raises(ml.MLImagesError, match=f"name {file} as classes of start .*, and add overwrite=True, to read"):
        ml.start(root, out=out)
    with pytest.raises(ml.MLImagesError, match=f"annotations of COCO, which are named by their file; name {file}"):
        ml.start(root, classes=root, out=out, overwrite=True)
    with pytest.raises(ml.MLImagesError, match=f"'train2017/a'; name {root / 'train2017'} as the folder of pictures"):
        ml.start(root, classes=file, out=out, overwrite=True)
    assert len(ml.start(root / "train2017", classes=file, out=out, overwrite=True).labels) == 1


def test_a_root_of_voc_is_started(tmp_path: Path) -> None:
    root = put(tmp_path / "voc", "JPEGImages/a.jpg")
    voc(root / "Annotations")
    with pytest.raises(ml.MLImagesError, match=f"name {root} as classes of start .*, and add overwrite=True, to read"):
        ml.start(root, out=tmp_path / "build")
    assert len(ml.start(root, classes=root, out=tmp_path / "build", overwrite=True).labels) == 1

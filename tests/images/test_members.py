"""The class that a path tells is the one that ImageNet's layouts mean."""

from __future__ import annotations

import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.images.archives import archive_file_members, folder_members
from mlimages_dataset.images.files import named_files
from mlimages_dataset.images.zips import zip_file_members
from mlimages_dataset.sources.folders import class_folders, class_of_path
from mlimages_dataset.sources.imagenet import ImageNet
from mlimages_dataset.sources.rejects import RejectLog

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("path", "class_id"),
    [
        ("n01440764/n01440764_10026.JPEG", "n01440764"),
        ("train/n01440764/x.JPEG", "n01440764"),
        ("train/n01443537/images/n01443537_0.JPEG", "n01443537"),
        ("n01440764/n01443537_1.JPEG", "n01440764"),
        ("n01440764_10026.JPEG", "n01440764"),
        ("some/n01440764_10026.JPEG", "n01440764"),
        ("n01440764.JPEG", "n01440764"),
        ("n014407641.JPEG", ""),
        ("cats/1.jpg", "cats"),
        ("pets/cats/1.jpg", "cats"),
        ("1.jpg", ""),
        ("ILSVRC2012_val_00000001.JPEG", ""),
        ("val/ILSVRC2012_val_00000001.JPEG", ""),
        ("val/n01440764/ILSVRC2012_val_00000001.JPEG", "n01440764"),
        ("val/ILSVRC2012_val_00000001_n01751748.JPEG", "n01751748"),
        ("train_images_0/n01440764_10026_n01440764.JPEG", "n01440764"),
        ("a picture_n01440764.jpg", "n01440764"),
        *((f"{folder}/1.jpg", "") for folder in ("train", "Val", "test_images", "train-0000", "train_2", "00001")),
        *((f"COVID/{folder}/1.png", "") for folder in ("masks", "labels", "ground_truth", "gt", "images")),
        *((f"{folder}/1.png", "") for folder in ("unknown", "misc", "backup", "original", "thumbs", "LR", "others")),
        *((f"{folder}/1.png", folder) for folder in ("mask", "label", "ground", "lrx", "background", "original art")),
        ("cafe\u0301/1.jpg", "caf\u00e9"),
        *((f"x/{folder}/1.jpg", "") for folder in ("val2017", "JPEGImages", "images", "part 3 of 8", "shard-00012")),
        *(
            (f"{folder}/1.jpg", folder)
            for folder in ("trains", "test tube", "7", "42", "image of a dog", "photograph album")
        ),
    ],
)
def test_class_of_path(path: str, class_id: str) -> None:
    assert class_of_path(path) == class_id


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        ("aeroplane boat train tvmonitor", "train"),
        ("aeroplane boat Train", "Train"),
        ("chair dog folder picture", "folder picture"),
        ("a/boat a/car a/train b/boat b/car b/train", "a/train b/train"),
        ("train/boat train/car train/train", "train/train"),
        ("train", ""),
        ("train val", ""),
        ("train val test boat car", ""),
        ("train masks", ""),
        ("train-0 boat car", ""),
        ("images boat car", ""),
        ("train x/boat x/car", ""),
    ],
)
def test_a_folder_among_classes_is_one(tmp_path: Path, folders: str, classes: str) -> None:
    """So of lists, folders and zip archives alike."""
    paths = [f"{folder}/1.jpg" for folder in folders.split()]
    assert class_folders(paths) == set(classes.split())
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        for path in paths:
            packed.writestr(path, path)
            (tmp_path / "all" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "all" / path).write_text(path)
    expected = {path: path.split("/")[-2] for path in paths if path.rpartition("/")[0] in classes.split()}
    for found in (
        folder_members(tmp_path / "all", most_bytes=99),
        zip_file_members(tmp_path / "packed.zip", most_bytes=99),
    ):
        named = {one.path: [name for name, _ in one.all_labels()] for one in found}
        assert {path: names for path, names in named.items() if path.split("/")[-2] in names and path in expected} == {
            path: [name] for path, name in expected.items()
        }
        assert all(named[path] == [] for path in paths if path.split("/")[-2] == "train" and path not in expected)
    source = ImageNet()
    rows = [row for batch in source.batches(source.piece(tmp_path / "all"), RejectLog()) for row in batch.to_pylist()]
    stated = {row["image_id"]: row["class_id"] for row in rows}
    assert expected.items() <= stated.items()
    assert all(path not in stated for path in paths if path.split("/")[-2] == "train" and path not in expected)


HIDDEN = (
    ".cache/9.jpg",
    "cat/.thumbnails/1.jpg",
    "__MACOSX/cat/._1.jpg",
    "cat/._1.jpg",
    "@eaDir/1.jpg",
    ".DS_Store.jpg",
)


def test_what_tools_hide_beside_pictures_is_none(tmp_path: Path) -> None:
    """So in folders, zip and tar archives, and in folders that are read in place."""
    shown = ["cat/1.jpg", "cat/..1.jpg", "a.b/1.jpg"]
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed, tarfile.open(tmp_path / "packed.tar", "w") as tar:
        for path in [*shown, *HIDDEN]:
            (tmp_path / "all" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "all" / path).write_text(path)
            packed.writestr(path, path)
            tar.add(tmp_path / "all" / path, path)
    readers = (
        folder_members(tmp_path / "all", most_bytes=99),
        zip_file_members(tmp_path / "packed.zip", most_bytes=99),
        archive_file_members(tmp_path / "packed.tar", most_bytes=99),
    )
    for members in readers:
        assert sorted(one.path for one in members) == sorted(shown)
    assert [path for path, _ in named_files(tmp_path / "all")] == sorted(shown)


def test_doubled_slashes_of_a_zip_are_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.writestr("./dog//6.jpg", b"")
    (found,) = zip_file_members(tmp_path / "packed.zip", most_bytes=9)
    assert (found.path, found.all_labels()) == ("dog/6.jpg", (("dog", 1.0),))

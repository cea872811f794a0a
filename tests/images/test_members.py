"""The class that a path tells is the one that ImageNet's layouts mean."""

from __future__ import annotations

import pytest

from mlimages_dataset.sources.folders import class_of_path


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
        *((f"x/{folder}/1.jpg", "") for folder in ("val2017", "JPEGImages", "images", "part 3 of 8", "shard-00012")),
        *(
            (f"{folder}/1.jpg", folder)
            for folder in ("trains", "test tube", "7", "42", "image of a dog", "photograph album")
        ),
    ],
)
def test_class_of_path(path: str, class_id: str) -> None:
    assert class_of_path(path) == class_id

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
    ],
)
def test_class_of_path(path: str, class_id: str) -> None:
    assert class_of_path(path) == class_id

"""A class that an owner lists and no picture shows is told, whatever says what pictures show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlimages_dataset as ml
from mlimages_dataset.augment.tally import images_of_classes
from mlimages_dataset.recipes.unseen import unnamed
from tests.images.folders import picture

if TYPE_CHECKING:
    from pathlib import Path

UNSEEN = "classes without a picture"


@pytest.fixture(name="photos", scope="module")
def _photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given") / "photos"
    for number, name in enumerate(("dog/a", "cat/b", "unknown/c")):
        (folder / name).parent.mkdir(parents=True)
        (folder / f"{name}.jpg").write_bytes(picture(number))
    return folder


def told(build: ml.Build, kind: str) -> list[str]:
    return [one.text for one in build.decisions if one.kind == kind]


@given(st.lists(st.text("abC", min_size=1), max_size=20), st.sets(st.text("abC", min_size=1), max_size=20))
def test_each_id_is_a_label_or_told(listed: list[str], shown: set[str]) -> None:
    found = unnamed(listed, shown)
    assert found.classes == len(set(listed) - shown)
    assert not set(found.first) & shown
    assert all(one in found.first and label in shown - set(listed) for one, label in found.likely)


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        ({"dog": "dog", "cat": "cat"}, ""),
        ({"dog": "dog", "foo": "dog"}, "1 class of your lists: foo"),
        ({"Dog": "dog", "cat": "cat"}, "1 class of your lists: Dog; Dog may be dog: write ids as the folders"),
        (["dog", "zebra"], "1 class of your lists: zebra"),
        (np.array(["dog", "zebra"]), "1 class of your lists: zebra"),
        (pd.DataFrame({"id": ["cat", "x", "y"], "name": ["cat", "horse", "cow"]}), "2 classes of your lists: x, y"),
        (
            [
                pd.DataFrame({"image_id": ["dog/a"], "label": ["d"]}),
                pd.DataFrame({"id": ["d", "e"], "name": ["dog", "cat"]}),
            ],
            "1 class of your lists: e",
        ),
    ],
)
def test_a_listed_class_of_no_picture_is_told(photos: Path, classes: object, text: str, tmp_path: Path) -> None:
    build = ml.start(photos, classes=classes, out=tmp_path / "build")
    assert len(told(build, UNSEEN)) == bool(text)
    assert all(one.startswith(text) for one in told(build, UNSEEN))


@pytest.mark.parametrize(
    ("classes", "n_read"),
    [
        ({"a": "dog", "b": "cat"}, 0),
        ({"a": "dog", "b": "cat", "c": "horse"}, 1),
        ({"a": "dog", "b": "cat", "c": "dog"}, 1),  # the table does not say which of two it was
        ({"a": "dog", "b": "cat", "c": "qqq"}, 1),  # dropped
    ],
)
def test_files_are_read_again_only_for_a_class_that_their_table_leaves_open(
    photos: Path, classes: dict[str, str], n_read: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []

    def counting(form: str, files: list[Path], *rest: Any, **options: Any) -> Any:
        read.append(files)
        return images_of_classes(form, files, *rest, **options)

    monkeypatch.setattr("mlimages_dataset.recipes.unseen.images_of_classes", counting)
    labels = pd.DataFrame({"image_id": ["dog/a", "cat/b"], "label": ["a", "b"]})
    listed = pd.DataFrame({"id": list(classes), "name": list(classes.values())})
    build = ml.start(photos, classes=[labels, listed], out=tmp_path / "build")
    assert len(read) == n_read
    assert len(told(build, UNSEEN)) == n_read
    assert all(one.startswith("1 class of your lists: c") for one in told(build, UNSEEN))


def test_folders_that_are_no_classes_by_their_names_are_told(photos: Path, tmp_path: Path) -> None:
    (text,) = told(ml.start(photos, out=tmp_path / "build"), "pictures without a label")
    assert "unknown (1)" in text
    assert not told(ml.start(photos, classes={"unknown": "horse"}, out=tmp_path / "more"), UNSEEN)


def test_a_build_that_is_begun_tells_how_to_go_on(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ml.MLImagesError, match=r"\(your ids are 'foo'\).*run again with overwrite=True"):
        ml.start(photos, classes={"foo": "dog"}, out=tmp_path / "build")
    build = ml.start(photos, classes={"dog": "dog"}, out=tmp_path / "build", overwrite=True)
    assert not told(build, UNSEEN)

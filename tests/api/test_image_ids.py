"""An image is found by the name under which it was given."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlimages_dataset as ml
from tests.api.conftest import DOG

GIVEN = [
    "rex.jpg",
    "./dogs/rex.PNG",
    "n02084071\\rex.jpeg",
    "https://host/a.jpg",
    unicodedata.normalize("NFD", "é.jpg"),
]


def test_why_takes_the_name_that_was_given(known: ml.Vocabulary) -> None:
    said = pd.DataFrame({"image_id": GIVEN, "label": DOG})
    labels = ml.augment(said, known)
    for name in said["image_id"]:
        assert labels.why(name)["image_id"].unique().tolist() == [ml.image_id(name)]
    numbered = ml.augment(pd.DataFrame({"image_id": [7, 8], "label": DOG}), known)
    number: Any = np.int64(7)
    assert set(numbered.why(number)["image_id"]) == {"7"}


def test_a_frame_of_ones_own_can_be_merged(known: ml.Vocabulary) -> None:
    said = pd.DataFrame({"image_id": GIVEN, "label": DOG, "camera": list("ABCDE")})
    merged = said.assign(image_id=ml.image_ids(said["image_id"])).merge(ml.annotate(said, known).to_pandas())
    assert sorted(merged["camera"]) == list("ABCDE")


@given(st.lists(st.text()))
def test_the_id_of_an_id_is_itself(names: list[str]) -> None:
    ids = ml.image_ids(names)
    assert ml.image_ids(ids) == ids == [ml.image_id(name) for name in names]


@pytest.mark.parametrize(
    "names",
    [
        pa.array(["a.jpg", "b"]),
        pa.chunked_array([["a.jpg"], ["b"]]),
        pa.array(["a.jpg", "b"]).dictionary_encode(),
        [pa.scalar("a.jpg"), "b"],
        np.array(["a.jpg", "b"]),
    ],
)
def test_arrays_of_names_are_several_names(names: Any) -> None:
    assert ml.image_ids(names) == ["a", "b"]


@pytest.mark.parametrize("name", [None, 1.5, True, ["rex"], float("nan"), b"rex"])
def test_what_is_no_name_is_refused(name: Any, known: ml.Vocabulary) -> None:
    labels = ml.augment(pd.DataFrame({"image_id": ["rex"], "label": [DOG]}), known)
    for call in (ml.image_id, labels.why, lambda one: ml.image_ids([one])):
        with pytest.raises(ml.MLImagesError, match=r"the name of an image is .*, but must be text or a whole number"):
            call(name)


@pytest.mark.parametrize("names", ["rex.jpg", b"rex", 7, None, {"a.jpg": 1}, pd.DataFrame({"file": ["a.jpg"]})])
def test_what_is_not_several_names_is_refused(names: Any) -> None:
    with pytest.raises(ml.MLImagesError, match=r"names is .*, but must be several names"):
        ml.image_ids(names)

"""Ids of labels that are no picture's are told with the picture that they may mean."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.recipes.pictures import likely_ids, splits_of

NAMES = st.text("abcÄß", min_size=1, max_size=3)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@pytest.mark.parametrize(
    "stated",
    [
        "a/./b",
        "a//b",
        "x/../a/b",
        "/a/b",
        "A/B",
        "photos/a/b",
        "../a/b",
        "a/b/",
        " a/b",
        "a/b.jpg ",
        "\ta/b\u3000",
        "C:/Photos/a/./B",
    ],
)
def test_other_ways_to_write_an_id_are_told_with_its_picture(stated: str) -> None:
    ids = pa.array(["z", "a/b", "a/b/c", "A/b"], pa.large_string())
    assert likely_ids(["nobody", stated], ids) == ((stated, "a/b"),)


@given(st.lists(PATHS, max_size=5, unique=True), st.lists(PATHS, max_size=5, unique=True))
def test_what_is_told_is_a_picture_whose_path_ends_alike(stated: list[str], pictures: list[str]) -> None:
    found = dict(likely_ids(stated, pa.array(pictures, pa.large_string())))
    for one in stated:
        ends = [picture for picture in pictures if f"/{one}".lower().endswith(f"/{picture}".lower())]
        assert (found.get(one, "") in ends) if ends else (one not in found)


@pytest.mark.parametrize(
    ("ids", "splits"),
    [
        (["train/cat/1", "valid/cat/2", "test/dog/3"], ("test", "train", "valid")),
        (["images/train/a", "images/val/b"], ("train", "val")),
        (["Training/a/b", "TESTING/c"], ("TESTING", "Training")),
        (["train/1", "boat/2"], ()),
        (["val/a", "test/b"], ()),
        (["trains/1", "tests/2"], ()),
        (["train", "test"], ()),
        ([], ()),
    ],
)
def test_folders_of_splits_are_parts_for_training_and_for_tests(ids: list[str], splits: tuple[str, ...]) -> None:
    assert splits_of(pa.array(ids, pa.large_string())) == splits

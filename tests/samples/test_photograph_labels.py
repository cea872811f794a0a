"""The labels of the packaged photographs in the default build: each was read beside its picture."""

from __future__ import annotations

import csv

import pytest

from tests.golden.photograph_labels import PHOTOGRAPH_LABELS, photograph_labels

N_PHOTOGRAPHS = 34


def test_each_label_is_what_was_read_beside_the_picture() -> None:
    assert photograph_labels().splitlines() == PHOTOGRAPH_LABELS.read_text("utf-8").splitlines()


@pytest.mark.parametrize(
    ("image_id", "shown", "not_shown"),
    [
        ("cameraman", {"man", "camera", "person"}, {"serviceman", "worker"}),
        ("glowing-lamp", {"man", "light bulb"}, {"serviceman", "worker"}),
        ("espresso", {"saucer", "tableware"}, {"dish", "antenna", "electrical device"}),
        ("fig", {"fig", "edible fruit"}, {"tree", "plant", "fig tree"}),
        ("rocket", {"space rocket", "vehicle"}, {"engine", "motor"}),
        ("astronaut", {"spacesuit", "woman"}, {"space shuttle", "vehicle", "satellite"}),  # the shuttle is a model
        ("dandelions", {"common dandelion", "plant"}, {"flower"}),  # they are in seed
    ],
)
def test_what_was_wrong_is_right(image_id: str, shown: set[str], not_shown: set[str]) -> None:
    names = {row["name"] for row in csv.DictReader(photograph_labels().splitlines()) if row["image_id"] == image_id}
    assert shown <= names
    assert not not_shown & names


def test_every_photograph_has_labels() -> None:
    rows = csv.DictReader(PHOTOGRAPH_LABELS.read_text("utf-8").splitlines())
    assert len({row["image_id"] for row in rows}) == N_PHOTOGRAPHS

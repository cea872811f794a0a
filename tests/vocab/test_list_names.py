"""Names that lists write in their own way are read as dictionaries write them, and no other name is changed."""

from __future__ import annotations

import pytest

from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.list_names import as_dictionaries_write
from mlimages_dataset.vocab.wordnet import load_wordnet


def read(*names: str) -> list[str]:
    """Return how the names of a list are read."""
    classes = [SourceClass(str(number), name) for number, name in enumerate(names)]
    return [one.name for one in as_dictionaries_write(classes, load_wordnet())]


@pytest.mark.parametrize(
    ("name", "as_read"),
    [
        ("grizzly+bear", "grizzly bear"),
        ("windowpane, window", "windowpane (window)"),
        ("sofa, couch, lounge", "sofa (couch)"),
        ("person, individual, someone, somebody", "person (individual)"),
        ("ashcan; trash can", "ashcan (trash can)"),
        ("bank [building]", "bank (building)"),
        ("Spade: tool", "Spade (tool)"),
        ("Club - playing card", "Club (playing card)"),
        ("animal: dog", "dog (animal)"),
        ("vehicle.bicycle", "bicycle (vehicle)"),
        ("human.pedestrian.police_officer", "police_officer (pedestrian)"),
        ("couch/sofa", "couch (sofa)"),
        ("toilet, can, commode, crapper, pot", "toilet (commode)"),
        ("Red Fox (Vulpes vulpes)", "Vulpes vulpes"),
        ("Common Buzzard (Buteo buteo)", "Buteo buteo"),
        ("Swift [Apus apus]", "Apus apus"),
    ],
)
def test_a_name_is_read_as_a_noun(name: str, as_read: str) -> None:
    assert read(name) == [as_read]


@pytest.mark.parametrize(
    "name",
    [
        "dog", "golden retriever", "Jaguar (car)", "x-ray", "forget-me-not", "St. Bernard", "jack-in-the-box",
        "person, sitting", "tree, broken", "dog, none", "cats, dogs", "C++", "a+b", "3.5 inch disk", "v1.2",
        "Red Fox (no fox)", "Somebody (New arrival)", "zxqv+zxqw", "no.dog-zxqv",
            "N/A", "dog/cat", "indoor/kitchen", "e.g", ",", "/", "[dog]", ": dog",
    ],
)  # fmt: skip
def test_other_names_stay_as_they_are(name: str) -> None:
    assert read(name) == [name]


def test_a_number_that_many_names_end_in_is_none_of_them() -> None:
    assert read("watch-101", "brain-101", "electric-guitar-101") == ["watch", "brain", "electric-guitar"]
    assert read("watch-101", "brain-101", "boeing-747") == ["watch-101", "brain-101", "boeing-747"]
    assert read("watch_1", "watch_2", "watch_3") == ["watch_1", "watch_2", "watch_3"]

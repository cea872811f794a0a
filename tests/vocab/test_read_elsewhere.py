"""What a name means in other collections, where WordNet has not the name for it or prefers another sense."""

from __future__ import annotations

import pandas as pd
import pytest

import mlimages_dataset as ml
from mlimages_dataset.vocab.elsewhere import EVERYDAY
from mlimages_dataset.vocab.normalisation import parse_name
from mlimages_dataset.vocab.readings import Reading, Readings, packaged_readings

PERSON, MOTORCYCLE, FELINE = "n00007846", "n03790512", "n02120997"


def meanings(*names: str, attach: bool = False) -> dict[str, str]:
    """Return the synset of each name of a list."""
    classes = {"mine": pd.DataFrame({"id": names, "name": names})}
    vocabulary = ml.build_vocabulary(imagenet="packaged:imagenet11k.txt", classes=classes, attach=attach)
    return {row.source_name: row.wnid for row in vocabulary.mapping if row.source == "mine"}


@pytest.mark.filterwarnings("ignore")
def test_a_name_that_wordnet_has_for_something_else_means_what_it_was_read_as() -> None:
    found = meanings(
        "motorbike", "Motorbikes", "human", "Humans", "human being", "people", "Felidae", "artwork", "beef"
    )
    assert found["motorbike"] == found["Motorbikes"] == MOTORCYCLE
    assert {found[name] for name in ("human", "Humans", "human being", "people")} == {PERSON}
    assert found["Felidae"] == FELINE
    assert found["artwork"] == "n04601690"  # work of art, not what is called so in print
    assert found["beef"] == "n07663592"  # the meat


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (["abyssinian", "persian", "siamese", "bengal", "bombay", "ragdoll"], {"bengal", "bombay", "ragdoll"}),
        (
            ["mojito", "margarita", "martini", "cosmopolitan", "Bronx", "sea breeze"],
            {"cosmopolitan", "Bronx", "sea breeze"},
        ),
        (["car", "truck", "Toyota", "Ford", "Nissan", "Fiat"], {"Toyota", "Ford", "Nissan", "Fiat"}),
        (["slug", "clam", "sea snail", "oyster"], {"sea snail"}),
    ],
)
def test_a_kind_of_thing_is_not_the_other_thing_that_wordnet_has_by_its_name(names: list[str], kinds: set[str]) -> None:
    found = meanings(*names)
    assert {name for name in names if not found[name]} - {"mojito"} == kinds
    of_kinds = meanings(*names, attach=True)
    parents = {wnid for name, wnid in of_kinds.items() if name in kinds}
    assert len(parents) == 1
    assert parents <= {"n02121808", "n07911677", "n03791235", "n01944390"}


@pytest.mark.filterwarnings("ignore")
def test_a_list_of_the_other_things_means_these() -> None:
    boroughs = meanings("Manhattan", "Brooklyn", "Queens", "Bronx", "Staten Island")
    assert boroughs["Bronx"] == "n09119989"
    assert meanings("mercury", "venus", "mars", "saturn", "jupiter")["saturn"] == "n09424642"
    several = meanings("tablet", "pill", "capsule")  # with several things of the name, these are weighed
    assert several["tablet"] not in {"", "n03985232"}


@pytest.mark.filterwarnings("ignore")
def test_a_game_is_not_the_ball_that_collections_of_boxes_mean_by_its_name() -> None:
    found = meanings("tennis", "curling", "soccer", "billiards", "chess")
    assert not {"n04409515", "n03414162", "n04254680", "n02839351", "n12111238"} & set(found.values())


@pytest.mark.filterwarnings("ignore")
def test_words_in_brackets_outweigh_what_was_read_elsewhere() -> None:
    found = meanings("peacock (butterfly)", "driver (golf club)", "hand (clock)")
    assert found["peacock (butterfly)"] == "n02279257"
    assert found["driver (golf club)"] == "n03244047"


@pytest.mark.filterwarnings("ignore")
def test_a_list_of_birds_means_its_crane_though_others_read_the_machine() -> None:
    assert meanings("crane", "heron", "duck", "eagle", "sparrow", "crow", "owl")["crane"] == "n02012849"


def reading(source: str, wnid: str) -> Reading:
    """Return what a source reads `thing` as."""
    return Reading(source, "thing", "thing", "exact", wnid, (wnid, wnid), "so")


def test_where_collections_differ_everyday_lists_decide_but_more_collections_outweigh_them() -> None:
    rows = [reading("lvis", "n1"), reading(EVERYDAY, "n2"), reading("coco", "n1")]
    of_two, of_three = (
        Readings({(row.source, row.source_id): row for row in some}, {}).elsewhere[parse_name("thing")].wnid
        for some in (rows[:2], rows)
    )
    assert (of_two, of_three) == ("n2", "n1")
    differing = Readings({(row.source, row.source_id): row for row in (rows[0], reading("voc", "n3"))}, {})
    assert not differing.elsewhere


def test_everyday_lists_have_names_that_the_matcher_would_misread() -> None:
    names = [row.name for row in packaged_readings().by_id.values() if row.source == EVERYDAY]
    assert len(names) == len(set(names)) >= 19

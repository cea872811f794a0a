"""What a list is about decides what its names mean, and names that say nothing of what is shown mean nothing."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.doubts import SURE
from mlimages_dataset.vocab.findings import Loss
from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.list_names import matches_of_list
from mlimages_dataset.vocab.matching import MatchContext, MatchRule
from mlimages_dataset.vocab.near_names import says_nothing
from mlimages_dataset.vocab.readings import packaged_readings
from mlimages_dataset.vocab.sense_features import Neighbourhoods, ancestors
from mlimages_dataset.vocab.wordnet import load_wordnet
from tests.vocab.matching_truth import packaged_imagenet_11k

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlimages_dataset.vocab.matching import Match

WORDNET = load_wordnet()
BIRD, PLANT, BODY, FOOD = "noun.animal", "noun.plant", "noun.body", "noun.food"
KINDS = {
    BIRD: "kite crane swift ruff knot rail diver roller martin heron stork gull wren robin magpie",
    PLANT: "elder holly lime chestnut walnut oak ash elm beech birch maple willow poplar fir spruce",
    BODY: "palm nail calf temple iris elbow knee ankle wrist chin cheek neck thumb thigh",
    FOOD: "chicken turkey tuna cream mustard beer bread butter cheese yogurt pasta jam honey ham bacon",
}
NO_THINGS = (
    "background", "Background", "negative", "NEGATIVE", "positive", "neg", "pos", "unknown", "other", "Others", "misc",
    "empty", "blank", "void", "neutral", "normal", "ok", "not ok", "good", "bad", "none", "nothing", "other / unknown",
    "anomaly", "invalid", "no", "null", "foreground", "outlier", "temp",
)  # fmt: skip


@functools.cache
def context() -> MatchContext:
    return MatchContext(
        wordnet=WORDNET,
        imagenet=packaged_imagenet_11k(),
        imagenet_all=frozenset(),
        roots=ROOTS,
        box_parents={},
        read=packaged_readings().elsewhere,
    )


def matches(names: Sequence[str]) -> list[Match]:
    found = matches_of_list([SourceClass(str(at), name) for at, name in enumerate(names)], context(), {})
    return [found[str(at)] for at in range(len(names))]


def is_of(wnid: str | None, kind: str) -> bool:
    return wnid is not None and WORDNET.lexicographer_files[WORDNET.index_of_wnid[wnid]] == kind


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_a_list_of_one_kind_mean_things_of_that_kind(kind: str) -> None:
    names = KINDS[kind].split()
    missed = [name for name, one in zip(names, matches(names), strict=True) if not is_of(one.wnid, kind)]
    assert missed == []


def test_the_same_names_mean_the_everyday_things_in_a_list_of_any() -> None:
    names = ["kite", "apple", "nail", "file", "chicken", "dog", "car", "chair", "shirt", "pizza"]
    found = dict(zip(names, matches(names), strict=True))
    assert not is_of(found["kite"].wnid, BIRD)
    assert not is_of(found["apple"].wnid, PLANT)
    assert not is_of(found["nail"].wnid, BODY)


MEATS = "chicken duck turkey lamb salmon tuna shrimp crab lobster oyster quail eel"
LISTS = {
    FOOD: (
        "chicken duck turkey beef pork lamb salmon tuna rice bread cheese pasta salad soup egg",
        "steak fries burger coleslaw chicken ribs lobster salad soup lamb duck pasta",
        "sushi tempura tofu rice chicken salmon shrimp eel pork dumpling",
        "milk butter yogurt cheese bread eggs chicken turkey ham tuna rice cereal",
        "beans soup tuna sardine corn tomato salmon peas spam",
        "spaghetti pancake omelet sandwich chicken duck turkey lamb",
        "pizza burger sushi chicken duck turkey salmon shrimp crab lobster oyster rabbit quail",
    ),
    BIRD: (
        "cow pig sheep goat horse donkey chicken duck turkey goose rabbit",
        "deer fox boar hare rabbit pheasant quail partridge badger",
        "lion tiger bear elephant giraffe zebra duck turtle frog octopus",
        "shark seahorse octopus crab lobster shrimp starfish jellyfish",
        "ant bee beetle spider crab shrimp lobster crayfish woodlouse",
    ),
    PLANT: ("oak maple birch pine ash elm apple cherry plum walnut",),
}


@pytest.mark.parametrize(("kind", "names"), [(kind, names) for kind, lists in LISTS.items() for names in lists])
def test_an_animal_or_its_meat_and_a_plant_or_its_fruit_are_what_the_rest_of_the_list_is(kind: str, names: str) -> None:
    found = matches(names.split())
    assert [one.source_class.name for one in found if not is_of(one.wnid, kind)] == []


@pytest.mark.parametrize("others", ["beef pork", "ramen pizza apple", "milk butter shampoo toothpaste", "person pizza"])
def test_animals_in_a_list_of_foods_are_meat_or_told_as_unsure(others: str) -> None:
    names = [*others.split(), "chicken", "duck", "goose", "rabbit"]
    assert [one.source_class.name for one in matches(names) if is_of(one.wnid, BIRD) and one.probability > 0.5] == []


@pytest.mark.parametrize("others", ["pizza bread soup", "cow fox hawk", "oak elm", "dog car chair pizza cup person"])
def test_names_that_may_be_an_animal_or_its_meat_do_not_make_each_other_animals(others: str) -> None:
    """What the rest of a list means is the same with one of them and with many."""
    rest, meats = others.split(), MEATS.split()
    alone = {name: matches([*rest, name])[-1] for name in meats[:3]}
    together = dict(zip([*meats, *rest], matches([*meats, *rest]), strict=True))
    assert {name: one.wnid for name, one in alone.items()} == {name: together[name].wnid for name in alone}
    assert [one.wnid for one in matches(rest)] == [together[name].wnid for name in rest]


@given(st.integers(2, 40), st.integers(0, len(WORDNET) - 1), st.integers(0, 1000))
def test_a_set_is_narrower_the_more_of_its_members_lie_together(n: int, one: int, salt: int) -> None:
    birds = _birds()[:n]
    sets: list[list[int]] = [birds, [*birds, *_one_of_each_file(salt)], [one], []]
    narrow, mixed, single, empty = (
        Neighbourhoods(WORDNET, dict.fromkeys(some, 1.0), _everything()).information() for some in sets
    )
    assert narrow > mixed >= 0 == single == empty


def _one_of_each_file(salt: int) -> list[int]:
    """Return a synset of each lexicographer file but that of animals."""
    files: dict[str, list[int]] = {}
    for at, file in enumerate(WORDNET.lexicographer_files):
        files.setdefault(file, []).append(at)
    return [found[salt % len(found)] for file, found in files.items() if file != "noun.animal"]


@functools.cache
def _everything() -> Neighbourhoods:
    return Neighbourhoods(WORDNET, dict.fromkeys(range(len(WORDNET)), 1.0))


@functools.cache
def _birds() -> list[int]:
    bird = WORDNET.index_of_wnid["n01503061"]
    return [at for at in range(len(WORDNET)) if bird in ancestors(WORDNET, at)]


def test_a_name_that_says_nothing_of_what_is_shown_is_no_category() -> None:
    for found in matches(NO_THINGS):
        assert found.wnid is None
        assert found.rule in {MatchRule.NO_THING, MatchRule.NOT_IN_WORDNET}


def test_names_that_were_read_as_things_say_something() -> None:
    read = {row.name for row in packaged_readings().by_id.values() if row.relation == "exact"}
    assert {name for name in read if says_nothing(name.lower())} == {"Negative"}  # Open Images' film
    things = ["background music", "negative film", "empty bottle", "good dog", "normal distribution", "blank verse"]
    assert not any(map(says_nothing, things))


def test_a_name_that_says_nothing_may_be_left_out() -> None:
    assert Loss("mine", "0", "Negative", "", "names no thing").remedy.startswith("leave it as it is, or write its wnid")
    assert not Loss("mine", "0", "zxqv", "", "not in WordNet").remedy.startswith("leave it out")


HUND = ["Hund", "Katze", "Pferd", "Kuh", "Vogel", "Hut", "Boot", "Stern", "Rock"]
CHIEN = ["chien", "cheval", "vache", "oiseau", "poisson", "main", "pie", "bras", "raisin"]
PERRO = ["perro", "gato", "caballo", "vaca", "cerdo", "pan", "pie", "sol", "mesa"]
MODELS = ["A320", "A380", "B747", "MD-80", "Il-76", "Spitfire", "Tornado", "Concorde", "F-16"]


@pytest.mark.parametrize("names", [HUND, CHIEN, PERRO, MODELS])
def test_a_list_of_few_english_nouns_is_sure_of_none(names: list[str]) -> None:
    assert all(one.probability < SURE for one in matches(names) if one.wnid)
    assert any("are no English nouns" in one.evidence for one in matches(names) if one.wnid)


STRANGERS = ["zxqv", "zxqw", "zxqx", "zxqy", "zxqz", "zxqvus zxqwa"]
SPECIES = ["Turdus merula", "Corvus corax", "Falco peregrinus"]


@pytest.mark.parametrize("written", [str, str.lower, str.title, lambda name: name.replace(" ", "_")])
def test_scientific_names_are_as_sure_in_a_list_of_which_wordnet_has_half(written: Callable[[str], str]) -> None:
    names = [*map(written, SPECIES), "Parus major", "Sitta nova", "Anser brachyrhynchus", "Acanthis cabaret"]
    found = matches(names)
    assert all(one.wnid and one.probability >= SURE for one in found[: len(SPECIES)])
    assert found[0].wnid == "n01558594"


@pytest.mark.parametrize("others", [HUND, CHIEN, PERRO, MODELS, STRANGERS])
def test_names_of_several_words_are_as_sure_in_any_list(others: list[str]) -> None:
    names = ["golden retriever", "Fire Hydrant", "eau de vie", "arroz con pollo"]
    assert all(one.probability >= SURE for one in matches([*names, *others, *STRANGERS])[: len(names)])


def test_names_of_models_may_be_animals() -> None:
    found = matches(["Tiger Moth", "Black Widow", "Puma", "Equus", "F-16", *MODELS, *STRANGERS])
    assert not any(one.probability >= SURE for one in found)


@pytest.mark.parametrize("names", KINDS.values())
def test_a_list_of_english_nouns_stays_as_sure_with_a_name_that_is_none(names: str) -> None:
    alone, more = matches(names.split()), matches([*names.split(), "zxqv", "red zxqv box"])
    assert [one.probability for one in alone] == [one.probability for one in more[:-2]]


BREEDS = (
    "poodle boxer pug beagle dachshund chihuahua husky malamute rottweiler doberman newfoundland collie corgi bulldog "
    "whippet greyhound saluki borzoi dalmatian setter pointer vizsla weimaraner samoyed pomeranian keeshond basenji"
)


@pytest.mark.parametrize(
    ("names", "stranger"),
    [(BREEDS, "lab"), (BREEDS, "harpoon"), (KINDS[BIRD], "jogger"), (KINDS[PLANT], "Vienna"), (KINDS[PLANT], "calico")],
)
def test_what_is_of_another_kind_than_the_list_is_told(names: str, stranger: str) -> None:
    *others, told = matches([*names.split(), stranger])
    assert told.probability < SURE
    assert not any("of another kind" in one.evidence for one in others)
    assert matches(["dog", "car", "apple", "chair", stranger])[-1].probability > told.probability


@pytest.mark.parametrize(
    ("name", "synset"), [("vehicle", "n04524313"), ("human", "n00007846"), ("laptop", "n03642806")]
)
def test_what_other_collections_mean_by_a_name_is_not_told_beside_animals(name: str, synset: str) -> None:
    """Names of what passes a camera for animals: each has but one meaning there, though it is no animal."""
    for names in ("deer boar fox badger hare marten lynx wolf", "lion zebra giraffe elephant leopard hyena"):
        *_, found = matches([*names.split(), name])
        assert (found.wnid, found.probability >= SURE) == (synset, True)

"""Words in brackets choose among the senses of a name, and drop a name whose senses they contradict."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.matching import Match, MatchContext, MatchRule, match_classes
from mlimages_dataset.vocab.near_names import head_of, near_misses, says_how
from mlimages_dataset.vocab.readings import packaged_readings
from mlimages_dataset.vocab.sense_features import ancestors
from mlimages_dataset.vocab.wordnet import load_wordnet
from tests.vocab.matching_truth import packaged_imagenet_11k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.vocab.wordnet import WordNet

WORDNET = load_wordnet()
SEVERAL = sorted(lemma for lemma, senses in WORDNET.senses.items() if len(senses) > 1 and lemma.isalpha())
ONE_ANIMAL = sorted(
    lemma
    for lemma, senses in WORDNET.senses.items()
    if len(senses) == 1
    and lemma.isalpha()
    and WORDNET.base_forms(lemma) == (lemma,)
    and WORDNET.lexicographer_files[senses[0]] == "noun.animal"
)


def matches(names: Sequence[str], wordnet: WordNet) -> list[Match]:
    around = MatchContext(
        wordnet=wordnet, imagenet=packaged_imagenet_11k(), imagenet_all=frozenset(), roots=ROOTS, box_parents={}
    )
    return match_classes([SourceClass(str(i), name) for i, name in enumerate(names)], around)


def test_what_is_above_a_sense_in_brackets_chooses_one_below_it() -> None:
    chance = random.Random(5)  # noqa: S311 - a sample
    drawn = []
    for lemma in chance.sample(SEVERAL, 300):
        sense = chance.choice(WORDNET.senses[lemma])
        above = chance.choice(sorted(ancestors(WORDNET, sense)))
        drawn.append((lemma, WORDNET.lemmas[above][0].lower(), WORDNET.wnids[sense]))
    every = matches([f"{lemma} ({words})" for lemma, words, _ in drawn], WORDNET)
    for (_, words, sense_meant), found in zip(drawn, every, strict=True):
        if found.rule is MatchRule.NAMED_PERSON or sense_meant not in (found.wnid, *found.alternatives):
            continue  # people found by their surname are no sense of a class
        if says_how(words):
            continue  # a male dog is no male person
        assert found.wnid is not None
        chosen = WORDNET.index_of_wnid[found.wnid]
        own = " ".join(WORDNET.lemmas[chosen]).lower()
        meant = {synset for form in WORDNET.base_forms(words) for synset in WORDNET.senses[form]}
        assert meant & ancestors(WORDNET, chosen) or any(word in own for word in words.split())


@pytest.mark.parametrize(
    ("name", "wnid"),
    [
        ("Mouse (computer mouse)", "n03793489"),
        ("Mouse (computer)", "n03793489"),
        ("Bus (vehicle)", "n02924116"),
        ("Jaguar (animal)", "n02128925"),
        ("Palm (hand)", "n05565696"),
        ("Giraffe (zoo)", "n02439033"),
        ("Cello (music)", "n02992211"),
        ("Racket (tennis)", "n04409806"),
        ("Bat (baseball, wooden)", "n02799175"),
        ("Bat (wooden, cricket)", "n03132076"),
        ("Oil (vegetable)", "n07673397"),
    ],
)
def test_a_kind_a_synonym_a_word_and_a_file_choose(name: str, wnid: str, wordnet: WordNet) -> None:
    assert matches([name], wordnet)[0].wnid == wnid


def test_a_kind_that_brackets_name_is_one_candidate(wordnet: WordNet) -> None:
    found = matches(["Oil (vegetable)"], wordnet)[0]
    assert found.wnid not in found.alternatives
    assert len(set(found.alternatives)) == len(found.alternatives)


def test_an_animal_is_no_car_and_stays_an_animal() -> None:
    names = random.Random(5).sample(ONE_ANIMAL, 100)  # noqa: S311 - a sample
    contradicted = matches([f"{name} (car)" for name in names], WORDNET)
    agreeing = matches([f"{name} (animal)" for name in names], WORDNET)
    for car, animal in zip(contradicted, agreeing, strict=True):
        assert (car.wnid, car.rule, car.probability) == (None, MatchRule.CONTRADICTED, 0)
        assert animal.wnid is not None
        assert car.alternatives == (animal.wnid,)
        assert "which is no car" in car.evidence


def test_the_head_of_a_contradicted_name_is_in_the_brackets_and_it_has_no_near_miss(wordnet: WordNet) -> None:
    assert head_of("Polar bear (drink)", wordnet) == "drink"
    assert head_of("Polar bear (xyzzy)", wordnet) == ""
    assert head_of("coffee mug", wordnet) == "mug"
    assert near_misses("Jaguar (car)", wordnet) == ()


def test_brackets_of_collections_are_understood_as_they_were_read(wordnet: WordNet) -> None:
    # Before words of synonyms and contradictions counted, 230 of 305 came out as they were read.
    rows = [row for row in packaged_readings().by_id.values() if "(" in row.name]
    found = matches([row.name for row in rows], wordnet)
    known = [(row, one) for row, one in zip(rows, found, strict=True) if one.wnid or one.alternatives]
    right = sum(one.wnid == row.wnid if one.wnid else row.wnid not in one.alternatives for row, one in known)
    assert (len(known), right) >= (285, 251)


PLAIN = (
    "dog",
    "cat",
    "horse",
    "bird",
    "car",
    "chair",
    "bus",
    "boat",
    "bottle",
    "truck",
    "bear",
    "lion",
    "hat",
    "knife",
)
LOOKS = (
    "small",
    "large",
    "male",
    "female",
    "young",
    "adult",
    "black",
    "white",
    "black and white",
    "dry",
    "left",
    "old",
)
MET = ("cage", "leash", "collar", "farm", "zoo", "photo", "street", "kitchen", "garden")


def test_words_that_say_how_a_thing_looks_choose_no_sense() -> None:
    plain = matches(PLAIN, WORDNET)
    for words in LOOKS:
        for one, other in zip(plain, matches([f"{name} ({words})" for name in PLAIN], WORDNET), strict=True):
            assert one.wnid is not None
            assert other.wnid is not None
            above = ancestors(WORDNET, WORDNET.index_of_wnid[other.wnid])  # a bear (black) is a black bear
            assert WORDNET.index_of_wnid[one.wnid] in above


def test_what_a_thing_is_met_with_does_not_make_it_one_of_its_kind() -> None:
    """A horse (cage) was a gymnastic horse, and a dog (leash) an andiron: artifacts, as cages and leashes are."""
    animals = ("dog", "cat", "horse", "bird", "bear", "lion", "sheep", "cow", "duck", "rabbit")
    for words in MET:
        found = matches([f"{name} ({words})" for name in animals], WORDNET)
        files = {WORDNET.lexicographer_files[WORDNET.index_of_wnid[one.wnid]] for one in found if one.wnid}
        assert files == {"noun.animal"}, words

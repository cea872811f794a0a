"""What a name that is no noun may mean: slips of the pen, several things, copies; and the rows that decide it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

import mlimages_dataset as ml
from mlimages_dataset.vocab.findings import Loss
from mlimages_dataset.vocab.near_names import (
    food_sense,
    head_of,
    joined,
    likely_slip,
    near_misses,
    original,
    says_how,
    without_amount,
)
from tests.vocab.test_own_classes import GOLDEN, built, fate

if TYPE_CHECKING:
    from mlimages_dataset.vocab.wordnet import WordNet


@pytest.mark.parametrize(
    ("name", "noun"),
    [
        ("goldn retreiver", "golden retriever"),
        ("toothbursh", "toothbrush"),
        ("rabit", "rabbit"),
        ("umbrela", "umbrella"),
        ("tigre", "tiger"),
        ("bannana", "banana"),
        ("carambula", "carambola"),
        *((name, "") for name in ("happy", "perro", "class_5", "traffic cone", "dog1", "elefant", "giraf")),
        *((name, "") for name in ("checked", "cracked", "cloudy", "biking", "knitted", "wooden", "crystalline")),
        *((name, "") for name in ("pomme", "cheval", "coche", "schwein", "wellies", "birman", "sphynx", "macarons")),
    ],
)
def test_only_one_letter_of_a_long_word_or_a_swapped_pair_is_surely_a_slip(
    name: str, noun: str, wordnet: WordNet
) -> None:
    assert likely_slip(name, near_misses(name, wordnet))[0] == noun


@pytest.mark.parametrize(
    ("name", "things"),
    [
        *((f"dog{sign}cat", "dog cat") for sign in (";", " ; ", "&", " & ", "+", " + ", "|", "/", " / ", ",", " and ")),
        ("dog or cat", "dog cat"),
        ("Dogs & Cats", "dogs cats"),
        ("book, pen and cup", ""),
        ("book;pen;cup", "book pen cup"),
        ("dog;cat;", "dog cat"),
        ("black and white cat", ""),
        ("salt and pepper shaker", ""),
        ("dog and cat food", ""),
        ("fish & chips", ""),
        ("bow and arrow", ""),
        ("AT&T", ""),
        ("dog, cat", ""),
        ("cat;", ""),
        (";", ""),
    ],
)
def test_names_that_join_nouns_are_several_things(name: str, things: str, wordnet: WordNet) -> None:
    assert joined(name, wordnet) == tuple(things.split())
    if things:
        assert near_misses(name, wordnet) == ()
        assert head_of(name, wordnet) == ""


@pytest.mark.parametrize("noun", ["cat", "Golden Retriever", "dog's breakfast"])
def test_copies_are_the_class_itself(noun: str, wordnet: WordNet) -> None:
    written = ["{} - Copy", "{} copy", "{}_copy", "{} - Copy (2)", "{} copy 2", "Copy of {}", "Copy (2) of {}"]
    for name in (*(one.format(noun) for one in written), f"{noun} - Copy - Copy"):
        is_noun = bool(wordnet.base_forms(noun.lower()))
        assert original(name, wordnet) == (noun if is_noun else "")
        assert near_misses(name, wordnet) == ()
        assert head_of(name, wordnet) == (noun.lower() if is_noun else head_of(noun, wordnet))
    for name in ("copy", "hard copy", "photocopy", "zzq - Copy", "cat"):
        assert original(name, wordnet) == ""
    assert head_of("zzq - Copy", wordnet) == ""


def test_only_sensible_guesses_are_given_as_rows_and_each_makes_a_category() -> None:
    names = [
        *("happy", "perro", "cat;dog", "dog+cat", "class_5", "traffic cone", "cat - Copy", "dog & cat", "7up"),
        *("goldn retreiver", "tigre", "my brand mug", "my feeling", "car"),
    ]
    frame = pd.DataFrame({"id": names, "name": names})
    with pytest.warns(UserWarning, match="mine: ") as caught:
        ml.build_vocabulary(classes={"mine": frame})
    told = {
        name: next((str(one.message) for one in caught if f"{name!r} became" in str(one.message)), "") for name in names
    }
    assert told["dog & cat"].endswith(
        "it names 2 things, dog and cat: label its pictures with each of them that they show"
    )
    assert told["cat - Copy"].endswith("by its name a copy of 'cat': give it that name")
    assert "did you mean" not in told["class_5"]
    assert told["tigre"].endswith("did you mean 'tiger'? Write it into the column name")
    assert not any("attach" in told[name] for name in ("class_5", "my feeling", "7up"))
    attached = built(*((name, name) for name in names), attach=True)
    kept = {row.source_id: row.wnid for row in attached.mapping if row.is_kept}
    assert set(kept) == {"traffic cone", "cat - Copy", "my brand mug", "car"}
    assert kept["cat - Copy"] == fate(built(("c", "cat")), "c")[0]


def test_rows_of_losses_decide_them_and_there_is_none_for_a_mere_likeness(wordnet: WordNet) -> None:
    def row(name: str, **more: object) -> tuple[str, ...]:
        near = near_misses(name, wordnet)
        loss = Loss("mine", "1", name, "", "x", near=near, copied=original(name, wordnet), **more)  # type: ignore[arg-type]
        return loss.row

    assert row("goldn retreiver") == ("1", "golden retriever", GOLDEN, "")
    assert row("tigre") == ("1", "tiger", "", "")
    assert row("cat - Copy") == ("1", "cat", "", "")
    assert row("my mug", broader=("mug", "mug")) == ("1", "my mug", "", "mug")
    assert row("traffic cone", broader=("cone", "n03089348")) == ("1", "traffic cone", "", "n03089348")
    for name in ("happy", "perro", "class_5", "7up", "elefant", "zzq"):
        assert not any(row(name))
    assert not any(row("dog & cat", joined=("dog", "cat")))
    assert row("cat - Copy")[1] in Loss("mine", "1", "cat - Copy", "cat", "x", copied="cat").sentence


@pytest.mark.parametrize("name", ["other", "todo", "checked", "lined", "freckled", "cloudy", "A320", "C-130", "Il-76"])
def test_words_that_are_no_nouns_and_models_are_near_no_noun(name: str, wordnet: WordNet) -> None:
    assert near_misses(name, wordnet) == ()


def test_a_head_fits_the_food_before_it_and_looks_are_no_head(wordnet: WordNet) -> None:
    heads = {
        **dict.fromkeys(("chicken nuggets", "duck breast", "pork belly"), ""),
        "cheese knife": "knife",
        "apple tree": "tree",
        "gold nugget": "nugget",
        "lamb leg": "leg",
        "banana red": "banana",
        "potato white": "potato",
        "car_front": "car",
        "bottle broken": "bottle",
    }
    plain = {name: heads[name] for name in heads if not wordnet.base_forms(name.replace("_", " "))}
    assert {name: head_of(name, wordnet) for name in plain} == plain
    assert food_sense("lamb leg", "leg", wordnet) in {
        wordnet.wnids[sense] for sense in wordnet.senses["leg"] if wordnet.lexicographer_files[sense] == "noun.food"
    }
    assert not food_sense("coffee cup", "cup", wordnet)
    assert not food_sense("table leg", "leg", wordnet)


def test_a_list_of_other_words_says_so_once_and_guesses_none() -> None:
    names = [*("pomme", "poire", "chien", "voiture", "maison", "cheval", "arbre", "fleur"), "table", "orange"]
    with pytest.warns(UserWarning, match="mine: ") as caught:
        ml.build_vocabulary(classes={"mine": pd.DataFrame({"id": names, "name": names})})
    told = [str(one.message) for one in caught]
    assert not any("did you mean" in one for one in told)
    assert sum("are no English nouns: write such nouns" in one for one in told) == 1


AMOUNTS = [
    *("2L", "1 l", "1.5l", "0,5 l", "500g", "500 g", "1kg", "330ml", "33 cl", "12oz", "12 fl oz", "2 lb", "6 pcs"),
    *("6 pack", "6-pack", "x6", "x 6", "6x", "2 x 330ml", "330ml x 6", "6x330 ml", "pack of 6", "500 g x2"),
]


@pytest.mark.parametrize("amount", AMOUNTS)
def test_how_much_there_is_of_a_thing_is_no_part_of_its_name(amount: str, wordnet: WordNet) -> None:
    for thing in ("milk", "pasta", "orange juice", "eggs"):
        for name in (f"{thing} {amount}", f"{thing}, {amount}", f"{thing}_{amount.replace(' ', '_')}"):
            assert head_of(name, wordnet) == thing, name
            assert near_misses(name, wordnet) == ()
        assert head_of(f"{amount} {thing}", wordnet) == thing
        assert says_how(amount.lower())
    for name in ("boeing 747", "class 5", "mp3 player", "g string", "10 downing street"):
        assert without_amount(name) == name

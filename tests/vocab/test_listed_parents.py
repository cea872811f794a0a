"""The column `parent` of a class list chooses among the senses of a noun, and is what any other name is kept as."""

from __future__ import annotations

import random
import warnings
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import mlimages_dataset as ml
from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.sense_features import ancestors, is_individual
from mlimages_dataset.vocab.wordnet import load_wordnet

if TYPE_CHECKING:
    from mlimages_dataset.vocab.vocabulary import MappingRow

FISH, BIRD, REFRIGERATOR = "n02512053", "n01503061", "n04070727"


def rows_of(*rows: tuple[str, str, str]) -> dict[str, MappingRow]:
    """Return what became of classes, each an id, a name and a parent, by id."""
    frame = pd.DataFrame(rows, columns=["id", "name", "parent"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {row.source_id: row for row in ml.build_vocabulary(classes={"mine": frame}).mapping}


@pytest.mark.parametrize("parent", ["n02084071", "d", "dog", "domestic dog"])
def test_a_noun_below_its_parent_is_that_noun_however_the_parent_is_given(parent: str) -> None:
    found = rows_of(("g", "golden retriever", parent), ("p", "poodles", parent), ("d", "dog", ""))
    assert found["g"].wnid == "n02099601"
    assert found["p"].wnid == "n02113335"
    assert not found["g"].is_broader


@pytest.mark.parametrize(
    ("name", "parent", "wnid"),
    [
        ("bass", FISH, "n02565573"),
        ("bass", "n03800933", "n02803349"),
        ("crane", BIRD, "n02012849"),
        ("crane", "n03699975", None),
        ("mouse", "electronic device", "n03793489"),
        ("mouse", "rodent", "n02330245"),
        ("seal", "mammal", "n02076196"),
    ],
)
def test_a_parent_chooses_among_senses(name: str, parent: str, wnid: str | None) -> None:
    found = rows_of(("it", name, parent))["it"]
    assert found.wnid == (wnid or parent)
    assert found.is_broader is (wnid is None)


def test_any_noun_is_a_sense_below_any_of_its_parents() -> None:
    wordnet = load_wordnet()
    chance = random.Random(7)  # noqa: S311 - a sample
    roots = {wordnet.index_of_wnid[wnid] for wnid in ROOTS}
    things = [s for s in range(len(wordnet)) if roots & ancestors(wordnet, s) and not is_individual(wordnet, s)]
    rows, above = [], {}
    for number, synset in enumerate(chance.sample(things, 200)):
        parents = sorted(ancestors(wordnet, synset) - {synset} - roots)
        if parents:
            above[str(number)] = chance.choice(parents)
            name = wordnet.lemmas[synset][0].replace("_", " ")
            rows.append((str(number), name, wordnet.wnids[above[str(number)]]))
    found = rows_of(*rows)
    for key, parent in above.items():
        assert parent in ancestors(wordnet, wordnet.index_of_wnid[found[key].wnid])
        assert not found[key].is_broader


def test_a_name_that_is_no_noun_or_has_no_such_sense_is_kept_as_its_parent() -> None:
    found = rows_of(("m", "my mug", "n03797390"), ("r", "mouse", REFRIGERATOR), ("x", "my thing", "zzz"))
    assert (found["m"].wnid, found["m"].is_broader) == ("n03797390", True)
    assert (found["r"].wnid, found["r"].is_broader) == (REFRIGERATOR, True)
    assert (
        found["r"].evidence
        == f"the list says that it is a kind of {REFRIGERATOR!r}; what its name means is not below it"
    )
    assert not found["x"].is_kept


@pytest.mark.parametrize(
    ("name", "parent", "wnid"),
    [
        ("my mug", "mug", "n03797390"),
        ("mouse", "Refrigerators", REFRIGERATOR),
        ("kind of it", "fire-engine", "n03345487"),
        ("dog", "grocery store", "n03461385"),
        ("Rosinante", "Horse", "n02374451"),
    ],
)
def test_a_parent_that_is_a_noun_keeps_what_has_no_sense_below_it(name: str, parent: str, wnid: str) -> None:
    found = rows_of(("it", name, parent), ("o", "another thing of it", "it"))
    assert (found["it"].wnid, found["it"].is_broader) == (wnid, True)
    assert found["it"].evidence.startswith(f"the list says that it is a kind of {parent!r}")
    assert (found["o"].wnid, found["o"].is_broader) == (wnid, True)


@pytest.mark.parametrize("order", [1, -1])
def test_a_class_is_below_what_its_parent_means_after_the_parents_own_parent_was_heard(order: int) -> None:
    rows = [
        ("m", "mouse", "rodent"),
        ("f", "field mouse", "m"),
        ("c", "mouse", "electronic device"),
        ("w", "wheel", "c"),
    ]
    found = rows_of(*rows[::order])
    assert [found[one].wnid for one in "mfc"] == ["n02330245", "n02332755", "n03793489"]
    assert not found["f"].is_broader
    assert (found["w"].wnid, found["w"].is_broader) == ("n03793489", True)


def test_parents_in_a_long_chain_and_in_a_circle_end() -> None:
    chain = [(str(n), "qqq", str(n + 1)) for n in range(3000)]
    circle = [("a", "dog", "b"), ("b", "cat", "c"), ("c", "horse", "a")]
    found = rows_of(*chain, ("3000", "dog", ""), *circle)
    assert found["2990"].wnid == "n02084071"
    assert not any(found[one].is_kept and not found[one].is_broader for one in "abc")


def test_a_lost_parent_is_told_once_to_all_below_it() -> None:
    rows = [("0", "qqq", "zzz"), *((str(n), "qqq", str(n - 1)) for n in range(1, 90)), ("d", "dog", "")]
    lost = "became no category (dropped: unmatched name: its parent 'zzz' is no wnid, no id of the list and no noun"
    random.Random(3).shuffle(rows)  # noqa: S311 - an order
    found = rows_of(*rows)
    assert found["1"].evidence.startswith(f"its parent '0' {lost}")
    assert all(found[str(n)].evidence.startswith(f"a parent above it, '0', {lost}") for n in range(2, 90))


@pytest.mark.parametrize("order", [1, -1])
def test_a_chain_is_kept_up_to_a_length_and_the_rest_told_what_ended_it(order: int) -> None:
    rows = [("0", "qqq", "dog"), *((str(n), "qqq", str(n - 1)) for n in range(1, 300))]
    found = rows_of(*rows[::order])
    assert all(found[str(n)].is_kept is (n <= 100) for n in range(300))
    assert found["101"].evidence == "more than 100 parents lie one above the other"
    assert len(found["299"].evidence) < 150


def test_a_cycle_of_classes_that_stand_for_another_lists_is_told() -> None:
    frame = pd.DataFrame(
        [("x", "qqq", "o:q", "y"), ("y", "qqq", "o:r", "x"), ("z", "qqq", "", "x"), ("d", "dog", "", "")],
        columns=["id", "name", "wnid", "parent"],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {row.source_id: row.evidence for row in ml.build_vocabulary(classes={"mine": frame}).mapping}
    assert found["x"].startswith("its parents in the list form a cycle: x > y > x;")
    assert found["z"].startswith("parents above it in the list form a cycle:")

"""A user's own classes: their ancestors are categories, what they say of meaning is heard, losses are told by name."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlimages_dataset as ml
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.doubts import doubts
from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.listed_parents import cycles
from mlimages_dataset.vocab.merging import ClassList
from mlimages_dataset.vocab.near_names import head_of, near_misses

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlimages_dataset.vocab.vocabulary import Vocabulary
    from mlimages_dataset.vocab.wordnet import WordNet

DOG, GOLDEN, RETRIEVER, MUG = "n02084071", "n02099601", "n02099029", "n03797390"


def built(*rows: tuple[str, ...], columns: tuple[str, ...] = ("id", "name"), **more: object) -> Vocabulary:
    frame = pd.DataFrame(rows, columns=list(columns))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ml.build_vocabulary(classes={"mine": frame}, **more)  # type: ignore[arg-type]  # as tests give it


def fate(vocabulary: Vocabulary, source_id: str) -> tuple[str, str]:
    row = next(row for row in vocabulary.mapping if row.source_id == source_id)
    return row.wnid if row.is_kept else "", row.rule


@pytest.mark.slow
def test_three_names_give_a_tree() -> None:
    vocabulary = built(("g", "golden retriever"), ("c", "tabby cat"), ("w", "wine glass"))
    assert vocabulary.category(RETRIEVER).sources == ("hierarchy",)
    assert vocabulary.parents(GOLDEN) == [vocabulary.category(RETRIEVER)]
    assert vocabulary.category(DOG) in vocabulary.ancestors(GOLDEN)
    listed = built(("g", "golden retriever"), ("c", "tabby cat"), ("w", "wine glass"), ancestors="listed")
    assert [one.wnid for one in listed.parents(GOLDEN)] == ["n00002684"]
    assert len(listed) == 3 + len(ROOTS)


def below_a_root(network: WordNet) -> nx.DiGraph[int]:
    """Return WordNet's nouns and their parents, as networkx has them."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_edges_from((child, parent) for child in range(len(network)) for parent in network.parents(child))
    return graph


@settings(max_examples=4)
@given(st.lists(st.integers(0, 80_000), min_size=1, max_size=4, unique=True))
def test_ancestors_are_those_of_wordnet_below_a_root(wordnet: WordNet, numbers: list[int]) -> None:
    rows = [(wordnet.wnids[n], "") for n in numbers]
    graph = below_a_root(wordnet)
    roots = {wordnet.index_of_wnid[wnid] for wnid in ROOTS}
    rooted = roots | {n for root in roots for n in nx.ancestors(graph, root)}
    kept = [n for n in numbers if n in rooted]
    if not kept:
        return
    expected = set(kept) | roots | {a for n in kept for a in nx.descendants(graph, n) if a in rooted}
    vocabulary = built(*rows, reviewed_only=True)
    assert {one.wnid for one in vocabulary.categories} == {wordnet.wnids[n] for n in expected}


def test_published_lists_bring_ancestors_only_if_asked() -> None:
    assert len(ml.build_vocabulary(imagenet=[GOLDEN])) == 1 + len(ROOTS)
    assert RETRIEVER in ml.build_vocabulary(imagenet=[GOLDEN], ancestors="all").index_of_wnid
    with pytest.raises(UsageError, match=r"ancestors is 'some', but must be 'all' or 'listed', or None"):
        ml.build_vocabulary(imagenet=[GOLDEN], ancestors="some")


def test_names_match_whatever_their_case_and_spaces() -> None:
    names = (
        "  GOLDEN   Retriever ",
        "golden_retriever",
        "Golden-Retriever",
        "golden\tretriever",
        "Golden\u00a0retriever",
    )
    vocabulary = built(*((str(n), name) for n, name in enumerate(names)))
    assert {fate(vocabulary, str(n))[0] for n in range(len(names))} == {GOLDEN}


def test_what_a_list_says_of_its_classes_is_heard() -> None:
    vocabulary = built(
        ("1", "mouse", "n03793489", ""),  # a rodent otherwise, or not: the list decides
        ("2", "my brand mug", "", MUG),
        ("3", "its small one", "", "2"),
        ("4", "dog", "", ""),
        ("5", "house of cards", "", "zzqx"),
        ("6", "x", "", "7"),
        ("7", "y", "", "6"),
        ("8", "z", "", "5"),
        columns=("id", "name", "wnid", "parent"),
    )
    assert fate(vocabulary, "1") == ("n03793489", "wnid given in the list")
    assert fate(vocabulary, "2") == fate(vocabulary, "3") == (MUG, "parent given in the list")
    assert fate(vocabulary, "4")[0] == DOG
    for lost in "5678":
        assert fate(vocabulary, lost) == ("", "dropped: unmatched name")
    evidence = {row.source_id: row.evidence for row in vocabulary.mapping}
    assert evidence["5"] == "its parent 'zzqx' is no wnid, no id of the list and no noun of WordNet"
    remedy = "give one of these classes another parent, or none"
    assert evidence["6"] == f"its parents in the list form a cycle: 6 > 7 > 6; {remedy}"
    assert evidence["7"] == f"its parents in the list form a cycle: 7 > 6 > 7; {remedy}"
    assert evidence["8"].startswith("its parent '5' became no category (dropped: unmatched name: its parent 'zzqx' is")


def test_that_a_narrower_class_is_absent_says_nothing_of_its_parent() -> None:
    vocabulary = built(("m", "my brand mug", MUG), ("d", "dog", ""), columns=("id", "name", "parent"))
    said = pd.DataFrame({"image_id": ["a", "b"], "label": ["m", "m"], "confidence": [1.0, 0.0]})
    dogs = pd.DataFrame({"image_id": ["b"], "label": ["d"], "confidence": [1.0]})
    with pytest.warns(UserWarning, match="absences of classes kept only as their parent: 1"):
        labels = ml.annotate(pd.concat([said, dogs]), vocabulary).to_pandas()
    assert labels[["image_id", "wnid", "confidence"]].to_numpy().tolist() == [["a", MUG, 1.0], ["b", DOG, 1.0]]


def test_a_class_is_attached_to_its_head_only_if_asked() -> None:
    rows = (("m", "my brand mug"), ("q", "qqq"))
    assert fate(built(*rows, ("d", "dog")), "m") == ("", "dropped: unmatched name")
    attached = built(*rows, attach=True)
    assert fate(attached, "m") == (MUG, "head word: nearest parent")
    assert fate(attached, "q")[0] == ""


def test_the_head_is_the_longest_end_that_is_a_noun(wordnet: WordNet) -> None:
    heads = {name: head_of(name, wordnet) for name in ("my coffee mug", "Corgi puppy", "mug", "a qqq", "", "a  Mug ")}
    assert heads == {
        "my coffee mug": "coffee mug",
        "Corgi puppy": "puppy",
        "mug": "",
        "a qqq": "",
        "": "",
        "a  Mug ": "mug",
    }


def test_the_age_and_sex_of_an_animal_behind_its_name_are_no_head(wordnet: WordNet) -> None:
    heads = {
        "red fox_juvenile": "red fox",
        "roe deer male": "roe deer",
        "wild boar adult female": "wild boar",
        "golden eagle immature": "golden eagle",
        "young adult": "adult",
        "adult male": "male",
    }
    assert {name: head_of(name, wordnet) for name in heads} == heads


def test_near_misses_name_the_noun_and_its_synset(wordnet: WordNet) -> None:
    assert near_misses("golden retreiver", wordnet)[0] == ("golden retriever", GOLDEN)
    assert near_misses("", wordnet) == ()


def test_a_loss_tells_what_attach_would_keep_it_under() -> None:
    frame = pd.DataFrame({"id": ["t", "m"], "name": ["Toyota Corolla", "my brand mug"]})
    with pytest.warns(UserWarning, match="mine: ") as told:
        ml.build_vocabulary(classes={"mine": pd.concat([frame, frame.assign(id=["d", "c"], name=["dog", "cat"])])})
    attached = built(("t", "Toyota Corolla"), ("m", "my brand mug"), attach=True)
    for row, one in zip(attached.mapping, sorted(told, key=lambda one: "brand mug" in str(one.message)), strict=True):
        kept = attached.categories[row.class_index].first_name
        assert f"or keep it under {kept!r} (attach" in str(one.message)


def test_losses_are_told_by_name() -> None:
    frame = pd.DataFrame({"id": ["g", "q", "m"], "name": ["golden retreiver", "qqq", "my brand mug"]})
    with pytest.warns(UserWarning, match="mine: ") as told:
        ml.build_vocabulary(classes={"mine": frame, "more": frame.assign(name=["dog", "cat", "car"])}, attach=True)
    said = [str(one.message) for one in told]
    assert len(said) == 3
    assert "did you mean n02099601 (golden retriever)? Write it into the column wnid" in said[0]
    assert said[1].startswith("mine: 'qqq' became no category: unmatched name: not in WordNet")
    assert said[1].endswith("; write its wnid into a column wnid, or what it is a kind of into a column parent")
    assert said[2].startswith("mine: 'my brand mug' is no category of its own: its labels are those of mug (")


def test_categories_below_a_bare_root_are_told_where_all_ancestors_are_more(tmp_path: Path) -> None:
    """A rainbow is below a root by a packaged decision, and nothing lies between; a dropped category is no ancestor."""
    drop = tmp_path / "drop.toml"
    drop.write_text('[[drop_category]]\nwnid = "n00003553"\nreason = "x"\n')  # the whole, between artifact and object
    names = ["golden retriever", "rainbow", "artifact", "thing", "water", "lightning", "sky"]
    every: Mapping[str, object]
    for own, every in ((None, {"ancestors": "all"}), (drop, {})):
        frame = pd.DataFrame({"id": names, "name": names, "wnid": ["", "", "n00021939", "", "", "", ""]})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            listed = ml.build_vocabulary(classes={"mine": frame}, ancestors="listed", reviewed=own)
        told = [str(one.message) for one in caught if "their only ancestor here" in str(one.message)]
        assert all('a root; with ancestors="all" of ' in one and "they get those" in one for one in told)
        bare = {name for one in told for name in one.partition(": ")[0].split(", ")}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            full = ml.build_vocabulary(classes={"mine": frame}, reviewed=own, **every)  # type: ignore[arg-type]
        assert not any("their only ancestor here" in str(one.message) for one in caught)
        gains = {
            one.first_name
            for one in listed.categories
            if one.parents
            and all(listed.categories[parent].wnid in ROOTS for parent in one.parents)
            and len(full.ancestors(one.wnid)) > len(listed.ancestors(one.wnid))
        }
        assert bare == gains
        assert "golden retriever" in bare
        assert "rainbow" not in bare
        assert ("artifact" in bare) == (own is None)


@pytest.mark.slow
def test_own_decisions_win_over_the_packaged_ones_and_what_they_change_is_told(tmp_path: Path) -> None:
    given = {"open_images": "packaged:open_images_boxable.csv", "minimum_images": {"open-images": 0}}
    before = ml.build_vocabulary(**given)  # type: ignore[arg-type]  # as tests give it
    drop = tmp_path / "mine.toml"
    drop.write_text(
        '[[match]]\nsource = "open-images"\nsource_id = "/m/025nd"\nwnid = "n02084071"\nreason = "x"\n'
        '[[drop_category]]\nwnid = "n02958343"\nreason = "no cars"\n'
    )
    after = ml.build_vocabulary(**given, reviewed=drop, out=tmp_path / "out")  # type: ignore[arg-type]  # as above
    assert fate(before, "/m/025nd")[0] != fate(after, "/m/025nd")[0] == DOG
    same = {row.source_id for row in before.mapping} - {"/m/025nd", "/m/0k4j"}
    assert {fate(before, one)[0] for one in same} - {fate(after, one)[0] for one in same} == set()
    only = ml.build_vocabulary(**given, reviewed=drop, reviewed_only=True)  # type: ignore[arg-type]  # as above
    assert fate(only, "/m/02pv19") != fate(after, "/m/02pv19"), "a stop sign's parent is a packaged decision"


@pytest.mark.parametrize(
    "name",
    [
        "no_helmet",
        "not dog",
        "no mask",
        "non-helmet",
        "non person",
        "without helmet",
        "missing helmet",
        "lack of guardrail",
    ],
)
def test_what_is_not_there_is_near_no_noun_and_about_none(name: str, wordnet: WordNet) -> None:
    assert near_misses(name, wordnet) == ()
    assert head_of(name, wordnet) == ""


def test_a_name_is_about_what_stands_before_a_preposition_or_a_comma(wordnet: WordNet) -> None:
    about = {
        "bottle of beer": "bottle",
        "person without helmet": "person",
        "cat, domestic": "cat",
        "man with hat": "man",
        "pair of sunglasses": "sunglasses",
        "a bunch of ripe grapes": "grapes",
        "herds of cows": "cows",
        "pair of": "",
        "non-alcoholic beverage": "beverage",
        "non stick frying pan": "frying pan",
    }
    assert {name: head_of(name, wordnet) for name in about} == about


def test_slips_are_near_and_other_words_are_not(wordnet: WordNet) -> None:
    slips = {
        "girrafe": "giraffe",
        "bycicle": "bicycle",
        "elefant": "elephant",
        "umbrela": "umbrella",
        "tomatoe": "tomato",
    }
    assert {slip: near_misses(slip, wordnet)[0][0] for slip in slips} == slips
    for name in ("smartphone", "rocket ship", "a-b", "qqq"):
        assert near_misses(name, wordnet) == ()


def test_two_classes_of_one_id_are_refused_and_one_class_twice_is_not() -> None:
    frame = pd.DataFrame({"id": ["1", "1", "2"], "name": ["cat", "car", "dog"]})
    with pytest.raises(
        DataError, match=r"mine'\]: two classes of mine have the id '1': 'cat' \(row 1\) and 'car' \(row 2\)"
    ):
        ml.build_vocabulary(classes={"mine": frame})
    with pytest.raises(DataError, match=r"'cat' n02121620 \(row 1\) and 'cat' n02127808 \(row 2\)"):
        ml.build_vocabulary(classes={"mine": frame.assign(name="cat", wnid=["n02121620", "n02127808", ""])})
    with pytest.warns(UserWarning, match="occur more than once"):
        ml.build_vocabulary(classes={"mine": frame.assign(name=["cat", "Cat", "dog"])})


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("id,name\n1,cat\n\n2,dog\n1,car\n", (2, 5)),
        ('id;name\r\n2;"a\r\nb"\r\n1;cat\r\n1;car\r\n', (4, 5)),
        ("name\tid\ndog\t2\ncat\t1\ncar\t1\n", (3, 4)),
    ],
)
def test_two_classes_of_one_id_are_told_with_file_and_lines(tmp_path: Path, text: str, lines: tuple[int, int]) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text, newline="")
    told = rf"list\.csv: two classes .*: 'cat' \(line {lines[0]}\) and 'car' \(line {lines[1]}\); give each"
    with pytest.raises(DataError, match=told):
        ml.build_vocabulary(classes={"mine": path})
    parquet = tmp_path / "list.parquet"
    pd.DataFrame({"id": [2, 1, 1], "name": ["dog", "cat", "car"]}).to_parquet(parquet)
    with pytest.raises(DataError, match=r"list\.parquet: two classes .*: 'cat' \(row 2\) and 'car' \(row 3\); give"):
        ml.build_vocabulary(classes={"mine": parquet})


@pytest.mark.parametrize(
    ("parent_of", "told"),
    [
        ("bca", {"a": "its parents in the list form a cycle: a > b > c > a;"}),
        (
            "bcab",
            {"c": "its parents in the list form a cycle: c > a > b > c;", "d": "parents above it in the list form"},
        ),
        ("a", {"a": "it is its own parent in the list; give it another parent, or none"}),
        ("aa", {"b": "parents above it in the list form a cycle: a > a;"}),
        ("bcdefghija", {"a": "its parents in the list form a cycle: a > b > c > d > e > f > g > h > ... > a;"}),
        ("?", {"a": "its parent '?' is no wnid, no id of the list and no noun of WordNet"}),
    ],
)
def test_a_cycle_is_told_by_its_classes_and_nothing_else_is_lost(parent_of: str, told: dict[str, str]) -> None:
    lines = [("abcdefghij"[k], f"x{k}", parent) for k, parent in enumerate(parent_of)]
    vocabulary = built(*lines, ("one", "dog", ""), ("two", "own dog", "one"), columns=("id", "name", "parent"))
    evidence = {row.source_id: row.evidence for row in vocabulary.mapping}
    assert {row.source_id for row in vocabulary.mapping if row.is_kept} == {"one", "two"}
    assert all(evidence[source_id].startswith(why) for source_id, why in told.items())


def test_a_class_of_a_cycle_whose_name_does_not_agree_with_it_is_told() -> None:
    lines = (("a", "animal", "d"), ("d", "dog", "a"), ("p", "poodle", "d"), ("c", "cat", ""))
    vocabulary = built(*lines, columns=("id", "name", "parent"))
    assert {row.source_id for row in vocabulary.mapping if row.is_kept} == {"c", "d", "p"}
    evidence = {row.source_id: row.evidence for row in vocabulary.mapping}
    assert evidence["a"].startswith("its parents in the list form a cycle: a > d > a;")
    agreeing = built(("h", "house", "b"), ("b", "building", "h"), columns=("id", "name", "parent"))
    assert {row.source_id for row in agreeing.mapping if row.is_kept} == {"h"}


def test_a_class_whose_name_has_the_word_parent_is_no_reason_to_correct_that_column() -> None:
    with pytest.raises(ml.MLImagesError, match="check that names are English nouns"):
        built(("a", "zxqv parent"), ("b", "zxqw parent"))


def test_a_list_that_is_one_cycle_is_refused_with_it() -> None:
    told = r"none of 2 classes .*; the first is 'x': unmatched name: .*: a > b > a; .*; correct the column parent"
    with pytest.raises(ml.MLImagesError, match=told):
        built(("a", "x", "b"), ("b", "y", "a"), columns=("id", "name", "parent"))


def test_cycles_are_found_as_networkx_finds_them() -> None:
    rng = np.random.default_rng(7)
    for _ in range(200):
        parents = rng.integers(-1, 8, 8)
        parent_of = {str(k): str(parent) for k, parent in enumerate(parents) if parent >= 0}
        circles = [frozenset(one) for one in nx.simple_cycles(nx.DiGraph(list(parent_of.items())))]
        found = cycles(parent_of)
        for k in range(8):
            of_class = found.get(str(k))
            circle = () if of_class is None else of_class.classes
            assert of_class is None or of_class.place == (circle.index(str(k)) if str(k) in circle else -1)
            assert all(parent_of[one] == other for one, other in itertools.pairwise((*circle, *circle[:1])))
            above = {
                str(k),
                *(nx.descendants(nx.DiGraph(list(parent_of.items())), str(k)) if str(k) in parent_of else ()),
            }
            assert (frozenset(circle) in circles) == bool(circle) == any(one & above for one in circles)


ABSENT = [
    "absent",
    "no",
    "none",
    "not present",
    "missing",
    "not in the picture",
    "without",
    "0",
    "negative",
    "not visible",
]


@pytest.mark.parametrize("words", ABSENT)
def test_brackets_that_say_that_it_is_not_there_make_no_category(words: str) -> None:
    for attach in (False, True):
        vocabulary = built(("1", f"dog ({words})"), ("2", "cat"), ("3", "dog (no collar)"), attach=attach)
        assert fate(vocabulary, "1")[0] == ""
        assert fate(vocabulary, "3")[0] == DOG
    below = built(("1", "my thing", f"dog ({words})"), ("2", "cat", ""), columns=("id", "name", "parent"))
    assert fate(below, "1")[0] == ""


@pytest.mark.parametrize(
    "name",
    [
        "everything but dogs",
        "0 dogs",
        "zero dogs",
        "dog, none",
        "negative dog",
        "neither dog nor cat",
        "anything except car",
        "dog or cat",
        "nothing, dog",
    ],
)
def test_negations_and_alternatives_are_attached_to_nothing(name: str) -> None:
    assert fate(built(("1", name), ("2", "cat"), attach=True), "1")[0] == ""


def test_the_advice_is_about_what_the_list_says() -> None:
    rows = [
        ("a", "dog (absent)", "", ""),
        ("b", "thing4", "n13943968", ""),
        ("c", "qux dog", "", "nonexistentnoun"),
        ("d", "tial", "", "d"),
        ("e", "below", "", "two:b6"),
        ("f", "my brand mug", "", ""),
        ("g", "cat", "", ""),
    ]
    frame = pd.DataFrame(rows, columns=["id", "name", "wnid", "parent"])
    advice = {
        "a": "with the confidence 0",
        "b": "correct its wnid, or leave it out",
        "f": "or keep it under 'mug' (attach)",
    }
    advice |= dict.fromkeys("cde", "correct its parent, or leave it out")
    with pytest.warns(UserWarning, match="mine: ") as told:
        ml.build_vocabulary(classes={"mine": frame})
    texts = [str(one.message) for one in told]
    said = {row[0]: next(text for text in texts if f"mine: {row[1]!r}" in text) for row in rows[:6]}
    assert all(said[source_id].endswith(remedy) for source_id, remedy in advice.items()), said
    assert "of an earlier list" in said["e"]


def test_a_near_noun_is_one_that_becomes_a_category(wordnet: WordNet) -> None:
    for name in ("thign", "otter1", "chien", "100%", "belive", "golden retreiver", "hapiness", "elefant"):
        for noun, wnid in near_misses(name, wordnet):
            kept, _ = fate(built(("1", noun, wnid), ("2", "dog", ""), columns=("id", "name", "wnid")), "1")
            assert kept == wnid if wnid else kept


def test_an_unsure_parent_is_told(wordnet: WordNet) -> None:
    vocabulary = built(("1", "thingamabob", "mole"), ("2", "dog", ""), columns=("id", "name", "parent"))
    classes = tuple(SourceClass(row.source_id, row.source_name) for row in vocabulary.mapping)
    (found,) = doubts(vocabulary, [ClassList(source="mine", classes=classes, own=True)], wordnet)
    assert (found.doubtful, found.least[0].source_id, found.least[0].as_parent) == (1, "1", True)

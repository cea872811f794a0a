"""Classes that WordNet has no noun for, as categories of their own below their nearest parent."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING

import networkx as nx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlimages_dataset as ml
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.stage import run
from mlimages_dataset.sources.classes import own_wnid
from mlimages_dataset.vocab.hierarchy import closure_matrix
from mlimages_dataset.vocab.narrower import with_own_categories
from mlimages_dataset.vocab.stage import VocabularyFiles, vocabulary_stage
from mlimages_dataset.vocab.validation import validate

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.vocab.vocabulary import Vocabulary
    from mlimages_dataset.vocab.wordnet import WordNet

DOG, MUG, STREET_SIGN, THOUGHT = "n02084071", "n03797390", "n06794110", "n05833840"
STOP_SIGN = "open-images:/m/02pv19"
COLUMNS = ("id", "name", "wnid", "parent")


def built(*rows: tuple[str, ...], **more: object) -> Vocabulary:
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ml.build_vocabulary(classes={"mine": frame}, **{"narrower": True, **more})  # type: ignore[arg-type]


def above(vocabulary: Vocabulary, key: str) -> list[str]:
    return [category.wnid for category in vocabulary.parents(key)]


@given(st.lists(st.tuples(st.text(), st.text(min_size=1)), unique=True))
def test_no_two_classes_share_an_id_and_none_is_a_wnid(classes: list[tuple[str, str]]) -> None:
    ids = [own_wnid(source, source_id) for source, source_id in classes]
    assert len(set(ids)) == len(ids)
    assert all(":" in one for one in ids)


def test_a_class_with_a_parent_is_a_category_below_it() -> None:
    vocabulary = built(("m", "my brand mug", "", MUG), ("s", "its small one", "", "m"), ("d", "dog", "", ""))
    assert vocabulary.category("mine:m").name == "my brand mug"
    assert vocabulary.category("mine:m").sources == ("mine",)
    assert above(vocabulary, "mine:m") == [MUG]
    assert above(vocabulary, "mine:s") == ["mine:m"]
    assert vocabulary.category(MUG).sources == ("hierarchy",)
    rules = {row.source_id: (row.wnid, row.rule, row.is_broader) for row in vocabulary.mapping}
    assert rules["m"] == ("mine:m", "narrower than the parent given in the list", False)
    assert rules["d"] == (DOG, "first sense", False) or rules["d"][0] == DOG
    assert vocabulary.search("my brand mug")["wnid"].tolist() == ["mine:m"]
    assert vocabulary.index("mine:m") == vocabulary.index("m") == vocabulary.index("My Brand Mug")


def test_the_order_of_a_list_does_not_matter() -> None:
    rows = [("m", "my brand mug", "", MUG), ("s", "its small one", "", "m"), ("t", "its tiny one", "", "s")]
    every = [built(*order) for order in itertools.permutations(rows)]
    assert all(one.categories == every[0].categories for one in every)


def test_a_class_with_an_abstract_parent_is_dropped() -> None:
    row = built(("t", "my thought", "", THOUGHT), ("d", "dog", "", "")).mapping[0]
    assert (row.class_index, row.rule) == (-1, "dropped: abstract")


def test_a_head_word_is_a_parent_too() -> None:
    vocabulary = built(("m", "my brand mug", "", ""), attach=True)
    assert above(vocabulary, "mine:m") == [MUG]
    assert vocabulary.mapping[0].rule == "head word: narrower than it"


def test_only_if_asked() -> None:
    frame = pd.DataFrame([("m", "my brand mug", "", "")], columns=list(COLUMNS))
    told = "is no category of its own: .*; with narrower=True of build_vocabulary, .* it is one below it"
    with pytest.warns(UserWarning, match=told):
        vocabulary = ml.build_vocabulary(classes={"mine": frame}, attach=True)
    assert vocabulary.mapping[0].wnid == MUG


def test_a_class_under_the_parent_that_its_list_gives_is_counted_and_nothing_to_decide(tmp_path: Path) -> None:
    frame = pd.DataFrame([("m", "my brand mug", "", MUG), ("d", "dog", "", "")], columns=list(COLUMNS))
    frame.to_csv(tmp_path / "mine.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vocabulary = ml.build_vocabulary(classes={"mine": frame})
    assert vocabulary.mapping[0].wnid == MUG
    stage = vocabulary_stage(VocabularyFiles(classes=(("mine", tmp_path / "mine.csv"),)))
    summary = run(stage, OutputFolder(tmp_path / "out")).summary
    assert summary.losses == ()
    (told,) = (line for line in summary.lines() if "under the parent" in line)
    assert told.startswith("1 class is kept under the parent that the list gives")


def test_reviewed_parents_have_their_classes_below_them_and_other_lists_name_those(wordnet: WordNet) -> None:
    vocabulary = built(
        ("1", "stop sign", STOP_SIGN, ""),
        ("2", "stop sign of France", "", STOP_SIGN),
        ("4", "another", "open-images:/m/none", MUG),
        ("3", "nothing", "open-images:/m/none", ""),
        open_images="packaged:open_images_boxable.csv",
    )
    assert vocabulary.category(STOP_SIGN).sources == ("open-images", "mine")
    assert vocabulary.category(STOP_SIGN).mids == ("/m/02pv19",)
    assert vocabulary.category(STOP_SIGN).name == "Stop sign"
    assert above(vocabulary, STOP_SIGN) == [STREET_SIGN]
    assert above(vocabulary, "mine:2") == [STOP_SIGN]
    assert above(vocabulary, "mine:4") == [MUG]
    assert {row.source_id: row.rule for row in vocabulary.mapping if row.source == "mine"}[
        "3"
    ] == "dropped: unknown wnid"
    assert not validate(vocabulary, wordnet)


def test_labels_and_absences_are_those_of_the_class_itself(tmp_path: Path) -> None:
    vocabulary = built(("m", "my brand mug", "", MUG), ("d", "dog", "", ""))
    said = pd.DataFrame({"image_id": ["a", "b"], "label": ["m", "mine:m"], "confidence": [1.0, 0.0]})
    annotations = ml.annotate(said, vocabulary)
    assert annotations.to_pandas()[["image_id", "wnid", "confidence"]].to_numpy().tolist() == [
        ["a", "mine:m", 1.0],
        ["b", "mine:m", 0.0],
    ]
    labels = ml.augment(annotations, vocabulary)
    assert MUG in set(labels.to_pandas().query("image_id == 'a'")["wnid"])
    assert set(labels.to_pandas().query("image_id == 'b'")["wnid"]) == {"mine:m"}
    ml.write_vocabulary(vocabulary, tmp_path / "vocabulary")
    assert ml.read_vocabulary(tmp_path / "vocabulary").categories == vocabulary.categories


@st.composite
def forests(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], dict[str, str]]:
    """Return the parents of synsets, and those of categories of their own."""
    synsets = [
        tuple(sorted(draw(st.sets(st.integers(0, n - 1), max_size=2)))) if n else ()
        for n in range(draw(st.integers(1, 8)))
    ]
    own: dict[str, str] = {}
    for name in draw(st.permutations([f"x:{n}" for n in range(draw(st.integers(0, 6)))])):
        known = [f"n{n}" for n in range(len(synsets))] + list(own)
        own[name] = draw(st.sampled_from(known))
    return synsets, own


@settings(max_examples=60)
@given(forests())
def test_ancestors_are_those_of_networkx(forest: tuple[list[tuple[int, ...]], dict[str, str]]) -> None:
    synsets, own = forest
    wnids = [f"n{n}" for n in range(len(synsets))]
    names, parents, closure = with_own_categories(wnids, synsets, closure_matrix(synsets), own)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(wnids)
    graph.add_edges_from((wnids[n], wnids[p]) for n, above_it in enumerate(synsets) for p in above_it)
    graph.add_edges_from(own.items())
    assert list(names) == [*wnids, *sorted(own)]
    for n, name in enumerate(names):
        found = {names[a] for a in closure.indices[closure.indptr[n] : closure.indptr[n + 1]]}
        assert found == nx.descendants(graph, name) | {name}
        assert {names[p] for p in parents[n]} == set(graph.successors(name))

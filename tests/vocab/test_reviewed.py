"""Reviewed decisions: the format, and that none can be made without a reason or against WordNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.core.errors import ConfigError, VocabularyError
from mlimages_dataset.vocab.hierarchy import closure_matrix, edited_parents
from mlimages_dataset.vocab.reviewed import (
    Edge,
    Reviewed,
    ReviewedCategory,
    ReviewedMatch,
    packaged_reviewed,
    parse_reviewed,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.vocab.wordnet import WordNet

DOG, PET, ANIMAL, PUPPY = "n02084071", "n01318894", "n00015388", "n01322604"


def edge(child: str, parent: str, *, add: bool = True) -> Edge:
    return Edge(child=child, parent=parent, add=add, reason="a reason", where="reviewed.toml, row")


def test_every_table_is_read() -> None:
    text = f"""
        [[match]]
        source = "open-images"
        source_id = "/m/01yrx"
        wnid = ""
        reason = "a musical"
        [[match_parent]]
        source = "open-images"
        source_id = "/m/02pv19"
        wnid = "{ANIMAL}"
        reason = "the nearest"
        [[add_category]]
        wnid = "{DOG}"
        reason = "wanted"
        [[drop_category]]
        wnid = "{PET}"
        reason = "a role"
        [[add_edge]]
        child = "{DOG}"
        parent = "{PET}"
        reason = "kept for company"
        [[remove_edge]]
        child = "{DOG}"
        parent = "{ANIMAL}"
        reason = "no more"
    """
    assert parse_reviewed(text, "r.toml") == Reviewed(
        matches=(
            ReviewedMatch(
                source="open-images", source_id="/m/01yrx", wnid="", reason="a musical", where="r.toml, match 1"
            ),
            ReviewedMatch(
                source="open-images",
                source_id="/m/02pv19",
                wnid=ANIMAL,
                reason="the nearest",
                where="r.toml, match_parent 1",
                broader=True,
            ),
        ),
        categories=(
            ReviewedCategory(wnid=DOG, add=True, reason="wanted", where="r.toml, add_category 1"),
            ReviewedCategory(wnid=PET, add=False, reason="a role", where="r.toml, drop_category 1"),
        ),
        edges=(
            Edge(child=DOG, parent=PET, add=True, reason="kept for company", where="r.toml, add_edge 1"),
            Edge(child=DOG, parent=ANIMAL, add=False, reason="no more", where="r.toml, remove_edge 1"),
        ),
    )


def test_an_empty_file_decides_nothing() -> None:
    assert parse_reviewed("", "r.toml") == Reviewed()


ADD_DOG = f'[[add_category]]\nwnid = "{DOG}"\nreason = "x"\n'
DROP_DOG = f'[[drop_category]]\nwnid = "{DOG}"\nreason = "x"\n'
DOG_TO_PET = f'[[add_edge]]\nchild = "{DOG}"\nparent = "{PET}"\nreason = "x"\n'
DOG_MATCH = f'[[match]]\nsource = "s"\nsource_id = "1"\nwnid = "{DOG}"\nreason = "x"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[add_edge]", "r.toml: is not valid TOML"),
        ("[[edges]]\n", "r.toml: unknown table 'edges'; use match, match_parent, add_category"),
        ("match = 3\n", "r.toml: match is not a list of tables; write [[match]]"),
        ("[match]\n", "r.toml: match is not a list of tables; write [[match]]"),
        ("match = [3]\n", "r.toml, match 1: is not a table"),
        (DOG_TO_PET + 'why = "x"\n', "r.toml, add_edge 1: unknown key 'why'; use child, parent, reason"),
        (DOG_TO_PET.replace('reason = "x"\n', ""), "r.toml, add_edge 1: no reason; every row gives each key"),
        (DOG_TO_PET.replace('"x"', '""'), "r.toml, add_edge 1: no reason"),
        (DOG_TO_PET.replace('"x"', "3"), 'r.toml, add_edge 1: reason is 3, no text; write reason = "3"'),
        (DOG_TO_PET.replace('"x"', "true"), 'r.toml, add_edge 1: reason is true, no text; write reason = "true"'),
        (DOG_TO_PET.replace('"x"', "2026-01-01"), "r.toml, add_edge 1: reason is 2026-01-01, no text; write"),
        (DOG_TO_PET.replace('"x"', '["x"]'), "r.toml, add_edge 1: reason is ['x'], no text; give one text"),
        (DOG_TO_PET.replace('"x"', '" "'), "r.toml, add_edge 1: no reason"),
        (DOG_MATCH.replace(DOG, " "), "r.toml, match 1: no wnid"),
        (ADD_DOG.replace(DOG, ""), "r.toml, add_category 1: no wnid"),
        (ADD_DOG + ADD_DOG, f"r.toml, add_category 2: a second decision on {DOG}"),
        (ADD_DOG + DROP_DOG, f"r.toml, drop_category 1: a second decision on {DOG}"),
        (DOG_TO_PET + DOG_TO_PET, f"r.toml, add_edge 2: a second edge {DOG} -> {PET}"),
        (
            DOG_TO_PET + DOG_TO_PET.replace("add", "remove"),
            f"r.toml, remove_edge 1: a second edge {DOG} -> {PET}; keep one of it and r.toml, add_edge 1",
        ),
        (DOG_MATCH + DOG_MATCH, "r.toml, match 2: a second match of s 1"),
        (DOG_MATCH + DOG_MATCH.replace("match", "match_parent"), "r.toml, match_parent 1: a second match of s 1"),
        (DOG_MATCH.replace("match", "match_parent").replace(DOG, ""), "r.toml, match_parent 1: no wnid"),
        (DOG_MATCH + DROP_DOG, f"r.toml, match 1: s 1 is {DOG}, which is dropped; keep one of it and r.toml, drop_c"),
        (DROP_DOG + DOG_MATCH.replace("match", "match_parent"), f"r.toml, match_parent 1: s 1 is {DOG}, which is"),
    ],
)
def test_a_row_that_cannot_be_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_reviewed(text, "r.toml")
    assert str(caught.value).startswith(sentence)


def test_blanks_around_a_wnid_do_not_count() -> None:
    for text in (ADD_DOG, DROP_DOG, DOG_TO_PET, DOG_MATCH):
        assert parse_reviewed(text.replace(DOG, f" {DOG}\\t"), "r.toml") == parse_reviewed(text, "r.toml")


def test_edges_are_added_behind_wordnets_own_and_removed(mini_wordnet: WordNet) -> None:
    number = mini_wordnet.index_of_wnid
    parents = edited_parents(mini_wordnet, [edge(DOG, PET), edge(DOG, "n02083346", add=False)])
    assert parents[number[DOG]] == (number["n01317541"], number[PET])
    untouched = [s for s in range(len(mini_wordnet)) if s != number[DOG]]
    assert all(parents[s] == mini_wordnet.parents(s) for s in untouched)


@pytest.mark.parametrize(
    ("edges", "what"),
    [
        ([edge("n99999999", PET)], "n99999999 is not a noun synset of WordNet 3.0"),
        ([edge(DOG, "dog")], "dog is not a noun synset of WordNet 3.0"),
        ([edge(PET, ANIMAL)], f"the edge {PET} -> {ANIMAL} is in WordNet or added already"),
        ([edge(DOG, PET), edge(DOG, PET)], "is in WordNet or added already"),
        ([edge(DOG, PET, add=False)], "does not exist"),
        ([edge(ANIMAL, PUPPY)], f"the edge {ANIMAL} -> {PUPPY} closes a cycle"),
        ([edge(DOG, DOG)], f"the edge {DOG} -> {DOG} closes a cycle"),
        ([edge(DOG, PET), edge(PET, PUPPY)], "closes a cycle"),
    ],
)
def test_an_edge_that_does_not_fit_wordnet_is_refused(mini_wordnet: WordNet, edges: list[Edge], what: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        edited_parents(mini_wordnet, edges)
    assert what in caught.value.what
    assert caught.value.where == "reviewed.toml, row"


def test_the_packaged_decisions_fit_wordnet(wordnet: WordNet) -> None:
    reviewed = parse_reviewed(packaged_reviewed(), "reviewed.toml")
    assert all(row.wnid in wordnet.index_of_wnid for row in reviewed.matches if row.wnid)
    closure_matrix(edited_parents(wordnet, reviewed.edges))


def test_no_packaged_edge_is_implied_by_the_others(wordnet: WordNet) -> None:
    edges = parse_reviewed(packaged_reviewed(), "reviewed.toml").edges
    parents = edited_parents(wordnet, edges)
    number = wordnet.index_of_wnid
    for edge_ in edges:
        child, parent = number[edge_.child], number[edge_.parent]
        others = [*parents[:child], tuple(p for p in parents[child] if p != parent), *parents[child + 1 :]]
        assert parent not in above(child, others), f"{edge_.where}: {edge_.child} -> {edge_.parent} changes nothing"


def above(synset: int, parents: Sequence[Sequence[int]]) -> set[int]:
    """Return everything above a synset."""
    found: set[int] = set()
    frontier = [synset]
    while frontier:
        frontier = [parent for node in frontier for parent in parents[node] if parent not in found]
        found.update(frontier)
    return found

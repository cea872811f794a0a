"""The hierarchy against networkx: on random graphs, and on ImageNet's list and WordNet's own files."""

from __future__ import annotations

import itertools
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import VocabularyError
from mlimages_dataset.sources.class_lists import parse_tencent_dictionary
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.tables.files import read_lines
from mlimages_dataset.vocab.hierarchy import (
    ROOTS,
    Hierarchy,
    build_hierarchy,
    closure_matrix,
    edited_parents,
    longest_paths,
    reachable_roots,
    tree_of,
)
from mlimages_dataset.vocab.merging import ClassList, merged_vocabulary
from mlimages_dataset.vocab.reviewed import Edge, Reviewed, packaged_reviewed, parse_reviewed
from mlimages_dataset.vocab.vocabulary import IMAGENET, Vocabulary

if TYPE_CHECKING:
    from mlimages_dataset.vocab.wordnet import WordNet

DATA_NOUN = Path("/usr/share/wordnet/data.noun")


@st.composite
def acyclic_parents(draw: st.DrawFn, max_nodes: int = 14) -> list[tuple[int, ...]]:
    """Draw a random acyclic graph: the parents of each node, numbered in no particular order."""
    n = draw(st.integers(1, max_nodes))
    name = draw(st.permutations(range(n)))
    parents: dict[int, tuple[int, ...]] = {}
    for node in range(n):
        above = draw(st.sets(st.integers(0, node - 1), max_size=4)) if node else set()
        parents[name[node]] = tuple(name[p] for p in above)
    return [parents[node] for node in range(n)]


@st.composite
def rooted_wordnets(draw: st.DrawFn) -> tuple[list[str], list[tuple[int, ...]], set[str]]:
    """Draw wnids, parents under the four roots, and a vocabulary with the roots."""
    below = draw(acyclic_parents())
    wnids = sorted([*ROOTS, *(f"n9{i:07d}" for i in range(len(below)))])
    number = {wnid: i for i, wnid in enumerate(wnids)}
    parents: list[tuple[int, ...]] = [()] * len(wnids)
    for i, above in enumerate(below):
        roots = draw(st.sets(st.sampled_from(ROOTS), min_size=0 if above else 1, max_size=2))
        parents[number[f"n9{i:07d}"]] = tuple(number[f"n9{p:07d}"] for p in above) + tuple(number[r] for r in roots)
    vocabulary = draw(st.sets(st.sampled_from(wnids)))
    return wnids, parents, vocabulary | set(ROOTS)


def graph_of(parents: list[tuple[int, ...]]) -> nx.DiGraph[int]:
    """Return networkx's graph with an edge from each node to each of its parents."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(parents)))
    graph.add_edges_from((node, parent) for node, above in enumerate(parents) for parent in above)
    return graph


def built(wnids: list[str], parents: list[tuple[int, ...]], vocabulary: set[str]) -> Hierarchy:
    return build_hierarchy(vocabulary, wnids, parents, closure_matrix(parents))


@given(acyclic_parents())
def test_closure_is_networkx_reflexive_transitive_closure(parents: list[tuple[int, ...]]) -> None:
    graph = graph_of(parents)
    expected = {(node, above) for node in graph for above in {node, *nx.descendants(graph, node)}}
    closure = closure_matrix(parents)
    assert set(zip(*map(np.ndarray.tolist, closure.nonzero()), strict=True)) == expected
    assert closure.dtype == bool
    assert closure.has_sorted_indices


@given(acyclic_parents())
def test_closure_is_idempotent(parents: list[tuple[int, ...]]) -> None:
    closure = closure_matrix(parents)
    again = closure_matrix([tuple(p for p in closure[[n]].indices.tolist() if p != n) for n in range(len(parents))])
    assert (closure.toarray() == again.toarray()).all()


@given(acyclic_parents())
def test_longest_paths_are_networkx_generations(parents: list[tuple[int, ...]]) -> None:
    generations = nx.topological_generations(graph_of(parents).reverse())
    assert longest_paths(parents) == [
        level for _, level in sorted((node, level) for level, nodes in enumerate(generations) for node in nodes)
    ]


@given(acyclic_parents(), st.data())
def test_reachable_roots(parents: list[tuple[int, ...]], data: st.DataObject) -> None:
    roots = data.draw(st.sets(st.integers(0, len(parents) - 1), min_size=1))
    graph = graph_of(parents)
    expected = [bool(roots & {node, *nx.descendants(graph, node)}) for node in range(len(parents))]
    assert reachable_roots(closure_matrix(parents), sorted(roots)).tolist() == expected


@pytest.mark.parametrize("parents", [[(0,)], [(1,), (0,)], [(), (2,), (3,), (1,)]])
def test_a_cycle_is_refused_with_its_members(parents: list[tuple[int, ...]]) -> None:
    members = [node for node in range(len(parents)) if parents[node]]
    with pytest.raises(VocabularyError) as caught:
        closure_matrix(parents)
    assert caught.value.what == f"the parents form a cycle through {members}"


@given(rooted_wordnets())
def test_parents_are_networkx_transitive_reduction(
    drawn: tuple[list[str], list[tuple[int, ...]], set[str]],
) -> None:
    wnids, parents, vocabulary = drawn
    graph = graph_of(parents)
    between = nx.DiGraph(
        (wnids[node], wnids[above])
        for node in graph
        for above in nx.descendants(graph, node)
        if {wnids[node], wnids[above]} <= vocabulary
    )
    between.add_nodes_from(vocabulary)
    reduction = nx.transitive_reduction(between)
    hierarchy = built(wnids, parents, vocabulary)
    assert {
        wnid: {hierarchy.wnids[p] for p in above}
        for wnid, above in zip(hierarchy.wnids, hierarchy.parents, strict=True)
    } == {wnid: set(reduction[wnid]) for wnid in vocabulary}


@given(rooted_wordnets())
def test_parents_come_before_children_and_the_roots_first(
    drawn: tuple[list[str], list[tuple[int, ...]], set[str]],
) -> None:
    hierarchy = built(*drawn)
    assert hierarchy.wnids[: len(ROOTS)] == ROOTS
    assert all(parent < c for c, above in enumerate(hierarchy.parents) for parent in above)
    assert all(list(above) == sorted(set(above)) for above in hierarchy.parents)


@given(rooted_wordnets())
def test_the_primary_parents_are_a_forest_under_the_roots(
    drawn: tuple[list[str], list[tuple[int, ...]], set[str]],
) -> None:
    hierarchy = built(*drawn)
    tree: nx.DiGraph[int] = nx.DiGraph((p, c) for c, p in enumerate(hierarchy.parent) if p >= 0)
    tree.add_nodes_from(range(len(hierarchy.wnids)))
    assert nx.is_branching(tree)
    for c, (above, primary) in enumerate(zip(hierarchy.parents, hierarchy.parent, strict=True)):
        assert primary in above if above else (primary, hierarchy.wnids[c] in ROOTS) == (-1, True)
        assert nx.shortest_path_length(tree, hierarchy.root[c], c) == hierarchy.depth[c]


@given(rooted_wordnets())
def test_no_parent_is_nearer_than_the_primary_one(drawn: tuple[list[str], list[tuple[int, ...]], set[str]]) -> None:
    wnids, parents, vocabulary = drawn
    graph, hierarchy = graph_of(parents), built(wnids, parents, vocabulary)
    synset = [wnids.index(wnid) for wnid in hierarchy.wnids]

    def edges(c: int, above: int) -> int:
        return int(nx.shortest_path_length(graph, synset[c], synset[above]))

    for c, above in enumerate(hierarchy.parents):
        if above:
            assert edges(c, hierarchy.parent[c]) == min(edges(c, parent) for parent in above)


@given(st.data())
def test_tree_of_takes_nodes_in_any_order(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 20))
    parent = [-1] + [data.draw(st.integers(-1, node - 1)) for node in range(1, n)]
    name = data.draw(st.permutations(range(n)))
    root, depth = tree_of(parent)
    renamed = [-1] * n
    for node, above in enumerate(parent):
        renamed[name[node]] = name[above] if above >= 0 else -1
    renamed_root, renamed_depth = tree_of(renamed)
    assert [renamed_root[name[node]] for node in range(n)] == [name[r] for r in root]
    assert [renamed_depth[name[node]] for node in range(n)] == list(depth)
    assert all(depth[node] == (depth[parent[node]] + 1 if parent[node] >= 0 else 0) for node in range(n))


def test_a_category_under_no_root_is_refused(mini_wordnet: WordNet) -> None:
    parents = edited_parents(mini_wordnet, ())
    with pytest.raises(VocabularyError, match="n00482298 reaches none of the four roots"):
        build_hierarchy({*ROOTS, "n00482298"}, mini_wordnet.wnids, parents, closure_matrix(parents))


def test_equally_near_parents_are_chosen_by_their_distance_to_a_root_then_by_wnid() -> None:
    wnids = [*sorted(ROOTS), "n90000001", "n90000002", "n90000003", "n90000004"]
    thing = wnids.index("n00002452")
    low, near, lowest, child = 4, 5, 6, 7
    parents: list[tuple[int, ...]] = [()] * 8
    parents[low], parents[near], parents[lowest] = (lowest,), (thing,), (thing,)
    parents[child] = (low, near)
    hierarchy = built(wnids, parents, {*ROOTS, wnids[low], wnids[near], wnids[child]})
    assert hierarchy.wnids[hierarchy.parent[-1]] == wnids[near]
    parents[low] = (thing,)
    hierarchy = built(wnids, parents, {*ROOTS, wnids[low], wnids[near], wnids[child]})
    assert hierarchy.wnids[hierarchy.parent[-1]] == wnids[low]


@pytest.fixture(scope="module")
def imagenet_list() -> ClassList:
    """Return the 11,221 synsets of ImageNet-11k."""
    text = (resources.files("mlimages_dataset.vocab") / "data" / "imagenet11k.txt").read_text("utf-8")
    return ClassList(source=IMAGENET, classes=tuple(SourceClass(wnid, "") for wnid in text.split()))


def imagenet_vocabulary(imagenet: ClassList, wordnet: WordNet, reviewed: Reviewed) -> Vocabulary:
    return merged_vocabulary([imagenet], wordnet, reviewed, image_counts={}, imagenet_all=frozenset(), box_parents={})


@pytest.fixture(scope="module", params=["WordNet alone", "with the packaged edges"])
def reviewed(request: pytest.FixtureRequest) -> Reviewed:
    """Return no reviewed decisions, then the packaged ones."""
    alone = request.param == "WordNet alone"
    return Reviewed() if alone else parse_reviewed(packaged_reviewed(), "reviewed.toml")


@pytest.mark.slow
def test_ancestors_of_imagenet_are_those_that_networkx_finds_in_wordnets_own_file(
    imagenet_list: ClassList, wordnet: WordNet, reviewed: Reviewed
) -> None:
    if not DATA_NOUN.is_file():
        pytest.skip(f"WordNet's own files are not in {DATA_NOUN.parent}: install Debian's wordnet-base")
    vocabulary = imagenet_vocabulary(imagenet_list, wordnet, reviewed)
    graph: nx.DiGraph[str] = nx.DiGraph()
    for line in DATA_NOUN.read_text("utf-8").splitlines():
        if not line.startswith("  "):
            fields = line.partition("|")[0].split()
            above = [f"n{at}" for kind, at in itertools.pairwise(fields) if kind in {"@", "@i"}]
            graph.add_edges_from((f"n{line[:8]}", wnid) for wnid in above)
    graph.add_edges_from((edge.child, edge.parent) for edge in reviewed.edges if edge.add)
    graph.remove_edges_from((edge.child, edge.parent) for edge in reviewed.edges if not edge.add)
    kept = vocabulary.index_of_wnid
    closure = vocabulary.closure
    for c, category in enumerate(vocabulary.categories):
        ancestors = closure.indices[closure.indptr[c] : closure.indptr[c + 1]].tolist()
        expected = {kept[wnid] for wnid in {category.wnid, *nx.descendants(graph, category.wnid)} if wnid in kept}
        assert set(ancestors) == expected


def test_most_of_imagenet_is_under_the_roots_and_each_dropped_class_has_its_reason(
    imagenet_list: ClassList, wordnet: WordNet, reviewed: Reviewed
) -> None:
    vocabulary = imagenet_vocabulary(imagenet_list, wordnet, reviewed)
    dropped = [row for row in vocabulary.mapping if row.class_index < 0]
    assert len(vocabulary.mapping) == 11_221
    assert len(vocabulary.mapping) - len(dropped) >= 10_900
    assert all(row.rule == "dropped: abstract" and row.evidence.endswith("abstraction < entity") for row in dropped)
    assert len(dropped) == (264 if reviewed.edges else 288)


def test_signs_belts_and_pets_of_the_packaged_edges(imagenet_list: ClassList, wordnet: WordNet) -> None:
    reviewed = parse_reviewed(packaged_reviewed(), "reviewed.toml")
    vocabulary = imagenet_vocabulary(imagenet_list, wordnet, reviewed)
    number = vocabulary.index_of_wnid
    device, pet, livestock, poodle, cow = "n03183080", "n01318894", "n01887474", "n02113335", "n02403454"
    for child, parent in [
        ("n06874185", device),
        ("n06794110", device),
        ("n03320262", device),
        (poodle, pet),
        (cow, livestock),
    ]:
        assert vocabulary.closure[number[child], number[parent]]
    chicken = number["n01791625"]
    assert not vocabulary.closure[chicken, number[livestock]]


@pytest.mark.shared_data
def test_the_primary_parent_is_often_the_published_one(shared_data: Path, wordnet: WordNet) -> None:
    file = "tencent/dictionary_first_9418.txt"
    rows = parse_tencent_dictionary(read_lines(shared_data / file), file)
    by_hand = [
        ("n09229709", "n03964744"),
        ("n06791372", "n03183080"),
        ("n06793231", "n06791372"),
        ("n06794110", "n06791372"),
    ]
    edges = [Edge(child=child, parent=parent, add=True, reason="WordTree", where="") for child, parent in by_hand]
    parents = edited_parents(wordnet, edges)
    hierarchy = build_hierarchy({row.wnid for row in rows}, wordnet.wnids, parents, closure_matrix(parents))
    published = {row.wnid: rows[row.parent].wnid for row in rows if row.parent >= 0}
    choices = {
        wnid: ([hierarchy.wnids[p] for p in above], hierarchy.wnids[primary])
        for wnid, above, primary in zip(hierarchy.wnids, hierarchy.parents, hierarchy.parent, strict=True)
        if len(above) > 1
    }
    possible = [wnid for wnid, (above, _) in choices.items() if published[wnid] in above]
    assert (len(choices), len(possible)) == (232, 215)
    assert sum(choices[wnid][1] == published[wnid] for wnid in possible) == 146
    assert max(hierarchy.depth) == 16

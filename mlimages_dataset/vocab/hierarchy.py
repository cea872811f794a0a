"""The hierarchy over a vocabulary: a DAG under the four roots, its closure, and one primary parent for tree views.

WordNet is a DAG. Every nearest vocabulary ancestor of a category is a parent, so the ancestors of a category are
exactly its WordNet ancestors that are in the vocabulary (Tencent ML-Images, section 3.2, keeps one parent and loses
some of them).

Legend: S synsets of WordNet, C categories.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core import sparse as sp
from mlimages_dataset.core.errors import VocabularyError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.vocab.reviewed import Edge
    from mlimages_dataset.vocab.wordnet import WordNet

ROOTS = ("n00002452", "n00020827", "n00002684", "n11425580")
"""Thing, matter, (physical) object, atmospheric phenomenon (Tencent ML-Images, section 3.2)."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The hierarchy over C categories numbered so that parents come before children.

    Attributes:
        wnids: id of each category, shape (C,).
        parents: for each category its nearest vocabulary ancestors, ascending; empty at a root.
        parent: the primary parent, -1 at a root: of `parents` the one at the fewest WordNet edges, then the nearest to
            a root, then the lowest wnid.
        root: number of the root that primary parents lead to.
        depth: edges from that root along primary parents.
    """

    wnids: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...]
    parent: tuple[int, ...]
    root: tuple[int, ...]
    depth: tuple[int, ...]


def has_order(parents: Sequence[Sequence[int]]) -> bool:
    """Return whether nodes can be ordered so that each comes after its parents, which are numbers in 0..N-1."""
    return _is_acyclic(*_edges(parents), len(parents))


def closure_matrix(parents: Sequence[Sequence[int]]) -> sp.csr_array:
    """Return the reflexive ancestor matrix, shape (N, N), true at (node, ancestor), column indices ascending.

    Raises:
        VocabularyError: the parents form a cycle.
    """
    n = len(parents)
    edges = _parent_matrix(parents)
    if not has_order(parents):
        component = _strong_components(edges)
        members = np.flatnonzero((np.bincount(component)[component] > 1) | edges.diagonal())
        raise VocabularyError(f"the parents form a cycle through {members[:5].tolist()}")
    closure = sp.csr_array((edges + sp.eye_array(n, dtype=bool, format="csr")).astype(bool))
    while True:  # doubles the length of the paths covered
        longer = sp.csr_array((closure @ closure).astype(bool))
        if longer.nnz == closure.nnz:
            longer.sort_indices()
            return longer
        closure = longer


def longest_paths(parents: Sequence[Sequence[int]]) -> list[int]:
    """Return for each node of an acyclic graph the edges on the longest way up to a node without parents."""
    levels = [-1] * len(parents)
    for start in range(len(parents)):
        pending = [start]
        while pending:
            node = pending[-1]
            waiting = [parent for parent in parents[node] if levels[parent] < 0]
            if waiting:
                pending += waiting
            else:
                levels[node] = max((levels[parent] + 1 for parent in parents[node]), default=0)
                pending.pop()
    return levels


def edited_parents(network: WordNet, edges: Sequence[Edge]) -> list[tuple[int, ...]]:
    """Return each synset's parents, shape (S,), with reviewed edges added and removed.

    Raises:
        VocabularyError: an edge names an unknown synset, is to be added but exists, is to be removed but does not
            exist, or closes a cycle.
    """
    parents = [network.parents(synset) for synset in range(len(network))]
    for edge in edges:
        child, parent = (_synset(network, wnid, edge.where) for wnid in (edge.child, edge.parent))
        if edge.add == (parent in parents[child]):
            state = "is in WordNet or added already" if edge.add else "does not exist"
            raise VocabularyError(
                f"the edge {edge.child} -> {edge.parent} {state}", where=edge.where, remedy="delete the row"
            )
        kept = tuple(p for p in parents[child] if p != parent)
        parents[child] = (*kept, parent) if edge.add else kept
    _refuse_cycles(network, parents, edges)
    return parents


def reachable_roots(closure: sp.csr_array, roots: Sequence[int]) -> NDArray[np.bool_]:
    """Return whether each node has one of `roots` among its ancestors, shape (N,)."""
    return np.asarray(closure[:, list(roots)].sum(axis=1)).ravel() > 0


def build_hierarchy(
    wnids: Collection[str],
    wordnet_wnids: Sequence[str],
    wordnet_parents: Sequence[Sequence[int]],
    closure: sp.csr_array,
) -> Hierarchy:
    """Return the hierarchy over a vocabulary.

    Args:
        wnids: the vocabulary, the four roots included.
        wordnet_wnids: id of every synset, ascending, shape (S,).
        wordnet_parents: every synset's parents, reviewed edges applied, shape (S,).
        closure: `closure_matrix(wordnet_parents)`, shape (S, S).

    Raises:
        VocabularyError: a category reaches no root.
    """
    chosen = np.flatnonzero(np.isin(wordnet_wnids, list(wnids))).tolist()
    ancestors = closure[chosen][:, chosen]
    nearest = _nearest_ancestors(ancestors)
    order = _topological_order(nearest, [wordnet_wnids[s] for s in chosen])
    number = {chosen[old]: new for new, old in enumerate(order)}
    synsets = [chosen[old] for old in order]
    position = {old: new for new, old in enumerate(order)}
    parents = tuple(tuple(sorted(position[p] for p in nearest[old])) for old in order)
    distance = _edge_counter(wordnet_parents)
    roots = [number[s] for s in synsets if wordnet_wnids[s] in ROOTS]
    for category, above in enumerate(parents):
        if not above and category not in roots:
            raise VocabularyError(f"{wordnet_wnids[synsets[category]]} reaches none of the four roots")

    def preference(category: int, parent: int) -> tuple[int, int, int]:
        to_root = min(distance(synsets[parent], synsets[root]) for root in roots)
        return distance(synsets[category], synsets[parent]), to_root, synsets[parent]

    parent = tuple(min(above, key=functools.partial(preference, c), default=-1) for c, above in enumerate(parents))
    root, depth = tree_of(parent)
    return Hierarchy(tuple(wordnet_wnids[s] for s in synsets), parents, parent, root, depth)


def tree_of(parent: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return each node's root and its distance from it in edges, along `parent` (-1 at a root); nodes in any order."""
    root, depth = [-1] * len(parent), [0] * len(parent)
    for start in range(len(parent)):
        path = []
        node = start
        while root[node] < 0 and parent[node] >= 0:
            path.append(node)
            node = parent[node]
        if root[node] < 0:
            root[node] = node
        for below in reversed(path):
            root[below], depth[below] = root[node], depth[parent[below]] + 1
    return tuple(root), tuple(depth)


def _parent_matrix(parents: Sequence[Sequence[int]]) -> sp.csr_array:
    nodes, above = _edges(parents)
    return sp.csr_array((np.ones(len(above), bool), (nodes, above)), shape=(len(parents), len(parents)))


def _edges(parents: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the node and the parent of each of E edges, shapes (E,)."""
    counts = np.fromiter((len(above) for above in parents), np.int64, len(parents))
    every = np.fromiter((p for above in parents for p in above), np.int64, int(counts.sum()))
    return np.repeat(np.arange(len(parents)), counts), every


def _is_acyclic(nodes: NDArray[np.int64], above: NDArray[np.int64], n: int) -> bool:
    """Return whether a graph of `n` nodes has no cycle, by its edges; without scipy, which reading does not need."""
    left = np.ones(n, bool)
    while left.any():
        blocked = left & (np.bincount(nodes, left[above], n) > 0)
        if blocked.sum() == left.sum():
            return False
        left = blocked
    return True


def _strong_components(edges: sp.csr_array) -> NDArray[np.int32]:
    """Return the number of the strongly connected component of each node, shape (N,)."""
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415 - it takes 0.1 s, and few need it

    component: NDArray[np.int32] = connected_components(edges, directed=True, connection="strong")[1]
    return component


def _nearest_ancestors(closure: sp.csr_array) -> list[tuple[int, ...]]:
    """Return each node's ancestors without another node between them (the transitive reduction of the closure)."""
    strict = (closure - sp.eye_array(closure.shape[0], dtype=np.int8, format="csr")).astype(np.int32)
    strict.eliminate_zeros()
    reduction = strict - strict.multiply((strict @ strict) > 0)
    reduction = sp.csr_array(reduction)
    reduction.eliminate_zeros()
    return [
        tuple(reduction.indices[start:stop].tolist())
        for start, stop in zip(reduction.indptr[:-1], reduction.indptr[1:], strict=True)
    ]


def _topological_order(parents: Sequence[Sequence[int]], wnids: Sequence[str]) -> list[int]:
    levels = longest_paths(parents)
    rank = {wnid: i for i, wnid in enumerate(ROOTS)}
    return sorted(range(len(parents)), key=lambda node: (levels[node], rank.get(wnids[node], len(ROOTS)), wnids[node]))


def _edge_counter(parents: Sequence[Sequence[int]]) -> Callable[[int, int], int]:
    """Return a function that gives the fewest edges from a node up to an ancestor, or a large number for none."""

    @functools.cache
    def distances(node: int) -> Mapping[int, int]:
        found = {node: 0}
        for parent in parents[node]:
            for ancestor, edges in distances(parent).items():
                found[ancestor] = min(edges + 1, found.get(ancestor, edges + 1))
        return found

    return lambda node, ancestor: distances(node).get(ancestor, len(parents))


def _refuse_cycles(network: WordNet, parents: Sequence[Sequence[int]], edges: Sequence[Edge]) -> None:
    component = _strong_components(_parent_matrix(parents))
    for edge in reversed(edges):  # the last one closed it
        child, parent = network.index_of_wnid[edge.child], network.index_of_wnid[edge.parent]
        if edge.add and component[child] == component[parent]:
            raise VocabularyError(
                f"the edge {edge.child} -> {edge.parent} closes a cycle",
                where=edge.where,
                remedy="delete the row: the parent is a descendant of the child",
            )


def _synset(network: WordNet, wnid: str, where: str) -> int:
    if wnid not in network.index_of_wnid:
        raise VocabularyError(f"{wnid} is not a noun synset of WordNet 3.0", where=where, remedy="correct the id")
    return network.index_of_wnid[wnid]

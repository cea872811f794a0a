"""An audit counts what a walk over each row with networkx counts."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.augment.audit import AuditCounts, Consistency, audit_rows, most_frequent
from mlimages_dataset.augment.label_audit import audit
from mlimages_dataset.core.decoding import RECORDS, encode
from mlimages_dataset.tables.label_columns import LabelColumns
from mlimages_dataset.vocab.stage import read_tencent_dictionary
from tests.augment.strategies import CONFIDENCES, closure_of, hierarchies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import scipy.sparse as sp
    from numpy.typing import NDArray

Said = list[tuple[int, float]]
"""The labels of a row as a foreign list may say them: in any order, repeated, of unknown classes."""


class Walked(NamedTuple):
    """What a walk over rows finds; pairs are (category, ancestor)."""

    closed: int
    monotone: int
    unknown: int
    repeated: int
    missing: Counter[tuple[int, int]]
    lower: Counter[tuple[int, int]]


def walked(rows: Sequence[Said], hierarchy: nx.DiGraph[int]) -> Walked:
    missing: Counter[tuple[int, int]] = Counter()
    lower: Counter[tuple[int, int]] = Counter()
    closed = monotone = unknown = repeated = 0
    for row in rows:
        known = [(c, p) for c, p in row if c in hierarchy]
        best = {c: max(p for other, p in known if other == c) for c, _ in known}
        unknown += len(row) - len(known)
        repeated += len(known) - len(best)
        present = {c: p for c, p in best.items() if p > 0}
        gaps = [(c, a) for c in present for a in nx.descendants(hierarchy, c) if a not in present]
        falls = [(c, a) for c in present for a in nx.descendants(hierarchy, c) if present.get(a, 1) < present[c]]
        missing.update(gaps)
        lower.update(falls)
        closed += not gaps
        monotone += not falls
    return Walked(closed, monotone, unknown, repeated, missing, lower)


def columns_as_said(rows: Sequence[Said]) -> LabelColumns:
    return LabelColumns(
        np.cumsum([0, *map(len, rows)], dtype=np.int32),
        np.array([c for row in rows for c, _ in row], np.int32),
        np.array([p for row in rows for _, p in row], np.float32),
        np.zeros(sum(map(len, rows)), np.uint8),
    )


def pairs(counts: NDArray[np.int64], closure: sp.csr_array) -> dict[tuple[int, int], int]:
    entries = closure.tocoo()
    found = zip(entries.row.tolist(), entries.col.tolist(), counts.tolist(), strict=True)
    return {(c, a): n for c, a, n in found if n}


@st.composite
def cases(draw: st.DrawFn) -> tuple[nx.DiGraph[int], list[Said]]:
    hierarchy = draw(hierarchies())
    classes = st.integers(0, len(hierarchy) - 1) | st.sampled_from([-1, len(hierarchy), 2**31 - 1])
    return hierarchy, draw(st.lists(st.lists(st.tuples(classes, CONFIDENCES), max_size=8), max_size=5))


@given(cases())
@pytest.mark.slow
def test_an_audit_counts_what_a_walk_counts(case: tuple[nx.DiGraph[int], list[Said]]) -> None:
    hierarchy, rows = case
    closure = closure_of(hierarchy)
    counts = audit_rows(columns_as_said(rows), closure)
    expected = walked(rows, hierarchy)
    assert counts.rows == len(rows)
    assert (counts.closed, counts.monotone) == (expected.closed, expected.monotone)
    assert (counts.unknown, counts.repeated_labels) == (expected.unknown, expected.repeated)
    assert pairs(counts.missing, closure) == expected.missing
    assert pairs(counts.lower, closure) == expected.lower


@given(cases(), st.data())
def test_counts_of_parts_add_up(case: tuple[nx.DiGraph[int], list[Said]], data: st.DataObject) -> None:
    hierarchy, rows = case
    closure = closure_of(hierarchy)
    at = data.draw(st.integers(0, len(rows)))
    whole = audit_rows(columns_as_said(rows), closure)
    parts = sum(
        (audit_rows(columns_as_said(part), closure) for part in (rows[:at], rows[at:])), AuditCounts.empty(closure)
    )
    for name in AuditCounts.__slots__:
        assert np.array_equal(getattr(parts, name), getattr(whole, name))


@given(cases(), st.data())
def test_consistency_sums_an_audit_by_ancestor_and_survives_its_journal(
    case: tuple[nx.DiGraph[int], list[Said]], data: st.DataObject
) -> None:
    hierarchy, rows = case
    closure = closure_of(hierarchy)
    at = data.draw(st.integers(0, len(rows)))
    first, second = (
        Consistency.of(audit_rows(columns_as_said(part), closure), closure) for part in (rows[:at], rows[at:])
    )
    expected = walked(rows, hierarchy)
    found = RECORDS.decode(Consistency, json.loads(json.dumps(encode(first + second))))
    assert (found.rows, found.closed, found.monotone) == (len(rows), expected.closed, expected.monotone)
    for counts, of_pairs in ((found.missing, expected.missing), (found.lower, expected.lower)):
        assert counts.tolist() == [sum(n for (_, a), n in of_pairs.items() if a == c) for c in range(len(hierarchy))]


@given(cases(), st.integers(1, 5))
def test_the_most_frequent_pairs_come_first_and_none_that_never_occurs(
    case: tuple[nx.DiGraph[int], list[Said]], limit: int
) -> None:
    hierarchy, rows = case
    closure = closure_of(hierarchy)
    counts = audit_rows(columns_as_said(rows), closure).missing
    found = most_frequent(counts, closure, limit)
    occurring = pairs(counts, closure)
    assert len(found) == min(limit, len(occurring))
    assert all(occurring[c, a] == n for c, a, n in found)
    assert [n for _, _, n in found] == sorted(occurring.values(), reverse=True)[:limit]


@pytest.mark.shared_data
def test_of_the_published_rows_26_are_closed_under_the_published_tree(shared_data: Path) -> None:
    folder = shared_data / "tencent"
    dictionary = [line.split("\t") for line in (folder / "dictionary_first_9418.txt").read_text().splitlines()[1:]]
    tree: nx.DiGraph[int] = nx.DiGraph()
    tree.add_nodes_from(range(len(dictionary)))
    tree.add_edges_from((int(index), int(parent)) for index, _, parent, _ in dictionary if int(parent) >= 0)
    lines = (folder / "train_urls_61.txt").read_text().splitlines()
    rows = [[(int(c), float(p)) for c, p in (label.split(":") for label in line.split()[1:])] for line in lines]
    expected = walked(rows, tree)
    assert expected.closed == 26

    vocabulary = read_tencent_dictionary(folder / "dictionary_first_9418.txt")
    found = audit(vocabulary, [folder / "train_urls_61.txt"])
    assert (found.counts.rows, found.counts.closed, found.counts.monotone) == (61, 26, expected.monotone)
    assert (found.counts.unknown, found.counts.repeated_labels, found.repeated_images, found.rejects.count) == (0,) * 4
    assert pairs(found.counts.missing, vocabulary.closure) == expected.missing
    assert pairs(found.counts.lower, vocabulary.closure) == expected.lower

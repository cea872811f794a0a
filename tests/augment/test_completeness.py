"""Absences of categories that were looked for: against a loop over dictionaries, and within a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.augment import completeness
from mlimages_dataset.augment.completeness import completed
from tests.augment.strategies import Row, closure_of, columns_from, hierarchies, rows, rows_from

if TYPE_CHECKING:
    import pytest


def by_hand(images: list[Row], looked_for: set[int], hierarchy: nx.DiGraph[int]) -> list[Row]:
    """Return the completed rows; edges of the hierarchy lead from child to parent."""
    done = []
    for row in images:
        present = {c for c, (confidence, _) in row.items() if confidence > 0}
        implied = present.union(*(nx.descendants(hierarchy, c) for c in present))
        done.append({**dict.fromkeys(looked_for - set(row) - implied, (0.0, 0)), **row})
    return [dict(sorted(row.items())) for row in done]


@given(st.data())
def test_it_is_what_a_loop_over_rows_gives(data: st.DataObject) -> None:
    hierarchy = data.draw(hierarchies())
    images = data.draw(rows(len(hierarchy)))
    looked_for = data.draw(st.sets(st.integers(0, len(hierarchy) - 1)))
    classes = np.array(sorted(looked_for), np.int32)
    found = completed(columns_from(images), classes, closure_of(hierarchy))
    assert [dict(sorted(row.items())) for row in rows_from(found)] == by_hand(images, looked_for, hierarchy)
    again = completed(found, classes, closure_of(hierarchy))
    assert rows_from(again) == rows_from(found), "there is nothing left to complete"


def test_blocks_of_images_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hierarchy: nx.DiGraph[int] = nx.DiGraph([(1, 0), (2, 0), (3, 1)])
    images: list[Row] = [{3: (1.0, 0)}, {}, {2: (0.5, 3), 1: (0.0, 0)}, {0: (1.0, 0)}]
    classes = np.array([0, 1, 2], np.int32)
    whole = rows_from(completed(columns_from(images), classes, closure_of(hierarchy)))
    monkeypatch.setattr(completeness, "_MOST_CELLS", 1)
    assert rows_from(completed(columns_from(images), classes, closure_of(hierarchy))) == whole
    assert whole == [
        {2: (0.0, 0), 3: (1.0, 0)},
        {0: (0.0, 0), 1: (0.0, 0), 2: (0.0, 0)},
        {1: (0.0, 0), 2: (0.5, 3)},
        {0: (1.0, 0), 1: (0.0, 0), 2: (0.0, 0)},
    ]

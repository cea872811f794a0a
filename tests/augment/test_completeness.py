"""Absences of categories that were looked for: against a loop over dictionaries, and within a collection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlimages_dataset as ml
from mlimages_dataset.augment import completeness
from mlimages_dataset.augment.completeness import completed
from tests.augment.strategies import Row, closure_of, columns_from, hierarchies, rows, rows_from

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.fixture(scope="module")
def animals() -> ml.Vocabulary:
    """Return a vocabulary of four own classes, of which the cup is only a kind of a category."""
    rows = [("d", "dog", ""), ("g", "golden retriever", ""), ("c", "house cat", ""), ("m", "my cup", "n03147509")]
    with pytest.warns(UserWarning, match="'my cup' is no category of its own"):
        return ml.build_vocabulary(classes={"pets": pd.DataFrame(rows, columns=["id", "name", "parent"])})


def test_a_collection_that_looked_for_every_class(animals: ml.Vocabulary) -> None:
    said = pd.DataFrame({"image_id": ["a", "b", "b"], "label": ["g", "c", "m"]})
    found = ml.annotate(said, animals, complete=True)
    labels = [(row.image_id, row.wnid, row.confidence) for row in found.to_pandas().itertuples()]
    dog, golden, cat, cup = "n02084071", "n02099601", "n02121808", "n03147509"
    assert sorted(labels) == [
        ("a", golden, 1),
        ("a", cat, 0),
        ("b", dog, 0),
        ("b", golden, 0),
        ("b", cat, 1),
        ("b", cup, 1),
    ]
    assert found.summary is not None
    assert (found.summary.labels, found.summary.absences) == (3, 3)
    every = ml.augment(found, animals).to_pandas().set_index(["image_id", "wnid"]).confidence
    assert (every["a", dog], every["b", dog]) == (1, 0), "an ancestor of a present label is present"


def test_it_must_be_clear_for_which_list_a_collection_is_complete() -> None:
    vocabulary = ml.build_vocabulary(
        imagenet=["n02084071"], classes={"p": pd.DataFrame({"id": ["d"], "name": ["dog"]})}
    )
    said = pd.DataFrame({"image_id": ["a"], "label": ["d"]})
    with pytest.raises(
        ml.MLImagesError, match="complete for one class list, and none is named; name one of imagenet, p"
    ):
        ml.annotate(said, vocabulary, complete=True)
    assert ml.annotate(said, vocabulary, complete=True, ids_of="p").summary.absences == 0  # type: ignore[union-attr]


def test_images_without_annotations_show_none_of_the_classes(tmp_path: Path) -> None:
    content = {
        "images": [{"id": k, "file_name": f"{k}.jpg"} for k in range(4)],
        "annotations": [{"image_id": 0, "category_id": 1}, {"image_id": 2, "category_id": 3}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "zorb"}],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="'zorb' became no category"):
        vocabulary = ml.build_vocabulary(classes={"p": path})
    dog, cat = "n02084071", "n02121620"
    found = {}
    for complete in (False, True):
        with pytest.warns(UserWarning, match="left out: labels of classes that the vocabulary dropped"):
            told = ml.annotate(path, vocabulary, format="coco", complete=complete)
        assert told.summary is not None
        assert (told.summary.malformed, told.summary.images_without_labels) == (0, int(not complete))
        found[complete] = sorted((row.image_id, row.wnid, row.confidence) for row in told.to_pandas().itertuples())
    assert found[False] == [("0", dog, 1)]
    nothing = [(image, wnid, 0) for image in "123" for wnid in (dog, cat)]
    assert found[True] == [("0", dog, 1), ("0", cat, 0), *nothing]

"""Small random hierarchies and label columns for the laws of this package; hierarchies are networkx graphs.

A row is one image's labels as a dictionary: what the rules are about, and nothing that the package computes with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st

from mlimages_dataset.tables.label_columns import LabelColumns
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = dict[int, tuple[float, int]]
"""Confidence and origin of each class that an image lists."""

CONFIDENCES = st.one_of(
    st.sampled_from([0.0, 1.0, *np.array([0.8, 0.9], np.float32).tolist()]), st.floats(2**-10, 1, width=32)
)
"""Confidences that float32 holds: those of verified labels, of published machine labels, and any other."""

ORIGINS = st.sampled_from([int(origin) for origin in Origin])


@st.composite
def hierarchies(draw: st.DrawFn, max_classes: int = 7) -> nx.DiGraph[int]:
    """Draw a DAG over 0..C-1, numbered in no order, with edges from child to parent."""
    order = draw(st.integers(1, max_classes).flatmap(lambda n: st.permutations(range(n))))
    hierarchy: nx.DiGraph[int] = nx.DiGraph()
    hierarchy.add_nodes_from(range(len(order)))
    pairs = [(child, parent) for i, child in enumerate(order) for parent in order[:i]]
    if pairs:
        hierarchy.add_edges_from(draw(st.lists(st.sampled_from(pairs), unique=True)))
    return hierarchy


def rows(
    n_classes: int, *, origins: st.SearchStrategy[int] = ORIGINS, max_images: int = 5
) -> st.SearchStrategy[list[Row]]:
    """Draw the labels of a few images over C categories."""
    labels = st.dictionaries(st.integers(0, n_classes - 1), st.tuples(CONFIDENCES, origins))
    return st.lists(labels, max_size=max_images)


def closure_of(hierarchy: nx.DiGraph[int]) -> sp.csr_array:
    """Return the reflexive ancestor matrix as networkx computes it, bool, shape (C, C)."""
    closed = nx.transitive_closure(hierarchy, reflexive=True)
    matrix = sp.csr_array(nx.to_scipy_sparse_array(closed, nodelist=range(len(hierarchy)), dtype=np.dtype(bool)))
    matrix.sort_indices()
    return matrix


def columns_from(images: Sequence[Row]) -> LabelColumns:
    """Return the columns of some rows."""
    labels = [(c, *row[c]) for row in images for c in sorted(row)]
    class_index, confidence, origin = zip(*labels, strict=True) if labels else ((), (), ())
    return LabelColumns(
        np.cumsum([0, *map(len, images)], dtype=np.int32),
        np.array(class_index, np.int32),
        np.array(confidence, np.float32),
        np.array(origin, np.uint8),
    )


def rows_from(columns: LabelColumns) -> list[Row]:
    """Return the rows of some columns; refuse an image whose classes do not ascend or repeat."""
    images = []
    for start, stop in zip(columns.offsets[:-1], columns.offsets[1:], strict=True):
        classes = columns.class_index[start:stop].tolist()
        assert classes == sorted(set(classes))
        values = zip(columns.confidence[start:stop].tolist(), columns.origin[start:stop].tolist(), strict=True)
        images.append(dict(zip(classes, values, strict=True)))
    return images

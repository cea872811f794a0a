"""A vocabulary as the tables `categories` and `mapping`, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.arrays import numpy_of
from mlimages_dataset.tables.schemas import CATEGORIES, MAPPING
from mlimages_dataset.vocab.hierarchy import has_order
from mlimages_dataset.vocab.vocabulary import Category, MappingRow, Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CATEGORY_FIELDS = ("wnid", "name", "root", "parent", "parents", "depth", "sources", "mids", "images")


def categories_table(vocabulary: Vocabulary) -> pa.Table:
    """Return the `categories` table, one row per category."""
    columns = {name: [getattr(category, name) for category in vocabulary.categories] for name in _CATEGORY_FIELDS}
    return pa.table({"class_index": range(len(vocabulary)), **columns}, schema=CATEGORIES.arrow)


def mapping_table(vocabulary: Vocabulary) -> pa.Table:
    """Return the `mapping` table, one row per class of a source."""
    columns = {name: [getattr(row, name) for row in vocabulary.mapping] for name in MAPPING.arrow.names}
    return pa.table(columns, schema=MAPPING.arrow)


def vocabulary_of_tables(categories: pa.Table, mapping: pa.Table) -> Vocabulary:
    """Return the vocabulary that the two tables hold.

    Raises:
        DataError: the class indices are not 0..C-1, or a row names another, or a category is its own ancestor.
    """
    ordered = categories.sort_by("class_index")
    if fault := _fault(ordered, mapping):
        raise DataError(fault, where="categories", remedy="build it again")
    # Column by column: a dictionary for each of 22,000 rows took twice the time.
    fields = zip(*(ordered[name].to_pylist() for name in _CATEGORY_FIELDS), strict=True)
    *values, alternatives, probability = (mapping[name].to_pylist() for name in MAPPING.arrow.names)
    rows = zip(*values, map(tuple, alternatives), probability, strict=True)
    return Vocabulary(
        categories=tuple(
            Category(
                wnid=wnid,
                name=name,
                root=root,
                parent=parent,
                parents=tuple(parents),
                depth=depth,
                sources=tuple(sources),
                mids=tuple(mids),
                images=images,
            )
            for wnid, name, root, parent, parents, depth, sources, mids, images in fields
        ),
        mapping=tuple(MappingRow(*row) for row in rows),
    )


def _fault(ordered: pa.Table, mapping: pa.Table) -> str:
    """Return what is wrong with the numbers of tables, whose categories are in order; empty if nothing is."""
    n = len(ordered)
    if not np.array_equal(_numbers(ordered["class_index"]), np.arange(n)):
        return "the class indices do not count up from 0"
    named, first = _numbers(pc.list_flatten(ordered["parents"])), _numbers(ordered["parent"])
    if not (((named >= 0) & (named < n)).all() and ((first >= -1) & (first < n)).all()):
        return f"a category has a parent that is not in 0..{n - 1}"
    if (_numbers(mapping["class_index"]) >= n).any():
        return f"a class belongs to a category that is not in 0..{n - 1}"
    if not has_order(ordered["parents"].to_pylist()):
        return "a category is its own ancestor"
    return ""


def _numbers(column: pa.ChunkedArray) -> NDArray[np.int32]:
    return numpy_of(column.combine_chunks())

"""A vocabulary as the tables `categories` and `mapping`, and back."""

from __future__ import annotations

import graphlib

import pyarrow as pa

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.schemas import CATEGORIES, MAPPING
from mlimages_dataset.vocab.vocabulary import Category, MappingRow, Vocabulary

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
    return Vocabulary(
        categories=tuple(
            Category(
                wnid=row["wnid"],
                name=row["name"],
                root=row["root"],
                parent=row["parent"],
                parents=tuple(row["parents"]),
                depth=row["depth"],
                sources=tuple(row["sources"]),
                mids=tuple(row["mids"]),
                images=row["images"],
            )
            for row in ordered.to_pylist()
        ),
        mapping=tuple(MappingRow(**{**row, "alternatives": tuple(row["alternatives"])}) for row in mapping.to_pylist()),
    )


def _fault(ordered: pa.Table, mapping: pa.Table) -> str:
    """Return what is wrong with the numbers of tables, whose categories are in order; empty if nothing is."""
    n = len(ordered)
    if ordered["class_index"].to_pylist() != list(range(n)):
        return "the class indices do not count up from 0"
    parents = ordered["parents"].to_pylist()
    named = (one for of_one in parents for one in of_one)
    first = ordered["parent"].to_pylist()
    if not (all(0 <= one < n for one in named) and all(-1 <= one < n for one in first)):
        return f"a category has a parent that is not in 0..{n - 1}"
    if any(one >= n for one in mapping["class_index"].to_pylist()):
        return f"a class belongs to a category that is not in 0..{n - 1}"
    try:
        graphlib.TopologicalSorter(dict(enumerate(parents))).prepare()
    except graphlib.CycleError:
        return "a category is its own ancestor"
    return ""

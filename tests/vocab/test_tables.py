"""A vocabulary as tables and back."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.checks import check_rows
from mlimages_dataset.tables.parquet import read_table, write_table
from mlimages_dataset.tables.schemas import CATEGORIES, MAPPING
from mlimages_dataset.vocab.tables import categories_table, mapping_table, vocabulary_of_tables
from mlimages_dataset.vocab.vocabulary import Category, MappingRow, Vocabulary

if TYPE_CHECKING:
    from pathlib import Path

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
numbers = st.integers(-1, 2**31 - 1)


@st.composite
def vocabularies(draw: st.DrawFn) -> Vocabulary:
    """Draw a vocabulary whose numbers are of its own categories, and whose parents come first."""
    n = draw(st.integers(0, 3))
    categories = [
        st.builds(
            Category,
            wnid=words,
            name=words,
            root=numbers,
            parent=st.integers(-1, n - 1),
            parents=st.lists(st.integers(0, k - 1), max_size=3).map(tuple) if k else st.just(()),
            depth=numbers,
            sources=st.lists(words, max_size=3).map(tuple),
            mids=st.lists(words, max_size=3).map(tuple),
            images=st.integers(-1, 2**63 - 1),
        )
        for k in range(n)
    ]
    row = st.builds(
        MappingRow,
        source=words,
        source_id=words,
        source_name=words,
        class_index=st.integers(-1, n - 1),
        wnid=words,
        rule=words,
        evidence=words,
        alternatives=st.lists(words, max_size=3).map(tuple),
        probability=st.floats(0, 1, width=32),
    )
    return Vocabulary(draw(st.tuples(*categories)), draw(st.lists(row, max_size=3).map(tuple)))


@given(vocabularies())
def test_any_vocabulary_survives_the_tables(vocabulary: Vocabulary) -> None:
    assert vocabulary_of_tables(categories_table(vocabulary), mapping_table(vocabulary)) == vocabulary


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("parents", [[1], [0]], "a category is its own ancestor"),
        ("parents", [[], [1]], "a category is its own ancestor"),
        ("parents", [[], [2]], "a category has a parent that is not in 0..1"),
        ("parents", [[], [-1]], "a category has a parent that is not in 0..1"),
        ("parent", [-2, 0], "a category has a parent that is not in 0..1"),
        ("parent", [-1, 2], "a category has a parent that is not in 0..1"),
    ],
)
def test_numbers_of_no_category_are_refused(column: str, values: list[object], told: str) -> None:
    fields = {"root": 0, "parent": -1, "parents": (), "depth": 0, "sources": (), "mids": (), "images": 0}
    table = categories_table(Vocabulary(tuple(Category(wnid=w, name=w, **fields) for w in "ab"), ()))  # type: ignore[arg-type]  # as they are
    at = table.schema.get_field_index(column)
    field = table.schema.field(at)
    with pytest.raises(DataError, match=re.escape(told)):
        vocabulary_of_tables(
            table.set_column(at, field, pa.array(values, field.type)), mapping_table(Vocabulary((), ()))
        )


def test_a_class_of_no_category_is_refused(mini_vocabulary: Vocabulary) -> None:
    fewer = Vocabulary(mini_vocabulary.categories, ())
    row = dataclasses.replace(mini_vocabulary.mapping[0], class_index=len(fewer))
    with pytest.raises(DataError, match="a class belongs to a category that is not in"):
        vocabulary_of_tables(categories_table(fewer), mapping_table(Vocabulary((), (row,))))


def test_the_mini_vocabulary_survives_the_files(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    for name, table, schema in (
        ("c", categories_table(mini_vocabulary), CATEGORIES),
        ("m", mapping_table(mini_vocabulary), MAPPING),
    ):
        check_rows(table, schema, where=name)
        write_table(tmp_path / name, table, schema, {})
    read = vocabulary_of_tables(read_table(tmp_path / "c", CATEGORIES), read_table(tmp_path / "m", MAPPING))
    assert read == mini_vocabulary


def test_rows_may_stand_in_any_order(mini_vocabulary: Vocabulary) -> None:
    table = categories_table(mini_vocabulary)
    shuffled = table.sort_by([("class_index", "descending")])
    assert vocabulary_of_tables(shuffled, mapping_table(mini_vocabulary)) == mini_vocabulary


def test_missing_categories_are_refused(mini_vocabulary: Vocabulary) -> None:
    with pytest.raises(DataError, match="the class indices do not count up from 0"):
        vocabulary_of_tables(categories_table(mini_vocabulary).slice(1), mapping_table(mini_vocabulary))

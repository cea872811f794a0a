"""A vocabulary as tables and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.parquet import check_rows, read_table, write_table
from mlimages_dataset.tables.schemas import CATEGORIES, MAPPING
from mlimages_dataset.vocab.tables import categories_table, mapping_table, vocabulary_of_tables
from mlimages_dataset.vocab.vocabulary import Category, MappingRow, Vocabulary

if TYPE_CHECKING:
    from pathlib import Path

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
indices = st.integers(-1, 2**31 - 1)
categories = st.builds(
    Category,
    wnid=words,
    name=words,
    root=indices,
    parent=indices,
    parents=st.lists(indices, max_size=3).map(tuple),
    depth=indices,
    sources=st.lists(words, max_size=3).map(tuple),
    mids=st.lists(words, max_size=3).map(tuple),
    images=st.integers(-1, 2**63 - 1),
)
rows = st.builds(
    MappingRow,
    source=words,
    source_id=words,
    source_name=words,
    class_index=indices,
    wnid=words,
    rule=words,
    evidence=words,
    alternatives=st.lists(words, max_size=3).map(tuple),
)


@given(st.builds(Vocabulary, st.lists(categories, max_size=3).map(tuple), st.lists(rows, max_size=3).map(tuple)))
def test_any_vocabulary_survives_the_tables(vocabulary: Vocabulary) -> None:
    assert vocabulary_of_tables(categories_table(vocabulary), mapping_table(vocabulary)) == vocabulary


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

"""JSON and CSV that this package writes, against Python's own encoder and reader."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.documents import written_csv, written_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)


@pytest.mark.parametrize("indent", [False, True])
@given(value=VALUES)
def test_any_value_is_read_as_pythons_own_encoder_wrote_it(value: object, *, indent: bool) -> None:
    """By their text: NaN, which JSON does not have, is not equal to itself."""
    assert repr(json.loads(written_json(value, indent=indent))) == repr(json.loads(json.dumps(value)))


@given(value=VALUES)
def test_indented_values_have_lines_as_pythons_own_encoder_makes_them(value: object) -> None:
    lines = written_json(value, indent=True).decode().split("\n")
    expected = json.dumps(value, indent=2, ensure_ascii=False).split("\n")
    assert [len(line) - len(line.lstrip(" ")) for line in lines] == [
        len(line) - len(line.lstrip(" ")) for line in expected
    ]


def test_a_kind_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError):
        written_json({"a": {1, 2}})


@given(st.lists(st.lists(st.text(st.characters(exclude_characters="\0")), min_size=1), min_size=1))
def test_rows_that_were_written_as_csv_are_read_again(rows: list[list[str]]) -> None:
    assert list(csv.reader(io.StringIO(written_csv(rows), newline=""))) == rows

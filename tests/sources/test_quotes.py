"""Rows end where they were written to end, whatever quotes and line ends their fields have."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.locations import location
from mlimages_dataset.sources import pieces
from mlimages_dataset.sources.contract import read_statements
from mlimages_dataset.sources.quotes import are_well_formed, last_row_end

if TYPE_CHECKING:
    from pathlib import Path

SIGNS = st.text('ab" ,;\n', max_size=6)
PLAIN = st.text("ab'", min_size=1, max_size=4).flatmap(lambda begin: st.text('ab"', max_size=4).map(begin.__add__))
"""A field without quotes around it: a quote within it is a sign like others."""


def quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"'


ROWS = st.lists(st.lists(SIGNS.map(quoted) | PLAIN, min_size=1, max_size=3).map(",".join), max_size=12)


@given(rows=ROWS, cut=st.integers(0, 200), end=st.sampled_from(["\n", "\r\n"]))
def test_rows_end_where_they_were_written_to_end(rows: list[str], cut: int, end: str) -> None:
    content = "".join(row + end for row in rows).encode()
    ends = [0]
    for row in rows:
        ends.append(ends[-1] + len(row) + len(end))
    assert are_well_formed(content, ",")
    begin = content[:cut]
    found = last_row_end(begin, ",")
    # A cut may fall between the two quotes that stand for one: then more is not known.
    assert found == max(one for one in ends if one <= len(begin))


@given(rows=ROWS)
def test_they_are_the_rows_of_pythons_reader(rows: list[str]) -> None:
    content = "".join(row + "\n" for row in rows)
    read = list(csv.reader(io.StringIO(content, newline="")))
    encoded = content.encode()
    ends = {last_row_end(encoded[:at], ",") for at in range(len(encoded) + 1)} - {0}
    assert len(ends) == len(read)


def test_text_behind_a_closing_quote_says_that_a_quote_was_never_closed() -> None:
    content = b'"a,1\n"b",2\nc,3\n'
    assert not are_well_formed(content, ",")
    assert not are_well_formed(b'a,"b\nc,d\n', ",")
    assert last_row_end(b"a,b\nc", ",") == 4


@pytest.mark.parametrize("form", ["csv", "open-images"])
def test_a_stray_quote_does_not_cut_a_later_row_of_two_lines(tmp_path: Path, form: str) -> None:
    own = form == "csv"
    rows = [f"i{at}" for at in range(900)]
    rows[100], rows[700] = 'img"x1', '"im\ng2"'
    header, between = ("image_id,label,confidence", ",d,0.5") if own else ("ImageID,LabelName,Confidence", ",d,0.5")
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([header, *(row + between for row in rows), ""]), newline="")
    whole, log = read_statements(form, [location(str(path))])
    assert log.count == 0
    assert set(whole["image_id"].to_pylist()) == {*rows[:700], "im\ng2", *rows[701:]}
    with mock.patch.multiple(pieces, PIECE_BYTES=1000, _LEAST_PIECE_BYTES=1000):
        cut, log = read_statements(form, [location(str(path))])
    assert log.count == 0
    assert sorted(cut["image_id"].to_pylist()) == sorted(whole["image_id"].to_pylist())

"""Rows end where they were written to end, whatever quotes and line ends their fields have."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.core.locations import location
from mlimages_dataset.sources import pieces
from mlimages_dataset.sources.class_lists import parse_class_table
from mlimages_dataset.sources.contract import read_statements
from mlimages_dataset.sources.quotes import are_well_formed, last_row_end, with_newlines
from mlimages_dataset.tables.files import read_lines

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


FIELDS = st.text('a", ;\r\n', max_size=5)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@given(rows=st.lists(st.lists(FIELDS.map(quoted) | PLAIN, min_size=1, max_size=3).map(",".join), max_size=9), end=ENDS)
def test_line_ends_in_quotes_stay_and_all_others_are_newlines(rows: list[str], end: str) -> None:
    content = "".join(row + end for row in rows).encode()
    assert with_newlines(content, ",") == "".join(f"{row}\n" for row in rows).encode()


@given(
    before=st.lists(FIELDS.map(quoted), max_size=3),
    bad=st.sampled_from(['"open', '"text" behind', 'a"b', '"']),
    after=st.lists(FIELDS.map(quoted), max_size=3),
)
def test_a_bad_quote_leaves_the_line_ends_in_the_quotes_before_it_alone(
    before: list[str], bad: str, after: list[str]
) -> None:
    rows = [*before, bad, *after]
    found = with_newlines("".join(f"{row}\r\n" for row in rows).encode(), ",")
    assert found.startswith("".join(f"{row}\n" for row in before).encode())
    assert found.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") == sum(
        f"{row}\r\n".replace("\r\n", "\n").replace("\r", "\n").count("\n") for row in rows
    )


@settings(deadline=None, max_examples=25)
@given(
    names=st.lists(st.text('ab",;\r\n', min_size=1, max_size=4), min_size=1, max_size=9),
    # Files whose rows end in CR alone are not cut.
    read=st.sampled_from([("\n", 30), ("\r\n", 30), ("\n", 1 << 20), ("\r\n", 1 << 20), ("\r", 1 << 20)]),
)
def test_a_text_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], read: tuple[str, int]
) -> None:
    end, size = read
    path = tmp_path_factory.mktemp("quoted") / "rows.csv"
    rows = [f"{quoted(name)},{quoted(name)},0.5{end}" for name in names]
    path.write_text(f"image_id,label,confidence{end}" + "".join(rows), newline="")
    with mock.patch.multiple(pieces, PIECE_BYTES=size, _LEAST_PIECE_BYTES=size):
        found, log = read_statements("csv", [location(str(path))])
    assert log.count == 0
    assert sorted(found["class_id"].to_pylist()) == sorted(names)
    assert sorted(found["image_id"].to_pylist()) == sorted(names)


@given(names=st.lists(st.text('ab",;\r\n', max_size=4).map("c{}c".format), min_size=1, max_size=9), end=ENDS)
def test_a_class_list_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], end: str
) -> None:
    path = tmp_path_factory.mktemp("quoted") / "list.csv"
    path.write_text(f"id,name{end}" + "".join(f"{quoted(name)},{quoted(name)}{end}" for name in names), newline="")
    lines = read_lines(location(str(path)), ends=True)
    found = parse_class_table(lines, str(path))
    assert [(one.source_id, one.name) for one in found] == [(name, name) for name in names]
    places = [int(one.place.removeprefix("line ")) for one in found]
    assert places == sorted(set(places))
    assert places[0] == 2

"""Headers of delimited files of any length."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import location
from mlimages_dataset.recipes.starting import said_by
from mlimages_dataset.sources.class_lists import parse_class_table
from mlimages_dataset.sources.contract import read_regions, read_statements
from mlimages_dataset.sources.delimited import delimiter_of_rows, read_header
from mlimages_dataset.tables.files import read_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", ""])
@pytest.mark.parametrize("n_columns", [1, 9_000, 11_166, 70_000])
def test_a_header_of_any_length_is_read_whole(tmp_path: Path, n_columns: int, ending: str) -> None:
    names = [f"n{number:08d}" for number in range(n_columns)]
    text = ",".join(names) + ending + ("1," * n_columns if ending else "")
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert read_header(tmp_path / "a.csv") == names


@pytest.mark.parametrize("line", ["sep=;", "SEP=,", '"sep=;"', "sep=\t", "\ufeffsep=;"])
def test_the_line_that_states_the_separator_to_excel_is_no_header(tmp_path: Path, line: str) -> None:
    path = location(str(tmp_path / "a.csv"))
    for rows, read in (
        ("id;name\n1;cat\n", said_by),
        ("image_id;label\na;cat\n", said_by),
        ("image_id;label\na;cat\n", lambda path: read_statements("csv", [path])),
        ("id;name\n1;cat\n", lambda path: parse_class_table(read_lines(path, ends=True), str(path))),
    ):
        (tmp_path / "a.csv").write_text(f"{line}\n{rows}", "utf-8")
        with pytest.raises(
            DataError, match=r"line 1: begins with .*(?i:sep)=.*; delete this line: the separator is found"
        ):
            read(path)
        (tmp_path / "a.csv").write_text(rows, "utf-8")
        assert read(path)


@pytest.mark.parametrize(("n_bytes", "told"), [(1 << 18, "has no header"), (17 << 20, "bytes in its first line")])
def test_a_first_line_that_is_no_header_is_a_sentence(tmp_path: Path, n_bytes: int, told: str) -> None:
    assert n_bytes > csv.field_size_limit()
    (tmp_path / "a.csv").write_bytes(b"x" * n_bytes)
    with pytest.raises(DataError, match=told):
        read_header(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"first line|no rows"):
        delimiter_of_rows(tmp_path / "a.csv", 2)


HEADERS = {
    "boxes": "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf",
    "masks": "MaskPath,ImageID,LabelName,BoxXMin,BoxXMax,BoxYMin,BoxYMax",
    "labels": "ImageID,Source,LabelName,Confidence",
    "points": "ImageId,X,Y,Label,EstimatedYesNo,Source",
    "images": "ImageID,Subset,OriginalURL",
}
ROWS = {
    "boxes": "a,xclick,/m/1,0.5,0.1,0.5,0.2,0.6,1",
    "masks": "a.png,a,/m/1,0.1,0.5,0.2,0.6",
    "labels": "a,machine,/m/1,1",
    "points": "a,0.5,0.5,/m/1,yes,x",
    "images": "a,train,http://a",
}
WAYS: list[Callable[[str], str]] = [str.lower, str.upper, str.swapcase, " {} ".format, str]
ways = st.sampled_from(WAYS)


@settings(deadline=None, max_examples=40)
@given(kind=st.sampled_from(sorted(HEADERS)), data=st.data())
def test_columns_of_open_images_are_known_in_any_case(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("headers")
    names = HEADERS[kind].split(",")
    written = [data.draw(ways)(name) for name in names]
    (folder / "own.csv").write_text(f"{HEADERS[kind]}\n{ROWS[kind]}\n")
    (folder / "other.csv").write_text(f"{','.join(written)}\n{ROWS[kind]}\n")
    labels = folder / "labels.csv"
    labels.write_text(f"{HEADERS['labels']}\n{ROWS['labels']}\n")
    own, other = (read_statements("open-images", [folder / name, labels])[0] for name in ("own.csv", "other.csv"))
    assert other.equals(own)
    if kind in {"boxes", "masks"}:
        boxes, others = (read_regions("open-images", [folder / name])[0] for name in ("own.csv", "other.csv"))
        assert others.equals(boxes)
        assert len(boxes) == 1


def test_a_column_twice_is_told_but_the_one_in_its_own_case_is_that(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("imageid,IMAGEID,LabelName,Confidence\na,b,/m/1,1\n")
    with pytest.raises(DataError, match="has two columns ImageID; name each differently"):
        read_statements("open-images", [path])
    path.write_text("ImageID,imageid,LabelName,Confidence\na,b,/m/1,1\n")
    assert read_statements("open-images", [path])[0]["image_id"].to_pylist() == ["a"]


@given(data=st.data())
@settings(deadline=None, max_examples=20)
def test_columns_of_box_tables_are_known_in_any_case(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    row = {"image_id": "a", "label": "b", "xmin": 0.1, "ymin": 0.2, "xmax": 0.5, "ymax": 0.6}
    row |= {"confidence": 0.5, "crowd": True, "mask": "m.png", "Note": "n"}
    written = {data.draw(ways)(name): value for name, value in row.items()}
    for name, one in (("own", row), ("other", written)):
        pq.write_table(pa.Table.from_pylist([one]), folder / f"{name}.parquet")
    own, other = (read_regions("boxes", [folder / f"{name}.parquet"])[0] for name in ("own", "other"))
    assert other.equals(own)
    assert own["crowd"].to_pylist() == [True]
    twice = pa.Table.from_pylist([row | {"Crowd ": True, "XMIN": 0.3}])
    pq.write_table(twice, folder / "twice.parquet")
    assert read_regions("boxes", [folder / "twice.parquet"])[0].equals(own)
    pq.write_table(
        twice.rename_columns([n.upper() if n == "xmin" else n for n in twice.column_names]), folder / "x.parquet"
    )
    with pytest.raises(DataError, match="has two columns xmin"):
        read_regions("boxes", [folder / "x.parquet"])

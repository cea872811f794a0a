"""Every documented form of every format, as published and as files look after a journey, and each thing amiss."""

from __future__ import annotations

import gzip
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.image_ids import image_id
from mlimages_dataset.sources import lines, pieces
from mlimages_dataset.sources.contract import read_statements
from mlimages_dataset.sources.delimited import read_header
from mlimages_dataset.sources.pieces import Piece
from mlimages_dataset.sources.registry import names, pieces_of, source_named
from mlimages_dataset.sources.rejects import LISTED_REJECTS, REJECT_CHARACTERS, RejectLog, joined_rejects
from mlimages_dataset.sources.tencent import tencent_lines
from mlimages_dataset.tables.database import duckdb_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = tuple[str | None, str | None, float | None, str]
LABELS_HEADER = "ImageID,Source,LabelName,Confidence\n"
IMAGES_HEADER = "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title\n"


class Read(NamedTuple):
    """What files say: statements, places by image, rejects."""

    rows: list[Row]
    locations: dict[str, str]
    rejects: RejectLog


def written(folder: Path, *contents: str | bytes, suffix: str = "") -> list[Path]:
    """Write files a, b, ... and return their paths."""
    paths = []
    for name, content in zip("abcdef", contents, strict=False):
        path = folder / f"{name}{suffix}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        paths.append(path)
    return paths


def read(form: str, paths: Sequence[Path]) -> Read:
    rows: list[Row] = []
    places: dict[str, str] = {}
    logs = []
    with duckdb_errors(), duckdb.connect() as connection:
        for piece in pieces_of(form, paths):
            log = RejectLog()
            for block in source_named(form).observe(lambda: connection, piece, log):
                found = block.sql("SELECT image_id, class_id, confidence, location FROM observations").fetchall()
                if piece.states:
                    rows += [(image and image_id(image), name, _short(p), place) for image, name, p, place in found]
                else:
                    places |= {image: min(place, places.get(image, place)) for image, _, _, place in found}
            logs.append((piece.start, log))
    return Read(rows, places, joined_rejects(logs))


def _short(confidence: float | None) -> float | None:
    """Return a float32 as the decimal that it was written as."""
    return None if confidence is None else round(confidence, 6)


# ImageNet


@pytest.mark.parametrize(
    ("line", "image", "place"),
    [
        ("n01440764/n01440764_10026.JPEG", "n01440764_10026", "n01440764/n01440764_10026.JPEG"),
        ("train/n01440764/x.png", "train/n01440764/x", "train/n01440764/x.png"),
        ("n01440764_10026.JPEG", "n01440764_10026", "n01440764_10026.JPEG"),
        ("n01440764_10026", "n01440764_10026", "n01440764_10026"),
        ("n01440764_10026\thttp://farm1.example/a b.jpg", "n01440764_10026", "http://farm1.example/a b.jpg"),
        ("n01440764_10026 http://example.org/n02084071.jpg", "n01440764_10026", "http://example.org/n02084071.jpg"),
        ("photos/tench.jpg n01440764", "photos/tench", "photos/tench.jpg"),
        ("  photos/tench.jpg\tn01440764  ", "photos/tench", "photos/tench.jpg"),
        (
            "http://example.org/n01440764/a.jpeg",
            "http://example.org/n01440764/a.jpeg",
            "http://example.org/n01440764/a.jpeg",
        ),
    ],
)
def test_imagenet_lists_in_every_shape(tmp_path: Path, line: str, image: str, place: str) -> None:
    found = read("imagenet", written(tmp_path, line + "\n"))
    assert found.rows == [(image, "n01440764", 1, place)]
    assert found.rejects.count == 0


def test_an_imagenet_line_without_a_wnid_is_listed_with_its_number(tmp_path: Path) -> None:
    text = "n01440764_1\n\nrubbish\nn0144076_2\nn014407641_3\nN01440764_4\nn01440764_5"
    found = read("imagenet", written(tmp_path, text))
    assert [row[0] for row in found.rows] == ["n01440764_1", "n01440764_5"]
    assert found.rejects.count == 4
    assert [(reject.line, reject.text) for reject in found.rejects.first] == [
        (3, "rubbish"),
        (4, "n0144076_2"),
        (5, "n014407641_3"),
        (6, "N01440764_4"),
    ]
    assert str(found.rejects.first[0]) == f"{tmp_path / 'a'}, line 3: no wnid such as n01440764: 'rubbish'"


def test_only_the_first_rejects_are_listed_but_all_are_counted(tmp_path: Path) -> None:
    found = read("imagenet", written(tmp_path, "n01440764_1\n" + "x\n" * 25, "y\n" * 3))
    assert found.rejects.count == 28
    assert [reject.line for reject in found.rejects.first] == list(range(2, 2 + LISTED_REJECTS))


def test_a_folder_of_folders_of_images(tmp_path: Path) -> None:
    for name in (
        "n01440764/n01440764_1.JPEG",
        "n01440764/deep/n01440764_2.jpg",
        "n02084071/dog.png",
        "n02084071/a.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "n02121808").mkdir()
    found = read("imagenet", [tmp_path])
    assert found.rows == [
        ("n01440764_2", "n01440764", 1, "n01440764/deep/n01440764_2.jpg"),
        ("n01440764_1", "n01440764", 1, "n01440764/n01440764_1.JPEG"),
        ("n02084071/dog", "n02084071", 1, "n02084071/dog.png"),
    ]
    assert [reject.what for reject in found.rejects.first] == ["no image in this folder"]


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes are POSIX's")
def test_names_that_are_no_text_are_read_as_others_read_them(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "n02084071")
    Path(os.fsdecode(folder)).mkdir()
    for path in (folder + b"/caf\xe9.png", os.fsencode(tmp_path) + b"/stray\xe9.png"):
        try:
            Path(os.fsdecode(path)).touch()
        except OSError:
            pytest.skip("this file system takes no such names")
    found = read("imagenet", [tmp_path])
    assert found.rows == [("n02084071/café", "n02084071", 1, "n02084071/café.png")]
    assert [reject.text for reject in found.rejects.first] == ["strayé.png"]


def test_an_image_beside_the_folders_is_listed(tmp_path: Path) -> None:
    (tmp_path / "n01440764").mkdir()
    for name in ("n01440764/n01440764_1.JPEG", "stray.jpg"):
        (tmp_path / name).touch()
    found = read("imagenet", [tmp_path])
    assert len(found.rows) == 1
    assert [(reject.path, reject.what) for reject in found.rejects.first] == [
        (str(tmp_path / "stray.jpg"), "its path names no class")
    ]


# Tencent ML-Images


def test_published_lines_with_tabs_and_with_spaces(tmp_path: Path) -> None:
    text = "http://a/1.jpg\t5:1\t7:0.9\nhttp://b/2.jpg 3:0.8 \t 4:1e-3  \nhttp://c/3.jpg\t2:.5\n"
    found = read("tencent", written(tmp_path, text))
    a, b, c = "http://a/1.jpg", "http://b/2.jpg", "http://c/3.jpg"
    assert found.rows == [(a, "5", 1, a), (a, "7", 0.9, a), (b, "3", 0.8, b), (b, "4", 0.001, b), (c, "2", 0.5, c)]
    assert found.rejects.count == 0


@pytest.mark.parametrize("confidence", ["2", "1.0001", "1.2.3", "."])
def test_a_published_label_with_another_confidence_stays_a_statement_without_one(
    tmp_path: Path, confidence: str
) -> None:
    found = read("tencent", written(tmp_path, f"u\t1:{confidence}\t2:1\n"))
    assert found.rows == [("u", "1", None, "u"), ("u", "2", 1, "u")]


@pytest.mark.parametrize(
    "line", ["u", "u\t1", "u\t1:", "u\t:1", "u\t-1:1", "u\t1:nan", "u,1:1", "\tu\t1:1", "u\t1:1\tx"]
)
def test_a_malformed_published_line_is_listed_with_its_number(tmp_path: Path, line: str) -> None:
    found = read("tencent", written(tmp_path, f"a\t1:1\n{line}\nb\t2:1\n"))
    assert [row[0] for row in found.rows] == ["a", "b"]
    assert [(reject.line, reject.text) for reject in found.rejects.first] == [(2, line)]


def test_lines_are_the_same_in_blocks_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "http://é/1.jpg\t5:1\t7:0.9\r\nbad\r\n\r\nhttp://b/2.jpg\t3:0.8\r\nworse"
    paths = written(tmp_path, text)
    whole = read("tencent", paths)
    assert [reject.line for reject in whole.rejects.first] == [2, 5]
    for size in (1, 2, 7, 30):
        monkeypatch.setattr(lines, "BLOCK_BYTES", size)
        assert read("tencent", paths) == whole


def test_a_line_with_a_confidence_that_is_none_can_be_left_out_whole(tmp_path: Path) -> None:
    (path,) = written(tmp_path, "a\t1:1\t2:0.5\nbad\nb\t3:7\t4:1\nc\t5:1\nd\t6:2\n")
    log = RejectLog()
    (lines,) = [block.without_malformed(path, log) for block in tencent_lines(Piece(path), log)]
    assert lines.urls.to_pylist() == ["a", "c"]
    assert lines.offsets.tolist() == [0, 2, 3]
    assert lines.class_ids.to_pylist() == ["1", "2", "5"]
    assert lines.confidence.to_pylist() == [1, 0.5, 1]
    assert lines.numbers.tolist() == [1, 4]
    assert log.count == 3
    assert [(reject.line, reject.text) for reject in log.first] == [(2, "bad"), (3, "b"), (5, "d")]


# Open Images


def test_labels_of_version_1(tmp_path: Path) -> None:
    text = LABELS_HEADER + "000060e3121c7305,machine,/m/06ls2,0.9\n000060e3121c7305,machine,/m/0csby,0.8\n"
    assert read("open-images", written(tmp_path, text)).rows == [
        ("000060e3121c7305", "/m/06ls2", 0.9, ""),
        ("000060e3121c7305", "/m/0csby", 0.8, ""),
    ]


def test_human_and_machine_labels_and_boxes_of_later_versions(tmp_path: Path) -> None:
    human = LABELS_HEADER + "a,verification,/m/1,1\na,crowdsource-verification,/m/2,0\n"
    machine = LABELS_HEADER + "b,machine,/m/1,0.7\n"
    boxes = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
        "c,xclick,/m/3,1,0.012,0.195,0.148,0.587,0,1,0,0,0\n"
    )
    found = read("open-images", written(tmp_path, human, machine, boxes))
    assert sorted(found.rows, key=str) == [
        ("a", "/m/1", 1, ""),
        ("a", "/m/2", 0, ""),
        ("b", "/m/1", 0.7, ""),
        ("c", "/m/3", 1, ""),
    ]


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    found = read("open-images", written(tmp_path, "Confidence,LabelName,More,ImageID\n0.5,/m/1,x,a\n"))
    assert found.rows == [("a", "/m/1", 0.5, "")]


def test_image_tables_give_the_places_and_repeat_nothing(tmp_path: Path) -> None:
    labels = LABELS_HEADER + "a,human,/m/1,1\nb,human,/m/1,1\n"
    images = IMAGES_HEADER + 'a,train,http://2,l,c,p,"An, author","a ""title"" in\ntwo lines"\na,train,http://1,,,,,\n'
    again = "OriginalURL,ImageID\nhttp://3,a\nhttp://b,b\n"
    found = read("open-images", written(tmp_path, images, labels, again))
    assert sorted(found.rows, key=str) == [("a", "/m/1", 1, ""), ("b", "/m/1", 1, "")]
    assert found.locations == {"a": "http://1", "b": "http://b"}


def test_image_tables_alone_are_no_annotation(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no label file among the inputs; name at least one with the column LabelName"):
        read("open-images", written(tmp_path, IMAGES_HEADER))


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("b,human,/m/1", 3),
        ("b,human,/m/1,1,more", 3),
        ('b,human,"/m/1"x,1', 3),
        ("\nb", 4),
    ],
)
def test_a_row_that_is_not_of_the_format_is_listed_with_its_number(tmp_path: Path, row: str, line: int) -> None:
    (path,) = written(tmp_path, LABELS_HEADER + f"a,human,/m/1,1\n{row}\nc,human,/m/1,1\n")
    found = read("open-images", [path])
    assert [image for image, *_ in found.rows] == ["a", "c"]
    assert found.rejects.count == 1
    assert [(reject.path, reject.line) for reject in found.rejects.first] == [(str(path), line)]


@pytest.mark.parametrize("text", ["often", '"of, ten"', "1x", '"two\nlines"', '"a ""word"""', "0,5"])
@pytest.mark.parametrize("before", ["", "\n\n", 'z,human,"/m/\n1",1\n'])
def test_a_confidence_that_is_no_number_makes_no_reject_of_its_row(tmp_path: Path, text: str, before: str) -> None:
    text = f'"{text}"' if text == "0,5" else text
    rows = [f"b,human,/m/1,{text}", "c,human,/m/1,1", f"d,human,/m/2,{text}"]
    (path,) = written(tmp_path, LABELS_HEADER + f"a,human,/m/1,1\n{before}" + "\n".join(rows))
    found = read("open-images", [path])
    stated = sorted((image, name, confidence) for image, name, confidence, _ in found.rows if image != "z")
    assert stated == [("a", "/m/1", 1), ("b", "/m/1", None), ("c", "/m/1", 1), ("d", "/m/2", None)]
    assert found.rejects.count == 0


@pytest.mark.parametrize("form", ["open-images", "csv"])
@pytest.mark.parametrize("damaged", ['"b{},human,/m/1,1', 'b{},"v,/m/1,1', 'b{},human,/m/1,"1', 'b{},"v,"/m/1,"1'])
def test_an_open_quote_damages_its_own_row_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, damaged: str
) -> None:
    header = {"open-images": LABELS_HEADER, "csv": "image_id,note,label,confidence\n"}[form]
    for others, at, size in itertools.product(["b{},human,/m/1,1", 'b{},"v, w",/m/1,1'], [0, 3, 9], [1 << 26, 100]):
        rows = [(damaged if row == at else others).format(row) for row in range(10)]
        (path,) = written(tmp_path, header + "\n".join(rows), suffix=".csv")
        monkeypatch.setattr(pieces, "PIECE_BYTES", size)
        found = read(form, [path])
        assert sorted(str(image) for image, *_ in found.rows) == [f"b{row}" for row in range(10) if row != at]
        assert [(one.line, one.text) for one in found.rejects.first] == [(at + 2, rows[at])]
        assert found.rejects.count == 1


def test_a_row_is_told_with_its_line_where_others_have_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 'a,"one\ntwo\r\nthree",/m/1,1\r\nbad\n' * 9
    (path,) = written(tmp_path, "\ufeff" + LABELS_HEADER + rows)
    expected = [line for line, text in enumerate((LABELS_HEADER + rows).splitlines(), 1) if text == "bad"]
    for size in (1 << 26, 40, 120):
        monkeypatch.setattr(pieces, "PIECE_BYTES", size)
        found = read("open-images", [path])
        assert [reject.line for reject in found.rejects.first] == expected


def test_of_a_rejected_row_the_beginning_is_told(tmp_path: Path) -> None:
    content = LABELS_HEADER + "a," + "v" * 3_000_000 + ",/m/1,1\n"
    (reject,) = read("open-images", written(tmp_path, content)).rejects.first
    assert reject.line == 2
    assert len(reject.text) == REJECT_CHARACTERS


@pytest.mark.slow
def test_an_open_quote_is_told_with_its_line_in_a_large_file(tmp_path: Path) -> None:
    rows = [f"{number:07d},{'v' * 200},/m/1,1" for number in range(170_000)]
    rows[1000] = '"' + rows[1000]
    rows[1000:1000] = ["", ""]
    found = read("open-images", written(tmp_path, LABELS_HEADER + "\n".join(rows)))
    assert [reject.line for reject in found.rejects.first] == [1004]
    assert found.rejects.first[0].text.startswith('"0001000,vvv')


def test_a_file_given_twice_has_its_own_lines_twice(tmp_path: Path) -> None:
    (path,) = written(tmp_path, LABELS_HEADER + "a,v\n")
    assert [reject.line for reject in read("open-images", [path, path]).rejects.first] == [2, 2]


@pytest.mark.parametrize("confidence", ["2", "-0.1", "nan", "inf", ""])
def test_a_confidence_outside_0_to_1_stays_a_statement_without_one(tmp_path: Path, confidence: str) -> None:
    found = read("open-images", written(tmp_path, LABELS_HEADER + f"a,human,/m/1,{confidence}\n"))
    assert found.rows == [("a", "/m/1", None, "")]


def test_rows_of_several_files_are_rejected_each_in_its_own(tmp_path: Path) -> None:
    paths = written(tmp_path, LABELS_HEADER + "a,v\nb,human,/m/1,1\n", LABELS_HEADER + "c,human,/m/1,1\nd,v\n")
    found = read("open-images", paths)
    assert sorted(str(row[0]) for row in found.rows) == ["b", "c"]
    assert found.rejects.count == 2
    assert [(reject.path, reject.line) for reject in found.rejects.first] == [(str(paths[0]), 2), (str(paths[1]), 3)]


# A user's own


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    assert read("csv", written(tmp_path, "image_id,label\na,dog\n")).rows == [("a", "dog", 1, "")]
    text = 'label,confidence,image_id,location,note\n"dog, hot",0.25,a,http://a,x\ncat,0,b,,\n'
    assert read("csv", written(tmp_path, text)).rows == [("a", "dog, hot", 0.25, "http://a"), ("b", "cat", 0, "")]


def test_columns_that_differ_in_case_are_different_ones(tmp_path: Path) -> None:
    text = "Label,image_id,column 1,Image_ID,label\nx,a,y,z,dog\n"
    assert read("csv", written(tmp_path, text)).rows == [("a", "dog", 1, "")]


def test_a_parquet_table_of_ones_own(tmp_path: Path) -> None:
    table = pa.table({"image_id": [7, 8, None], "label": ["a", None, "c"], "confidence": [0.5, 1.5, None]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert read("parquet", [tmp_path / "t.parquet"]).rows == [
        ("7", "a", 0.5, ""),
        ("8", None, None, ""),
        (None, "c", None, ""),
    ]
    pq.write_table(
        table.drop_columns("confidence").append_column("location", pa.array(["x", None, "z"])), tmp_path / "u"
    )
    assert read("parquet", [tmp_path / "u"]).rows == [("7", "a", 1, "x"), ("8", None, 1, ""), (None, "c", 1, "z")]


def test_a_column_without_a_name_does_no_harm(tmp_path: Path) -> None:
    assert read("csv", written(tmp_path, "image_id,label,,\na,dog,,\n")).rows == [("a", "dog", 1, "")]


# What files go through


WHOLE = {
    "imagenet": ("n01440764_1\nn02084071_2\n", 2),
    "tencent": ("http://a\t1:1\nhttp://b\t2:0.5\n", 2),
    "open-images": (LABELS_HEADER + "a,human,/m/1,1\nb,human,/m/2,0.5\n", 2),
    "csv": ("image_id,label\na,1\nb,2\n", 2),
}


@pytest.mark.parametrize("form", WHOLE)
@pytest.mark.parametrize(
    "change", ["crlf", "bom", "bom and crlf", "mixed ends", "gz", "no last newline", "blank lines", "latin-1"]
)
def test_a_journey_changes_no_statement(tmp_path: Path, form: str, change: str) -> None:
    text, n = WHOLE[form]
    expected = read(form, written(tmp_path, text))
    assert len(expected.rows) == n
    content = text.encode()
    if "crlf" in change:
        content = content.replace(b"\n", b"\r\n")
    if change == "mixed ends":
        content = content.replace(b"\n", b"\r\n", 1)
    if "bom" in change:
        content = b"\xef\xbb\xbf" + content
    if change == "gz":
        content = gzip.compress(content)
    if change == "no last newline":
        content = content[:-1]
    if change == "blank lines":
        content += b"\n\n"
    if change == "latin-1":
        bad = {"imagenet": b"\xe9", "tencent": b"\xe9"}.get(
            form, b"\xe9,human,/m/1,1" if "Source" in text else b"\xe9,1"
        )
        content += bad + b"\n"
    found = read(form, written(tmp_path, content, suffix=".gz" if change == "gz" else ""))
    assert found.rows == expected.rows
    assert found.rejects.count == (change == "latin-1")


@pytest.mark.parametrize("form", ["imagenet", "tencent"])
def test_latin_1_lines_are_read(tmp_path: Path, form: str) -> None:
    text = {"imagenet": "n01440764/é.jpg\n", "tencent": "http://é.jpg\t1:1\n"}[form]
    assert read(form, written(tmp_path, text.encode("latin-1"))).rows == read(form, written(tmp_path, text)).rows


# What cannot be read


@pytest.mark.parametrize("form", names())
def test_a_missing_file_is_named(tmp_path: Path, form: str) -> None:
    with pytest.raises(UsageError, match=f"{tmp_path / 'absent'}: there is no such file; check the path"):
        read(form, [tmp_path / "absent"])


@pytest.mark.parametrize("form", names())
def test_an_empty_file_is_named(tmp_path: Path, form: str) -> None:
    with pytest.raises(DataError, match=f"^{tmp_path / 'a'}: (is empty|cannot be read as a Parquet file)"):
        read(form, written(tmp_path, ""))


@pytest.mark.parametrize("form", ["open-images", "tencent", "csv", "parquet"])
def test_a_folder_is_no_file(tmp_path: Path, form: str) -> None:
    with pytest.raises((UsageError, DataError), match=f"^{tmp_path}: [^\n]*; "):
        read(form, [tmp_path])


@pytest.mark.parametrize("form", WHOLE)
def test_a_truncated_archive_is_named(tmp_path: Path, form: str) -> None:
    text, _ = WHOLE[form]
    lines = "".join(f"{number}{text.splitlines()[-1]}\n" for number in range(90_000))
    content = gzip.compress((text + lines).encode())
    (path,) = written(tmp_path, content[: len(content) // 2], suffix=".gz")
    with pytest.raises(DataError) as caught:
        read(form, [path])
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_an_archive_under_another_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path / 'a'}: is not a text file; unpack it first"):
        read("csv", written(tmp_path, gzip.compress(b"image_id,label\na,b\n")))


@pytest.mark.parametrize(
    ("form", "header", "told"),
    [
        ("open-images", "LabelName,DisplayName", "has neither LabelName and Confidence, nor boxes, nor OriginalURL"),
        ("open-images", "a,human,/m/1,1", "has neither LabelName and Confidence, nor boxes, nor OriginalURL"),
        ("csv", "image_id,class", "no column label among image_id, class"),
        ("csv", "image_id:label", "no column image_id and label among image_id:label"),
        ("csv", "image_id,label,label", "has two columns label"),
    ],
)
def test_another_header_is_told_with_its_line(tmp_path: Path, form: str, header: str, told: str) -> None:
    with pytest.raises(DataError) as caught:
        read(form, written(tmp_path, header + "\n"))
    assert str(caught.value).startswith(f"{tmp_path / 'a'}, line 1: ")
    assert told in str(caught.value)


def test_a_parquet_table_without_the_columns_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a"]}), tmp_path / "t")
    with pytest.raises(DataError, match=f"{tmp_path / 't'}: no column image_id and label among image; give"):
        read("parquet", [tmp_path / "t"])


def test_lines_may_end_as_on_old_machines(tmp_path: Path) -> None:
    assert len(read("csv", written(tmp_path, "image_id,label\ra,x\rb,y\r")).rows) == 2
    found = read("csv", written(tmp_path, "image_id,label\na,x\ry\nb,z\n"))
    assert [image for image, *_ in found.rows] == ["a", "b"]
    assert found.rejects.count == 1


def test_intermediate_results_that_find_no_room_are_no_fault_of_an_input(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="limits are POSIX's")
    script = """
import duckdb, resource
from mlimages_dataset.tables.database import duckdb_errors
from mlimages_dataset.core.errors import UsageError
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    with duckdb_errors(), duckdb.connect() as connection:
        connection.execute("SET memory_limit = '40MB'; SET threads = 1; SET temp_directory = 'scratch'")
        connection.sql("SELECT md5(range::VARCHAR) AS a FROM range(2000000) ORDER BY a").to_arrow_table()
except UsageError as error:
    print(error)
"""
    command = [sys.executable, "-c", script]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert told.startswith("there is no room for intermediate results (")
    assert told.endswith("); free memory or disk space\n")


@pytest.mark.parametrize("content", [b"\nimage_id,label\n", b"   \n"])
def test_a_header_must_be_in_the_first_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match="begins with an empty line"):
        read_header(written(tmp_path, content)[0])


def test_a_path_with_quotes_is_no_sql(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s "here"'
    folder.mkdir()
    assert len(read("csv", written(folder, "image_id,label,it's\na,b,c\n")).rows) == 1


@pytest.mark.shared_data
def test_published_lines(shared_data: Path) -> None:
    path = shared_data / "tencent" / "train_urls_61.txt"
    found = read("tencent", [path])
    expected = [
        (url, label.split(":")[0], float(label.split(":")[1]), url)
        for url, *labels in (line.split() for line in path.read_text().splitlines())
        for label in labels
    ]
    assert len({url for url, *_ in expected}) == 61
    assert found.rows == expected
    assert found.rejects.count == 0


@pytest.mark.parametrize("delimiter", ["\t", ";", "|", ","])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_is_read_with_what_separates_its_columns(tmp_path: Path, delimiter: str, end: str) -> None:
    rows = [["image_id", "label", "confidence"], ["a b.jpg", "dog", "0.75"], ["c", '"x,;|\ty"', "1"]]
    found = read("csv", written(tmp_path, end.join(delimiter.join(row) for row in rows)))
    assert found.rows == [("a b", "dog", 0.75, ""), ("c", "x,;|\ty", 1, "")]


def test_decimals_of_a_table_with_semicolons_may_have_commas(tmp_path: Path) -> None:
    found = read("csv", written(tmp_path, "image_id;label;confidence\na;dog;0,75\nb;cat;1,0\nc;cat;0.5\n"))
    assert [row[2] for row in found.rows] == [0.75, 1, 0.5]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_table_in_utf_16_is_told(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match="is UTF-16 text; save it as UTF-8"):
        read("csv", written(tmp_path, "\ufeffimage_id,label\na,b\n".encode(encoding)))


TEXTS = ["é", "dog"]


@pytest.mark.parametrize(
    "labels",
    [
        pa.array(TEXTS).dictionary_encode(),
        pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS, pa.string_view()),
        pa.array([text.encode() for text in TEXTS], pa.binary()),
        pa.array([text.encode() for text in TEXTS], pa.large_binary()),
        pa.array(TEXTS).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())),
        pa.array([["é"], ["dog"]]),
    ],
    ids=lambda column: str(column.type),
)
def test_parquet_texts_of_every_type_are_texts(tmp_path: Path, labels: pa.Array) -> None:
    pq.write_table(pa.table({"image_id": ["a", "b"], "label": labels}), tmp_path / "t")
    assert [row[:2] for row in read("parquet", [tmp_path / "t"]).rows] == [("a", "é"), ("b", "dog")]


@pytest.mark.parametrize(
    ("numbers", "ids"),
    [
        (pa.array([7, None], pa.int16()), ["7", None]),
        (pa.array([7.0, None], pa.float64()), ["7", None]),
        (pa.array([2**53, 1], pa.uint64()), [str(2**53), "1"]),
    ],
)
def test_parquet_ids_may_be_whole_numbers(tmp_path: Path, numbers: pa.Array, ids: list[str | None]) -> None:
    pq.write_table(pa.table({"image_id": numbers, "label": ["a", "b"]}), tmp_path / "t")
    assert [row[0] for row in read("parquet", [tmp_path / "t"]).rows] == ids


def test_a_list_of_labels_says_each_of_them(tmp_path: Path) -> None:
    table = pa.table(
        {"image_id": ["a", "b", "c", "d"], "label": [["x", "y"], [], None, ["z"]], "location": ["u", "v", "w", "t"]}
    )
    pq.write_table(table, tmp_path / "one")
    assert read("parquet", [tmp_path / "one"]).rows == [("a", "x", 1, "u"), ("a", "y", 1, "u"), ("d", "z", 1, "t")]
    lists = pa.array([[0.5, 0.25], [], None, [1.0]], pa.list_(pa.float32()))
    pq.write_table(table.append_column("confidence", lists), tmp_path / "two")
    assert [row[2] for row in read("parquet", [tmp_path / "two"]).rows] == [0.5, 0.25, 1]
    pq.write_table(table.append_column("confidence", pa.array([0.5, 1, 1, 0.25])), tmp_path / "three")
    assert [row[2] for row in read("parquet", [tmp_path / "three"]).rows] == [0.5, 0.5, 0.25]
    pq.write_table(table.append_column("confidence", pa.array([[0.5], [], None, [1.0]])), tmp_path / "four")
    found = read("parquet", [tmp_path / "four"])
    assert [row[:3] for row in found.rows] == [("d", "z", 1)]
    assert [str(reject) for reject in found.rejects.first] == [
        f"{tmp_path / 'four'}: row 1: 1 confidences of 2 labels: 'a'"
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([{"a": 1}, {"a": 2}]),
        pa.array([1.5, 2.0]),
        pa.array([True, False]),
        pa.array([0, 1], pa.timestamp("ms")),
        pa.array([b"\xff\xfe", b"a"]),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.parametrize("name", ["image_id", "label"])
def test_what_is_no_text_is_told_with_its_type(tmp_path: Path, name: str, column: pa.Array) -> None:
    columns = {"image_id": pa.array(["a", "b"]), "label": pa.array(["x", "y"]), name: column}
    pq.write_table(pa.table(columns), tmp_path / "t")
    with pytest.raises(DataError, match=rf"its column {name} is {re.escape(str(column.type))}, not text"):
        read("parquet", [tmp_path / "t"])


def test_a_table_with_two_columns_of_a_name_is_told(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["image_id", "label", "label"])
    pq.write_table(table, tmp_path / "t")
    with pytest.raises(DataError, match="has two columns label; name each differently"):
        read("parquet", [tmp_path / "t"])


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_tiny_confidence_at_the_end_of_a_row_is_no_absence(tmp_path: Path, delimiter: str, end: str) -> None:
    path = tmp_path / "tiny"
    path.write_text("image_id,label,confidence\na,dog,1e-400\nb,dog,1e-400".replace(",", delimiter) + end)
    (found, _) = read_statements("csv", [path])
    assert found["image_id"].to_pylist() == ["a", "b"]
    assert all(confidence > 0 for confidence in found["confidence"].to_pylist())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("b,/m/1", "missing columns"),
        ("b,/m/1,1,more", "too many columns"),
        ('b,"/m/1"x,1', "a quote is not closed, or text follows it"),
        ('b,"/m/1,1', "a quote is not closed, or text follows it"),
        (f'b,"{"x" * 3_000_000}",1', "the row is too long"),
    ],
)
def test_the_reason_of_a_reject_is_told_in_plain_words(tmp_path: Path, row: str, reason: str) -> None:
    (path,) = written(tmp_path, f"image_id,label,confidence\na,/m/1,1\n{row}\n", suffix=".csv")
    found = read("csv", [path])
    assert [one.what for one in found.rejects.first] == [reason]

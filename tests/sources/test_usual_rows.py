"""The compiled loop makes of the rows that it takes what SQL makes of any rows, and loses none of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import mlimages_dataset as ml
from mlimages_dataset.augment.annotate import AnnotatedFiles, annotate
from mlimages_dataset.augment.tally import tally
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import location
from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.sources import usual_rows
from mlimages_dataset.sources.blocks import Block
from mlimages_dataset.sources.contract import read_statements
from mlimages_dataset.sources.registry import source_named
from mlimages_dataset.sources.rejects import RejectLog
from mlimages_dataset.sources.usual_rows import Field, fields_of, usual_boxes
from mlimages_dataset.tables.confidences import LEAST, MOST

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.sources.rejects import Reject
    from mlimages_dataset.vocab.vocabulary import Vocabulary

COLUMNS = {
    "boxes": (
        "ImageID",
        "Source",
        "LabelName",
        "Confidence",
        "XMin",
        "XMax",
        "YMin",
        "YMax",
        "IsOccluded",
        "IsGroupOf",
    ),
    "without confidences": ("LabelName", "ImageID", "YMax", "YMin", "XMax", "XMin", "IsInside"),
    "masks": ("MaskPath", "ImageID", "LabelName", "BoxID", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax", "Clicks"),
}
LABELS = {
    "labels": ("ImageID", "Source", "LabelName", "Confidence"),
    "scores": ("LabelName", "Score", "ImageID"),
    **COLUMNS,
    "rows": ("label", "image_id", "confidence", "note"),
    "sure rows": ("image_id", "label"),
    "points": ("ImageId", "X", "Y", "Label", "EstimatedYesNo", "Source"),
}
decimals = st.integers(0, 10**15).flatmap(
    lambda number: st.integers(0, 15).map(lambda n: f"{number / 10**n:.{n}f}" if n else str(number))
)
low, high = st.floats(0, 0.5).map("{:.6f}".format), st.floats(0.5, 1).map("{:.6f}".format)
odd_numbers = st.sampled_from(
    """; 0; 1; 1.0; 0.0; 00.5; .5; 1.; 1e-3; 5E-05; -0.0; -0.1; +0.5; 1.5;  0.5; 0.5 ; nan; inf; x;
0x1; 1_0; 0.5.5; 0..5; .; 0.1234567890123456789; 0.99999999; 0.999999999999999; 0.9999999999999999; 1.0000001;
 0.000000000000001""".replace("\n", " ").split("; ")
)
numbers = {"Min": low | odd_numbers | decimals, "Max": high | odd_numbers | decimals}
texts = st.sampled_from(
    [
        "a",
        "b",
        "\ufeffa",
        "abc12",
        "/m/01g317",
        "",
        "./",
        ".\\",
        "./a",
        " a",
        "a b",
        "日本",
        "a\tb",
        "'",
        "0",
        "x" * 300,
    ]
)
flags = st.sampled_from(["0", "1", "-1", "", "-0", "2", "1.0", "true", " 1", "01", "10", "-", "x"])


def field_of(column: str, usual: bool) -> st.SearchStrategy[str]:  # noqa: FBT001 - a choice of two strategies
    if column[-3:] in numbers:
        return {"Min": low, "Max": high}[column[-3:]] if usual else numbers[column[-3:]]
    if column.lower() in {"confidence", "score"}:
        return st.sampled_from(["1", "0", "0.5", "0.07"]) if usual else high | odd_numbers | decimals
    if column.startswith("Is"):
        return st.sampled_from(["0", "1", "-1"]) if usual else flags
    if column == "Source":
        odd = st.sampled_from(["Machine", " machine", "machine ", "machinery", "", "MACHINE", "m"])
        return st.sampled_from(["machine", "verification"]) | (st.nothing() if usual else odd)
    return st.sampled_from(["a", "b", "c.jpg", "/m/01g317"]) if usual else texts


def rows_of(columns: tuple[str, ...]) -> st.SearchStrategy[str]:
    usual, any_row = (st.tuples(*(field_of(one, as_usual) for one in columns)) for as_usual in (True, False))
    damaged = st.lists(texts, max_size=len(columns) + 2)
    return (usual | usual | any_row | damaged).map(",".join)


@st.composite
def files(draw: st.DrawFn, kinds: dict[str, tuple[str, ...]] = COLUMNS) -> bytes:
    columns = kinds[draw(st.sampled_from(sorted(kinds)))]
    rows = draw(st.lists(rows_of(columns), max_size=12))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return (end.join([",".join(columns), *rows]) + draw(st.sampled_from([end, ""]))).encode()


def read(path: Path, compiled_bytes: int) -> tuple[list[dict[str, Any]], int, list[Reject]]:
    """Return the boxes of a file, how many rows are rejects, and the first of these."""
    source, log = source_named("open-images"), RejectLog()
    with mock.patch.object(usual_rows, "COMPILED_BYTES", compiled_bytes):
        batches = [
            batch for piece in source.cut(source.piece(location(str(path)))) for batch in source.regions(piece, log)
        ]
    return pa.Table.from_batches(batches).to_pylist() if batches else [], log.count, list(log.first)


@settings(max_examples=40)
@given(content=files())
@example(content=b"ImageID,LabelName,XMin,XMax,YMin,YMax\na,b,0.1,0.2,0.1,0.2\na,b,0.1,0.2,0.1\na,b,0.1,0.2,0.1,0.2\n")
@example(
    content=b"ImageID,LabelName,XMin,XMax,YMin,YMax\na,b,0.1,0.2,0.1,0.2,\na,b,0.1,0.2,0.1,0.2,7\n,b,0.1,0.2,0.1,0.2"
)
@example(content=b"ImageID,LabelName,XMin,XMax,YMin,YMax\n\n\na,b,0.1,0.2,0.1,0.2\n\n")
@example(content=b"ImageID,LabelName,XMin,XMax,YMin,YMax")
def test_rows_are_what_sql_makes_of_them(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("boxes") / "boxes.csv"
    path.write_bytes(content)
    found, count, rejects = read(path, 0)
    wanted, wanted_count, wanted_rejects = read(path, 1 << 30)
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))
    assert count == wanted_count
    # The loop leaves few rows, of which more is known: SQL knows no line of a row where some line of a block is none.
    told = {(one.what, one.text): one.line for one in rejects}
    assert set(told) == {(one.what, one.text) for one in wanted_rejects}
    lines = content.decode().replace("\r\n", "\n").split("\n")
    for one in rejects:
        assert not one.line or one.text.partition(",")[0].strip() in lines[one.line - 1]


@given(rows=st.lists(st.tuples(low, high, low, high), min_size=1, max_size=20))
def test_usual_rows_are_all_taken_and_their_numbers_are_the_nearest(rows: list[tuple[str, str, str, str]]) -> None:
    rows = [row for row in rows if float(row[0]) < float(row[1]) and float(row[2]) < float(row[3])]
    content = "".join(f"i,{','.join(row)},c\n" for row in rows).encode()
    roles = {"i": Field.IMAGE, "c": Field.CLASS, "XMin": Field.XMIN, "XMax": Field.XMAX, "YMin": Field.YMIN}
    fields = fields_of(("i", "XMin", "XMax", "YMin", "YMax", "c"), {**roles, "YMax": Field.YMAX})
    boxes, left = usual_boxes(Block(content, range(1, len(rows) + 1), header=False), ",", fields)
    assert not left.lines
    for at, name in enumerate(("xmin", "xmax", "ymin", "ymax")):
        assert boxes[name].to_pylist() == [float(np.float32(float(row[at]))) for row in rows]


def test_a_quote_makes_rows_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(
        'ImageID,LabelName,XMin,XMax,YMin,YMax,Note\na,b,0.1,0.2,0.1,0.2,"x\na,b,0.1,0.2,0.1,0.2,"\n', "utf-8"
    )
    found, count, _ = read(path, 0)
    assert (len(found), count) == (1, 0)


def test_lines_are_known_beside_damaged_rows(tmp_path: Path) -> None:
    rows = ["a,b,0.1,0.2,0.1,0.2"] * 9
    rows[1], rows[3], rows[5], rows[7] = "a,b,0.2,0.1,0.1,0.2", "a,b,0.1", "", "a,b,x,0.2,0.1,0.2"
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join(["ImageID,LabelName,XMin,XMax,YMin,YMax", *rows]), "utf-8")
    for compiled_bytes in (0, 1 << 30):
        found, count, rejects = read(path, compiled_bytes)
        assert (len(found), count, sorted(one.line for one in rejects)) == (5, 3, [3, 5, 9])


def test_a_prediction_without_a_score_is_a_reject(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(
        "ImageID,LabelName,Score,XMin,XMax,YMin,YMax\na,b,,0.1,0.2,0.1,0.2\na,b,0.5,0.1,0.2,0.1,0.2\n", "utf-8"
    )
    for compiled_bytes in (0, 1 << 30):
        (box,), count, (reject,) = read(path, compiled_bytes)
        assert (box["confidence"], count, reject.line) == (0.5, 1, 2)


def test_a_spreadsheet_separates_by_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("ImageID;LabelName;XMin;XMax;YMin;YMax\na;b;0,25;0,5;0,25;0,5\na;b;0.25;0.5;0.25;0.5\n", "utf-8")
    for compiled_bytes in (0, 1 << 30):
        found, count, _ = read(path, compiled_bytes)
        assert count == 0
        assert [[box[side] for side in ("xmin", "ymin", "xmax", "ymax")] for box in found] == [
            [0.25, 0.25, 0.5, 0.5]
        ] * 2


def statements_in(path: Path, form: str, compiled_bytes: int) -> tuple[list[dict[str, Any]], int, list[Reject]] | str:
    """Return the statements of a file, how many rows are rejects, and the first of these; or why it is refused."""
    with mock.patch.object(usual_rows, "COMPILED_BYTES", compiled_bytes):
        try:
            rows, log = read_statements(form, [location(str(path))])
        except DataError as error:
            return str(error)
    return rows.to_pylist(), log.count, list(log.first)


@settings(max_examples=60)
@given(content=files(LABELS))
@example(
    content=b"ImageID,Source,LabelName,Confidence\na,verification,/m/1,1\na,verification,/m/2,0\na,verification,/m/3,0.4\nb,verification,,0.4\n,verification,c,1\n"
)
@example(
    content=b"ImageID,Source,LabelName,Confidence\na,verification,/m/1,0.99999999\na,verification,/m/2,0.000000000000001\na,verification,b"
)
@example(content=b"ImageID,Source,LabelName,Confidence\na,verification,/m/1,7\nb,verification,/m/1,1\n")
@example(content=b"ImageID,Source,LabelName,Confidence\n\n\n")
@example(
    content=b"ImageID,Source,LabelName,Confidence\na,machine,/m/1,1\na,machine,/m/2,0\na,Machine ,c,1\nb,human,c,1\n"
)
@example(content=b"image_id;label;confidence\na;b;0,5\na;b;0.25\nc;d;1\n;d;1\nc;;1\nc;d;2\n")
@example(content=b"image_id, label, confidence\na, b, 0.5\na,b,0.5\n")
@example(content=b"image_id,label,location\na,b,https://x/1.jpg\nc,d,\n")
def test_statements_are_what_sql_makes_of_them(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "labels.csv"
    path.write_bytes(content)
    form = "csv" if b"image_id" in content.splitlines()[0] else "open-images"
    found, wanted = statements_in(path, form, 0), statements_in(path, form, 1 << 30)
    if isinstance(found, str) or isinstance(wanted, str):
        assert found == wanted
        return
    assert sorted(map(repr, found[0])) == sorted(map(repr, wanted[0]))
    assert found[1] == wanted[1]
    assert {(one.what, one.text) for one in found[2]} == {(one.what, one.text) for one in wanted[2]}


@pytest.mark.parametrize("least", [0, 1 << 30])
def test_what_a_machine_says_is_never_verified(tmp_path: Path, least: int) -> None:
    people = ["verification", "crowdsource-verification", "human", "Verification ", "xclick"]
    sources = ["machine", "Machine", " machine ", *people]
    rows = [f"{source},a,{number},b" for source in sources for number in ("1", "0", "0.5", "1.0")]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["Source,ImageID,Confidence,LabelName", *rows]))
    found = statements_in(path, "open-images", least)
    assert not isinstance(found, str)
    numbers = sorted(row["confidence"] for row in found[0])
    assert numbers == sorted([float(MOST), float(LEAST), 0.5, float(MOST)] * 3 + [1, 0, 0.5, 1] * 5)


@pytest.mark.parametrize("least", [0, 1 << 30])
@pytest.mark.parametrize(
    "source", ["", " ", "machinery", "verificatio", "verifications", "crowdsource", "unknown", "机"]
)
def test_what_an_unknown_source_says_is_listed_with_line_and_value(
    mini_vocabulary: Vocabulary, tmp_path: Path, least: int, source: str
) -> None:
    good = ["a,verification,/m/0k4j,1"] * 9
    rows = ["ImageID,Source,LabelName,Confidence", *good, f"b,{source},/m/0k4j,1", f"c,{source},/m/0k4j,0.5"]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(rows))
    labels = AnnotatedFiles(name="x", format="open-images", files=(path,))
    with mock.patch.object(usual_rows, "COMPILED_BYTES", least):
        summary = annotate(mini_vocabulary, labels, Workplace(tmp_path / "out")).summary
    told = source.strip()
    reason = f"its Source is none of Open Images: {told}" if told else "its Source is empty"
    assert summary.first_malformed == tuple(f"labels.csv, line {n + 1}: {reason}: {rows[n]!r}" for n in (10, 11))
    assert (summary.images, summary.malformed) == (1, 2)


def test_a_table_is_the_same_by_the_loop_and_by_sql(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        f"{image:04x},machine,n0208407{rng.integers(0, 3)},{rng.choice(['1', '0', '0.8', '0.95', ' 0.5', 'x'])}"
        for image in rng.integers(0, 300, 3000)
    ]
    files = [location(str(tmp_path / f"{name}.csv")) for name in ("first", "second")]
    for path, part in zip(files, (rows[:1500], rows[1500:]), strict=True):
        path.write_text("\n".join(["ImageID,Source,LabelName,Confidence", *part]))
    vocabulary = ml.build_vocabulary(imagenet=[f"n0208407{i}" for i in (1,)])
    tables, counts = [], []
    for least in (0, 1 << 30):
        with mock.patch.object(usual_rows, "COMPILED_BYTES", least):
            with pytest.warns(UserWarning, match="left out"):
                annotations = ml.annotate(files, vocabulary, format="open-images")
            tables.append((annotations.to_arrow(), annotations.summary))
            path = tmp_path / f"{least}.csv"
            tally("open-images", files, "machine", path)
            counts.append(path.read_text())
    (found, said), (wanted, wanted_said) = tables
    assert found.equals(wanted)
    assert found.num_rows > 50
    assert said == wanted_said
    assert counts[0] == counts[1]

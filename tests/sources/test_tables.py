"""A user's own rows mean one thing, in whatever table, cell and list they stand."""

from __future__ import annotations

import csv
import gzip
import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.sources import json_items
from mlimages_dataset.sources.contract import read_statements
from mlimages_dataset.sources.inputs import files_of
from mlimages_dataset.sources.layout import Layout, layout_of

if TYPE_CHECKING:
    from pathlib import Path

Row = tuple[str, list[str], list[float]]
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"], exclude_characters="|"), min_size=1)
ROWS = st.lists(
    st.lists(st.tuples(WORDS, st.sampled_from([0, 0.25, 0.5, 1])), min_size=1, max_size=4), min_size=1, max_size=5
).map(lambda rows: [(f"i{at}", [word for word, _ in row], [n for _, n in row]) for at, row in enumerate(rows)])


def said(form: str, path: Path, layout: Layout | None = None) -> list[tuple[str, str, float]]:
    """Return what a file states: image, class, confidence."""
    found, rejects = read_statements(form, [path], layout)
    assert rejects.count == 0, rejects.first
    return [(row["image_id"], row["class_id"], row["confidence"]) for row in found.to_pylist()]


def text_of(rows: list[Row], separator: str, delimiter: str = ",", *, header: bool = True) -> str:
    """Return rows as CSV, whose cells hold all labels of an image."""
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter, lineterminator="\n")
    if header:
        writer.writerow(["image_id", "label", "confidence"])
    writer.writerows([image, separator.join(labels), separator.join(map(str, ns))] for image, labels, ns in rows)
    return sink.getvalue()


@settings(max_examples=12)
@given(rows=ROWS, separator=st.sampled_from(["|", " ", "||"]), delimiter=st.sampled_from(",;\t"))
@pytest.mark.slow
def test_rows_of_several_labels_mean_the_same_everywhere(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], separator: str, delimiter: str
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    expected = [(image, label, n) for image, labels, ns in rows for label, n in zip(labels, ns, strict=True)]
    stated = Layout(separator=separator)
    path = folder / "cells.csv"
    path.write_text(text_of(rows, separator, delimiter), encoding="utf-8")
    assert said("csv", path, stated) == expected
    images, labels, ns = (list(column) for column in zip(*rows, strict=True))
    columns = {"image_id": images, "label": labels, "confidence": ns}
    pq.write_table(pa.table(columns), folder / "lists.parquet")
    assert said("parquet", folder / "lists.parquet") == expected
    cells = {"label": [separator.join(one) for one in labels], "confidence": [separator.join(map(str, n)) for n in ns]}
    pq.write_table(pa.table({"image_id": images, **cells}), folder / "cells.parquet")
    assert said("parquet", folder / "cells.parquet", stated) == expected
    structs = [
        [{"label": label, "confidence": n} for label, n in zip(*row, strict=True)]
        for row in zip(labels, ns, strict=True)
    ]
    pq.write_table(pa.table({"image_id": images, "label": structs}), folder / "structs.parquet")
    assert said("parquet", folder / "structs.parquet") == expected
    for name, fields in (("lists", columns), ("cells", {"image_id": images, **cells}), ("structs", {"label": structs})):
        table = {"image_id": images, **fields}
        lines = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
        for ascii_only in (True, False):
            text = "".join(json.dumps(line, ensure_ascii=ascii_only) + "\n" for line in lines)
            (folder / "rows.jsonl").write_text(text, encoding="utf-8")
            layout = stated if name == "cells" else None
            assert said("jsonl", folder / "rows.jsonl", layout) == expected, name


@settings(max_examples=12)
@given(rows=ROWS, delimiter=st.sampled_from(",;\t|"))
def test_a_file_without_a_header_is_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], delimiter: str
) -> None:
    folder = tmp_path_factory.mktemp("headers")
    for name, header in (("with", True), ("without", False)):
        (folder / name).write_text(text_of(rows, " ", delimiter, header=header), encoding="utf-8-sig")
    layout = Layout(columns=("image_id", "label", "confidence"), separator=" ")
    found = said("csv", folder / "with", Layout(separator=" "))
    # A file that has the header is read as what it says, too.
    assert said("csv", folder / "without", layout) == found == said("csv", folder / "with", layout)


def test_columns_of_a_file_without_a_header_may_be_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("7,x,dog,0.5\n8,y,cat,1\n")
    layout = Layout(columns=("_", "image_id", "label", "confidence"))
    assert said("csv", path, layout) == [("x", "dog", 0.5), ("y", "cat", 1)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b,c\n", r"line 1: has 3 between ',' fields in its first row, where 2 columns are named"),
        ("ab\n", r"line 1: has 1 fields in its first row, where 2 columns are named"),
        ("a,b;c\n", r"line 1: may be separated by ',' or ';': each gives 2 fields; give it a header"),
        ("", r"is empty"),
    ],
)
def test_a_file_without_a_header_and_other_columns_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        said("csv", tmp_path / "a.csv", Layout(columns=("image_id", "label")))


def test_a_row_that_is_amiss_does_not_decide_what_separates_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;b\nc;d;e\n")
    found, rejects = read_statements("csv", [tmp_path / "a.csv"], Layout(columns=("image_id", "label")))
    assert (found["image_id"].to_pylist(), [reject.line for reject in rejects.first]) == (["a"], [2])


def test_a_file_may_call_its_columns_as_it_likes(tmp_path: Path) -> None:
    layout = Layout(columns=("image_id=file_name", "label=ann.class"))
    (tmp_path / "a.csv").write_text("label;file_name;ann.class\nno;x;dog\n")
    pq.write_table(pa.table({"label": ["no"], "file_name": ["x"], "class": ["dog"]}), tmp_path / "a.parquet")
    lines = [{"label": "no", "file_name": "x", "ann": {"class": "dog"}}, {"file_name": "y", "ann.class": ["a", "b"]}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert said("csv", tmp_path / "a.csv", layout) == [("x", "dog", 1)]
    own = Layout(columns=("image_id=file_name", "label=class"))
    assert said("parquet", tmp_path / "a.parquet", own) == [("x", "dog", 1)]
    assert said("jsonl", tmp_path / "a.jsonl", layout) == [("x", "dog", 1), ("y", "a", 1), ("y", "b", 1)]
    for form, name in (("csv", "a.csv"), ("parquet", "a.parquet")):
        with pytest.raises(DataError, match=r"no column (nowhere|nowhere and label) among"):
            said(form, tmp_path / name, Layout(columns=("image_id=nowhere", "label=label")))
    (tmp_path / "b.csv").write_text("image_id,label\nx,dog\n")
    with pytest.raises(DataError, match="no column nowhere among image_id, label;"):  # the file's own names
        said("csv", tmp_path / "b.csv", Layout(columns=("image_id=nowhere",)))
    for form, name in (("parquet", "a.parquet"), ("jsonl", "a.jsonl")):
        with pytest.raises(DataError, match=r"itself, as .* say how it calls ours"):
            said(form, tmp_path / name, Layout(columns=("image_id", "label")))


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"columns": ("image_id", "label=x")}, "columns are names and pairs"),
        ({"columns": ("image_id", "class")}, "columns lack label"),
        ({"columns": ("image_id", "label", "label")}, "columns name 'label' twice"),
        ({"columns": ("image_id=a", "label=a")}, "columns name 'a' twice"),
        ({"columns": ("image=a",)}, "columns name 'image', which is none of image_id, label"),
        ({"separator": "| "}, "mixes blanks with other characters"),
    ],
)
def test_what_cannot_be_stated_is_told(stated: dict[str, tuple[str, ...]], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Layout(**stated)  # type: ignore[arg-type]  # as the case says
    with pytest.raises(UsageError, match=told):
        layout_of(**{"columns": (), "separator": "", "synsets": None, **stated})  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("form", ["imagenet", "open-images", "tencent", "coco"])
def test_what_a_format_has_no_use_for_is_told(tmp_path: Path, form: str) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(UsageError, match=f"the format {form} has no use for separator; leave it out"):
        read_statements(form, [tmp_path / "a"], Layout(separator="|"))


def test_confidences_that_are_not_those_of_the_labels_make_a_reject(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image_id,label,confidence\na,x|y,0.5|1\nb,x|y,0.5|1|0\nc,x|y,0.5\nd,x,\n")
    found, rejects = read_statements("csv", [tmp_path / "a.csv"], Layout(separator="|"))
    rows = [(row["image_id"], row["class_id"], row["confidence"]) for row in found.to_pylist()]
    assert rows == [("a", "x", 0.5), ("a", "y", 1), ("c", "x", 0.5), ("c", "y", 0.5), ("d", "x", None)]
    assert [str(one) for one in rejects.first] == [f"{tmp_path / 'a.csv'}, line 3: 3 confidences of 2 labels: 'b'"]
    lines = [{"image_id": "a", "label": ["x", "y"], "confidence": n} for n in ([0.5], [1, 0], 0.5, [])]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found, rejects = read_statements("jsonl", [tmp_path / "a.jsonl"])
    assert found["confidence"].to_pylist() == [1, 0, 0.5, 0.5]
    assert [(one.line, one.what) for one in rejects.first] == [
        (1, "1 confidences of 2 labels"),
        (4, "0 confidences of 2 labels"),
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("padding", ["", " "])
def test_faults_in_cells_of_several_labels_are_told_with_their_lines(tmp_path: Path, ending: str, padding: str) -> None:
    """Blank lines, line ends in quotes and rows of too few columns lie before them."""
    lines = [
        f"image_id,{padding}label,confidence",
        "a,x|y,1|0",
        '"b',
        'b",x|y,1|0|1',
        "c,x",
        "",
        "d,x|y,1|z",
        "e,x|y|z,0|1",
    ]
    (tmp_path / "a.csv").write_text(ending.join([*lines, ""]), newline="")
    _, rejects = read_statements("csv", [tmp_path / "a.csv"], Layout(separator="|"))
    told = {one.line: one.what for one in rejects.first}
    assert told[3] == "3 confidences of 2 labels"
    assert told[8] == "2 confidences of 3 labels"
    assert set(told) == {3, 5, 8}


def test_an_empty_place_between_separators_is_a_label_that_nobody_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image_id,label\na,x||y\nb,\nc,  3   7 \n")
    assert [row[:2] for row in said("csv", tmp_path / "a.csv", Layout(separator="|"))][:4] == [
        ("a", "x"),
        ("a", ""),
        ("a", "y"),
        ("b", ""),
    ]
    assert [row[:2] for row in said("csv", tmp_path / "a.csv", Layout(separator=" "))][-2:] == [("c", "3"), ("c", "7")]


def test_commas_are_not_both_of_decimals_and_of_labels(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image_id;label;confidence\na;x|y;0,25|1,0\n")
    assert said("csv", tmp_path / "a.csv", Layout(separator="|")) == [("a", "x", 0.25), ("a", "y", 1)]
    with pytest.raises(DataError, match="may have commas in its decimals"):
        said("csv", tmp_path / "a.csv", Layout(separator=","))
    (tmp_path / "b.csv").write_text("image_id;label\na;x,y\n")
    assert [row[1] for row in said("csv", tmp_path / "b.csv", Layout(separator=","))] == ["x", "y"]


def test_confidences_in_two_places_are_refused(tmp_path: Path) -> None:
    label = pa.array([[{"label": "x", "confidence": 0.5}]])
    pq.write_table(pa.table({"image_id": ["a"], "label": label, "confidence": [[1.0]]}), tmp_path / "a")
    with pytest.raises(DataError, match="in the column confidence and in the structs of the column label"):
        said("parquet", tmp_path / "a")


PARQUET_LABELS = [
    (pa.array([7.0, 8.0], pa.float16()), ["7", "8"]),
    (pa.array([2**64 - 1, 0], pa.uint64()), [str(2**64 - 1), "0"]),
    (pa.array([Decimal("7.00"), Decimal("8.00")]), ["7", "8"]),
    (pa.array([Decimal(7), Decimal(8)], pa.decimal256(60, 0)), ["7", "8"]),
    (pa.array([b"ab", b"cd"], pa.binary(2)), ["ab", "cd"]),
    (pa.array([[7], [8]]), ["7", "8"]),
    (pa.array([["a"], ["b"]], pa.list_(pa.dictionary(pa.int32(), pa.string()))), ["a", "b"]),
    (pa.array([["a"], ["b"]], pa.list_(pa.string_view())), ["a", "b"]),
    (pa.array([["a"], ["b"]], pa.large_list(pa.binary())), ["a", "b"]),
    (pa.array([["a"], ["b"]], pa.list_(pa.string(), 1)), ["a", "b"]),
    (pa.array([{"label": 3}, {"label": 4}]), ["3", "4"]),
    (pa.array([[{"label": "a"}], [{"label": "b"}]]), ["a", "b"]),
]


@pytest.mark.parametrize(("labels", "expected"), PARQUET_LABELS, ids=lambda one: str(getattr(one, "type", "")))
def test_whatever_can_mean_a_label_in_parquet_does(tmp_path: Path, labels: pa.Array, expected: list[str]) -> None:
    pq.write_table(pa.table({"image_id": ["i", "j"], "label": labels}), tmp_path / "t")
    assert [row[1] for row in said("parquet", tmp_path / "t")] == expected


@pytest.mark.parametrize(
    "confidences",
    [
        pa.array([0.5, 1], pa.float16()),
        pa.array([Decimal("0.50"), Decimal("1.00")]),
        pa.array(["0.5", "1"], pa.string_view()),
        pa.array([b"0.5", b"1"]),
        pa.array(["0.5", "1"]).dictionary_encode(),
        pa.array([0.5, 1]).dictionary_encode(),
    ],
    ids=lambda one: str(one.type),
)
def test_whatever_can_mean_a_confidence_in_parquet_does(tmp_path: Path, confidences: pa.Array) -> None:
    columns = {"image_id": ["i", "j"], "label": ["a", "b"], "confidence": confidences}
    pq.write_table(pa.table(columns), tmp_path / "t")
    assert [row[2] for row in said("parquet", tmp_path / "t")] == [0.5, 1]


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([[{"name": "x"}], []]),
        pa.array([[["x"]], []]),
        pa.array([[("a", 1.0)], []], pa.map_(pa.string(), pa.float64())),
        pa.array([[True], []]),
        pa.array([Decimal("7.50"), Decimal("8.00")]),
    ],
    ids=lambda one: str(one.type),
)
def test_what_can_mean_no_label_is_one_sentence(tmp_path: Path, labels: pa.Array) -> None:
    pq.write_table(pa.table({"image_id": ["i", "j"], "label": labels}), tmp_path / "t")
    with pytest.raises(DataError, match=r"its column label is .*, not text; give texts or whole numbers"):
        said("parquet", tmp_path / "t")


# JSON lines


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("nope", "no JSON (Expecting value)"),
        ("[]", "no JSON object"),
        ("{}", "an empty object"),
        ('{"image_id": "a", "class": "b"}', "no label among image_id, class"),
        ('{"image_id": "a", "label": "b", "label": "c"}', "the key label stands twice"),
        ('{"image_id": "a\\ud800", "label": "b"}', "an escape is no character"),
        ('{"image_id": "a", "label": 1.5}', "its label is 1.5, not text"),
        ('{"image_id": "a", "label": true}', "its label is true, not text"),
        ('{"image_id": {"a": 1}, "label": "b"}', 'its image_id is {"a": "1"}, not text'),
        ('{"image_id": "a", "label": "b", "confidence": true}', "its confidence is true, not a number"),
        ('{"image_id": "a", "label": {"label": "b", "confidence": 1}, "confidence": 1}', "confidences stand in its"),
        ("[" * 100_000, "nested too deeply"),
        ('{"image_id": ' + "9" * 5000 + ', "label": "b"', "no JSON"),
    ],
)
def test_a_line_that_is_no_row_is_a_reject_with_its_number(tmp_path: Path, line: str, what: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"image_id": "q", "label": "x"}}\n\n{line}\n{{"image_id": 7, "label": 8.0}}')
    found, rejects = read_statements("jsonl", [tmp_path / "a.jsonl"])
    assert found.select(["image_id", "class_id"]).to_pylist() == [
        {"image_id": "q", "class_id": "x"},
        {"image_id": "7", "class_id": "8"},
    ]
    assert [reject.line for reject in rejects.first] == [3]
    assert rejects.first[0].what.startswith(what)


def test_confidences_of_json_are_judged_by_their_digits(tmp_path: Path) -> None:
    numbers = ["0.99999999999999999999", "1e-400", "1", "1.0", "0", "-0.0", "null", '""', "NaN", "-1", '"0.5"']
    lines = (f'{{"image_id": "a", "label": "b", "confidence": {number}}}\n' for number in numbers)
    (tmp_path / "a.jsonl").write_text("".join(lines))
    found = [confidence for *_, confidence in said("jsonl", tmp_path / "a.jsonl")]
    assert 0 < found[1] < 1e-30
    assert 0.9999 < found[0] < 1
    assert found[2:] == [1, 1, 0, 0, None, None, None, None, 0.5]
    (tmp_path / "b.jsonl").write_text('{"image_id": "a", "label": "b", "confidence": 95}\n')
    with pytest.raises(DataError):
        _scale(tmp_path / "b.jsonl")


@pytest.mark.parametrize("name", ["score", "Scores", "probability", "conf"])
@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_confidences_of_another_name_are_not_passed_over(tmp_path: Path, form: str, name: str) -> None:
    table = pa.table({"image_id": ["a"], "label": ["b"], name: [0.5]})
    path = tmp_path / f"a.{form}"
    if form == "parquet":
        pq.write_table(table, path)
    else:
        path.write_text(
            f"image_id,label,{name}\na,b,0.5\n" if form == "csv" else json.dumps(table.to_pylist()[0]) + "\n"
        )
    if form == "jsonl":
        rows, log = read_statements(form, [path])
        assert rows.num_rows == 0
        assert f"--columns confidence={name}" in log.first[0].what
    else:
        with pytest.raises(DataError, match=f"a column {name} and no column confidence") as caught:
            read_statements(form, [path])
        assert f"--columns confidence={name}" in caught.value.remedy
    rows, _ = read_statements(form, [path], Layout(columns=(f"confidence={name}",)))
    assert rows["confidence"].to_pylist() == [0.5]


def _scale(path: Path) -> None:
    """Read a file as `annotate` does, which looks at numbers that are no confidence."""
    import duckdb  # noqa: PLC0415

    from mlimages_dataset.augment.annotations import lookup_table, packed_statements  # noqa: PLC0415
    from mlimages_dataset.sources.registry import pieces_of, source_named  # noqa: PLC0415
    from mlimages_dataset.sources.rejects import RejectLog  # noqa: PLC0415

    (piece,) = pieces_of("jsonl", [path])
    with duckdb.connect() as connection:
        for block in source_named("jsonl").observe(lambda: connection, piece, RejectLog()):
            list(packed_statements(block, piece, lookup_table({"b": 0})))


@pytest.mark.parametrize("label", ["objects.list.element.name", "objects.name"])
def test_columns_within_columns_are_named_by_paths(tmp_path: Path, label: str) -> None:
    names = [["dog", "cat"], [], None, ["cow"]] * 5
    rows = {
        "image": [{"bytes": b"1" * 99, "path": f"{k}.jpg"} for k in range(len(names))],
        "objects": [None if some is None else [{"name": one, "area": 1.0} for one in some] for some in names],
        "other.path": ["no"] * len(names),
        "scores": [{"of": 0.5}] * len(names),
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(rows), path, row_group_size=3)
    layout = Layout(columns=("image_id=image.path", f"label={label}", "confidence=scores.of", "location=other.path"))
    found, rejects = read_statements("parquet", [path], layout)
    expected = [(f"{k}.jpg", one, 0.5, "no") for k, some in enumerate(names) for one in some or ()]
    assert [tuple(row.values()) for row in found.to_pylist()] == expected
    flat = {"image_id": [f"{k}.jpg" for k in range(len(names))], "label": names}
    pq.write_table(pa.table(flat), tmp_path / "flat.parquet", row_group_size=3)
    assert read_statements("parquet", [tmp_path / "flat.parquet"])[1].count == rejects.count
    for absent in ("image.name", "objects.list.element", "other.path.x", "scores.of.more"):
        with pytest.raises(DataError, match=absent):
            read_statements("parquet", [path], Layout(columns=("image_id=image.path", f"label={absent}")))


@pytest.mark.parametrize("label", ["objects.list.element.name", "objects.name"])
def test_columns_within_lists_of_one_length_are_named_by_paths(tmp_path: Path, label: str) -> None:
    kind = pa.list_(pa.struct([("name", pa.string())]), 2)
    objects = pa.array([[{"name": "dog"}, {"name": "cat"}], [{"name": "cow"}, {"name": "dog"}]], kind)
    pq.write_table(pa.table({"image_id": ["a", "b"], "objects": objects}), tmp_path / "a.parquet")
    layout = Layout(columns=("image_id=image_id", f"label={label}"))
    found, _ = read_statements("parquet", [tmp_path / "a.parquet"], layout)
    assert [tuple(row.values())[:2] for row in found.to_pylist()] == [
        ("a", "dog"),
        ("a", "cat"),
        ("b", "cow"),
        ("b", "dog"),
    ]


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_a_json_array_states_what_its_lines_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(json_items, "BLOCK_BYTES", block)
    rows: list[object] = [
        {"image_id": "a, [1]", "label": ["dog", 'c"at'], "confidence": 0.12345678901234567},
        {"image_id": 12345678901234567890123, "label": "é"},
        "no object",
        {"image_id": "b", "label": {"label": "dog"}, "confidence": 1},
    ]
    lines, array = tmp_path / "rows.jsonl", tmp_path / "rows.json"
    lines.write_text("\n".join(json.dumps(row) for row in rows))
    array.write_text("\ufeff" + json.dumps(rows, indent=1), encoding="utf-8")
    (expected, rejects), (found, of_items) = (read_statements("jsonl", [path]) for path in (lines, array))
    assert found.equals(expected)
    assert rejects.count == of_items.count == 1
    assert (of_items.first[0].line, of_items.first[0].what) == (0, "item 3: no JSON object")
    for cut in ("[", "[{}", '[{"image_id": 1', "[1,]", "[1,,2]", "[1]]", "[1}", "[1] x"):
        array.write_text(cut)
        with pytest.raises(DataError, match=r"rows\.json: is not a complete JSON file \(.*\); obtain it again"):
            read_statements("jsonl", [array])


def test_packed_json_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b'{"image_id": "a", "label": "b"}\r\n'))
    assert said("jsonl", tmp_path / "a.json.gz") == [("a", "b", 1)]


# Folders, patterns


@pytest.fixture(name="parts")
def _parts(tmp_path: Path) -> Path:
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("part-1.csv", "part-0.csv", "README.md", "_SUCCESS.csv", ".part-0.csv"):
        (folder / name).write_text("image_id,label\na,b\n")
    (folder / "part-2.CSV.gz").write_bytes(gzip.compress(b"image_id,label\nc,d\n"))
    return folder


def test_a_folder_is_its_parts_and_a_pattern_what_it_matches(parts: Path) -> None:
    names = ["part-0.csv", "part-1.csv", "part-2.CSV.gz"]
    assert [path.name for path in files_of("csv", [parts])] == names
    assert [path.name for path in files_of("csv", [parts / "part-*.[cC]*"])] == names
    assert [path.name for path in files_of("csv", [parts.parent / "**" / "part-?.csv"])] == names[:2]
    (parts / "part-[1].csv").write_text("")
    assert files_of("csv", [parts / "part-[1].csv"]) == (parts / "part-[1].csv",), "a file called like a pattern"
    assert files_of("imagenet", [parts]) == (parts,), "a format that reads folders itself"


@pytest.mark.parametrize(
    ("form", "name", "told"),
    [
        ("csv", "parts/x-*.csv", "no file matches this pattern"),
        ("csv", "nowhere.csv", "there is no such file"),
        ("parquet", "parts", "has no file .parquet or .pq"),
        ("coco", "parts", "is a folder; name files of the format coco"),
        ("csv", ".", "has files below its folders too, such as part-0.csv"),
    ],
)
def test_what_stands_for_no_file_is_told(parts: Path, form: str, name: str, told: str) -> None:
    with pytest.raises(MLImagesError, match=told):
        files_of(form, [parts.parent / name])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_blanks_around_the_cells_of_a_padded_table_belong_to_none(tmp_path: Path, delimiter: str) -> None:
    rows = [["label", " image_id ", " confidence"], ["dog", " a b ", " 0.5"], [" cat ", "c", "1 "]]
    for name, lines in (("padded", rows), ("plain", [[cell.strip() for cell in row] for row in rows])):
        (tmp_path / f"{name}.csv").write_text("".join(f"{delimiter.join(row)}\n" for row in lines))
    padded, plain = (read_statements("csv", [tmp_path / f"{name}.csv"]) for name in ("padded", "plain"))
    assert padded[0].equals(plain[0])
    assert (padded[1].count, plain[1].count) == (0, 0)
    assert padded[0].num_rows == 2
    (tmp_path / "own.csv").write_text("image_id,label\n a,dog\n")
    assert read_statements("csv", [tmp_path / "own.csv"])[0]["image_id"].to_pylist() == [" a"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_whose_name_is_not_utf_8_is_read_or_refused_in_a_sentence(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"l\udcff.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"image_id": ["a"], "label": ["dog"]}), tmp_path / "l.parquet")
        (tmp_path / "l.parquet").rename(path)
        assert said(suffix, path) == [("a", "dog", 1.0)]
        return
    path.write_text("image_id,label\na,dog\n" if suffix == "csv" else '{"image_id": "a", "label": "dog"}\n', "utf-8")
    with pytest.raises(UsageError, match=r"l\\udcff\.\w+'?: has a name that is not valid Unicode; rename it"):
        said(suffix, path)

"""Statements that cannot be used are listed with their places and reasons, however files are cut, and no others are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.augment.annotate import AnnotatedFiles, annotate
from mlimages_dataset.augment.regions_stage import map_regions
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.sources import pieces as pieces_module
from mlimages_dataset.sources import usual_rows
from mlimages_dataset.sources.rejects import LISTED_REJECTS

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.augment.annotation_counts import AnnotationSummary
    from mlimages_dataset.vocab.vocabulary import Vocabulary

HEADER = "image_id,label,confidence\n"
GOOD = "good,/m/0k4j,1\n"
NO_CONFIDENCE = "no confidence from 0 to 1"
FAULTS = {",/m/0k4j,1": "no image id", "././,/m/0k4j,1": "no image id", "c,,0.5": "no class"}
FAULTS |= {f"b,/m/0k4j,{number}": NO_CONFIDENCE for number in ("1.0000001", "NaN", "-0.1", "", "inf")}


def summary_of(vocabulary: Vocabulary, path: Path, form: str = "csv", **options: Any) -> AnnotationSummary:
    """Return the summary of a file's annotations."""
    given = AnnotatedFiles(name="mine", format=form, files=(path,), **options)
    return annotate(vocabulary, given, Workplace(path.parent / "out")).summary


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(st.sampled_from([*FAULTS, GOOD.strip(), "bad", "", "d,x,1,1"]), max_size=25),
    size=st.sampled_from([60, 200, 1 << 20]),
)
def test_the_first_faults_of_a_csv_file_are_listed_with_their_lines_however_it_is_cut(
    mini_vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory, rows: list[str], size: int
) -> None:
    path = write(tmp_path_factory.mktemp("cut") / "a.csv", HEADER + GOOD + "".join(f"{row}\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "PIECE_BYTES", size)
        summary = summary_of(mini_vocabulary, path)
    told = [f"a.csv, line {n}: {FAULTS[row]}: {row!r}" for n, row in enumerate(rows, 3) if row in FAULTS]
    assert summary.first_malformed == tuple(told[:LISTED_REJECTS])
    assert summary.malformed == len(told)


def test_a_file_that_loops_read_lists_the_same(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    rows = HEADER + GOOD * 30 + "\n".join(FAULTS) + "\n" + GOOD * 30
    path = write(tmp_path / "a.csv", rows)
    expected = summary_of(mini_vocabulary, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usual_rows, "COMPILED_BYTES", 1)
        assert summary_of(mini_vocabulary, path) == expected
    assert expected.first_malformed[0] == "a.csv, line 32: no image id: ',/m/0k4j,1'"
    assert len(expected.first_malformed) == len(FAULTS)


OTHERS = (("b", 1.2), ("c", -1.0))
"""Images and confidences that are malformed, of no other scale."""


def written(folder: Path, form: str, rows: list[tuple[str, Any]]) -> Path:
    """Write images of cars, each with a confidence."""
    text = form.endswith("-text")
    objects = [{"image_id": image, "label": "/m/0k4j", "confidence": str(at) if text else at} for image, at in rows]
    if form.startswith("parquet"):
        pq.write_table(pa.Table.from_pylist(objects), folder / "a.parquet", row_group_size=2)
        return folder / "a.parquet"
    if form.startswith("jsonl"):
        return write(folder / "a.jsonl", "".join(f"{json.dumps(one)}\n" for one in objects))
    if form == "array":
        return write(folder / "a.json", json.dumps(objects))
    return write(folder / "a.csv", HEADER + "".join(f"{image},/m/0k4j,{at}\n" for image, at in rows))


@pytest.mark.parametrize(
    ("form", "place"),
    [
        ("csv", ", line {line}: has"),
        ("jsonl", ", line {row}: has"),
        ("jsonl-text", ", line {row}: has"),
        ("array", "item {row}: "),
        ("parquet", "row {row}: "),
        ("parquet-text", "row {row}: "),
    ],
)
@pytest.mark.parametrize("number", [2, 87.5, 1e9])
def test_a_confidence_of_another_scale_is_refused_with_the_place_of_the_first_one(
    mini_vocabulary: Vocabulary, tmp_path: Path, *, form: str, place: str, number: float
) -> None:
    rows: list[tuple[str, Any]] = [("a", 1.0), *OTHERS, ("d", 0.5), ("e", number), ("f", number + 1)]
    path = written(tmp_path, form, rows)
    name = {"array": "jsonl"}.get(form, form.partition("-")[0])
    with pytest.raises(DataError, match="on another scale than 0 to 1; the first one is in ") as refused:
        summary_of(mini_vocabulary, path, name)
    said = str(refused.value)
    assert place.format(row=5, line=6) in said
    assert "'e, /m/0k4j, " in said or f"'e,/m/0k4j,{number}'" in said


def test_the_line_of_another_scale_is_right_beside_rows_that_are_read_in_other_ways(
    mini_vocabulary: Vocabulary, tmp_path: Path
) -> None:
    rows = GOOD + "a,/m/0k4j,abc\n\nbad\nb,/m/0k4j,1.2\nc,/m/0k4j,87\n" + GOOD
    with pytest.raises(DataError, match=r"line 7: has confidences such as 87, .* in 'c,/m/0k4j,87'"):
        summary_of(mini_vocabulary, write(tmp_path / "a.csv", HEADER + rows))


def test_amid_a_file_no_wrong_line_is_told(
    mini_vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces_module, "PIECE_BYTES", 60)
    path = write(tmp_path / "a.csv", HEADER + GOOD * 40 + "z,/m/0k4j,87\n")
    with pytest.raises(DataError, match=r"a\.csv: has confidences such as 87, .* in 'z,/m/0k4j,87'"):
        summary_of(mini_vocabulary, path)


SIDES = {"xmin": 0.25, "ymin": 0.25, "xmax": 0.5, "ymax": 0.5}


def boxes_of(folder: Path, form: str, images: list[str]) -> Path:
    """Write a file with a box in each image."""
    if form == "boxes":
        columns: dict[str, Any] = {"image_id": images, "label": ["/m/0k4j"] * len(images)}
        columns |= {side: [value] * len(images) for side, value in SIDES.items()}
        pq.write_table(pa.table(columns), folder / "a.parquet")
        return folder / "a.parquet"
    rows = [f"{image},/m/0k4j,0.25,0.5,0.25,0.5" for image in images]
    return write(folder / "a.csv", "\n".join(["ImageID,LabelName,XMin,XMax,YMin,YMax", *rows]))


@settings(max_examples=20, deadline=None)
@given(
    images=st.lists(st.sampled_from(["", "./", "././", ".\\", "a", "./b", ".c", "d/"]), max_size=15),
    form=st.sampled_from(["boxes", "open-images"]),
    least=st.sampled_from([1, 1 << 24]),
)
def test_a_box_whose_image_has_no_id_is_listed_with_its_place(
    mini_vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory, images: list[str], form: str, least: int
) -> None:
    path = boxes_of(tmp_path_factory.mktemp("boxes"), form, ["good", *images])
    files = AnnotatedFiles(name="mine", format=form, files=(path,), ids_of="open-images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usual_rows, "COMPILED_BYTES", least)
        summary = map_regions(mini_vocabulary, files, Workplace(path.parent / "out")).summary
    bad = [at for at, image in enumerate(images) if not image or set(image) <= set("./\\")]
    places = [f"row {at + 1}: " if form == "boxes" else f", line {at + 3}: " for at in bad]
    assert (summary.malformed, summary.rejected_rows) == (0, len(bad))
    assert summary.regions == 1 + len(images) - len(bad)
    for place, told in zip(places, summary.first_rejected_rows, strict=False):
        assert place in told
        assert "no image" in told or "no ImageID" in told
    assert len(summary.first_rejected_rows) == min(len(bad), LISTED_REJECTS)


def test_lists_are_no_longer_than_those_of_rejects(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + GOOD + ",x,1\n" * (3 * LISTED_REJECTS))
    summary = summary_of(mini_vocabulary, path)
    assert (len(summary.first_malformed), summary.malformed) == (LISTED_REJECTS, 3 * LISTED_REJECTS)


def test_parquet_says_the_row_of_the_file_and_the_number_as_it_is(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    table = pa.table(
        {
            "image_id": ["a", "b", "c", None, "e", "f"],
            "label": [["/m/0k4j"]] * 2 + [["/m/0k4j", "/m/0k4j"]] + [["/m/0k4j"]] * 2 + [[""]],
            "confidence": pa.array([[1.0], [float("nan")], [0.5, None], [1.0], [1.0000000001], [0.5]]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    summary = summary_of(mini_vocabulary, tmp_path / "a.parquet", "parquet")
    assert summary.first_malformed == (
        f"a.parquet: row 2: {NO_CONFIDENCE}: 'b, /m/0k4j, nan'",
        f"a.parquet: row 3: {NO_CONFIDENCE}: 'c, /m/0k4j, '",
        "a.parquet: row 4: no image id: ', /m/0k4j, 1.0'",
        f"a.parquet: row 5: {NO_CONFIDENCE}: 'e, /m/0k4j, 1.0000000001'",
        "a.parquet: row 6: no class: 'f, , 0.5'",
    )
    assert summary.malformed == 5


@pytest.mark.parametrize("is_array", [False, True])
def test_json_says_the_line_or_the_item(mini_vocabulary: Vocabulary, tmp_path: Path, *, is_array: bool) -> None:
    rows: list[dict[str, object]] = [
        {"image_id": "a", "label": "/m/0k4j"},
        {"image_id": "b", "label": ["/m/0k4j", "/m/0k4j"], "confidence": [None, 1.5]},
        {"image_id": None, "label": "/m/0k4j"},
    ]
    text = json.dumps(rows) if is_array else "".join(f"{json.dumps(row)}\n" for row in rows)
    summary = summary_of(mini_vocabulary, write(tmp_path / "a.jsonl", text), "jsonl")
    places = [f"a.jsonl: item {n}" if is_array else f"a.jsonl, line {n}" for n in (2, 2, 3)]
    assert summary.first_malformed == (
        f"{places[0]}: {NO_CONFIDENCE}: 'b, /m/0k4j, '",
        f"{places[1]}: {NO_CONFIDENCE}: 'b, /m/0k4j, 1.5'",
        f"{places[2]}: no image id: ', /m/0k4j, 1'",
    )


def test_one_of_several_labels_of_a_cell_says_its_line_the_image_and_the_class(
    mini_vocabulary: Vocabulary, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.csv", HEADER + GOOD + f"{'long' * 30},/m/0k4j|/m/0k4j,1|NaN\n")
    summary = summary_of(mini_vocabulary, path, separator="|")
    assert summary.first_malformed == (f"a.csv, line 3: {NO_CONFIDENCE}: '{('long' * 30)[:37]}..., /m/0k4j, NaN'",)


def test_the_lines_and_the_findings_show_them(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    summary = summary_of(mini_vocabulary, write(tmp_path / "a.csv", HEADER + GOOD + "b,/m/0k4j,1.2\n"))
    told = f"a.csv, line 3: {NO_CONFIDENCE}: 'b,/m/0k4j,1.2'"
    assert f"malformed: {told}" in summary.lines()
    counted = "1 statements without image id, class or valid confidence"
    assert summary.findings() == [f"{counted}: the first is {told}"]

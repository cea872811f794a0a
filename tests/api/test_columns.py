"""Columns of frames are found by their names as people write them; what is not read is told."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlimages_dataset as ml
from mlimages_dataset.api.frames import columns_of
from mlimages_dataset.core.errors import DataError
from tests.api.conftest import CAT, DOG

DOG_INDEX = object()
NAMES = ("image_id", "label", "confidence", "location")


def spellings(name: str) -> st.SearchStrategy[str]:
    """Return the ways to write a name in other cases and with blanks around it."""
    cases = st.tuples(*(st.sampled_from([letter.lower(), letter.upper()]) for letter in name)).map("".join)
    blanks = st.text(" \t", max_size=2)
    return st.builds(lambda before, text, after: before + text + after, blanks, cases, blanks)


@given(
    st.tuples(*map(spellings, NAMES)),
    st.permutations(range(len(NAMES))),
    st.sampled_from([pd.DataFrame, pa.table, pl.DataFrame]),
)
def test_case_and_blanks_of_a_name_do_not_matter(names: tuple[str, ...], order: list[int], frame: Any) -> None:
    columns = {names[at]: [f"{NAMES[at]} 0", f"{NAMES[at]} 1"] for at in order}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = columns_of(frame(columns), NAMES[:2], NAMES[2:], what="the frame")
    assert found.to_pydict() == {name: [f"{name} 0", f"{name} 1"] for name in NAMES}


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("loction", "location"),
        ("URL", "location"),
    ],
)
def test_a_column_that_may_be_meant_is_told(column: str, meant: str, known: ml.Vocabulary) -> None:
    frame = pd.DataFrame({"image_id": ["a"], "label": [DOG], column: ["0.5"]})
    with pytest.warns(UserWarning, match=f"column '{column}' is not read; if it is {meant}, rename it") as told:
        ml.annotate(frame, known)
    assert [Path(one.filename).name for one in told] == ["test_columns.py"], "the line of the caller"


@pytest.mark.parametrize("column", ["conf", "Score", "probability", "certainty", "confidance", "pred_score"])
def test_confidences_of_another_name_are_refused_as_those_of_a_file_are(
    column: str, known: ml.Vocabulary, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"image_id": ["a"], "label": [DOG], column: [0.5]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    told = f"has a column {column} and no column confidence, so each label would be sure"
    for one in (frame, pl.from_pandas(frame), str(tmp_path / "a.csv")):
        with pytest.raises(DataError, match=told):
            ml.annotate(one, known, format="csv")
    renamed = ml.annotate(frame.rename(columns={column: "confidence"}), known)
    assert renamed.to_pandas()["confidence"].tolist() == [0.5]
    boxes = frame.assign(xmin=0.0, ymin=0.0, xmax=0.5, ymax=0.5)
    with pytest.raises(DataError, match="no column confidence"):
        ml.regions(boxes, known)


@pytest.mark.parametrize("confidences", [None, [[0.5, 0.25], [1.0]], [0.5, 0.25]])
def test_lists_in_a_frame_are_those_of_a_file(
    known: ml.Vocabulary, tmp_path: Path, confidences: list[Any] | None
) -> None:
    frame = pd.DataFrame({"image_id": ["a", "b"], "label": [[DOG, CAT], [DOG]]})
    if confidences is not None:
        frame["confidence"] = confidences
    frame.to_parquet(tmp_path / "a.parquet")
    wanted = ml.annotate(str(tmp_path / "a.parquet"), known, format="parquet").to_pandas().drop(columns="source")
    assert len(wanted) == 3
    for one in (frame, pa.Table.from_pandas(frame), pl.from_pandas(frame)):
        found = ml.annotate(one, known).to_pandas().drop(columns="source")
        pd.testing.assert_frame_equal(found, wanted)
    if confidences is None:
        pd.testing.assert_frame_equal(
            ml.annotate(frame.explode("label"), known).to_pandas().drop(columns="source"), wanted
        )


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"image_id": ["a", "b"], "label": [[DOG], DOG]}, "several types .*give all rows lists or none"),
        ({"image_id": ["a", "b"], "label": [[DOG], None]}, "row 1 has no label"),
        (
            {"image_id": [["a"], ["b"]], "label": [DOG, DOG]},
            'must hold strings; give each value a row: explode."image_id"',
        ),
        ({"image_id": ["a"], "label": [[[DOG]]]}, 'give each value a row: explode."label"'),
        ({"image_id": ["a"], "label": [[DOG]], "confidence": [[2.0]]}, "another scale"),
        ({"image_id": ["a"], "label": [DOG], "confidence": [[0.5]]}, "its column confidence is list"),
    ],
)
def test_lists_that_cannot_be_read_are_told(known: ml.Vocabulary, columns: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        ml.annotate(pd.DataFrame(columns), known)


def test_frames_with_lists_and_without_are_told(known: ml.Vocabulary) -> None:
    frames = [pd.DataFrame({"image_id": ["a"], "label": one}) for one in ([DOG], [[DOG]])]
    with pytest.raises(
        DataError, match=r"frame 2: has lists where another frame has none; give all frames lists or none"
    ):
        ml.annotate(frames, known)


def test_other_columns_are_left_alone(known: ml.Vocabulary) -> None:
    frame = pd.DataFrame({"image_id": ["a"], "label": [DOG], "confidence": [1.0], "score": [0.1], "mood": [object()]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ml.annotate(frame, known).to_pandas()["confidence"].tolist() == [1]


MISSING: dict[str, tuple[Any, str]] = {
    "ImageID": (
        {"ImageID": ["a"], "label": ["d"]},
        "no column image_id among ImageID, label; rename the column 'ImageID'",
    ),
    "a path": ({"Path": ["a"], "label": ["d"]}, "rename the column 'Path' if it is meant"),
    "a class": ({"image_id": ["a"], "class": ["d"]}, "no column label .*rename the column 'class' if it is meant"),
    "two spellings": (
        {"image_id": ["a"], "label": ["d"], "Label ": ["d"]},
        r"has two columns label \('label' and 'Label '\)",
    ),
    "levels": ({("x", "image_id"): ["a"], ("x", "label"): ["d"]}, "names of one level: frame.columns ="),
    "numbers": ({0: ["a"], 1: ["d"]}, "no column image_id among 0, 1"),
    "paths": (
        {"image_id": [Path("a")], "label": ["d"]},
        r"the column image_id holds values of the type \w+Path; .*str",
    ),
    "objects": ({"image_id": ["a", 1], "label": ["d", "d"]}, r"image_id holds values of several types \(int, str\)"),
    "no text": (
        {"image_id": pd.Series(["\ud800"], dtype=object), "label": ["d"]},
        r"the column image_id holds '\\ud800', which is not valid Unicode text",
    ),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_is_wrong_with_columns_is_told_by_name(case: str, known: ml.Vocabulary) -> None:
    columns, expected = MISSING[case]
    with pytest.raises(ml.MLImagesError, match=expected):
        ml.annotate(pd.DataFrame(columns), known)


def test_equal_columns_of_arrow_are_refused(known: ml.Vocabulary) -> None:
    table = pa.table([["a"], [DOG], [CAT]], names=["image_id", "label", "label"])
    with pytest.raises(ml.MLImagesError, match=r"the frame: has two columns label \('label' and 'label'\)"):
        ml.annotate(table, known)


@pytest.mark.parametrize("kind", [pl.String, pl.Categorical, pl.Enum([DOG, CAT, "a", "b"])])
def test_every_text_of_polars_is_text(kind: Any, known: ml.Vocabulary) -> None:
    frame = pl.DataFrame({"image_id": ["a", "b"], "label": [DOG, CAT]}).with_columns(pl.all().cast(kind))
    assert ml.annotate(frame, known).to_pandas()["wnid"].tolist() == [DOG, CAT]


def test_predictions_need_confidences(known: ml.Vocabulary, tmp_path: Path) -> None:
    frame = pd.DataFrame({"image_id": ["a"], "label": [DOG]})
    frame.to_csv(tmp_path / "seen.csv", index=False)
    frame.to_parquet(tmp_path / "seen.parquet", index=False)
    expected = "has no column confidence, which predictions need; give each prediction one"
    for call in (
        lambda: ml.annotate(frame, known, predictions=True),
        lambda: ml.annotate(tmp_path / "seen.csv", known, predictions=True),
        lambda: ml.annotate(tmp_path / "seen.parquet", known, predictions=True, format="parquet"),
        lambda: ml.cooccurrence(frame, frame, known),
    ):
        with pytest.raises(ml.MLImagesError, match=expected):
            call()


def test_what_a_class_means_may_be_left_open() -> None:
    classes = pd.DataFrame({"ID": ["d", "k"], "Name": ["dog", "huiskat"], "WNID": [None, CAT]})
    vocabulary = ml.build_vocabulary(classes={"mine": classes})
    assert [vocabulary.category(key).wnid for key in ("d", "k")] == [DOG, CAT]


@pytest.mark.parametrize(
    ("label", "kind"), [("dog", "a name"), ("DOMESTIC dog", "a name"), (DOG_INDEX, "a class index")]
)
def test_labels_of_another_kind_are_told(label: Any, kind: str, known: ml.Vocabulary) -> None:
    label = known.index_of_wnid[DOG] if label is DOG_INDEX else label
    expected = f"'{label}' is {kind}; give labels as wnids or ids of the class lists, here {DOG}"
    with pytest.raises(ml.MLImagesError, match=f"the frame: no image keeps a label: .*; {expected}"):
        ml.annotate(pd.DataFrame({"image_id": ["a"], "label": [label]}), known)
    with pytest.warns(UserWarning, match=f"labels of unknown classes: 1 .*; {expected}"):
        ml.annotate(pd.DataFrame({"image_id": ["a", "b"], "label": [str(label), CAT]}), known)

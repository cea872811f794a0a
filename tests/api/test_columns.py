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
        ("conf", "confidence"),
        ("Score", "confidence"),
        ("confidance", "confidence"),
        ("probability", "confidence"),
        ("loction", "location"),
        ("URL", "location"),
    ],
)
def test_a_column_that_may_be_meant_is_told(column: str, meant: str, known: ml.Vocabulary) -> None:
    frame = pd.DataFrame({"image_id": ["a"], "label": [DOG], column: ["0.5"]})
    with pytest.warns(UserWarning, match=f"column '{column}' is not read; if it is {meant}, rename it") as told:
        ml.annotate(frame, known)
    assert [Path(one.filename).name for one in told] == ["test_columns.py"], "the line of the caller"


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

"""Confidences in a frame mean what they mean in a file, whatever their type; what is none is told by its row."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import mlimages_dataset as ml
from tests.api.conftest import DOG

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="known", scope="module")
def _known() -> ml.Vocabulary:
    return ml.build_vocabulary(imagenet=[DOG])


@pytest.mark.parametrize("stated", [["0.25", "1"], ["1e-3", "0.99999999999999999"], ["1.0", "0"]])
def test_texts_and_decimals_are_read_as_in_files(stated: list[str], known: ml.Vocabulary, tmp_path: Path) -> None:
    frame = pd.DataFrame({"image_id": ["a", "b"], "label": DOG, "confidence": stated})
    frame.to_csv(tmp_path / "said.csv", index=False)
    of_file = ml.annotate(tmp_path / "said.csv", known).to_pandas()["confidence"].tolist()
    for kind in (str, Decimal):
        given = frame.assign(confidence=frame["confidence"].map(kind))
        assert ml.annotate(given, known).to_pandas()["confidence"].tolist() == of_file


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("97%", "row 1 has the confidence 97%, .*; write 97% as 0.97"),
        ("0,5", "row 1 has the confidence 0,5, .*; write 0,5 as 0.5"),
        ("87", "row 1 has the confidence 87, which is not in 0..1; 1 means"),
        (None, "row 1 has no confidence"),
        ("", "row 1 has"),
    ],
)
def test_what_is_none_is_told_with_how_to_write_it(value: Any, told: str, known: ml.Vocabulary) -> None:
    frame = pd.DataFrame({"image_id": ["a", "b"], "label": DOG, "confidence": ["1", value]})
    with pytest.raises(ml.MLImagesError, match=told):
        ml.annotate(frame, known)


def test_a_file_tells_how_to_write_it_too(known: ml.Vocabulary, tmp_path: Path) -> None:
    (tmp_path / "said.csv").write_text(f"image_id,label,confidence\na,{DOG},1\nb,{DOG},97%\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"line 3: no confidence from 0 to 1 \(write 97% as 0.97\)"):
        ml.annotate(tmp_path / "said.csv", known)


@pytest.mark.parametrize(
    ("columns", "row", "cell", "advice"),
    [
        ("image_id,label,confidence", "{0},50%,{1}", "oops", ""),
        ("image_id,label,confidence", "{0},50%,{1}", "150%", ""),
        ("confidence,image_id,label", "{1},{0},50%", '"0,5"', "write 0,5 as 0.5"),
        ("image_id;label;confidence", "{0};50%;{1}", "1,5", ""),
        ("image_id;more;Confidence;label", "{0};20%;{1};50%", "12,5 %", "write 12,5 % as 0.125"),
    ],
)
def test_a_row_of_a_file_is_advised_by_its_confidence_alone(
    columns: str, row: str, cell: str, advice: str, tmp_path: Path
) -> None:
    known = ml.build_vocabulary(classes={"mine": pd.DataFrame({"id": ["50%"], "name": ["dog"]})})
    rows = [columns, row.format("a.jpg", 1), row.format("b.jpg", cell)]
    (tmp_path / "said.csv").write_text("\n".join(rows), encoding="utf-8")
    with pytest.warns(UserWarning, match="line 3: no confidence from 0 to 1") as told:
        ml.annotate(tmp_path / "said.csv", known)
    assert ("(write" in str(told[0].message)) == bool(advice)
    assert advice in str(told[0].message)


def test_lists_of_labels_may_be_arrays(known: ml.Vocabulary) -> None:
    lists = pd.Series([np.array([DOG]), np.array([], object)])
    frame = pd.DataFrame({"image_id": ["a", "b"], "label": lists})
    assert ml.annotate(frame, known).to_pandas()["image_id"].tolist() == ["a"]

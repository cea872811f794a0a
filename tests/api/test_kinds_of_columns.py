"""Columns of every kind say the same in frames and in files, for labels and for class lists."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlimages_dataset as ml
from mlimages_dataset.core.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

TEXTS: list[Any] = [
    pd.Series(["7", "8"]),
    pd.Series(["7", "8"], dtype="string"),
    pd.Series(["7", "8"], dtype="string[pyarrow]"),
    pd.Series(["7", "8"], dtype="category"),
    pd.Series([b"7", b"8"], dtype=object),
    pd.Series([7, 8]),
    pd.Series([7, 8], dtype="uint8"),
    pd.Series([7, 8], dtype="Int64"),
    pd.Series([7.0, 8.0]),
    pd.Series([7, 8], dtype="Float64"),
    pd.Series([7, 8], dtype="category"),
    pd.Series([Decimal("7.0"), Decimal("8.0")]),
]
"""Columns of the texts 7 and 8."""
OTHERS: list[Any] = [
    pd.Series([True, False]),
    pd.Series([7.5, 8.0]),
    pd.Series(pd.to_datetime(["2026-01-01", "2026-01-02"])),
    pd.Series([dt.date(2026, 1, 1), dt.date(2026, 1, 2)]),
    pd.Series([{"en": "dog"}, {"en": "cat"}]),
]


def kind(column: pd.Series[Any]) -> str:
    return f"{column.dtype}-{type(column[0]).__name__}"


def in_file(frame: pd.DataFrame, path: Path) -> Path:
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    return path


@pytest.mark.parametrize("ids", TEXTS, ids=kind)
def test_ids_of_a_class_list_are_texts_however_they_are_stored(ids: pd.Series[Any], tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ids, "name": ["dog", "cat"]})
    for given in (frame, in_file(frame, tmp_path / "a.parquet")):
        vocabulary = ml.build_vocabulary(classes={"mine": given})
        assert {row.source_id: row.source_name for row in vocabulary.mapping} == {"7": "dog", "8": "cat"}


@pytest.mark.parametrize("labels", TEXTS, ids=kind)
def test_labels_are_texts_however_they_are_stored(labels: pd.Series[Any], tmp_path: Path) -> None:
    vocabulary = ml.build_vocabulary(classes={"mine": pd.DataFrame({"id": ["7", "8"], "name": ["dog", "cat"]})})
    frame = pd.DataFrame({"image_id": labels, "label": labels})
    path = in_file(frame, tmp_path / "a.parquet")
    for found in (ml.annotate(frame, vocabulary), ml.annotate(path, vocabulary, format="parquet")):
        told = found.to_pandas()
        assert dict(zip(told["image_id"], told["name"].str.partition(",")[0], strict=True)) == {"7": "dog", "8": "cat"}


@pytest.mark.parametrize("column", OTHERS, ids=kind)
def test_what_is_no_text_is_refused_and_not_written_out(column: pd.Series[Any], tmp_path: Path) -> None:
    for name in ("id", "name"):
        frame = pd.DataFrame({"id": ["7", "8"], "name": ["dog", "cat"]}).assign(**{name: column})
        for given in (frame, in_file(frame, tmp_path / f"{name}.parquet")):
            with pytest.raises(DataError, match=f"column {name}"):
                ml.build_vocabulary(classes={"mine": given})


@pytest.mark.parametrize("empty", [np.nan, None, pd.NA, ""])
def test_a_frame_of_a_class_list_may_leave_meanings_open(empty: object) -> None:
    frame = pd.DataFrame({"id": ["d", "c"], "name": ["dog", "cat"], "wnid": empty, "parent": empty, "synset": empty})
    read = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
    for given in (frame, frame.convert_dtypes(), read):
        vocabulary = ml.build_vocabulary(classes={"mine": given})
        assert {row.source_id for row in vocabulary.mapping if row.is_kept} == {"d", "c"}


def test_numbers_of_parents_beside_missing_ones_are_ids() -> None:
    for kind_of_number in ("float64", "Int64", "Float64"):
        parents = pd.Series([None, 1], dtype=kind_of_number)
        frame = pd.DataFrame({"id": [1, 2], "name": ["dog", "rex"], "parent": parents})
        vocabulary = ml.build_vocabulary(classes={"mine": frame})
        assert vocabulary.category("2").wnid == vocabulary.category("1").wnid


@pytest.mark.parametrize("confidences", [[[1, 0], [1]], [[1.0, 0.0], [1.0]], [np.array([1, 0]), np.array([1])]])
def test_confidences_of_lists_may_be_whole(confidences: list[Any]) -> None:
    vocabulary = ml.build_vocabulary(classes={"mine": pd.DataFrame({"id": ["d", "c"], "name": ["dog", "cat"]})})
    frame = pd.DataFrame({"image_id": ["a", "b"], "label": [["d", "c"], ["c"]], "confidence": confidences})
    assert sorted(ml.annotate(frame, vocabulary).to_pandas()["confidence"]) == [0, 1, 1]


def test_labels_of_a_frame_may_be_objects_as_in_files() -> None:
    vocabulary = ml.build_vocabulary(classes={"mine": pd.DataFrame({"id": ["d", "c"], "name": ["dog", "cat"]})})
    labels = [[{"label": "d", "confidence": 0.5}, {"label": "c", "confidence": 1.0}]]
    frame = pd.DataFrame({"image_id": ["a"], "label": labels})
    assert sorted(ml.annotate(frame, vocabulary).to_pandas()["confidence"]) == [0.5, 1]
    with pytest.raises(DataError, match="has a column score and no column confidence"):
        ml.annotate(pd.DataFrame({"image_id": ["a"], "label": [[{"label": "d", "score": 0.5}]]}), vocabulary)

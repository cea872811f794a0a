"""Label columns and the arrays of tables are two views of the same rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.tables.label_columns import LabelColumns, array_of, columns_of
from mlimages_dataset.tables.schemas import LABELS
from tests.augment.strategies import Row, columns_from, rows, rows_from

LABELS_TYPE = LABELS.arrow.field("labels").type


def array_from(images: list[Row]) -> pa.ListArray:
    """Return the rows as Arrow itself builds them from Python values."""
    values = [[{"class_index": c, "confidence": row[c][0], "origin": row[c][1]} for c in sorted(row)] for row in images]
    return pa.array(values, LABELS_TYPE)


@given(rows(6))
def test_columns_and_arrays_hold_the_same_rows(images: list[Row]) -> None:
    array = array_from(images)
    assert rows_from(columns_of(array)) == images
    assert array_of(columns_of(array)).equals(array)
    array_of(columns_of(array)).validate(full=True)


@given(images=rows(6), data=st.data())
def test_a_slice_of_an_array_has_the_columns_of_its_rows(images: list[Row], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(images)))
    stop = data.draw(st.integers(start, len(images)))
    columns = columns_of(array_from(images).slice(start, stop - start))
    assert columns.offsets[0] == 0
    assert rows_from(columns) == images[start:stop]
    assert array_of(columns).equals(array_from(images[start:stop]))


def test_an_array_over_a_slice_of_values_has_the_columns_of_its_rows() -> None:
    values = array_from([dict.fromkeys(range(6), (0.5, 0))]).values
    array = pa.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), values.slice(2), type=LABELS_TYPE)
    assert columns_of(array).class_index.tolist() == [2, 3, 4]
    assert columns_of(array.slice(1)).class_index.tolist() == [4]


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(pa.array([], LABELS_TYPE), id="of no rows"),
        pytest.param(LABELS.arrow.empty_table()["labels"].combine_chunks(), id="of an empty table"),
        pytest.param(pa.chunked_array([], LABELS_TYPE).combine_chunks(), id="of no chunks"),
        pytest.param(array_from([{1: (1.0, 0)}]).slice(1), id="after the last row"),
    ],
)
def test_an_array_without_rows_has_empty_columns(array: pa.ListArray) -> None:
    columns = columns_of(array)
    assert len(columns) == 0
    assert columns.offsets.tolist() == [0]
    assert len(columns.class_index) == len(columns.confidence) == len(columns.origin) == 0
    assert array_of(columns).equals(array)


def address_of(values: pa.StructArray, field: int) -> int:
    """Return where the values of a field begin in memory."""
    return int(values.field(field).buffers()[1].address)


def test_labels_are_not_copied() -> None:
    array = array_from([{0: (1.0, 0)}, {1: (0.5, 1), 2: (0.25, 2)}, {}])
    for part, skipped in ((array, 0), (array.slice(1), 1)):
        columns = columns_of(part)
        back = array_of(columns).values
        for i, name in enumerate(("class_index", "confidence", "origin")):
            column = getattr(columns, name)
            assert column.ctypes.data == address_of(array.values, i) + skipped * column.itemsize
            assert column.ctypes.data == address_of(back, i)


@given(images=rows(6), data=st.data())
def test_the_chosen_labels_stay_with_their_images(images: list[Row], data: st.DataObject) -> None:
    wanted = data.draw(st.sets(st.integers(0, 5)))
    columns = columns_from(images)
    found = columns.only(np.isin(columns.class_index, list(wanted)))
    assert rows_from(found) == [{c: label for c, label in row.items() if c in wanted} for row in images]
    assert array_of(found).equals(array_from(rows_from(found)))


@given(rows(6))
def test_images_number_each_label_by_its_row(images: list[Row]) -> None:
    columns = columns_from(images)
    assert len(columns) == len(images)
    assert columns.images.tolist() == [i for i, row in enumerate(images) for _ in row]


def columns_of_one(class_index: int = 0, confidence: float = 1.0, origin: int = 0) -> LabelColumns:
    return LabelColumns(
        np.array([0, 1], np.int32),
        np.array([class_index], np.int32),
        np.array([confidence], np.float32),
        np.array([origin], np.uint8),
    )


@pytest.mark.parametrize("columns", [columns_of_one(class_index=-1), columns_of_one(class_index=3)])
def test_a_class_index_outside_the_vocabulary_is_refused(columns: LabelColumns) -> None:
    with pytest.raises(IndexError, match=r"not in 0\.\.2"):
        columns.check(3)


@pytest.mark.parametrize("confidence", [np.nan, -0.5, 1.5, np.inf])
def test_a_confidence_that_is_no_probability_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="a confidence"):
        columns_of_one(confidence=confidence).check(3)


def test_an_unknown_origin_is_refused() -> None:
    with pytest.raises(ValueError, match="an origin"):
        columns_of_one(origin=4).check(3)


@given(rows(6))
def test_values_in_range_are_accepted(images: list[Row]) -> None:
    columns_from(images).check(6)

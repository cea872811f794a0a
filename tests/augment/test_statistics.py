"""Statistics equal those that pandas computes from one row per label."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.augment.statistics import TRAINABLE_IMAGES, LabelStatistics, SplitSummary, label_statistics
from mlimages_dataset.core.decoding import RECORDS, UndecodableError, encode
from mlimages_dataset.tables.schemas import Origin
from tests.augment.strategies import Row, columns_from, rows

N_CLASSES = 6


def present_labels(images: list[Row]) -> pd.DataFrame:
    labels = [(image, c, *label) for image, row in enumerate(images) for c, label in row.items() if label[0] > 0]
    return pd.DataFrame(labels, columns=["image", "class_index", "confidence", "origin"])


@given(rows(N_CLASSES))
def test_statistics_equal_those_of_pandas(images: list[Row]) -> None:
    statistics = label_statistics(columns_from(images), N_CLASSES)
    frame = present_labels(images)
    sizes = frame["image"].value_counts().reindex(range(len(images)), fill_value=0)
    assert statistics.images == len(images)
    assert statistics.labels == len(frame)
    assert statistics.absent == sum(map(len, images)) - len(frame)
    for c in range(N_CLASSES):
        absent = sum(c in row and row[c][0] == 0 for row in images)
        assert statistics.absent_of_class[c] == absent
        assert statistics.unknown_of_class[c] == sum(c not in row for row in images)
    of_class = frame["class_index"].value_counts().reindex(range(N_CLASSES), fill_value=0)
    assert statistics.images_of_class.tolist() == of_class.tolist()
    of_origin = frame["origin"].value_counts().reindex(range(len(Origin)), fill_value=0)
    assert statistics.labels_of_origin.tolist() == of_origin.tolist()
    of_size = sizes.value_counts().reindex(range(sizes.max() + 1 if len(images) else 0), fill_value=0)
    assert statistics.images_of_size.tolist() == of_size.tolist()


@given(rows(N_CLASSES))
def test_the_summary_equals_that_of_pandas(images: list[Row]) -> None:
    summary = label_statistics(columns_from(images), N_CLASSES).summary()
    sizes = present_labels(images)["image"].value_counts().reindex(range(len(images)), fill_value=0)
    of_class = present_labels(images)["class_index"].value_counts()
    assert summary.labels_per_image_mean == pytest.approx(sizes.mean() if len(images) else 0)
    assert summary.labels_per_image_min == (sizes.min() if len(images) else 0)
    assert summary.labels_per_image_max == (sizes.max() if len(images) else 0)
    assert summary.categories_with_images == len(of_class)
    assert summary.largest_category_images == (of_class.max() if len(of_class) else 0)


def test_a_category_is_trainable_above_100_images() -> None:
    many, enough = 0, 1
    images: list[Row] = [{many: (0.5, 0), enough: (0.5, 0)}] * TRAINABLE_IMAGES + [{many: (0.5, 0), enough: (0.0, 0)}]
    statistics = label_statistics(columns_from(images), N_CLASSES)
    assert statistics.images_of_class[[many, enough]].tolist() == [101, 100]
    assert statistics.summary().trainable_categories == 1


def assert_same(left: LabelStatistics, right: LabelStatistics) -> None:
    for field in dataclasses.fields(LabelStatistics):
        np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name))


@given(images=rows(N_CLASSES, max_images=8), data=st.data())
def test_statistics_of_parts_add_up_in_any_grouping(images: list[Row], data: st.DataObject) -> None:
    first, second = sorted(data.draw(st.tuples(*[st.integers(0, len(images))] * 2)))
    cuts = (images[:first], images[first:second], images[second:])
    a, b, c = (label_statistics(columns_from(part), N_CLASSES) for part in cuts)
    whole = label_statistics(columns_from(images), N_CLASSES)
    assert_same((a + b) + c, whole)
    assert_same(a + (b + c), whole)
    assert_same(c + b + a, whole)
    assert_same(a + LabelStatistics.empty(N_CLASSES), a)


def test_no_image_has_empty_statistics() -> None:
    statistics = label_statistics(columns_from([]), N_CLASSES)
    assert_same(statistics, LabelStatistics.empty(N_CLASSES))
    assert statistics.summary().labels_per_image_mean == 0


def test_a_class_or_origin_that_does_not_exist_is_refused() -> None:
    with pytest.raises(IndexError):
        label_statistics(columns_from([{N_CLASSES: (1.0, 0)}]), N_CLASSES)
    with pytest.raises(IndexError):
        label_statistics(columns_from([{0: (1.0, 0)}, {-1: (0.0, 0)}]), N_CLASSES)
    with pytest.raises(ValueError, match="origin"):
        label_statistics(columns_from([{0: (1.0, 4)}]), N_CLASSES)
    for confidence in (-0.5, 1.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"a confidence is not in 0\.\.1"):
            label_statistics(columns_from([{0: (1.0, 0), 1: (confidence, 0)}]), N_CLASSES)


@pytest.mark.parametrize("counts", [{"images": 1 << 63}, {"labels_of_origin": {"original": 1 << 63}}])
def test_a_summary_of_more_than_int64_holds_is_refused(counts: dict[str, Any]) -> None:
    summary = label_statistics(columns_from([]), N_CLASSES).summary()
    with pytest.raises(UndecodableError, match="is 9223372036854775808, more than int64 can hold"):
        RECORDS.decode(SplitSummary, {**cast("dict[str, Any]", encode(summary)), **counts})

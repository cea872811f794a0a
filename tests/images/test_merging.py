"""Labels of copies are one image's, with the surest word on each category."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.images.merging import ImageLabels, labels_of, merged, with_labels
from mlimages_dataset.tables.label_columns import LabelColumns

ONE = st.dictionaries(
    st.integers(0, 6), st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 3)), max_size=5
)


def image_labels(labels: dict[int, tuple[float, int]]) -> ImageLabels:
    rows = sorted(labels.items())
    return ImageLabels(
        np.array([c for c, _ in rows], np.int32),
        np.array([confidence for _, (confidence, _) in rows], np.float32),
        np.array([origin for _, (_, origin) in rows], np.uint8),
    )


def as_dict(labels: ImageLabels) -> dict[int, tuple[float, int]]:
    assert (np.diff(labels.class_index) > 0).all()
    values = zip(labels.confidence.tolist(), labels.origin.tolist(), strict=True)
    return dict(zip(labels.class_index.tolist(), values, strict=True))


def columns_of(images: list[dict[int, tuple[float, int]]]) -> LabelColumns:
    every = [image_labels(image) for image in images]
    return LabelColumns(
        np.cumsum([0, *map(len, images)]).astype(np.int32),
        np.concatenate([np.empty(0, np.int32), *(one.class_index for one in every)]),
        np.concatenate([np.empty(0, np.float32), *(one.confidence for one in every)]),
        np.concatenate([np.empty(0, np.uint8), *(one.origin for one in every)]),
    )


@given(st.lists(ONE, min_size=1, max_size=4))
def test_the_surest_word_counts(copies: list[dict[int, tuple[float, int]]]) -> None:
    surest = {1.0: 3.0, 0.0: 2.0}
    expected = {
        c: max((copy[c] for copy in copies if c in copy), key=lambda label: (surest.get(label[0], label[0]), -label[1]))
        for copy in copies
        for c in copy
    }
    found = merged([image_labels(copy) for copy in copies])
    assert as_dict(found) == expected
    assert as_dict(merged([found, *map(image_labels, copies)])) == expected


@given(st.lists(ONE, max_size=6), st.dictionaries(st.integers(0, 5), ONE, max_size=4))
def test_the_labels_of_some_images_are_replaced(
    images: list[dict[int, tuple[float, int]]], replaced: dict[int, dict[int, tuple[float, int]]]
) -> None:
    replaced = {image: labels for image, labels in replaced.items() if image < len(images)}
    found = with_labels(columns_of(images), {image: image_labels(labels) for image, labels in replaced.items()})
    assert [as_dict(labels_of(found, k)) for k in range(len(found))] == [
        replaced.get(k, labels) for k, labels in enumerate(images)
    ]

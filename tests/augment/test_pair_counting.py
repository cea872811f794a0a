"""Lists of categories and their product equal Python's lists and numpy's dense product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.augment.pair_counting import CategoryLists, images_of_pairs
from tests.augment.strategies import columns_from, rows

N_CLASSES = 5
lists = st.lists(st.lists(st.integers(0, N_CLASSES - 1), unique=True, max_size=4), max_size=6)


def of(images: list[list[int]]) -> CategoryLists:
    flat = [c for image in images for c in image]
    return CategoryLists(np.cumsum([0, *map(len, images)], dtype=np.int64), np.array(flat, np.int32))


def to_lists(found: CategoryLists) -> list[list[int]]:
    return [part.tolist() for part in np.split(found.classes, found.offsets[1:-1])] if len(found) else []


@given(rows(N_CLASSES))
def test_the_chosen_labels_of_each_image_are_kept(images: list[dict[int, tuple[float, int]]]) -> None:
    columns = columns_from(images)
    kept = CategoryLists.of(columns, columns.confidence > 0.5)
    assert to_lists(kept) == [[c for c in sorted(image) if image[c][0] > 0.5] for image in images]


@given(st.lists(lists, max_size=3))
def test_joined_lists_follow_each_other(parts: list[list[list[int]]]) -> None:
    assert to_lists(CategoryLists.joined([of(part) for part in parts])) == [image for part in parts for image in part]


@given(lists.filter(bool), st.data())
def test_lists_are_taken_by_row_and_none_for_no_row(images: list[list[int]], data: st.DataObject) -> None:
    at = data.draw(st.lists(st.integers(-1, len(images) - 1)))
    taken = of(images).at(np.array(at, np.int64))
    assert to_lists(taken) == [images[row] if row >= 0 else [] for row in at]


@given(st.lists(st.tuples(*[st.lists(st.integers(0, N_CLASSES - 1), unique=True)] * 2)))
def test_pairs_are_the_dense_product(images: list[tuple[list[int], list[int]]]) -> None:
    left, right = [a for a, _ in images], [b for _, b in images]
    dense = [np.zeros((len(images), N_CLASSES), np.int64) for _ in range(2)]
    for matrix, side in zip(dense, (left, right), strict=True):
        for image, classes in enumerate(side):
            matrix[image, classes] = 1
    found = images_of_pairs(of(left), of(right), N_CLASSES)
    np.testing.assert_array_equal(found.toarray(), dense[0].T @ dense[1])
    assert found.dtype == np.int64
    assert found.has_canonical_format
    assert (found.data > 0).all()


def test_more_pairs_than_there_was_room_for_are_counted() -> None:
    n = 1500
    every = CategoryLists(np.array([0, n]), np.arange(n, dtype=np.int32))
    found = images_of_pairs(every, every, n)
    assert found.nnz == n * n
    assert (found.data == 1).all()


def test_lists_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="one side has 2 images, the other 1"):
        images_of_pairs(of([[], []]), of([[]]), 1)

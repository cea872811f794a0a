"""Intersection over union: equal to scikit-learn's Jaccard index, and a sum over images however they are divided."""

from __future__ import annotations

import functools
import operator
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import jaccard_score

from mlimages_dataset.evaluation.segmentation import Confusion

if TYPE_CHECKING:
    from numpy.typing import NDArray


@st.composite
def pairs(draw: st.DrawFn) -> tuple[int, list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]]:
    """Return C, and truths (0..C-1 and 255) with results (0..C-1) of several sizes."""
    n_classes = draw(st.integers(1, 5))
    classes = st.integers(0, n_classes - 1)
    maps = []
    for _ in range(draw(st.integers(1, 4))):
        shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=5))
        truth = draw(hnp.arrays(np.uint8, shape, elements=classes | st.just(255)))
        maps.append((truth, draw(hnp.arrays(np.uint8, shape, elements=classes))))
    return n_classes, maps


@given(pairs())
def test_the_value_of_each_class_is_that_of_scikit_learn(
    given_maps: tuple[int, list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]],
) -> None:
    n_classes, maps = given_maps
    found = functools.reduce(operator.add, (Confusion.of(*both, n_classes) for both in maps))
    truth, result = (np.concatenate([both[side].ravel() for both in maps]) for side in (0, 1))
    truth, result = truth[truth != 255], result[truth != 255]
    assert found.pixels.sum() == len(truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an absent class, which is 0 there and NaN here
        expected = jaccard_score(truth, result, labels=range(n_classes), average=None) if len(truth) else []
    values = found.intersection_over_union()
    present = [c for c in range(n_classes) if (truth == c).any() or (result == c).any()]
    assert [c for c in range(n_classes) if not np.isnan(values[c])] == present
    assert values[present] == pytest.approx([expected[c] for c in present])
    mean = found.mean_intersection_over_union()
    assert mean == pytest.approx(np.mean([expected[c] for c in present])) if present else np.isnan(mean)


@given(pairs(), st.randoms(use_true_random=False))
def test_images_may_be_divided_and_merged_in_any_way(
    given_maps: tuple[int, list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]], chance: object
) -> None:
    n_classes, maps = given_maps
    nothing = Confusion.empty(n_classes)
    parts = [Confusion.of(*both, n_classes) for both in maps]
    whole = functools.reduce(operator.add, parts, nothing)
    chance.shuffle(parts)  # type: ignore[attr-defined]  # a random.Random
    at = len(parts) // 2
    halves = [functools.reduce(operator.add, half, nothing) for half in (parts[:at], parts[at:])]
    assert ((halves[0] + halves[1]).pixels == whole.pixels).all()
    assert ((whole + nothing).pixels == whole.pixels).all()
    together = [np.concatenate([both[side].ravel() for both in maps])[None] for side in (0, 1)]
    assert (Confusion.of(together[0], together[1], n_classes).pixels == whole.pixels).all()


@given(pairs())
def test_what_stands_where_nobody_labelled_changes_nothing(
    given_maps: tuple[int, list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]],
) -> None:
    n_classes, maps = given_maps
    for truth, result in maps:
        other = np.where(truth == 255, 255, result).astype(np.uint8)
        assert (Confusion.of(truth, other, n_classes).pixels == Confusion.of(truth, result, n_classes).pixels).all()


def test_a_perfect_result_is_one_and_nothing_is_no_number() -> None:
    truth = np.array([[0, 1, 255], [2, 2, 0]], np.uint8)
    found = Confusion.of(truth, np.where(truth == 255, 0, truth).astype(np.uint8), 4)
    assert found.intersection_over_union()[:3].tolist() == [1, 1, 1]
    assert np.isnan(found.intersection_over_union()[3])
    assert (found.mean_intersection_over_union(), found.pixel_accuracy()) == (1, 1)
    nothing = Confusion.empty(3)
    assert np.isnan([nothing.mean_intersection_over_union(), nothing.pixel_accuracy()]).all()


@pytest.mark.parametrize(
    ("truth", "result", "told"),
    [([[0, 1]], [[0], [1]], "of shape"), ([[0, 3]], [[0, 0]], "not in 0..2"), ([[0, 0]], [[0, 255]], "not in 0..2")],
)
def test_maps_that_do_not_fit_are_refused(truth: list[list[int]], result: list[list[int]], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Confusion.of(np.array(truth, np.uint8), np.array(result, np.uint8), 3)

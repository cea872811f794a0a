"""Shifts of colour are torchvision's, rounded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from mlimages_dataset.loaders.colour import Shift, shift_colour
from mlimages_dataset.samples import photographs
from tests.loaders.torchvision_views import as_planes, shifted

if TYPE_CHECKING:
    from numpy.typing import NDArray

PHOTOGRAPH = as_planes(np.asarray(Image.open(photographs() / "allium.jpg").convert("RGB"))).numpy()

factors = st.floats(0, 2, width=32)
turns = st.floats(-0.5, 0.5, width=32)
shifts = st.builds(Shift, brightness=factors, saturation=factors, hue=turns, contrast=factors)
pictures = arrays(np.uint8, st.tuples(st.just(3), st.integers(1, 9), st.integers(1, 9)))


@given(planes=pictures, shift=shifts)
@example(planes=PHOTOGRAPH, shift=Shift(1.1, 0.6, 0.15, 1.4))
@example(planes=PHOTOGRAPH, shift=Shift(0.9, 1.5, -0.2, 0.5))
@settings(max_examples=200)
def test_levels_are_torchvisions_on_real_numbers_rounded(planes: NDArray[np.uint8], shift: Shift) -> None:
    expected = shifted(torch.from_numpy(planes).double() / 255, shift).numpy() * 255
    assert np.abs(shift_colour(planes, shift) - expected).max() <= 0.51


def test_torchvision_on_whole_levels_is_darker_by_what_it_cuts_off_in_four_steps() -> None:
    shift = Shift(1.1, 0.6, 0.15, 1.4)
    expected = shifted(torch.from_numpy(PHOTOGRAPH), shift).numpy().astype(np.int64)
    apart = shift_colour(PHOTOGRAPH, shift) - expected
    assert 0 < apart.mean() < 2
    assert np.abs(apart).max() <= 7


@given(planes=pictures)
def test_no_shift_changes_nothing(planes: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(shift_colour(planes, Shift()), planes)


@given(planes=pictures, hue=turns)
def test_a_whole_turn_changes_nothing_and_there_and_back_little(planes: NDArray[np.uint8], hue: float) -> None:
    np.testing.assert_array_equal(shift_colour(planes, Shift(hue=1.0)), planes)
    back = shift_colour(shift_colour(planes, Shift(hue=hue)), Shift(hue=-hue))
    assert np.abs(back.astype(np.int64) - planes).max() <= 2


@given(grey=st.integers(0, 255), hue=turns, saturation=factors)
def test_grey_has_no_hue_and_no_saturation(grey: int, hue: float, saturation: float) -> None:
    planes = np.full((3, 4, 4), grey, np.uint8)
    shifted_planes = shift_colour(planes, Shift(hue=hue, saturation=saturation))
    assert np.abs(shifted_planes.astype(np.int64) - grey).max() <= 1


def test_a_third_of_a_turn_makes_red_green() -> None:
    red = np.array([200, 10, 10], np.uint8).reshape(3, 1, 1)
    np.testing.assert_array_equal(shift_colour(red, Shift(hue=1 / 3)).ravel(), [10, 200, 10])


def test_no_saturation_is_grey_and_no_contrast_is_one_colour() -> None:
    grey = shift_colour(PHOTOGRAPH, Shift(saturation=0))
    assert np.ptp(grey.astype(np.int64), axis=0).max() == 0
    assert np.ptp(shift_colour(PHOTOGRAPH, Shift(contrast=0))) == 0

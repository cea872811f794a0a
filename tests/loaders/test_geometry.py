"""Resizing and turning agree with Pillow's and torchvision's to one level, for any box of any picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from mlimages_dataset.loaders.geometry import Box, resize, rotate
from mlimages_dataset.samples import photographs
from tests.loaders.torchvision_views import as_planes

PIXELS = np.asarray(Image.open(photographs() / "tulips.jpg").convert("RGB"))
HEIGHT, WIDTH, _ = PIXELS.shape
PICTURE = Box(0, 0, HEIGHT, WIDTH)


def levels_apart(one: object, other: object) -> int:
    return int(np.abs(np.asarray(one, np.int64) - np.asarray(other, np.int64)).max())


# torch 2.15 fails with an internal assertion where one row of one pixel is made.
@pytest.mark.slow
@given(data=st.data(), size=st.integers(2, 300))
@settings(max_examples=60)
def test_a_box_of_whole_pixels_is_cropped_and_resized_as_torchvision_does(data: st.DataObject, size: int) -> None:
    top, left = data.draw(st.integers(0, HEIGHT - 1)), data.draw(st.integers(0, WIDTH - 1))
    height, width = data.draw(st.integers(1, HEIGHT - top)), data.draw(st.integers(1, WIDTH - left))
    box = Box(top, left, height, width)
    expected = tv.resized_crop(as_planes(PIXELS), top, left, height, width, [size, size], antialias=True)
    assert levels_apart(resize(PIXELS, box, size, limits=box), expected) <= 1


@given(data=st.data(), size=st.integers(1, 300))
@settings(max_examples=60)
@pytest.mark.slow
def test_a_box_with_edges_inside_pixels_is_resized_as_pillow_does(data: st.DataObject, size: int) -> None:
    top, left = data.draw(st.floats(0, HEIGHT - 2)), data.draw(st.floats(0, WIDTH - 2))
    height, width = data.draw(st.floats(1, HEIGHT - top)), data.draw(st.floats(1, WIDTH - left))
    expected = Image.fromarray(PIXELS).resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height)
    )
    planes = resize(PIXELS, Box(top, left, height, width), size, limits=PICTURE)
    assert levels_apart(planes.transpose(1, 2, 0), expected) <= 2


@given(data=st.data(), size=st.integers(1, 60), level=st.integers(0, 255))
@settings(max_examples=60)
def test_a_picture_of_one_colour_stays_one_in_any_box_of_any_limits(data: st.DataObject, size: int, level: int) -> None:
    edges = st.floats(-30, 90, allow_subnormal=False)
    lengths = st.floats(0.01, 90)
    boxes = st.builds(Box, edges, edges, lengths, lengths)
    pixels = np.full((data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40)), 3), level, np.uint8)
    planes = resize(pixels, data.draw(boxes), size, limits=data.draw(boxes))
    assert planes.shape == (3, size, size)
    assert planes.flags.c_contiguous
    assert (planes == level).all()


@given(size=st.integers(1, 80))
@settings(max_examples=10)
def test_flipping_mirrors_and_twice_is_once(size: int) -> None:
    plain, flipped = (resize(PIXELS, PICTURE, size, limits=PICTURE, flip=flip) for flip in (False, True))
    np.testing.assert_array_equal(flipped[:, :, ::-1], plain)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_large_picture_of_noise_becomes_its_average(size: int) -> None:
    # A thousand weights of four thousandths or less each: rounded one by one, they would all be lost.
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2100, 3), np.uint8)
    box = Box(0, 0, 1500, 2100)
    expected = Image.fromarray(noise).resize((size, size), Image.Resampling.BILINEAR)
    assert levels_apart(resize(noise, box, size, limits=box).transpose(1, 2, 0), expected) <= 1


def test_the_same_size_is_the_same_picture() -> None:
    box = Box(7, 9, 100, 100)
    np.testing.assert_array_equal(resize(PIXELS, box, 100, limits=box), PIXELS[7:107, 9:109].transpose(2, 0, 1))


@given(degrees=st.floats(-180, 180), size=st.sampled_from([1, 2, 3, 32, 97, 224]))
@settings(max_examples=60)
def test_turning_agrees_with_torchvision(degrees: float, size: int) -> None:
    planes = resize(PIXELS, PICTURE, size, limits=PICTURE)
    expected = tv.rotate(as_planes(planes.transpose(1, 2, 0)), degrees, InterpolationMode.BILINEAR).numpy()
    turned = rotate(planes, degrees)
    apart = np.abs(turned.astype(int) - expected)
    # Both round; at 90 degrees and the like, where samples fall upon the frame's edge, single pixels differ by more.
    assert apart.mean() <= 0.1 or size < 32
    assert np.mean(apart > 1) <= 0.02 or size < 32


@pytest.mark.parametrize("degrees", [0.0, 90.0, -90.0, 180.0])
def test_right_angles_are_exact(degrees: float) -> None:
    planes = resize(PIXELS, PICTURE, 65, limits=PICTURE)
    assert levels_apart(rotate(planes, degrees), np.rot90(planes, int(degrees // 90), (1, 2))) <= 1


def test_what_comes_from_outside_is_black() -> None:
    white = np.full((3, 64, 64), 255, np.uint8)
    turned = rotate(white, 45)
    assert (turned[:, 0, 0] == 0).all()
    assert (turned[:, 32, 32] == 255).all()

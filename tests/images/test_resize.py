"""Pictures become smaller, never larger, and remain the same picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mlimages_dataset.images.check import Inspection, inspect
from mlimages_dataset.images.resize import ResizeOptions, resized, resized_jpeg
from mlimages_dataset.images.statuses import Status
from tests.images.folders import picture


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@settings(max_examples=40)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 120))
def test_the_short_edge_is_what_was_asked_for_and_the_shape_stays(width: int, height: int, short_edge: int) -> None:
    content = picture(0, width, height)
    smaller = resized_jpeg(content, ResizeOptions(short_edge=short_edge, quality=80))[0]
    if min(width, height) <= short_edge:
        assert smaller is content
        return
    size = opened(smaller).size
    assert min(size) == short_edge
    expected = max(width, height) * short_edge / min(width, height)
    assert abs(max(size) - expected) <= 0.5
    assert resized_jpeg(smaller, ResizeOptions(short_edge=short_edge, quality=80))[0] is smaller


def test_it_is_the_picture_that_one_large_step_gives() -> None:
    content = picture(1, 1200, 900, quality=95)
    smaller = np.asarray(opened(resized_jpeg(content, ResizeOptions(short_edge=100, quality=95))[0]), float)
    expected = np.asarray(opened(content).convert("RGB").resize((133, 100), Image.Resampling.LANCZOS), float)
    assert np.sqrt(((smaller - expected) ** 2).mean()) < 2


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "I;16", "1", "LA"])
def test_every_kind_of_picture_becomes_a_plain_jpeg(mode: str) -> None:
    ramp = np.linspace(0, 255, 200 * 100).reshape(100, 200)
    if mode == "I;16":
        image = Image.fromarray((ramp * 257).astype(np.uint16))
    else:
        image = Image.fromarray(ramp.astype(np.uint8)).convert(mode)
    content = io.BytesIO()
    image.save(content, "TIFF" if mode == "CMYK" else "PNG")
    smaller = resized_jpeg(content.getvalue(), ResizeOptions(short_edge=20))[0]
    assert inspect(smaller).status is Status.SAVED
    assert opened(smaller).mode in {"L", "RGB"}
    grey = np.asarray(opened(smaller).convert("L"), float)
    assert np.abs(grey - ramp[2::5, 2::5]).mean() < (60 if mode == "1" else 6)


@pytest.mark.parametrize(("short_edge", "quality"), [(0, 90), (10, 0), (10, 101)])
def test_settings_are_checked(short_edge: int, quality: int) -> None:
    with pytest.raises(ValueError, match=r"not at least 1|not within 1 to 100"):
        ResizeOptions(short_edge=short_edge, quality=quality)


def test_what_becomes_of_a_picture_is_told() -> None:
    content, resize = picture(0, 80, 60), ResizeOptions(short_edge=20)
    noted = Inspection(Status.SAVED, "CMYK", 80, 60, ".png")
    found, smaller = resized(content, noted, resize)
    assert smaller is not None
    assert found == Inspection(Status.SAVED, "CMYK", *opened(smaller).size, ".jpg")
    assert resized(content, noted, ResizeOptions(short_edge=60)) == (noted, None)
    broken, smaller = resized(content[:-400], noted, resize)
    assert (broken.status, smaller) == (Status.BROKEN, None)
    assert "truncated" in broken.detail

"""Pictures are turned as Pillow turns them, whatever format states the orientation, and as Open Images says."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, features

from mlimages_dataset.images.check import inspect
from mlimages_dataset.images.orientation import (
    NO_ROTATION,
    UPRIGHT,
    may_state_orientation,
    mirrored_axes,
    orientation_of,
    orientation_of_rotation,
    stated_rotation,
    upright_image,
    upright_pixels,
    upright_size,
)
from mlimages_dataset.images.resize import TURNED, ResizeOptions, resized
from mlimages_dataset.images.statuses import Status

ORIENTATIONS = range(1, 9)
FORMATS = ["JPEG", "MPO", "PNG", "WEBP", "TIFF", *(["AVIF"] if features.check("avif") else [])]
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'


def shapes(width: int = 96, height: int = 64) -> Image.Image:
    """Return a picture that differs from all its turned and mirrored forms."""
    coarse = np.zeros((4, 6, 3), np.uint8)
    coarse[0, 0], coarse[0, 5], coarse[3, 0], coarse[1, 2] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def stating(orientation: int, form: str = "JPEG", image: Image.Image | None = None, **options: Any) -> bytes:
    """Return an encoded picture whose EXIF states an orientation."""
    exif, content = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = orientation
    quality = {} if form in {"PNG", "TIFF"} else {"quality": 95}
    (image or shapes()).save(content, form, exif=exif, **quality, **options)
    return content.getvalue()


def xmp(orientation: int, form: str) -> bytes:
    """Return an encoded picture whose XMP states an orientation."""
    content, text = io.BytesIO(), XMP.format(orientation)
    if form == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", text, zip=True)
        shapes().save(content, form, pnginfo=chunks)
    else:
        shapes().save(content, form, xmp=text.encode())
    return content.getvalue()


def behind_the_pixels(orientation: int) -> bytes:
    """Return a PNG whose EXIF follows its pixels."""
    content = stating(orientation, "PNG")
    at, end = content.index(b"eXIf") - 4, content.index(b"IDAT") - 4
    return content[:at] + content[end:-12] + content[at:end] + content[-12:]


def by_pillow(content: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("form", FORMATS)
def test_an_orientation_is_read_and_applied_as_pillow_does(form: str, orientation: int) -> None:
    content = stating(orientation, form)
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        stated = orientation_of(image)
        upright = np.asarray(upright_image(image, stated).convert("RGB"))
        pixels = upright_pixels(np.asarray(image.convert("RGB")), stated)
    np.testing.assert_array_equal(upright, by_pillow(content))
    np.testing.assert_array_equal(pixels, upright)
    assert pixels.flags.c_contiguous
    assert stated == (UPRIGHT if form == "TIFF" else orientation), "Pillow turns TIFFs itself"


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("content", [xmp, behind_the_pixels], ids=["XMP", "behind the pixels"])
def test_an_orientation_is_found_where_pillow_finds_it(content: Any, orientation: int) -> None:
    written = (
        [content(orientation, form) for form in ("JPEG", "PNG", "WEBP")] if content is xmp else [content(orientation)]
    )
    for one in written:
        with Image.open(io.BytesIO(one)) as image:
            assert orientation_of(image) == orientation
        assert may_state_orientation(one)
        assert inspect(one).orientation == orientation
        assert inspect(one).detail == ("" if orientation == UPRIGHT else f"EXIF orientation {orientation}")


def test_a_png_without_metadata_states_none() -> None:
    content = io.BytesIO()
    shapes().save(content, "PNG")
    assert not may_state_orientation(content.getvalue())
    assert inspect(content.getvalue()).orientation == UPRIGHT


@given(st.binary(max_size=80), st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_damaged_metadata_make_no_picture_bad(noise: bytes, form: str) -> None:
    content = io.BytesIO()
    shapes(8, 8).save(content, form, exif=b"Exif\0\0" + noise)
    found = inspect(content.getvalue())
    assert found.status is Status.SAVED
    assert found.orientation in ORIENTATIONS


@pytest.mark.parametrize("stated", [0, 9, 255, 65535])
def test_a_number_that_is_no_orientation_counts_as_upright(stated: int) -> None:
    assert inspect(stating(stated)).orientation == UPRIGHT


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(ORIENTATIONS))
def test_pixels_sizes_and_axes_tell_of_the_same_turn(height: int, width: int, orientation: int) -> None:
    stored = np.arange(height * width, dtype=np.int32).reshape(height, width, 1)
    upright = upright_pixels(stored, orientation)
    assert upright.shape[:2] == upright_size(height, width, orientation)
    rows, columns = mirrored_axes(orientation)
    corner = upright[-1 if rows else 0, -1 if columns else 0, 0]
    assert corner == 0, "the first stored pixel lies at the end of mirrored axes"


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_rotation_turns_counterclockwise(degrees: int) -> None:
    """Open Images: the degrees (counterclockwise) that the image and boxes should be rotated."""
    pixels = np.asarray(shapes())
    np.testing.assert_array_equal(
        upright_pixels(pixels, orientation_of_rotation(degrees)), np.rot90(pixels, degrees // 90)
    )


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        *(("0", 0), ("90", 90), ("180.0", 180), ("270.0", 270), (" 90 ", 90), ("", NO_ROTATION), ("nan", NO_ROTATION)),
        *(("45", None), ("-90", None), ("360", None), ("left", None), ("inf", None), ("90°", None)),
    ],
)
def test_published_rotations_are_read_and_no_others(text: str, degrees: int | None) -> None:
    assert stated_rotation(text) == degrees


def reencoded(content: bytes, options: ResizeOptions, rotation: int = NO_ROTATION) -> Image.Image:
    found, smaller = resized(content, inspect(content), options, rotation)
    assert smaller is not None
    image = Image.open(io.BytesIO(smaller))
    assert found.status is Status.SAVED
    assert (found.width, found.height) == image.size, "what is recorded is what is stored"
    assert inspect(smaller).orientation == UPRIGHT
    return image


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("form", FORMATS)
def test_what_is_re_encoded_is_upright(form: str, orientation: int) -> None:
    content = stating(orientation, form)
    image = reencoded(content, ResizeOptions(short_edge=32, quality=95))
    expected = Image.fromarray(by_pillow(content)).resize(image.size, Image.Resampling.LANCZOS)
    assert min(image.size) == 32
    assert np.abs(np.asarray(image.convert("RGB"), float) - np.asarray(expected, float)).mean() < 8


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_upright_re_encodes_what_is_not_upright_and_nothing_else(orientation: int) -> None:
    content = stating(orientation)
    found = inspect(content)
    if orientation == UPRIGHT:
        assert resized(content, found, ResizeOptions(upright=True)) == (found, None)
        return
    image = reencoded(content, ResizeOptions(upright=True, quality=95))
    assert np.abs(np.asarray(image, float) - by_pillow(content)).mean() < 4
    assert resized(content, found, ResizeOptions(upright=True))[0].detail == f"{TURNED}EXIF orientation {orientation}"
    kept = resized(content, found, ResizeOptions(short_edge=64))
    assert kept == (found, None), "small pictures keep their bytes, and their note"
    assert kept[0].detail == f"EXIF orientation {orientation}"


def test_a_turn_is_told_also_where_the_check_read_only_the_header() -> None:
    content = behind_the_pixels(6)
    found = inspect(content, decode=False)
    assert found.orientation == UPRIGHT
    assert resized(content, found, ResizeOptions(upright=True))[0].detail == f"{TURNED}EXIF orientation 6"


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_published_rotation_counts_in_place_of_exifs_orientation(orientation: int, rotation: int) -> None:
    content = stating(orientation)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.rot90(np.asarray(image), rotation // 90)
    options = ResizeOptions(upright=True, quality=95)
    if not rotation:
        assert resized(content, inspect(content), options, 0) == (inspect(content), None)
        return
    turned = reencoded(content, options, rotation)
    assert np.abs(np.asarray(turned, float) - expected).mean() < 4
    assert resized(content, inspect(content), options, rotation)[0].detail == f"{TURNED}Rotation {rotation}"

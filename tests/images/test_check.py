"""Bytes are recognised as what they are, and no bytes raise or warn."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mlimages_dataset.core.image_ids import PICTURE_SUFFIXES
from mlimages_dataset.images import check
from mlimages_dataset.images.check import Inspection, Limits, inspect, suffix_of
from mlimages_dataset.images.statuses import Status
from tests.images import fault_server

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
SUFFIXES = dict(zip(FORMATS, (".jpg", ".png", ".gif", ".webp", ".bmp", ".tif"), strict=True))


@pytest.mark.parametrize("form", FORMATS)
def test_whole_pictures_are_whole_and_cut_ones_broken(form: str) -> None:
    content = fault_server.base(form)
    assert inspect(content) == Inspection(Status.SAVED, "", 64, 48, SUFFIXES[form])
    assert suffix_of(content) == SUFFIXES[form]
    # The last bytes of some formats hold no pixels; everything before them is missed.
    for kept in (len(content) * 9 // 10, len(content) // 2, len(content) // 4, 30):
        assert inspect(content[:kept]).status in {Status.BROKEN, Status.NOT_AN_IMAGE}, kept


@pytest.mark.parametrize("form", FORMATS)
def test_the_header_alone_tells_size_and_format(form: str) -> None:
    assert inspect(fault_server.base(form), decode=False) == inspect(fault_server.base(form))


def test_a_progressive_jpeg_and_one_of_odd_size_are_read_to_their_end() -> None:
    for size in ((1, 1), (7, 3), (801, 11)):
        content = io.BytesIO()
        Image.radial_gradient("L").resize(size).save(content, "JPEG", progressive=True)
        whole = content.getvalue()
        found = inspect(whole)
        assert (found.status, found.width, found.height) == (Status.SAVED, *size)
        assert inspect(whole[:-2]).status is Status.BROKEN


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<html><body>Sorry", "a web page"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html>", "a web page"),
        (b"<!-- x --> <HTML>", "a web page"),
        (b"<?xml version='1.0'?>\n<svg xmlns=''>", "an SVG drawing"),
        (b"<svg width='1'/>", "an SVG drawing"),
        (b"<?xml version='1.0'?><Error/>", "an XML text"),
        (b'{"error": "gone"}', "a JSON text"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\x1f\x8b\x08", "a compressed file"),
        (b"\0\0\0\x20ftypisom", "a video"),
        (b"\0\0\0\x20ftypavif", "an AVIF or HEIF picture, which is not supported"),
        (b"Not found", "begins with b'Not found'"),
        (b"BM", "begins with b'BM'"),
    ],
)
def test_what_is_no_picture_is_named(content: bytes, kind: str) -> None:
    assert inspect(content) == Inspection(Status.NOT_AN_IMAGE, kind)


def test_unusual_pictures_are_kept_and_noted() -> None:
    assert inspect(fault_server.picture(1, "CMYK")).detail == "CMYK"
    assert inspect(fault_server.png(16, 16, 16)).detail == "16 bits a channel"
    animated = inspect(fault_server.animation(1))
    assert (animated.status, animated.detail) == (Status.SAVED, "animated: its first frame counts")


def test_limits_hold_before_anything_is_decoded() -> None:
    assert inspect(b"").status is Status.EMPTY
    content = fault_server.base()
    assert inspect(content, Limits(bytes=len(content))).status is Status.SAVED
    assert inspect(content, Limits(bytes=len(content) - 1)).status is Status.TOO_LARGE
    assert inspect(content, Limits(pixels=64 * 48)).status is Status.SAVED
    assert inspect(content, Limits(pixels=64 * 48 - 1)).status is Status.TOO_MANY_PIXELS
    # Beyond what Pillow opens, and beyond 32 bits.
    for edge in (11_000, 30_000, 2**31 - 1):
        bomb = inspect(fault_server.png(edge, edge, 8))
        assert bomb.status is Status.TOO_MANY_PIXELS, edge
        assert bomb.suffix == ".png"


@given(st.binary(max_size=300), st.sampled_from(FORMATS), st.integers(0, 200))
def test_no_bytes_raise_or_warn(noise: bytes, form: str, kept: int) -> None:
    whole = fault_server.base(form)
    for content in (noise, whole[:kept] + noise, whole[:kept] + noise + whole[kept + len(noise) :]):
        found = inspect(content)
        assert isinstance(found.status, Status)
        assert (found.status is Status.SAVED) <= (found.width > 0 and found.height > 0)
        inspect(content, decode=False)


def test_photographs_are_whole(shared_data: Path) -> None:
    files = sorted((shared_data / "images").glob("*.JPEG"))
    assert len(files) == 100
    for path in files:
        with Image.open(path) as image:
            size = image.size
        found = inspect(path.read_bytes())
        assert (found.status, (found.width, found.height)) == (Status.SAVED, size), path


def test_every_format_has_a_suffix_that_image_ids_leave_out() -> None:
    assert {one.suffix for one in check._FORMATS} <= set(PICTURE_SUFFIXES)

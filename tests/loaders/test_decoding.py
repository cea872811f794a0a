"""Pixels from bytes: only what is needed of a JPEG, the same as decoding it whole; everything else through Pillow."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.images.check import inspect
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.loaders.decoding import MAX_PIXELS, Header, decode, eighths_for, read_header
from mlimages_dataset.samples import photographs
from tests.images.test_filled import JPEGS, png
from tests.loaders.torchvision_views import psnr

if TYPE_CHECKING:
    from numpy.typing import NDArray


def photograph(name: str = "tabby-cat", size: tuple[int, int] | None = None) -> Image.Image:
    image = Image.open(photographs() / f"{name}.jpg").convert("RGB")
    return image if size is None else image.resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


SEQUENTIAL = {
    "4:2:0": encoded(photograph(size=(203, 301)), quality=90),
    "4:2:2": encoded(photograph(size=(203, 301)), quality=90, subsampling=1),
    "4:4:4": encoded(photograph(size=(203, 301)), quality=90, subsampling=0),
    "optimised": encoded(photograph(size=(203, 301)), quality=90, optimize=True),
    "restarts": encoded(photograph(size=(203, 301)), quality=90, restart_marker_rows=1),
    "grey": encoded(photograph(size=(203, 301)).convert("L"), quality=90),
    "EXIF with a thumbnail's end": encoded(photograph(size=(203, 301)), exif=b"Exif\0\0" + b"\xff\xd8\xff\xd9" * 9),
    "words after its end": encoded(photograph(size=(203, 301))) + b"and more",
}


@pytest.mark.parametrize("kind", SEQUENTIAL)
@given(bottom=st.integers(1, 301))
@settings(max_examples=25)
def test_rows_above_a_cut_are_those_of_the_whole_picture(kind: str, bottom: int) -> None:
    content = SEQUENTIAL[kind]
    whole = simplejpeg.decode_jpeg(content, "RGB", strict=False)
    cut = decode(content, read_header(content), bottom=bottom)
    assert bottom <= len(cut) <= bottom + 2
    np.testing.assert_array_equal(cut[:bottom], whole[:bottom])


@pytest.mark.parametrize("kind", SEQUENTIAL)
def test_a_cut_spares_rows_of_every_sequential_jpeg(kind: str) -> None:
    content = SEQUENTIAL[kind]
    assert len(decode(content, read_header(content), bottom=100)) <= 102
    assert decode(content, read_header(content)).shape == (301, 203, 3)


@pytest.mark.parametrize("kind", ["4:2:0", "4:4:4", "grey"])
@pytest.mark.parametrize(("eighths", "least"), [(4, 38), (2, 33), (1, 27)])
def test_a_scaled_picture_is_the_whole_one_averaged_over_squares(kind: str, eighths: int, least: float) -> None:
    content = encoded(Image.open(io.BytesIO(SEQUENTIAL[kind])).crop((0, 0, 200, 296)), quality=95, subsampling=0)
    header, side = read_header(content), 8 // eighths
    whole = decode(content, header).astype(np.float64)
    averaged = whole.reshape(296 // side, side, 200 // side, side, 3).mean((1, 3)).round().astype(np.uint8)
    # The DCT's low frequencies are no box filter: they agree as closely as two good filters do, not in every level.
    assert psnr(decode(content, header, eighths=eighths), averaged) > least


@given(bottom=st.integers(1, 301), eighths=st.sampled_from([1, 2, 4]))
@settings(max_examples=25)
def test_cut_and_scaled_is_scaled_and_cut(bottom: int, eighths: int) -> None:
    content = SEQUENTIAL["4:2:0"]
    header = read_header(content)
    rows = bottom * eighths // 8
    cut = decode(content, header, bottom=bottom, eighths=eighths)
    np.testing.assert_array_equal(cut[:rows], decode(content, header, eighths=eighths)[:rows])


def test_the_scale_keeps_as_many_pixels_as_are_needed() -> None:
    header = Header(2000, 3000)
    drawn = {100: 8, 224: 8, 447: 8, 448: 4, 895: 4, 896: 2, 1791: 2, 1792: 1}
    assert {side: eighths_for(side, 2 * side, 224, header) for side in drawn} == drawn
    assert eighths_for(7, 3000, 1, Header(7, 3000)) == 8


DEEP = (np.arange(40 * 60, dtype=np.uint32).reshape(40, 60) * 27).astype(np.uint16)


def unusual(form: str, mode: str = "RGB", **options: Any) -> tuple[bytes, NDArray[np.uint8]]:
    image = photograph(size=(90, 70)).convert(mode)
    content = encoded(image, form, **options)
    return content, np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        unusual("JPEG", progressive=True),
        unusual("JPEG", "CMYK"),
        unusual("JPEG", keep_rgb=True),
        unusual("PNG"),
        unusual("PNG", "RGBA"),
        unusual("PNG", "LA"),
        unusual("PNG", "P"),
        unusual("PNG", "1"),
        unusual("GIF", "P"),
        unusual("WEBP"),
        unusual("BMP"),
        unusual("TIFF"),
        (encoded(Image.fromarray(DEEP), "PNG"), np.repeat((DEEP >> 8).astype(np.uint8)[..., None], 3, -1)),
    ],
    ids=["progressive", "CMYK", "RGB", "PNG", "RGBA", "LA", "P", "1", "GIF", "WEBP", "BMP", "TIFF", "16 bits"],
)
def test_other_pictures_are_read_as_pillow_reads_them(content: bytes, expected: NDArray[np.uint8]) -> None:
    header = read_header(content)
    pixels = decode(content, header, bottom=10)
    assert (header.height, header.width) == expected.shape[:2]
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels[:10], expected[:10], atol=1)


def test_the_orientation_of_exif_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(photograph(size=(64, 32)), exif=exif)
    assert decode(content, read_header(content)).shape == (32, 64, 3)


def with_size(content: bytes, height: int, width: int) -> bytes:
    at = read_header(content).height_at
    return content[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + content[at + 4 :]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"<html>not found</html>",
        b"\0" * 5000,
        b"\xff" * 5000,
        SEQUENTIAL["4:2:0"][:3000],
        SEQUENTIAL["4:2:0"][:-200],
        SEQUENTIAL["4:2:0"][:100],
        encoded(photograph(), "PNG")[:2000],
        SEQUENTIAL["4:2:0"][:2] + b"\0" * 9000,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 40\n%%EndComments\nshowpage\n",
    ],
)
def test_what_is_no_whole_picture_is_one_sentence(content: bytes) -> None:
    with pytest.raises(DataError) as caught:
        decode(content, read_header(content))
    assert "\n" not in str(caught.value)
    assert "take the image out" in str(caught.value)
    assert "object at" not in str(caught.value)
    assert "Ghostscript" not in str(caught.value)


CUT = {
    **{f"JPEG, {kind}": encoded(photograph(size=(90, 70)), **options) for kind, options in JPEGS.items()},
    "JPEG, grey": encoded(photograph(size=(90, 70)).convert("L")),
    "JPEG, CMYK": encoded(photograph(size=(90, 70)).convert("CMYK")),
    "JPEG, progressive CMYK": encoded(photograph(size=(203, 301)).convert("CMYK"), progressive=True),
}


@pytest.mark.parametrize("eighths", [1, 8])
@pytest.mark.parametrize("kind", CUT)
def test_a_picture_whose_pixels_decoders_fill_in_is_broken_as_for_verify(kind: str, eighths: int) -> None:
    whole = CUT[kind]
    assert inspect(whole).status is Status.SAVED
    assert decode(whole, read_header(whole), eighths=eighths).size
    codes = whole.index(b"\xff\xda") + 20  # behind the header of the first scan
    for kept in range(codes, (codes + len(whole)) // 2, len(whole) // 19):
        cut = whole[:kept].rstrip(b"\xff") + b"\xff\xd9"
        assert inspect(cut).status is Status.BROKEN
        with pytest.raises(DataError, match=r"broken|cannot be decoded"):
            decode(cut, read_header(cut), eighths=eighths)


@pytest.mark.parametrize("value", [0, 7])
def test_a_png_of_too_few_rows_is_broken_as_for_verify(value: int) -> None:
    pixels = np.full((9, 8, 3), value, np.uint8)
    whole, cut = (png(pixels, 2, 8, n_bytes, interlaced=False) for n_bytes in (None, 100))
    assert (decode(whole, read_header(whole)) == value).all()
    assert inspect(cut).status is Status.BROKEN
    with pytest.raises(DataError, match="broken"):
        decode(cut, read_header(cut))


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    for content in (
        with_size(SEQUENTIAL["4:2:0"], 65_000, 65_000),
        encoded(Image.new("1", (20_000, MAX_PIXELS // 20_000 + 1)), "PNG"),
    ):
        with pytest.raises(DataError, match="more than"):
            read_header(content)


def test_a_height_that_is_not_there_is_no_picture() -> None:
    # T.81 lets a height of 0 be told after the first scan; libjpeg does not read that.
    with pytest.raises(DataError):
        read_header(with_size(SEQUENTIAL["4:2:0"], 0, 203))


@given(
    kind=st.sampled_from(sorted(SEQUENTIAL)),
    places=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=30),
    in_header=st.booleans(),
    bottom=st.integers(1, 301),
    eighths=st.sampled_from([1, 4, 8]),
)
@settings(max_examples=200)
def test_damage_gives_pixels_or_an_error_and_nothing_else(
    *, kind: str, places: list[tuple[int, int]], in_header: bool, bottom: int, eighths: int
) -> None:
    damaged = bytearray(SEQUENTIAL[kind])
    for place, value in places:
        damaged[place % (700 if in_header else len(damaged))] = value
    try:
        header = read_header(bytes(damaged))
        if header.height * header.width > 1 << 22:
            return
        pixels = decode(bytes(damaged), header, bottom=bottom, eighths=eighths)
    except DataError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.size


@pytest.mark.parametrize(
    ("head", "told"),
    [(b"\0\0\0\x18ftypheic", "a HEIC picture: convert it"), (b"\xff\x0a", "a JPEG XL picture: convert it")],
)
def test_a_picture_of_another_format_is_named_with_the_remedy(head: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_header(head + bytes(40))

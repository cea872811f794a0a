"""Bytes are recognised as what they are, and no bytes raise or warn."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from mlimages_dataset.core.image_ids import PICTURE_SUFFIXES
from mlimages_dataset.images import check
from mlimages_dataset.images.check import Inspection, Limits, inspect, suffix_of
from mlimages_dataset.images.statuses import Status
from tests.images import fault_server

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
SUFFIXES |= {"AVIF": ".avif"} if features.check("avif") else {}
FORMATS = tuple(SUFFIXES)


@pytest.mark.parametrize("form", FORMATS)
def test_whole_pictures_are_whole_and_cut_ones_broken(form: str) -> None:
    content = fault_server.base(form)
    assert inspect(content) == Inspection(Status.SAVED, "", 64, 48, SUFFIXES[form])
    assert suffix_of(content) == SUFFIXES[form]
    # The last bytes of some formats hold no pixels; everything before them is missed.
    for kept in (len(content) * 9 // 10, len(content) // 2, len(content) // 4, 30):
        assert inspect(content[:kept]).status in {Status.BROKEN, Status.NOT_AN_IMAGE}, kept


@pytest.mark.parametrize("form", ["GIF", "PNG"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_picture_of_several_frames_that_is_cut_anywhere_is_broken(form: str, *, packed: bool) -> None:
    frames = [Image.radial_gradient("L").rotate(30 * turn).resize((20, 30)) for turn in range(4)]
    frames = [frame.convert("P", palette=Image.Palette.ADAPTIVE) if packed else frame for frame in frames]
    sink = io.BytesIO()
    frames[0].save(sink, form, save_all=True, append_images=frames[1:])
    whole = sink.getvalue()
    assert inspect(whole + b"\xff" * 9).detail == "animated: its first frame counts"
    n_kept = sum(inspect(whole[:kept]).status is Status.SAVED for kept in range(len(whole)))
    # Where a block ends, and in what stands before the second frame, nothing tells that more followed.
    assert n_kept <= (12 + 8) * len(frames) + 30
    assert inspect(whole[: len(whole) * 9 // 10]).detail == f"{form}: the file is cut behind its first frame"


def frames_as(form: str, n: int) -> bytes:
    frames = [Image.radial_gradient("L").rotate(30 * turn).resize((20, 30)) for turn in range(n)]
    sink = io.BytesIO()
    frames[0].save(sink, form, save_all=n > 1, append_images=frames[1:])
    return sink.getvalue()


@pytest.mark.parametrize("n_frames", [1, 3])
@pytest.mark.parametrize("behind", [b"", b"\n", b"\n" * 40, b"<!-- served by a cache -->"])
def test_a_picture_without_its_end_mark_is_whole(behind: bytes, n_frames: int) -> None:
    png, gif = frames_as("PNG", n_frames), frames_as("GIF", n_frames)
    assert png[-8:-4] == b"IEND"
    assert gif[-2:] == b"\0;"
    for missing in range(13):
        assert inspect(png[: len(png) - missing] + behind * (missing == 12)).status is Status.SAVED, missing
    for missing in range(3):
        assert inspect(gif[: len(gif) - missing] + behind * (missing == 1)).status is Status.SAVED, missing


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_a_single_frame_is_judged_by_its_decoding_alone(form: str) -> None:
    content = frames_as(form, 1)
    for kept in range(len(content) // 2, len(content)):
        try:
            with Image.open(io.BytesIO(content[:kept])) as image:
                image.load()
        except Exception:  # noqa: BLE001 - Pillow raises what it likes
            expected = Status.BROKEN
        else:
            expected = Status.SAVED
        assert inspect(content[:kept]).status is expected, kept


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
        (b"<?xml version='1.0'?><Error/>", "an XML text"),
        (b'{"error": "gone"}', "a JSON text"),
        (b"%PDF-1.7", "a PDF or PostScript document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "a PDF or PostScript document"),
        (b"\x1f\x8b\x08", "a compressed file"),
        (b"\0\0\0\x20ftypisom", "a video"),
        (b"RIFF\0\0\0\0WAVEfmt ", "a sound"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer: fetch the file itself with git lfs pull"),
        (b"Not found", "begins with b'Not found'"),
        (b"BM", "begins with b'BM'"),
    ],
)
def test_what_is_no_picture_is_named(content: bytes, kind: str) -> None:
    assert inspect(content) == Inspection(Status.NOT_AN_IMAGE, kind)


def saved_as(form: str) -> bytes:
    content = io.BytesIO()
    Image.radial_gradient("L").resize((64, 48)).convert("RGB").save(content, form)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            "a HEIC picture: convert it to JPEG or PNG first, for example with pillow",
        ),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "a HEIC picture"),
        (b"\0\0\0\x18ftyphevx\0\0\0\0msf1hevx", "a HEIC picture"),
        (b"\xff\x0a\xfa\x7f", "a JPEG XL picture: convert it to JPEG or PNG first, for example with djxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
        (b"\xff\x4f\xff\x51\0\x2f", "a JPEG 2000 picture"),
        (b"II\xbc\x01", "a JPEG XR picture"),
        (b"P3\n# made by hand\n2 2\n255", "a Netpbm picture"),
        (b"8BPS\0\x01", "a Photoshop picture"),
        (b"<?xml version='1.0'?>\n<svg xmlns=''>", "an SVG drawing: render it first"),
        (b"\xef\xbb\xbf<svg width='1'/>", "an SVG drawing"),
        (b"<svg/>", "an SVG drawing"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a camera's raw picture"),
        *((saved_as(form), kind) for form, kind in (("PPM", "a Netpbm"), ("ICO", "an icon"), ("DDS", "a DirectDraw"))),
        *((saved_as(form), "a PCX or SGI picture") for form in ("PCX", "SGI")),
        pytest.param(
            saved_as("JPEG2000") if features.check("jpg_2000") else b"",
            "a JPEG 2000 picture: convert it to JPEG or PNG first, for example with Pillow",
            marks=pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow has no JPEG 2000 here"),
        ),
    ],
)
def test_pictures_of_other_formats_are_named_with_what_to_do(content: bytes, said: str) -> None:
    found = inspect(content)
    assert found.status is Status.UNSUPPORTED
    assert found.detail.startswith(said)
    assert " first" in found.detail


@pytest.mark.parametrize(
    ("marker", "bits", "said"),
    [
        (0xC3, 8, "a lossless JPEG"),
        (0xC5, 8, "a hierarchical JPEG"),
        (0xF7, 8, "a JPEG-LS picture"),
        (0xC1, 12, "a JPEG of 12 bits a channel"),
    ],
)
def test_a_jpeg_that_decoders_do_not_read_is_named_and_not_called_broken(marker: int, bits: int, said: str) -> None:
    content = bytearray(fault_server.picture(1))
    at = content.index(b"\xff\xc0")
    content[at + 1], content[at + 4] = marker, bits
    assert inspect(bytes(content)).detail == f"{said}: convert it to JPEG or PNG first"
    assert inspect(bytes(content)).status is Status.UNSUPPORTED


@pytest.mark.skipif(not features.check("avif"), reason="Pillow has no AVIF here")
def test_avif_is_told_from_heic_by_any_of_its_brands() -> None:
    content = saved_as("AVIF")
    size = int.from_bytes(content[:4], "big")
    assert b"mif1" in content[16:size]
    other = content[:8] + b"mif1" + content[12:16] + content[16:size].replace(b"mif1", b"avif") + content[size:]
    assert inspect(other).suffix == ".avif"


@pytest.mark.parametrize("big_endian", [False, True])
def test_a_big_tiff_is_a_tiff(*, big_endian: bool) -> None:
    content = io.BytesIO()
    Image.new("L", (5, 4)).save(content, "TIFF", big_tiff=True)
    assert content.getvalue()[:3] == b"II+"
    assert inspect(content.getvalue()) == Inspection(Status.SAVED, "", 5, 4, ".tif")
    assert suffix_of(b"MM\0+" if big_endian else b"II+\0") == ".tif"


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


def test_damaged_tiffs_are_told_by_their_rows_alone(capfd: pytest.CaptureFixture[str]) -> None:
    sink = io.BytesIO()
    Image.new("RGB", (64, 64), (1, 2, 3)).save(sink, "TIFF", compression="tiff_lzw")
    whole = sink.getvalue()
    for at in range(0, len(whole), 5):
        inspect(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :], Limits())
        inspect(whole[:at], Limits())
    os.write(2, b"this is told\n")
    assert capfd.readouterr().err == "this is told\n"

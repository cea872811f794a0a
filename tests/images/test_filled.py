"""Pictures whose data end before their pixels do are broken, and whole ones are not, however they were written."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mlimages_dataset.images.check import inspect
from mlimages_dataset.images.filled import _PASSES
from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

END = b"\xff\xd9"
NOISE = Image.effect_noise((90, 70), 60)
JPEGS: dict[str, dict[str, object]] = {
    "plain": {},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_blocks": 3},
    "restart markers, progressive": {"restart_marker_rows": 1, "progressive": True},
    "full chroma": {"subsampling": 0},
    "chroma of other sampling": {"subsampling": "4:1:1"},
    "red, green and blue": {"keep_rgb": True, "subsampling": 0},
    "own tables": {"optimize": True, "quality": 97},
}


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_that_is_cut_and_closed_is_broken(options: dict[str, object], mode: str) -> None:
    if mode == "CMYK" and options.get("subsampling") == "4:1:1":
        pytest.skip("libjpeg-turbo's own interface decodes no such sampling, so Pillow's word is taken")
    whole = encoded(NOISE.convert(mode), "JPEG", **options)
    codes = whole.rindex(b"\xff\xda") + 20  # behind the header of the last scan
    for kept in range(codes, len(whole) - 4, 1 + (len(whole) - codes) // 12):
        for closing in (END, END + b"\0" * 9, bytes(len(whole) - kept)):
            assert inspect(whole[:kept].rstrip(b"\xff") + closing).status is Status.BROKEN, (kept, closing)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_a_whole_jpeg_is_whole_with_what_cameras_add(options: dict[str, object], mode: str) -> None:
    whole = encoded(NOISE.convert(mode), "JPEG", **options)
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + len(encoded(NOISE, "JPEG"))) + encoded(NOISE, "JPEG")
    for content in (
        whole,
        whole + b"\0" * 5000,
        whole + encoded(NOISE, "JPEG")[:900],  # a second picture that is cut
        whole[:-2] + b"\xff" * 7 + END,  # fill bytes
        whole[:-2] + b"\0\0\0" + END,
        whole[:2] + thumbnail + whole[2:],
    ):
        assert inspect(content).status is Status.SAVED


def test_a_picture_of_several_jpegs_is_whole() -> None:
    whole = encoded(NOISE.convert("RGB"), "MPO", save_all=True, append_images=[NOISE.convert("RGB")])
    found = inspect(whole)
    assert (found.status, found.detail) == (Status.SAVED, "animated: its first frame counts")
    assert inspect(whole[: len(whole) // 4] + END).status is Status.BROKEN


def png(pixels: NDArray[np.uint8], colour: int, bits: int, n_bytes: int | None, *, interlaced: bool) -> bytes:
    """Return a PNG with the first bytes of its pixels' data, all for None; pixels are the packed rows' bytes."""
    height, width = pixels.shape[:2]
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    rows = b""
    for x, y, across, down in passes:
        part = pixels[y::down, x::across]
        for row in part if part.size else ():
            flat = row.reshape(-1)
            packed = np.packbits(flat.astype(np.uint8)) if bits == 1 else flat
            rows += b"\0" + packed.tobytes()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))
    table = chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 else b""
    data = zlib.compress(rows[: len(rows) if n_bytes is None else n_bytes % len(rows)])
    pieces = [chunk(b"IDAT", data[at : at + 50]) for at in range(0, len(data), 50)]
    return b"\x89PNG\r\n\x1a\n" + header + table + b"".join(pieces) + chunk(b"IEND", b"")


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from([(0, 1), (0, 8), (2, 8), (3, 8), (4, 8), (6, 8), (0, 16), (2, 16)]),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    value=st.sampled_from(["blank", "blank below", "full"]),
    interlaced=st.booleans(),
    kept=st.integers(0, 10_000),
)
def test_a_png_is_whole_if_and_only_if_all_its_rows_are_there(
    *, kind: tuple[int, int], size: tuple[int, int], value: str, interlaced: bool, kept: int
) -> None:
    colour, bits = kind
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * max(1, bits // 8)
    pixels = np.full((*size, channels), 0 if value == "blank" else 1, np.uint8)
    pixels[-1] = 0 if value == "blank below" else pixels[-1]
    assert inspect(png(pixels, colour, bits, None, interlaced=interlaced)).status is Status.SAVED
    assert inspect(png(pixels, colour, bits, kept, interlaced=interlaced)).status is Status.BROKEN


PAGES = [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"]


@pytest.mark.parametrize("compression", PAGES)
@pytest.mark.parametrize("big_tiff", [False, True])
def test_a_tiff_that_is_cut_behind_its_first_page_is_broken(compression: str | None, *, big_tiff: bool) -> None:
    image = NOISE.convert("1") if compression == "group4" else NOISE
    options: dict[str, object] = {"compression": compression} if compression else {"big_tiff": big_tiff}
    whole = encoded(image, "TIFF", save_all=True, append_images=[image.rotate(90), image], **options)
    assert inspect(whole).detail == "animated: its first frame counts"
    assert inspect(whole + b"\0" * 99).status is Status.SAVED
    first = encoded(image, "TIFF", **options)
    saved = [kept for kept in range(len(first), len(whole), 31) if inspect(whole[:kept]).status is Status.SAVED]
    assert all(len(whole) - kept < 40 for kept in saved), saved  # its last bytes are the resolution


def field(tiff: bytes, tag: int) -> int:
    """Return where the value of a field of the first page is stored."""
    at = struct.unpack_from("<I", tiff, 4)[0] + 2
    while struct.unpack_from("<H", tiff, at)[0] != tag:
        at += 12
    return int(at + 8)


def test_a_tiff_that_lists_too_few_strips_is_broken() -> None:
    whole = bytearray(encoded(NOISE, "TIFF"))
    assert inspect(bytes(whole)).status is Status.SAVED
    struct.pack_into("<H", whole, field(bytes(whole), 257), 140)
    assert inspect(bytes(whole)).detail == "TIFF: page 1 lists 1 of its 2 strips or tiles"


def test_a_jpeg_within_a_tiff_is_broken_if_it_is_cut() -> None:
    whole = bytearray(encoded(NOISE.convert("RGB"), "TIFF", compression="jpeg"))
    assert inspect(bytes(whole)).status is Status.SAVED
    at = field(bytes(whole), 279)
    struct.pack_into("<I", whole, at, struct.unpack_from("<I", whole, at)[0] // 2)
    assert inspect(bytes(whole)).status is Status.BROKEN

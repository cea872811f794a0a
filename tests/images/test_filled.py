"""Pictures whose data end before their pixels do are broken, and whole ones are not, however they were written."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from mlimages_dataset.images import filled, tiff
from mlimages_dataset.images.check import inspect
from mlimages_dataset.images.filled import _PASSES
from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

END = b"\xff\xd9"
NOISE = Image.effect_noise((90, 70), 60)
JPEGS: dict[str, dict[str, Any]] = {
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


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("height", [39, 40])
@pytest.mark.parametrize("kind", [(0, 1), (0, 8), (0, 16), (2, 8), (2, 16), (3, 8), (4, 8), (6, 8)])
def test_a_png_with_blank_last_rows_is_decoded_once(
    kind: tuple[int, int], height: int, monkeypatch: pytest.MonkeyPatch, *, interlaced: bool
) -> None:
    colour, bits = kind
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * max(1, bits // 8)
    content = png(np.zeros((height, 64, channels), np.uint8), colour, bits, None, interlaced=interlaced)
    monkeypatch.setattr(filled, "_png_data", lambda _: pytest.fail("its data are counted"))
    assert inspect(content).status is Status.SAVED


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


def test_the_first_field_of_a_tag_counts_and_no_other_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    strips = struct.pack("<HHII", 273, 1, 1 << 20, 8)
    header = b"II*\0" + struct.pack("<I", 8 + (1 << 20)) + bytes(1 << 20)
    read: list[int] = []
    field_of = tiff._field

    def counted(content: bytes, layout: tiff._Layout, entry: int, kind: int, word: int) -> NDArray[np.unsignedinteger]:
        read.append(entry)
        return field_of(content, layout, entry, kind, word)

    monkeypatch.setattr(tiff, "_field", counted)
    assert tiff.tiff_fault(header + struct.pack("<H", 2000) + strips * 2000 + bytes(4)) == ""
    assert read == [8 + (1 << 20) + 2]


def test_strips_that_overlap_are_not_decoded_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bytearray(encoded(NOISE.resize((600, 800)).convert("RGB"), "TIFF", compression="jpeg"))
    starts, sizes = (struct.unpack_from("<I", whole, field(bytes(whole), tag))[0] for tag in (273, 279))
    read: list[int] = []

    def counted(strip: bytes) -> tuple[int, int]:
        read.append(len(strip))
        return 1, 1

    monkeypatch.setattr(tiff, "whole_size", counted)
    assert tiff.tiff_fault(bytes(whole)) == ""
    n = len(read)
    assert n > 10
    for k in range(n):
        start = struct.unpack_from("<I", whole, starts + 4 * k)[0]
        struct.pack_into("<I", whole, sizes + 4 * k, len(whole) - start)
    read.clear()
    assert tiff.tiff_fault(bytes(whole)) == ""
    assert len(read) == 1


VIEWED: dict[str, dict[str, object]] = {
    "JPEG": {},
    "JPEG, progressive": {"progressive": True},
    "MPO": {"save_all": True, "append_images": [NOISE]},
    "PNG": {},
    "PNG, animated": {"save_all": True, "append_images": [NOISE.rotate(90)]},
    "GIF": {"save_all": True, "append_images": [NOISE.rotate(90)]},
    "WEBP": {},
    "BMP": {},
    "TIFF": {"save_all": True, "append_images": [NOISE.rotate(90)]},
    "TIFF, JPEG": {"compression": "jpeg"},
    "TIFF, big": {"big_tiff": True},
    **({"AVIF": {}} if features.check("avif") else {}),
}


@pytest.mark.parametrize("form", VIEWED)
def test_a_view_of_a_picture_is_what_the_picture_is(form: str) -> None:
    whole = encoded(NOISE, form.partition(",")[0], **VIEWED[form])
    assert inspect(whole).status is Status.SAVED
    for content in (whole, whole[: len(whole) * 2 // 3], whole[: len(whole) // 2] + END):
        assert inspect(memoryview(bytearray(content))) == inspect(content)  # type: ignore[arg-type]

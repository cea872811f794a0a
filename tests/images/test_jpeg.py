"""What is called a whole JPEG is one for two decoders: Pillow, and libjpeg-turbo without a warning but of metadata."""

from __future__ import annotations

import dataclasses
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mlimages_dataset import samples
from mlimages_dataset.images.check import Limits, inspect
from mlimages_dataset.images.jpeg import whole_size
from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def jpeg(width: int, height: int, mode: str = "RGB", seed: int = 0, **options: Any) -> bytes:
    """Return the JPEG of a picture between flat and noise."""
    rng = np.random.default_rng(seed)
    shape = (height, width, len(mode)) if len(mode) > 1 else (height, width)
    pixels = rng.normal(128, rng.choice([1, 10, 80]), shape).clip(0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels, mode).save(content, "JPEG", **options)
    return content.getvalue()


pictures = st.builds(
    jpeg,
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    mode=st.sampled_from(["RGB", "L"]),
    seed=st.integers(0, 100),
    quality=st.sampled_from([1, 20, 75, 90, 100]),
    subsampling=st.sampled_from([0, 1, 2]),
    optimize=st.booleans(),
    restart_marker_blocks=st.sampled_from([0, 1, 3]),
)


def pillow_size(content: bytes) -> tuple[int, int]:
    """Return the size of a picture that Pillow decodes in full."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            assert image.format == "JPEG", "and not a file of several pictures"
            image.load()
            return image.size


def assert_decoders_agree(content: bytes) -> None:
    """Fail where something is called whole that a decoder refuses or warns of, or that has another size."""
    size = whole_size(content)
    if size is not None:
        assert pillow_size(content) == size
        warning = ""
        try:
            assert simplejpeg.decode_jpeg(content, strict=True).shape[1::-1] == size
        except ValueError as error:
            warning = str(error)
        assert not warning or "unknown JFIF revision number" in warning  # a number in the metadata


@given(content=pictures)
def test_every_plain_jpeg_is_whole(content: bytes) -> None:
    size = pillow_size(content)
    assert whole_size(content) == size
    assert inspect(content).status is Status.SAVED


@given(content=pictures, share=st.floats(0, 1, exclude_max=True))
def test_a_jpeg_cut_anywhere_is_not_whole(content: bytes, share: float) -> None:
    assert whole_size(content[: int(share * len(content))]) is None


@given(content=pictures, behind=st.binary(max_size=20))
def test_what_follows_the_end_is_of_no_effect(content: bytes, behind: bytes) -> None:
    assert whole_size(content + behind) == whole_size(content)


@settings(max_examples=400)
@given(
    content=pictures,
    at=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4),
    values=st.binary(min_size=4, max_size=4),
)
def test_decoders_agree_on_changed_bytes(content: bytes, at: list[float], values: bytes) -> None:
    changed = bytearray(content)
    for place, value in zip(at, values, strict=False):
        changed[int(place * len(changed))] = value
    assert_decoders_agree(bytes(changed))


@settings(max_examples=400)
@given(content=pictures, at=st.floats(0, 1, exclude_max=True), removed=st.integers(0, 9), put=st.binary(max_size=9))
def test_decoders_agree_on_lost_and_added_bytes(content: bytes, at: float, removed: int, put: bytes) -> None:
    place = int(at * len(content))
    assert_decoders_agree(content[:place] + put + content[place + removed :])


@settings(max_examples=300)
@given(content=pictures, at=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_pillows_verdict_on_a_changed_header_stands(content: bytes, at: float, value: int) -> None:
    changed = bytearray(content)
    changed[int(at * content.index(b"\xff\xda"))] = value
    found = inspect(bytes(changed), Limits(pixels=1 << 26))
    if found.status is Status.SAVED:
        assert pillow_size(bytes(changed)) == (found.width, found.height)


def test_photographs_are_plain_and_whole() -> None:
    for path in sorted(samples.photographs().glob("*.jpg")):
        content = path.read_bytes()
        assert whole_size(content) == pillow_size(content)
        assert_decoders_agree(content)


@pytest.mark.parametrize(("mode", "options"), [("CMYK", {}), ("RGB", {"progressive": True})])
def test_what_is_not_plain_is_left_to_a_decoder(mode: str, options: dict[str, Any]) -> None:
    content = jpeg(40, 30, mode, **options)
    assert whole_size(content) is None
    assert inspect(content).status is Status.SAVED


def test_bytes_of_any_kind_are_no_jpeg() -> None:
    for content in (b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff", bytes(100), b"\xff\xd8" + b"\xff" * 50):
        assert whole_size(content) is None


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """A grey JPEG written by hand: by default one block, of a first coefficient of 0 and an end.

    Attributes:
        width: pixels.
        height: pixels.
        first: codes of first coefficients, by their bits as text.
        others: codes of the other coefficients.
        bits: what follows the header, between restart markers; filled up with ones.
        restarts: markers between them.
        interval: blocks between two markers.
        quantisation: the number of the table that there is.
        before: segments before the frame.
    """

    width: int = 8
    height: int = 8
    first: Mapping[str, int] = dataclasses.field(default_factory=lambda: {"0": 0})
    others: Mapping[str, int] = dataclasses.field(default_factory=lambda: {"0": 0x00})
    bits: tuple[str, ...] = ("00",)
    restarts: tuple[int, ...] = ()
    interval: int = 0
    quantisation: int = 0
    before: bytes = b""

    def content(self) -> bytes:
        """Return the file."""
        frame = b"\x08" + self.height.to_bytes(2, "big") + self.width.to_bytes(2, "big") + b"\x01\x01\x11\x00"
        codes = [self._packed(bits) for bits in self.bits]
        for marker, more in zip(self.restarts, codes[1:], strict=True):
            codes[0] += bytes([0xFF, marker]) + more
        return b"".join(
            (
                b"\xff\xd8",
                segment(0xDB, bytes([self.quantisation]) + b"\1" * 64),
                self.before,
                segment(0xC0, frame),
                segment(0xC4, b"\x00" + self._table(self.first)),
                segment(0xC4, b"\x10" + self._table(self.others)),
                segment(0xDD, self.interval.to_bytes(2, "big")),
                segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"),
                codes[0],
                b"\xff\xd9",
            )
        )

    @staticmethod
    def _packed(bits: str) -> bytes:
        bits += "1" * (-len(bits) % 8)
        return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")

    @staticmethod
    def _table(codes: Mapping[str, int]) -> bytes:
        counts = bytes(sum(len(code) == length for code in codes) for length in range(1, 17))
        return counts + bytes(codes[code] for code in sorted(codes, key=lambda code: (len(code), code)))


ZEROS, END = "10", "110"
OTHERS = {"0": 0x01, ZEROS: 0xF0, END: 0x00}  # a value of one bit; 16 zeros; the end
LONG = {"0": 0x00, "1" + "0" * 15: 0x01}


@pytest.mark.parametrize(
    "written",
    [
        Written(),
        Written(width=17, bits=("00" * 3,)),
        Written(others=OTHERS, bits=("0" + "01" * 63,)),
        Written(others=OTHERS, bits=("0" + ZEROS * 3 + "01" * 15,)),
        Written(others=OTHERS, bits=("0" + ZEROS * 3 + END,)),
        Written(others=LONG, bits=("0" + ("1" + "0" * 15 + "1") * 5 + "0",)),
        Written(width=24, bits=("00", "00", "00"), restarts=(0xD0, 0xD1), interval=1),
        Written(before=segment(0xFE, b"a comment")),
    ],
)
def test_what_is_written_as_the_standard_wants_is_whole(written: Written) -> None:
    assert whole_size(written.content()) == (written.width, written.height)
    assert_decoders_agree(written.content())


@pytest.mark.parametrize(
    "written",
    {
        "a code is missing": Written(width=17, bits=("00" * 2,)),
        "a block too many": Written(bits=("00" * 5,)),
        "a code is unknown": Written(bits=("011",)),
        "a block is too long by one": Written(others=OTHERS, bits=("0" + ZEROS * 3 + "01" * 14 + ZEROS,)),
        "a block is too long by many": Written(others=OTHERS, bits=("0" + ZEROS * 4,)),
        "eight times sixteen zeros": Written(others={"0": 0xF0, "10": 0x00}, bits=("0" + "0" * 8,)),
        "a first coefficient of 12 bits": Written(first={"0": 0, "10": 12}, bits=("10" + "0" * 12 + "0",)),
        "a code of ones alone": Written(others={"0": 0x00, "10": 0x01, "11": 0x02}),
        "more codes than fit": Written(others={"0": 0x00, "1": 0x01, "10": 0x02}),
        "no value and no meaning": Written(others={"0": 0x00, "10": 0x30}),
        "restart markers in another order": Written(
            width=24, bits=("00", "00", "00"), restarts=(0xD1, 0xD0), interval=1
        ),
        "bits are left before a restart": Written(
            width=24, bits=("0" * 16, "00", "00"), restarts=(0xD0, 0xD1), interval=1
        ),
        "a restart marker is missing": Written(width=24, bits=("00", "0000"), restarts=(0xD0,), interval=1),
        "another quantisation table": Written(quantisation=1),
        "two frames": Written(before=segment(0xC0, b"")),
        "a frame of another kind before": Written(before=segment(0xC2, b"")),
        "too wide": Written(width=65_504, bits=("00" * 8188,)),
        "no rows": Written(height=0),
    }.items(),
    ids=lambda named: named[0],
)
def test_what_breaks_a_rule_is_not_whole(written: tuple[str, Written]) -> None:
    assert whole_size(written[1].content()) is None


@pytest.mark.parametrize(
    "metadata",
    [
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE0, b"JFIF"),
        segment(0xEE, b"Adobe"),
        segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04"),
    ],
)
def test_pillows_verdict_on_metadata_stands(metadata: bytes) -> None:
    """Pillow refuses these, and so would whoever opens the picture with it later."""
    content = jpeg(9, 9)
    content = content[:2] + metadata + content[2:]
    assert whole_size(content) == (9, 9)
    assert inspect(content).status is Status.BROKEN


def test_any_view_of_bytes_is_read() -> None:
    content = jpeg(9, 9)
    for view in (bytearray(content), memoryview(content), memoryview(b"x" + content)[1:]):
        assert whole_size(view) == (9, 9)


@pytest.mark.shared_data
@pytest.mark.slow
def test_published_photographs_and_their_ruins(shared_data: Path) -> None:
    rng = np.random.default_rng(0)
    for path in sorted((shared_data / "images").glob("*.JPEG")):
        content = path.read_bytes()
        assert whole_size(content) == pillow_size(content)
        for _ in range(5):
            changed = bytearray(content)
            changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
            assert_decoders_agree(bytes(changed))

"""What is called a whole JPEG is one for two decoders: Pillow, and libjpeg-turbo without a single warning."""

from __future__ import annotations

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
from mlimages_dataset.images.check import inspect
from mlimages_dataset.images.jpeg import header_size, whole_size
from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
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
    assert header_size(content) == size
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
def test_a_changed_header_is_read_as_pillow_reads_it(content: bytes, at: float, value: int) -> None:
    changed = bytearray(content)
    changed[int(at * content.index(b"\xff\xda"))] = value
    size = header_size(bytes(changed))
    if size is not None and size[0] * size[1] < 1 << 26:  # Pillow warns of more, or refuses them
        with Image.open(io.BytesIO(changed), formats=["JPEG"]) as image:
            assert image.size == size


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
        assert whole_size(content) is header_size(content) is None


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

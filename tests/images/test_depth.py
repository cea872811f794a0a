"""Pictures of any depth come out as their 8-bit copies do, or are refused; none comes out black."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.images.check import inspect
from mlimages_dataset.images.duplicates import picture_hashes
from mlimages_dataset.images.resize import ResizeOptions, resized_jpeg
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.images.thumbnails import smaller
from mlimages_dataset.loaders.decoding import decode, read_header
from tests.images import fault_server

GREY = np.asarray(Image.radial_gradient("L").resize((64, 48)))


def tiff(samples: np.ndarray, kind: int, meaning: int = 1, bits: int = 0) -> bytes:
    """Return a TIFF of one strip: `kind` is 1 for unsigned, 2 for signed, 3 for floats, `meaning` 0 for negatives."""
    data = samples.tobytes()
    tags = {256: 64, 257: 48, 258: bits or samples.itemsize * 8, 259: 1, 262: meaning, 273: 8, 277: 1, 278: 48}
    tags |= {279: len(data), 339: kind}
    fields = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    return head + data + struct.pack("<H", len(tags)) + fields + bytes(4)


def png(samples: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(samples).save(sink, "PNG")
    return sink.getvalue()


def views(content: bytes) -> list[np.ndarray]:
    """Return the pixels of a picture as loaders, shards and pages have them, in grey."""
    encoded = resized_jpeg(content, ResizeOptions(short_edge=24))[0], smaller(content, 32, where="x")
    return [
        decode(content, read_header(content))[..., 0],
        *(np.asarray(Image.open(io.BytesIO(one))) for one in encoded),
    ]


DEEP = GREY.astype("<u2") * 257


@pytest.mark.parametrize(
    "content",
    [
        png(DEEP.astype(np.uint16)),
        tiff(DEEP, 1),
        tiff(0xFFFF - DEEP, 1, meaning=0),
        tiff(255 - GREY, 1, meaning=0),
        tiff(GREY, 1),
    ],
)
def test_every_depth_that_is_read_looks_like_its_copy_of_8_bits(content: bytes) -> None:
    assert inspect(content).status is Status.SAVED
    for found, expected in zip(views(content), views(png(GREY)), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert picture_hashes(content) == picture_hashes(png(GREY))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tiff(GREY.astype("<f4") / 255, 3), "floats of 32 bits"),
        (tiff(GREY.astype("<f4"), 3), "floats of 32 bits"),
        (tiff(GREY.astype("<u4"), 1), "integers of 32 bits"),
        (tiff(GREY.astype("<i4"), 2), "signed integers of 32 bits"),
        (tiff(GREY.astype("<i2"), 2), "signed integers of 16 bits"),
        (tiff(GREY.astype("i1"), 2), "signed integers of 8 bits"),
        (tiff(DEEP, 1, bits=12), "integers of 12 bits"),
    ],
)
def test_every_other_depth_is_unsupported_and_has_no_pixels(content: bytes, said: str) -> None:
    for decoding in (False, True):
        found = inspect(content, decode=decoding)
        assert found.status is Status.UNSUPPORTED
        assert found.detail == f"its pixels are {said}, which are not read: convert it to 8 or 16 bits first"
    with pytest.raises(DataError, match=said):
        decode(content, read_header(content))
    with pytest.raises(DataError, match=said):
        smaller(content, 32, where="x")


def test_other_formats_than_the_accepted_ones_are_not_opened() -> None:
    sink = io.BytesIO()
    Image.open(io.BytesIO(fault_server.base())).save(sink, "EPS")
    with pytest.raises(Exception, match="cannot identify"):
        picture_hashes(sink.getvalue())

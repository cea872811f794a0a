"""Compressed files as readers see them: whole, or refused."""

from __future__ import annotations

import bz2
import gzip
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.places import opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = b"".join(b"%d,abc%d\n" % (row, row * 7_919 % 1_000) for row in range(3_000))
_CHECKSUM_FLAG = 1 << 2
_FLAGS_AT = 4


def zstd(content: bytes) -> bytes:
    """Return a frame without a checksum, as Arrow writes it."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue().to_pybytes())


def checked_zstd(content: bytes) -> bytes:
    """Return a frame with a checksum, as the command `zstd` writes it (RFC 8878, 3.1.1): half of a 64-bit xxHash."""
    xxhash = pytest.importorskip("xxhash")
    frame = bytearray(zstd(content))
    frame[_FLAGS_AT] |= _CHECKSUM_FLAG
    checksum = int(xxhash.xxh64(content).intdigest()) & 0xFFFFFFFF
    return bytes(frame) + checksum.to_bytes(4, "little")


PACKINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": (".gz", gzip.compress),
    "bzip2": (".bz2", bz2.compress),
    "zstd": (".zst", zstd),
    "zstd with a checksum": (".zst", checked_zstd),
}


def read(folder: Path, packing: str, packed: bytes) -> bytes:
    path = folder / f"a{PACKINGS[packing][0]}"
    path.write_bytes(packed)
    with opened(path) as stream:
        return bytes(stream.read())


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_whole_file_and_several_members_are_read(tmp_path: Path, packing: str) -> None:
    packed = PACKINGS[packing][1](CONTENT)
    assert read(tmp_path, packing, packed) == CONTENT
    assert read(tmp_path, packing, packed + packed) == CONTENT + CONTENT


@pytest.mark.parametrize("packing", PACKINGS)
@given(data=st.data())
def test_a_file_that_is_cut_anywhere_or_followed_by_anything_is_refused(
    tmp_path_factory: pytest.TempPathFactory, packing: str, data: st.DataObject
) -> None:
    folder, packed = tmp_path_factory.mktemp("packed"), PACKINGS[packing][1](CONTENT)
    for damaged in (
        packed[: data.draw(st.integers(1, len(packed) - 1))],
        packed + data.draw(st.binary(min_size=8, max_size=64)),
    ):
        with pytest.raises(DataError, match="cannot be read to its end"):
            read(folder, packing, damaged)


@pytest.mark.parametrize("packing", [name for name in PACKINGS if name != "zstd"])
@given(data=st.data())
def test_a_flipped_bit_is_refused_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, packing: str, data: st.DataObject
) -> None:
    """A frame of zstd without a checksum, which some writers leave out, has nothing to compare."""
    folder, packed = tmp_path_factory.mktemp("packed"), bytearray(PACKINGS[packing][1](CONTENT))
    packed[data.draw(st.integers(_FLAGS_AT + 1, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = read(folder, packing, bytes(packed))
    except DataError as error:
        assert "cannot be read to its end" in str(error)  # noqa: PT017 - the other way is fine too
    else:
        assert found == CONTENT

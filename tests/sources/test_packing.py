"""No compressed stream that is damaged, cut or followed by something passes as whole."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.images.archives import archive_file_members, archive_members
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.index import ImageIndex
from mlimages_dataset.images.stage import IngestOptions, ingest_stage
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.stage import run
from mlimages_dataset.sources.packing import BLOCK_BYTES, Packing, check_packed, packing_of, unpacked_stream
from tests.images.test_archives import OneWay, read, tar_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
RANDOM = np.random.default_rng(7)
CONTENT = {f"{k}.jpg": RANDOM.bytes(300) + bytes(200) for k in range(3)}
ARCHIVE = tar_of(CONTENT)
MOST = 1 << 20


def whole(stream: io.BytesIO | OneWay, sizes: int = BLOCK_BYTES) -> bytes:
    unpacked = unpacked_stream(stream)
    return b"".join(iter(lambda: unpacked.read(sizes), b""))


contents = st.binary(max_size=3000) | st.builds(lambda one, n: one * n, st.binary(max_size=9), st.integers(0, 99_999))


packed_parts = st.lists(contents, min_size=1, max_size=3)


@pytest.mark.slow
@given(st.sampled_from(sorted(PACK)), packed_parts, st.integers(0, 20), st.integers(1, 5000))
def test_streams_one_behind_the_other_are_one(name: str, parts: list[bytes], padding: int, size: int) -> None:
    packed = b"".join(PACK[name](part) + bytes(padding) for part in parts)
    assert whole(io.BytesIO(packed), size) == b"".join(parts)
    assert whole(OneWay(packed), size) == b"".join(parts)
    check_packed(io.BytesIO(packed))


@given(contents, st.integers(1, 5000))
def test_what_is_not_compressed_is_as_it_is(content: bytes, size: int) -> None:
    if packing_of(content) is None:
        assert whole(io.BytesIO(content), size) == content


@pytest.mark.parametrize("name", ["BZhotel.jpg", "BZh9.jpg", "BZh1AY.jpg", "]"])
def test_a_tar_of_a_file_whose_name_begins_as_a_packing_does_is_as_it_is(name: str) -> None:
    archive = tar_of({name: b"content"})
    assert packing_of(archive[:10]) is None
    assert whole(io.BytesIO(archive)) == archive


@given(st.sampled_from(sorted(PACK)), st.data())
def test_a_flipped_bit_anywhere_is_an_error_or_changes_nothing(name: str, data: st.DataObject) -> None:
    packed = bytearray(PACK[name](ARCHIVE))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = read(archive_members(io.BytesIO(packed), most_bytes=MOST))
    except tarfile.ReadError:
        return
    assert found == CONTENT


@pytest.mark.parametrize("name", PACK)
def test_a_flipped_bit_in_the_pictures_is_an_error(tmp_path: Path, name: str) -> None:
    packed = bytearray(PACK[name](ARCHIVE))
    for at in range(100, len(packed) - 40, 41):
        packed[at] ^= 16
        (tmp_path / f"a.tar.{name}").write_bytes(packed)
        with pytest.raises(DataError, match=rf"a\.tar\.{name}: is not a complete tar archive \(.*; obtain it again"):
            read(archive_file_members(tmp_path / f"a.tar.{name}", most_bytes=MOST))
        packed[at] ^= 16


@given(st.sampled_from(sorted(PACK)), st.data())
def test_a_cut_stream_is_an_error_wherever_it_is_cut(name: str, data: st.DataObject) -> None:
    packed = PACK[name](ARCHIVE)
    kept = packed[: data.draw(st.integers(0, len(packed) - 1))]
    with pytest.raises(tarfile.ReadError):
        read(archive_members(io.BytesIO(kept), most_bytes=MOST))


@given(st.sampled_from(sorted(PACK)), st.binary(min_size=1, max_size=50))
def test_what_follows_a_stream_is_an_error_unless_it_is_zeros(name: str, behind: bytes) -> None:
    packed = PACK[name](ARCHIVE) + behind
    if behind.strip(b"\0"):
        with pytest.raises(tarfile.ReadError):
            read(archive_members(io.BytesIO(packed), most_bytes=MOST))
    else:
        assert read(archive_members(io.BytesIO(packed), most_bytes=MOST)) == CONTENT


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize("at", [1, 512, 700, len(ARCHIVE) - 1])
def test_an_archive_packed_in_pieces_is_read_whole(name: str, at: int) -> None:
    packed = PACK[name](ARCHIVE[:at]) + PACK[name](ARCHIVE[at:])
    assert read(archive_members(io.BytesIO(packed), most_bytes=MOST)) == CONTENT


@pytest.mark.parametrize("command", [["gzip", "-c"], ["bzip2", "-c"], ["xz", "-c"], ["xz", "-c", "--format=lzma"]])
def test_what_the_usual_programs_pack_is_read(command: list[str]) -> None:
    packed = subprocess.run(command, input=ARCHIVE, capture_output=True, check=True).stdout
    assert isinstance(packing_of(packed), Packing)
    assert read(archive_members(io.BytesIO(packed), most_bytes=MOST)) == CONTENT


def test_an_error_stays() -> None:
    packed = bytearray(gzip.compress(ARCHIVE))
    packed[-5] ^= 1
    stream = unpacked_stream(io.BytesIO(packed))
    for _ in range(3):
        with pytest.raises(tarfile.ReadError, match="the compressed data is damaged"):
            list(iter(lambda: stream.read(100), b""))


def test_little_memory_holds_what_unpacks_to_much() -> None:
    packed = gzip.compress(bytes(64 << 20))
    stream = unpacked_stream(io.BytesIO(packed))
    sizes = [len(piece) for piece in iter(lambda: stream.read(1 << 30), b"")]
    assert (max(sizes), sum(sizes)) == (BLOCK_BYTES, 64 << 20)


def test_a_header_that_asks_for_too_much_memory_is_an_error() -> None:
    greedy = lzma.compress(ARCHIVE, lzma.FORMAT_ALONE)
    with pytest.raises(tarfile.ReadError):
        read(archive_members(io.BytesIO(greedy[:1] + b"\0\0\0\xff" + greedy[5:]), most_bytes=MOST))


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize("damage", ["flipped", "cut", "followed"])
def test_nothing_of_a_damaged_archive_within_another_is_taken(name: str, damage: str) -> None:
    packed = bytearray(PACK[name](ARCHIVE))
    if damage == "flipped":
        packed[len(packed) // 2] ^= 16
    elif damage == "cut":
        del packed[-1]
    else:
        packed += b"more"
    outer = tar_of({f"in.tar.{name}": bytes(packed), "last.jpg": b"4"})
    found = [(member.path, member.content()) for member in archive_members(io.BytesIO(outer), most_bytes=MOST)]
    assert [path for path, _ in found] == [f"in.tar.{name}", "last.jpg"]
    assert isinstance(broken := found[0][1], Inspection)
    assert broken.status is Status.BROKEN
    assert broken.detail.startswith("a damaged archive (")


def test_a_large_archive_within_another_waits_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlimages_dataset.images.archives._SPOOLED_BYTES", 100)
    outer = tar_of({"in.tar.gz": gzip.compress(ARCHIVE)})
    found = read(archive_members(io.BytesIO(gzip.compress(outer)), most_bytes=MOST))
    assert found == {f"in/{name}": content for name, content in CONTENT.items()}


def ingest(out: Path, *sources: Path) -> None:
    run(ingest_stage(sources, IngestOptions(part_images=2), out), OutputFolder(out))


def test_no_part_of_a_damaged_archive_counts_as_finished(tmp_path: Path) -> None:
    """The archive is obtained again: its size and its ends are the same, by which ingest knows a source."""
    pictures = {f"{k}.tif": noise(k) for k in range(60)}
    first, second = tmp_path / "a.tar", tmp_path / "b.tar.gz"
    first.write_bytes(tar_of({name: pictures[name] for name in list(pictures)[:6]}))
    packed = gzip.compress(tar_of({name: pictures[name] for name in list(pictures)[6:]}), 0)
    assert len(packed) > 2 << 20, "more than the two ends that are looked at"
    at = (1 << 20) + (1 << 18)
    damaged = bytearray(packed)
    damaged[at] ^= 1
    second.write_bytes(damaged)
    with pytest.raises(DataError, match=r"b\.tar\.gz: is not a complete tar archive \(the compressed data is damaged"):
        ingest(tmp_path / "out", first, second)
    kept = [path.name for path in (tmp_path / "out").glob(".partial-done-*")]
    assert sorted(kept) == [".partial-done-00000", ".partial-done-00001", ".partial-done-00002"]
    second.write_bytes(packed)
    ingest(tmp_path / "out", first, second)
    index = ImageIndex.open(tmp_path / "out")
    assert {index.image_id(k): index.read(k) for k in range(len(index))} == {
        name.removesuffix(".tif"): content for name, content in pictures.items()
    }


def noise(k: int) -> bytes:
    """Return a picture of which a changed byte changes a pixel and no more."""
    sink = io.BytesIO()
    pixels = np.random.default_rng(k).integers(0, 256, (160, 160, 3), np.uint8)
    Image.fromarray(pixels).save(sink, "TIFF")
    return sink.getvalue()

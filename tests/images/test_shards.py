"""Shards are ordinary tar files that others read, and any byte range of them is read at once."""

from __future__ import annotations

import concurrent.futures
import hashlib
import io
import multiprocessing
import os
import pickle
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.images.shards import ShardReader, member_name, shard_writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlimages_dataset.core.locations import Location

MEMBERS = {"a.jpg": b"first", "b%2Fc.png": b"", "d.jpg": bytes(range(256)) * 5, "e.jpg": b"x" * 512}


def written(path: Location, members: dict[str, bytes]) -> dict[str, int]:
    with shard_writer(path) as writer:
        offsets = {name: writer.add(name, content) for name, content in members.items()}
    assert writer.receipt is not None
    assert writer.receipt.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert writer.receipt.bytes == path.stat().st_size
    return offsets


def test_the_bytes_are_those_of_pythons_tarfile(tmp_path: Path) -> None:
    written(tmp_path / "shard.tar", MEMBERS)
    expected = io.BytesIO()
    with tarfile.open(fileobj=expected, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in MEMBERS.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    assert (tmp_path / "shard.tar").read_bytes() == expected.getvalue()


def test_offsets_are_where_tarfile_finds_the_data(tmp_path: Path) -> None:
    offsets = written(tmp_path / "shard.tar", MEMBERS)
    with tarfile.open(tmp_path / "shard.tar") as tar:
        assert {member.name: member.offset_data for member in tar} == offsets
        assert all((m.mtime, m.uid, m.gid, m.mode, m.isreg()) == (0, 0, 0, 0o644, True) for m in tar)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_webdataset_reads_them(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    names = {member_name(image_id, ".jpg"): image_id for image_id in ("n01440764_10026", "cat/1.5", "ünder")}
    written(tmp_path / "shard-00000.tar", {name: image_id.encode() for name, image_id in names.items()})
    samples = list(webdataset.WebDataset(str(tmp_path / "shard-00000.tar"), shardshuffle=False))
    assert {f"{sample['__key__']}.jpg": sample["jpg"].decode() for sample in samples} == names


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), unique=True, max_size=20))
def test_member_names_are_keys_and_never_collide(image_ids: list[str]) -> None:
    names = [member_name(image_id, ".jpeg") for image_id in image_ids]
    assert len(set(names)) == len(names)
    for name in names:
        assert name.isascii()
        assert len(name) <= 100
        assert name.count(".") == 1
        assert "/" not in name


@given(st.lists(st.binary(max_size=2000), max_size=10))
def test_what_was_added_is_read(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("shards")
    offsets = written(folder / "s.tar", {f"{k}.jpg": content for k, content in enumerate(contents)})
    reader = ShardReader(folder)
    assert [reader.read("s.tar", at, len(c)) for at, c in zip(offsets.values(), contents, strict=True)] == contents


def test_a_failed_block_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), shard_writer(tmp_path / "s.tar") as writer:
        writer.add("a.jpg", b"1" * (1 // 0))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x" * 101, "ü.jpg"])
def test_names_that_ustar_cannot_hold_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"too long|encode"), shard_writer(tmp_path / "s.tar") as writer:
        writer.add(name, b"1")


@pytest.fixture(params=["local", "remote"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    """Return a folder of this machine, and one of a store."""
    if request.param == "local":
        yield tmp_path
        return
    place = UPath("memory://shards-of-test")
    yield place
    place.fs.rm(place.path, recursive=True)


def test_readers_read_and_pickle(folder: Location) -> None:
    offsets = written(folder / "s.tar", MEMBERS)
    reader = ShardReader(folder)
    for _ in range(2):
        assert reader.read("s.tar", offsets["d.jpg"] + 2, 3) == b"\2\3\4"
        assert reader.read("s.tar", offsets["b%2Fc.png"], 0) == b""
        reader = pickle.loads(pickle.dumps(reader))  # noqa: S301 - our own bytes


@pytest.mark.parametrize("shard", ["../s.tar", "/etc/passwd", "a/../../s.tar", "", ".", "a//b", "C:\\s.tar", "a\0"])
def test_names_that_lead_elsewhere_are_refused(folder: Location, shard: str) -> None:
    written(folder / "s.tar", MEMBERS)
    with pytest.raises(DataError, match="is not a shard inside it"):
        ShardReader(folder).read(shard, 0, 1)


def test_what_is_not_there_is_told(folder: Location) -> None:
    written(folder / "s.tar", {"a.jpg": b"1"})
    reader = ShardReader(folder)
    with pytest.raises(UsageError, match="cannot be read"):
        reader.read("t.tar", 0, 1)
    with pytest.raises(DataError, match="ends before"):
        reader.read("s.tar", 10_000, 1_000)
    for offset, length in ((-1, 3), (0, -1)):
        with pytest.raises(DataError, match="saved rows only"):
            reader.read("s.tar", offset, length)


def test_few_shards_stay_open(tmp_path: Path) -> None:
    for number in range(20):
        written(tmp_path / f"{number}.tar", {"a.jpg": b"%2d" % number})
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH208, PTH112
    reader = ShardReader(tmp_path, open_shards=3)
    for number in [*range(20), *range(20)]:
        assert reader.read(f"{number}.tar", 512, 2) == b"%2d" % number
    if before:
        assert len(os.listdir("/proc/self/fd")) == before + 3  # noqa: PTH208
        del reader
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_threads_share_a_reader(tmp_path: Path) -> None:
    for number in range(8):
        written(tmp_path / f"{number}.tar", {"a.jpg": b"%d" % number * 1000})
    reader = ShardReader(tmp_path, open_shards=2)
    numbers = [n % 8 for n in range(2000)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda n: reader.read(f"{n}.tar", 512, 1000), numbers))
    assert read == [b"%d" % n * 1000 for n in numbers]


def reads_in(reader: ShardReader, queue: multiprocessing.Queue[bytes]) -> None:
    for _ in range(200):
        content = reader.read("0.tar", 512, 1)
    queue.put(content)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking beside threads is what is tried
def test_processes_share_a_reader(tmp_path: Path, method: str) -> None:
    written(tmp_path / "0.tar", {"a.jpg": b"1"})
    reader = ShardReader(tmp_path, open_shards=1)
    assert reader.read("0.tar", 512, 1) == b"1"
    context: Any = multiprocessing.get_context(method)  # the stubs' base class knows no Process
    queue: multiprocessing.Queue[bytes] = context.Queue()
    workers = [context.Process(target=reads_in, args=(reader, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=60) for _ in workers] == [b"1", b"1"]
    for worker in workers:
        worker.join()
    assert reader.read("0.tar", 512, 1) == b"1"


def test_a_shard_of_many_members_is_quick_to_read_anywhere(tmp_path: Path) -> None:
    written(tmp_path / "s.tar", {f"{k}.jpg": b"%05d" % k for k in range(2000)})
    reader = ShardReader(tmp_path)
    assert [reader.read("s.tar", 512 + 1024 * k, 5) for k in (1999, 0, 1000)] == [b"01999", b"00000", b"01000"]

"""Every kind of store keeps the contract, and a folder is opened as the kind that it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from upath import UPath

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.images.file_store import FileStore
from mlimages_dataset.images.index import ImageIndex
from mlimages_dataset.images.registry import open_store
from tests.images.folders import image_folder
from tests.images.store_contract import check_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlimages_dataset.core.locations import Location

SHARDS: list[dict[str, bytes | None]] = [{"a": b"1", "b": None, "c": b"333"}, {"d": None}, {"e/ü": b"55555", "f": b""}]
FILES = {"cats/1.jpg": b"1", "dogs/é/2.PNG": b"22", "n01440764_10026.JPEG": b"333", "notes.txt": b"no picture"}
OF_FILES = {"cats/1": b"1", "dogs/é/2": b"22", "n01440764_10026": b"333"}


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Location]:
    """Return a folder that is not there yet, on this machine and in a remote store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "local":
        yield tmp_path / "images"
        return
    folder = UPath("memory://store-of-test")
    yield folder
    folder.fs.rm(folder.path, recursive=True)


def write_files(folder: Location) -> None:
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def test_a_folder_of_shards_is_a_store(place: Location, tmp_path: Path) -> None:
    image_folder(place, SHARDS)
    saved = {image_id: content for part in SHARDS for image_id, content in part.items() if content is not None}
    check_store(place, saved, tmp_path)
    assert isinstance(open_store(place), ImageIndex)


def test_a_folder_of_files_is_a_store(place: Location, tmp_path: Path) -> None:
    write_files(place)
    check_store(place, OF_FILES, tmp_path)
    assert isinstance(open_store(place), FileStore)


def test_other_pictures_have_another_digest(tmp_path: Path) -> None:
    write_files(tmp_path / "files")
    image_folder(tmp_path / "shards", SHARDS)
    before = [open_store(tmp_path / name).digest for name in ("files", "shards")]
    (tmp_path / "files" / "more.jpg").write_bytes(b"4444")
    image_folder(tmp_path / "shards", SHARDS[:1], overwrite=True)
    after = [open_store(tmp_path / name).digest for name in ("files", "shards")]
    assert len({*before, *after}) == 4


def test_a_file_is_found_by_its_location_before_its_id(tmp_path: Path) -> None:
    write_files(tmp_path)
    ids = pa.array(["cats/1", "mine", "cats/1", "other"])
    locations = pa.array(["notes.txt", f"{tmp_path.absolute()}/cats/1.jpg", "https://example.org/1.jpg", "../a.jpg"])
    finder = FileStore(tmp_path).finder()
    assert finder.find(ids, locations).tolist() == [0, 1, 2, -1]
    finder.save(tmp_path / "found.arrow")
    found = FileStore(tmp_path).found_at(tmp_path / "found.arrow")
    assert [(found.image_id(k), found.read(k)) for k in range(len(found))] == [
        ("cats/1", b"no picture"),
        ("mine", b"1"),
        ("cats/1", b"1"),
    ]


def test_two_files_of_one_id_are_refused_where_the_id_is_asked_for(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.jpg"):
        (tmp_path / name).write_bytes(b"1")
    finder = FileStore(tmp_path).finder()
    assert finder.find(pa.array(["b", "a"]), pa.array(["", "a.png"])).tolist() == [0, 1]
    with pytest.raises(UsageError, match=r"a\.jpg and a\.png would be one image, a"):
        finder.find(pa.array(["a"]), pa.array([""]))


@pytest.mark.parametrize("kind", ["shards", "files"])
def test_a_picture_that_is_gone_is_told(tmp_path: Path, kind: str) -> None:
    if kind == "files":
        write_files(tmp_path)
        store = open_store(tmp_path)
        assert len(store) == 3
        (tmp_path / "dogs" / "é" / "2.PNG").unlink()
    else:
        store = open_store(image_folder(tmp_path, SHARDS[:1]))
        shard, offset, length = store.place(1)
        os.truncate(shard, offset + length - 1)  # type: ignore[arg-type]  # of this machine
    with pytest.raises(DataError):
        store.read(1)
    assert list(store.read_many(np.array([0, 1]))) == [b"1", None]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder; name a folder of images or of shards"):
        open_store(tmp_path / "nowhere")

"""An index says of every saved picture where its bytes are, opens at once, and never lies about a folder."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upath import UPath

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.images import index as module
from mlimages_dataset.images import indexed
from mlimages_dataset.images.index import ImageIndex
from mlimages_dataset.pipeline.records import Manifest, read_manifest
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.tables.parts import MANIFEST_NAME
from tests.images.folders import image_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlimages_dataset.core.locations import Location

PARTS: list[dict[str, bytes | None]] = [{"a": b"1", "b": None, "c": b"333"}, {"d": None}, {"e/ü": b"55555", "f": b""}]
SAVED = {"a": b"1", "c": b"333", "e/ü": b"55555", "f": b""}


@pytest.fixture(params=["local", "remote"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Location]:
    """Return a folder of images on this machine, and one in a store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "local":
        yield image_folder(tmp_path / "images", PARTS)
        return
    place = UPath("memory://index-of-test")
    yield image_folder(place, PARTS)
    place.fs.rm(place.path, recursive=True)


def test_every_saved_picture_is_read_by_number_and_by_id(folder: Location) -> None:
    for index in (ImageIndex.open(folder), pickle.loads(pickle.dumps(ImageIndex.open(folder)))):  # noqa: S301 - ours
        assert len(index) == len(SAVED)
        assert [(index.image_id(k), index.read(k)) for k in range(len(index))] == list(SAVED.items())
        assert [index.row_of(image_id) for image_id in SAVED] == list(range(len(index)))
        assert index.rows_of(pa.array(["f", "b", "x", "a"])).tolist() == [3, -1, -1, 0]
        with pytest.raises(KeyError):
            index.row_of("b")


def test_the_columns_are_views_of_mapped_memory(folder: Location) -> None:
    index = ImageIndex.open(folder)
    for column in (index.shard_of, index.offsets, index.lengths):
        assert not column.flags.owndata
        assert not column.flags.writeable
    assert [index.shards[number] for number in index.shard_of] == ["shard-00000.tar"] * 2 + ["shard-00002.tar"] * 2
    assert index.lengths.tolist() == [1, 3, 5, 0]


def test_it_is_made_once_and_a_changed_folder_gets_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = image_folder(tmp_path / "images", PARTS)
    ImageIndex.open(folder)
    (kept,) = folder.glob(".cache-*")
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_index", None)
        assert len(ImageIndex.open(folder)) == len(SAVED)
    image_folder(folder, [{"z": b"26"}], overwrite=True)
    assert [ImageIndex.open(folder).image_id(0)] == ["z"]
    assert not kept.exists()
    assert len(list(folder.glob(".cache-*"))) == 1


def test_opening_it_reads_the_manifest_once(folder: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Location] = []

    def counted(path: Location) -> Manifest:
        read.append(path)
        return read_manifest(path)

    monkeypatch.setattr(module, "read_manifest", counted)
    ImageIndex.open(folder)
    assert read == [folder]


def test_verify_takes_it_for_no_stranger_and_a_rerun_for_no_build(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "images", PARTS)
    ImageIndex.open(folder)
    assert verify_folder(folder) == []


def test_a_folder_that_cannot_be_written_is_indexed_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = image_folder(tmp_path / "images", PARTS)
    write = module.write_index

    def refusing(path: Path, parts: list[Path]) -> None:
        if path.parent == folder:
            raise UsageError("cannot be written", where=path)
        write(path, parts)

    monkeypatch.setattr(module, "write_index", refusing)
    assert ImageIndex.open(folder).read(1) == b"333"
    assert not list(folder.glob(".cache-*"))
    assert len(list((tmp_path / "cache" / "mlimages-dataset").iterdir())) == 1


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no manifest"):
        ImageIndex.open(tmp_path)
    write_bytes(tmp_path / "new" / MANIFEST_NAME, Manifest().to_json())
    with pytest.raises(UsageError, match="holds no finished images"):
        ImageIndex.open(tmp_path / "new")


def test_a_folder_of_failures_has_an_empty_index(tmp_path: Path) -> None:
    index = ImageIndex.open(image_folder(tmp_path / "images", [{"a": None}]))
    assert len(index) == 0
    assert index.rows_of(pa.array(["a"])).tolist() == [-1]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(max_size=3), unique=True, max_size=12),
    st.lists(st.text(max_size=3), max_size=12),
    st.integers(1, 5),
)
def test_ids_are_found_whatever_their_draws(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    saved: list[str],
    asked: list[str],
    different: int,
) -> None:
    def colliding(image_ids: pa.StringArray, salt: str) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        assert salt == ""
        return np.array([len(image_id) % different for image_id in image_ids.to_pylist()], np.uint64)

    monkeypatch.setattr(indexed, "draws_of", colliding)
    folder = image_folder(tmp_path_factory.mktemp("images") / "out", [dict.fromkeys(saved, b"1"), {"!absent!": None}])
    found = ImageIndex.open(folder).rows_of(pa.array(asked, pa.string())).tolist()
    assert found == [saved.index(image_id) if image_id in saved else -1 for image_id in asked]


@settings(deadline=None)
@given(
    numbers=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), min_size=1, max_size=60),
    wanted=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), min_size=1, max_size=60),
)
def test_many_numbers_are_found_where_numpy_finds_them(numbers: list[int], wanted: list[int]) -> None:
    ascending = np.sort(np.array(numbers, np.uint64))
    asked = np.sort(np.resize(np.array([*wanted, *numbers], np.uint64), 1 << 12))
    assert (indexed.first_at_least(asked, ascending) == np.searchsorted(ascending, asked)).all()


@settings(deadline=None)
@given(
    n=st.sampled_from([0, 1, 2, 511, 512, 5_000, 70_000]),
    values=st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, 2**63, 2**64 - 1]), min_size=1, max_size=400),
    seed=st.integers(0, 9),
)
def test_draws_are_ordered_as_a_stable_sort_orders_them(n: int, values: list[int], seed: int) -> None:
    draws = np.random.default_rng(seed).choice(np.array(values, np.uint64), n)
    ascending, rows = indexed.in_order(draws)
    expected = np.argsort(draws, kind="stable")
    assert (rows == expected).all()
    assert (ascending == draws[expected]).all()

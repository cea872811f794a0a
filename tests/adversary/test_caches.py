"""A cache that was replaced by anything is made again; nothing outside the folder is read or removed."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.images.index import ImageIndex
from mlimages_dataset.images.indexed import _COLUMNS, _SHARDS_KEY
from mlimages_dataset.serve.build import open_build
from mlimages_dataset.serve.index import open_index
from mlimages_dataset.tables.parquet import mapped_writer
from tests.adversary.hostile import VALUES
from tests.images.folders import image_folder, picture
from tests.serve.builds import Image, vocabulary_of, write_build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PICTURES = {f"a/{number}": picture(number) for number in range(5)}


def _index_of(path: Path, *, shards: Any = ("shard-00000.tar",), **columns: Any) -> None:
    """Write an index whose columns and names of shards are those that somebody wants."""
    plain = {
        "image_id": list(PICTURES),
        "shard": [0] * len(PICTURES),
        "offset": [512] * len(PICTURES),
        "bytes": [9] * len(PICTURES),
        "sorted_draw": [0] * len(PICTURES),
        "row_of_draw": list(range(len(PICTURES))),
    }
    schema = pa.schema(_COLUMNS, {_SHARDS_KEY: json.dumps(shards).encode()})
    with mapped_writer(path, schema) as writer:
        writer.write_batch(pa.record_batch({**plain, **columns}, schema=schema))


def _other_schema(path: Path) -> None:
    with mapped_writer(path, pa.schema([("image_id", pa.string())])) as writer:
        writer.write_batch(pa.record_batch({"image_id": ["a"]}))


REPLACED: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "a cut file": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "other columns": _other_schema,
    "numbers of no shard": lambda path: _index_of(path, shard=[0, 1, 2, 3, 4]),
    "negative numbers": lambda path: _index_of(path, shard=[-1] * 5),
    "numbers of no row": lambda path: _index_of(path, row_of_draw=[0, 1, 2, 3, 99]),
    "no names": lambda path: _index_of(path, shards=None),
    "names of other kinds": lambda path: _index_of(path, shards=[1]),
}


@pytest.mark.parametrize("how", sorted(REPLACED))
def test_an_index_that_was_replaced_is_made_again(tmp_path: Path, how: str) -> None:
    folder = image_folder(tmp_path / "images", [PICTURES])
    path = ImageIndex.open(folder)._path
    REPLACED[how](path)
    again = ImageIndex.open(folder)
    assert {again.image_id(k): again.read(k) for k in range(len(again))} == PICTURES
    assert again._path == path


def test_a_link_in_place_of_an_index_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "images", [PICTURES])
    path = ImageIndex.open(folder)._path
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    path.unlink()
    path.symlink_to(outside)
    again = ImageIndex.open(folder)
    assert again.read(again.row_of("a/3")) == PICTURES["a/3"]
    assert outside.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "../images/../outside", "\0", "x/../../outside"])
def test_an_index_leads_to_no_file_outside(tmp_path: Path, name: str) -> None:
    folder = image_folder(tmp_path / "images", [PICTURES])
    (tmp_path / "outside").write_bytes(b"precious" * 999)
    path = ImageIndex.open(folder)._path
    _index_of(path, shards=[name.replace("/etc", str(tmp_path))])
    index = ImageIndex.open(folder)
    with pytest.raises(DataError):
        index.read(0)
    assert list(index.read_many(np.arange(2))) == [None, None]


@given(data=st.data())
def test_an_index_of_any_numbers_ends_in_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = image_folder(tmp_path_factory.mktemp("any") / "images", [PICTURES])
    path = ImageIndex.open(folder)._path
    numbers = st.lists(st.sampled_from([0, -1, 1 << 40, 511, (1 << 63) - 1, -(1 << 63)]), min_size=5, max_size=5)
    _index_of(
        path,
        shards=data.draw(st.sampled_from([value for value in VALUES if not isinstance(value, float)])),
        offset=data.draw(numbers),
        bytes=data.draw(numbers),
    )
    index = ImageIndex.open(folder)
    for k in range(len(index)):
        with contextlib.suppress(DataError, UsageError):  # a shard of that name is not there
            index.read(k)
    with contextlib.suppress(UsageError):
        list(index.read_many(np.arange(len(index))))


@pytest.mark.parametrize("content", [b"", b"noise" * 999, None])
def test_an_index_of_serve_that_was_replaced_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    splits = {split: [[[Image(split, "a", {1: (1.0, 0)})]]] for split in ("train", "val")}
    build = open_build(write_build(tmp_path / "build", vocabulary_of([[], [0]]), splits))
    with contextlib.closing(open_index(build).connection) as connection:
        wanted = connection.execute("SELECT count(*) FROM labels").fetchall()
    (path,) = (tmp_path / "build").glob(".cache-serve-*.duckdb")
    if content is None:
        path.unlink()
        duckdb.connect(str(path)).close()
    else:
        path.write_bytes(content)
    with contextlib.closing(open_index(build).connection) as connection:
        assert connection.execute("SELECT count(*) FROM labels").fetchall() == wanted

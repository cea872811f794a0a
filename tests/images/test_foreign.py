"""Shards of others are stores, read where they lie: the same ids in stores, ingest, annotate; damage is told."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upath import UPath

from mlimages_dataset.core.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.images import parquet_store
from mlimages_dataset.images.check import Limits
from mlimages_dataset.images.file_store import FileStore
from mlimages_dataset.images.files import has_pictures, named_files
from mlimages_dataset.images.ingest import Form, members_of
from mlimages_dataset.images.parquet_store import ParquetStore
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.images.tar_store import TarStore
from mlimages_dataset.images.verification import verify_images
from mlimages_dataset.sources.contract import read_statements
from tests.images.folders import picture
from tests.images.foreign_folders import (
    STRUCT,
    class_label,
    features,
    image_table,
    img2dataset_folder,
    tar_folder,
    write_parquet,
)
from tests.images.store_contract import check_store
from tests.images.test_archives import special, tar_of
from tests.images.test_ingest import ingested, labels, pictures_of, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlimages_dataset.core.locations import Location

PICTURES = [picture(k, 40 + k, 30) for k in range(7)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    """Return a folder that is not there yet, on this machine and in a remote store."""
    if request.param == "local":
        yield tmp_path / "shards"
        return
    folder = UPath("memory://foreign-of-test")
    yield folder
    folder.fs.rm(folder.path, recursive=True)


def test_img2datasets_folder_is_a_store(place: Location, tmp_path: Path) -> None:
    img2dataset_folder(place, PICTURES)
    expected = {f"{k // 2:05d}{k % 2:04d}": content for k, content in enumerate(PICTURES)}
    check_store(place, expected, tmp_path)
    assert isinstance(open_store(place), TarStore)


def test_a_shards_folder_and_path_are_part_of_the_id(tmp_path: Path) -> None:
    shards = {"test/0.tar": {"s0.webp": b"1", "s0.cls": b"3"}, "train/0.tar": {"n01440764/n01440764_7.JPEG": b"22"}}
    shards["train/1.tar"] = {"./a.b.PNG": b"333", "a.json": b"{}", "c/d.jpg": b""}
    expected = {"test/s0": b"1", "n01440764_7": b"22", "train/a.b": b"333", "train/c/d": b""}
    check_store(tar_folder(tmp_path / "in", shards), expected, tmp_path)


def test_a_folder_of_parquet_files_is_a_store(place: Location, tmp_path: Path) -> None:
    named = [{"bytes": b"1", "path": "cats/1.jpg"}, {"bytes": b"22", "path": None}, {"bytes": b"", "path": "b"}]
    write_parquet(place / "data" / "train-00000-of-00002.parquet", image_table(named), row_group_size=2)
    write_parquet(place / "data" / "train-00001-of-00002.parquet", image_table([{"bytes": b"4444", "path": ""}]))
    write_parquet(place / "README.parquet", pa.table({"a": [1]}))
    expected = {"cats/1": b"1", "data/train-00000-of-00002.parquet/1": b"22", "b": b""}
    check_store(place, {**expected, "data/train-00001-of-00002.parquet/0": b"4444"}, tmp_path)
    assert isinstance(open_store(place), ParquetStore)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
@pytest.mark.parametrize(
    ("columns", "ids"),
    [
        ({}, ["a.parquet/0", "a.parquet/1"]),
        ({"file_name": ["x.jpg", None]}, ["x", "a.parquet/1"]),
        ({"image_id": [9, None], "file_name": [None, "y/z.png"]}, ["9", "y/z"]),
        ({"__key__": ["k.1", ""]}, ["k.1", "a.parquet/1"]),
        ({"id": [1.5, 2.5]}, ["a.parquet/0", "a.parquet/1"]),
    ],
)
def test_rows_of_plain_bytes_are_named_by_columns(
    tmp_path: Path, kind: pa.DataType, columns: dict[str, Any], ids: list[str]
) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", image_table([b"1", b"22"], kind, **columns))
    check_store(tmp_path / "in", dict(zip(ids, [b"1", b"22"], strict=True)), tmp_path)


@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_row_groups_are_read_alike_whether_they_are_kept_or_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    contents = [bytes([k]) * k for k in range(200)]
    images = [{"bytes": content, "path": f"{k}.jpg"} for k, content in enumerate(contents)]
    for number in range(2):
        part = image_table(images[number::2])
        write_parquet(tmp_path / "in" / f"{number}.parquet", part, row_group_size=30, data_page_size=64)
    monkeypatch.setattr(parquet_store, "KEPT_GROUP_BYTES", kept)
    monkeypatch.setattr(parquet_store, "KEPT_BYTES", 4000)
    expected = {str(k): content for k, content in enumerate(contents)}
    check_store(tmp_path / "in", expected, tmp_path)


def test_a_column_named_image_is_taken_before_others(tmp_path: Path) -> None:
    table = pa.table({"png": pa.array([b"0"]), "image": pa.array([b"1"]), "embedding": pa.array([b"2"])})
    write_parquet(tmp_path / "a" / "x.parquet", table)
    assert open_store(tmp_path / "a").read(0) == b"1"
    write_parquet(tmp_path / "embeddings" / "x.parquet", pa.table({"embedding": pa.array([b"2"])}))
    assert isinstance(open_store(tmp_path / "embeddings"), FileStore)
    (tmp_path / "a" / "cover.jpg").write_bytes(b"5")
    assert isinstance(open_store(tmp_path / "a"), FileStore), "as it was before there was a table beside it"
    struct = pa.array([{"bytes": b"3", "path": "p.jpg"}], STRUCT)
    write_parquet(tmp_path / "b" / "x.parquet", pa.table({"md5": pa.array([b"0"]), "photo": struct}))
    assert open_store(tmp_path / "b").read(0) == b"3"
    write_parquet(
        tmp_path / "c" / "x.parquet", pa.table({"a": struct, "b": struct}), metadata=features(b={"_type": "Image"})
    )
    assert open_store(tmp_path / "c").image_id(0) == "p"


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"n01440764.tar": tar_of({"1.JPEG": b"1"})}, FileStore),  # a class, as ImageNet has them
        ({"cats.tar": tar_of({"1.jpg": b"1"})}, FileStore),
        ({"cats.tar": tar_of({"1.jpg": b"1", "1.json": b"{}"})}, TarStore),
        ({"00000.tar": tar_of({"1.jpg": b"1"})}, TarStore),
        ({"train-000.tar": tar_of({"1.jpg": b"1"})}, TarStore),
        ({"00000.tar": tar_of({"1.jpg": b"1"}), "cover.jpg": b"1"}, FileStore),
        ({"00000.tar": tar_of({"1.mp4": b"1"})}, FileStore),
        ({"00000.tar": tar_of({"1.jpg": b"1"}), "00001.tar.gz": b"1"}, FileStore),
        ({"00000.tar": tar_of({"1.jpg": b"1"}), "more.zip": b"1"}, FileStore),
        ({"notes.txt": b"1"}, FileStore),
    ],
)
def test_a_folder_is_the_kind_that_its_content_says(tmp_path: Path, files: dict[str, bytes], kind: type) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert type(open_store(tmp_path)) is kind


def test_an_index_is_made_once_and_again_when_a_shard_changes(tmp_path: Path) -> None:
    folder = tar_folder(tmp_path / "in", {"0.tar": {"a.jpg": b"1", "a.cls": b"0"}})
    digest = open_store(folder).digest
    (index,) = (tmp_path / "cache" / "mlimages-dataset").iterdir()
    assert open_store(folder).read(0) == b"1"
    assert list((tmp_path / "cache" / "mlimages-dataset").iterdir()) == [index]
    assert [path.name for path in folder.iterdir()] == ["0.tar"], "nothing is written beside others' shards"
    tar_folder(folder, {"0.tar": {"b.jpg": b"2", "b.cls": b"0"}})  # of the same size
    os.utime(tmp_path / "in" / "0.tar", ns=(0, 0))
    assert open_store(folder).image_id(0) == "b"
    tar_folder(folder, {"1.tar": {"c.jpg": b"2"}})
    assert len(open_store(folder)) == 2
    assert open_store(folder).digest != digest


# Two pictures of one id


def test_pictures_of_one_id_are_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    tars = tar_folder(tmp_path / "tars", {f"0{n}.tar": {"a.jpg": b"1", f"b{n}.jpg": b"2"} for n in range(2)})
    images = [{"bytes": b"1", "path": name} for name in ("a.jpg", "b0.jpg", "a.png")]
    write_parquet(tmp_path / "tables" / "0.parquet", image_table(images))
    for folder, places in ((tars, "00.tar .* and 01.tar"), (tmp_path / "tables", "0.parquet and 0.parquet")):
        store = open_store(folder)
        assert store.repeated_ids() == ["a"]
        nothing = pa.array([""])
        assert store.finder().find(pa.array(["b0"]), nothing).tolist() >= [0]
        with pytest.raises(UsageError, match=rf"{places}.* would be one image, a"):
            store.finder().find(pa.array(["a"]), nothing)
        ingested(tmp_path / f"out-{folder.name}", folder)
        statuses = [row["status"] for row in rows(tmp_path / f"out-{folder.name}")]
        assert sorted(statuses) == ["not_an_image"] * len(statuses)


def test_ingest_saves_the_first_picture_of_an_id_and_tells_of_the_other(tmp_path: Path) -> None:
    folder = tar_folder(tmp_path / "in", {f"{n}.tar": {"a.jpg": PICTURES[n], "a.cls": b"%d" % n} for n in range(2)})
    ingested(tmp_path / "out", folder)
    assert [(row["status"], row["detail"]) for row in rows(tmp_path / "out")] == [
        ("saved", ""),
        ("repeated_id", "an earlier picture has the id, 0.tar/a.jpg; this one is 1.tar/a.jpg"),
    ]
    assert labels(tmp_path / "out") == [("a", "0", "1"), ("a", "1", "1")]


# Ingest


def test_files_beside_pictures_are_heard_and_have_no_row(tmp_path: Path) -> None:
    members = {
        "1.cls": b"3\n",
        "1.jpg": PICTURES[0],
        "1.txt": "ein Hund, \u00fcber allem".encode(),
        "1.npy": b"\x93NUMPY",
        "2.jpg": PICTURES[1],
        "2.json": json.dumps({"labels": ["dog", 7], "url": "https://host/2.jpg"}).encode(),
        "3.jpg": PICTURES[2],
        "3.json": b'{"label": {"a": 1}}',
        "4.jpg": PICTURES[3],
        "4.cls": b"\xff\xfe",
        "5.json": b"{}",
        "README.md": b"about",
    }
    folder = tar_folder(tmp_path / "in", {"00000.tar": members})
    for number, source in enumerate((folder, folder / "00000.tar")):
        out = tmp_path / f"out{number}"
        outcome = ingested(out, source)
        assert pictures_of(out) == {str(k + 1): PICTURES[k] for k in range(4)}
        assert labels(out) == [("1", "3", "1"), ("2", "dog", "1"), ("2", "7", "1")]
        found = rows(out)
        assert [(row["image_id"], row["status"]) for row in found[4:]] == [
            ("5.json", "not_an_image"),
            ("README.md", "not_an_image"),
        ]
        assert [row["detail"] for row in found[:4]] == [
            "",
            "",
            "its label is no class or list of classes: \"{'a': 1}\"",
            "its class is no text",
        ]
        assert (out / "captions.csv").read_text() == 'image_id,caption\n1,"ein Hund, \u00fcber allem"\n'
        assert (outcome.record.summary["captions"], outcome.record.summary["unread_labels"]) == (1, 2)


def test_files_beside_pictures_in_folders_are_heard_too(tmp_path: Path) -> None:
    (tmp_path / "in" / "dogs").mkdir(parents=True)
    contents = {"1.jpg": PICTURES[0], "1.json": b'{"class": "wolf"}', "2.jpg": PICTURES[1], "2.txt": b"a dog"}
    for name, content in contents.items():
        (tmp_path / "in" / "dogs" / name).write_bytes(content)
    ingested(tmp_path / "out", tmp_path / "in")
    assert labels(tmp_path / "out") == [("dogs/1", "wolf", "1"), ("dogs/2", "dogs", "1")]
    assert len(rows(tmp_path / "out")) == 2


def test_parquet_is_ingested_with_its_labels_and_captions(tmp_path: Path) -> None:
    images = [{"bytes": PICTURES[k], "path": f"{k}.jpg"} for k in range(3)] + [{"bytes": None, "path": "3.jpg"}]
    metadata = features(image={"_type": "Image"}, label=class_label("dog", "cat"))
    table = image_table(images, label=pa.array([1, -1, 5, 0]), caption=["a cat", None, "", "gone"])
    table = table.append_column("captions", pa.array([["one", "two"], None, [], [None]]))
    write_parquet(tmp_path / "in" / "train.parquet", table, metadata=metadata)
    for number, source in enumerate((tmp_path / "in", tmp_path / "in" / "train.parquet")):
        out = tmp_path / f"out{number}"
        ingested(out, source)
        assert pictures_of(out) == {str(k): PICTURES[k] for k in range(3)}
        assert labels(out) == [("0", "cat", "1")]
        assert [(row["status"], row["detail"]) for row in rows(out)] == [
            ("saved", ""),
            ("saved", ""),
            ("saved", "its label is none of the 2 classes: 5"),
            ("missing", "its row has no bytes"),
        ]
        assert (out / "captions.csv").read_text() == "image_id,caption\n0,a cat\n0,one\n0,two\n"


def test_a_store_and_an_ingest_of_it_have_the_same_pictures(tmp_path: Path) -> None:
    img2dataset_folder(tmp_path / "a", PICTURES)
    write_parquet(tmp_path / "b" / "x.parquet", image_table([{"bytes": one, "path": None} for one in PICTURES]))
    for name in "ab":
        ingested(tmp_path / f"out-{name}", tmp_path / name)
        store = open_store(tmp_path / name)
        assert pictures_of(tmp_path / f"out-{name}") == {store.image_id(k): store.read(k) for k in range(len(store))}
        assert verify_images(tmp_path / name) == (7, [])


# Hostile input


def test_a_row_without_a_picture_and_a_broken_one_are_told(tmp_path: Path) -> None:
    images = [{"bytes": PICTURES[0], "path": "0.jpg"}, {"bytes": None, "path": "1.jpg"}, None]
    images.append({"bytes": PICTURES[1][:-300], "path": "3.jpg"})
    write_parquet(tmp_path / "in" / "x.parquet", image_table(images))
    store = open_store(tmp_path / "in")
    assert store.image_ids.to_pylist() == ["0", "1", "x.parquet/2", "3"]
    assert list(store.read_many(np.arange(4))) == [PICTURES[0], None, None, PICTURES[1][:-300]]
    with pytest.raises(DataError, match=r"x\.parquet: has no picture in row 1; take its path or address instead"):
        store.read(1)
    n, problems = verify_images(tmp_path / "in")
    assert n == 4
    assert [problem.split(":")[0] for problem in problems] == ["1", "x.parquet/2", "3"]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95, 0.999])
@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_cut_shard_is_a_sentence(tmp_path: Path, kind: str, share: float) -> None:
    if kind == "tar":
        img2dataset_folder(tmp_path / "in", PICTURES, of_shard=4)
        path = tmp_path / "in" / "00001.tar"
    else:
        for name in ("0.parquet", "1.parquet"):
            images = [{"bytes": one, "path": f"{name}-{k}"} for k, one in enumerate(PICTURES)]
            write_parquet(tmp_path / "in" / name, image_table(images))
        path = tmp_path / "in" / "1.parquet"
    content = path.read_bytes()
    end = len(content.rstrip(b"\0")) if kind == "tar" else len(content)
    path.write_bytes(content[: int(end * share)])
    with pytest.raises(DataError, match=rf"{path.name}: (is not a complete tar archive|cannot be read as a Parquet)"):
        open_store(tmp_path / "in")
    with pytest.raises(DataError, match=path.name):
        ingested(tmp_path / "out", tmp_path / "in")


def test_a_shard_that_is_cut_after_its_index_was_made_is_told(tmp_path: Path) -> None:
    write_parquet(tmp_path / "in" / "x.parquet", image_table([{"bytes": one, "path": None} for one in PICTURES]))
    store = open_store(tmp_path / "in")
    os.truncate(tmp_path / "in" / "x.parquet", 500)
    with pytest.raises(DataError, match="cannot be read as a Parquet file"):
        store.read(0)
    assert list(store.read_many(np.array([0, 3]))) == [None, None]


def test_members_that_lead_elsewhere_are_no_pictures_of_a_store(tmp_path: Path) -> None:
    members: dict[str, Any] = {"a.jpg": b"1", "a.cls": b"2", "../b.jpg": b"3", "/c.jpg": b"4"}
    members["l.jpg"] = special("l.jpg", b"2", "/etc/passwd")
    (tmp_path / "0.tar").write_bytes(tar_of(members))
    assert open_store(tmp_path).image_ids.to_pylist() == ["a"]
    ingested(tmp_path.parent / f"{tmp_path.name}-out", tmp_path)
    found = rows(tmp_path.parent / f"{tmp_path.name}-out")
    assert [row["status"] for row in found] == ["not_an_image", "unsafe_name", "unsafe_name", "unsafe_name"]


CHANGES = st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(max_size=3), st.sampled_from([0, 1, 1, 2, 600])))


@pytest.mark.parametrize("name", ["00000.tar", "0.parquet"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=CHANGES)
@pytest.mark.slow
def test_damage_of_any_kind_is_pictures_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, name: str, changes: list[tuple[int, bytes, int]]
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    if name.endswith(".tar"):
        members = {"a.jpg": b"1" * 700, "a.cls": b"3", "b/c.jpg": b"2", "b/c.json": b'{"label": ["x"]}', "d.txt": b"1"}
        tar_folder(folder, {name: members})
    else:
        images = [{"bytes": b"1" * 50, "path": "a.jpg"}, None, {"bytes": b"3", "path": "c/d.png"}]
        metadata = features(image={"_type": "Image"}, label=class_label("dog", "cat"))
        table = image_table(images, label=[0, 1, -1])
        write_parquet(folder / name, table, metadata=metadata, row_group_size=2, compression="none")
    content = bytearray((folder / name).read_bytes())
    for at, new, removed in changes:
        place = at % (len(content) + 1)
        content[place : place + removed] = new
    (folder / name).write_bytes(content)
    form = "webdataset" if name.endswith(".tar") else "huggingface"
    with contextlib.suppress(MLImagesError):
        store = open_store(folder)
        assert len(list(store.read_many(np.arange(len(store))))) == len(store)
    with contextlib.suppress(MLImagesError):
        for member in members_of(folder, Form.AUTO, Limits()):
            member.content()
    with contextlib.suppress(MLImagesError):
        read_statements(form, [folder])


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (image_table([b"1"], pa.binary(), label=[{"a": 1}]), "its column label is struct<a: int64>, no class"),
        (image_table([b"1"], pa.binary(), labels=[[[1]]]), r"its column labels is list<.*, no class"),
        (image_table([b"1"], pa.binary(), label=[True]), "its column label is bool, no class"),
    ],
)
def test_labels_of_another_type_are_refused(tmp_path: Path, table: pa.Table, told: str) -> None:
    write_parquet(tmp_path / "x.parquet", table)
    with pytest.raises(MLImagesError, match=told):
        ingested(tmp_path / "out", tmp_path / "x.parquet")


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_shards_behind_links_are_read_once_by_the_rules_of_pictures(tmp_path: Path, kind: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for number, name in enumerate(("here/own", "there/deep/linked")):
        if kind == "tar":
            of_part = {f"{number}.jpg": PICTURES[number], f"{number}.cls": b"dog"}
            tar_folder(tmp_path, {f"{name}-00000.tar": of_part})
        else:
            write_parquet(tmp_path / f"{name}-00000.parquet", image_table([{"bytes": PICTURES[number], "path": None}]))
    (here / "sub").symlink_to(there)
    (here / "zagain").symlink_to(there)  # it is read as `sub`
    (here / "loop").symlink_to(here)
    (there / "deep" / "up").symlink_to(there)
    store = open_store(here)
    assert isinstance(store, TarStore if kind == "tar" else ParquetStore)
    ids = store.image_ids.to_pylist()
    assert [store.read(k) for k in range(len(store))] == PICTURES[:2]
    assert [store.place(k).path.resolve() for k in range(2)] == [
        here / f"own-00000.{kind}",
        there / "deep" / f"linked-00000.{kind}",
    ]
    assert ids[1].startswith("sub/deep/")
    (tmp_path / "scratch").mkdir()
    check_store(here, dict(zip(ids, PICTURES, strict=False)), tmp_path / "scratch")
    ingest = [member.path for member in members_of(here, Form.AUTO, Limits())]
    assert len(ingest) == 2
    if kind == "tar":
        found, log = read_statements("webdataset", [here])
        assert log.count == 0
        assert sorted(found["class_id"].to_pylist()) == ["dog", "dog"]


def test_a_folder_that_cannot_be_listed_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar_folder(tmp_path / "in", {"a.tar": {"1.jpg": PICTURES[0], "1.cls": b"dog"}})
    (tmp_path / "in" / "shut").mkdir()
    scan = os.scandir

    def refuse(folder: Any) -> Any:
        if str(folder).endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    told = r"in/shut: cannot be listed \(Permission denied\); check its permissions"
    for work in (open_store, named_files, has_pictures, TarStore.recognises):
        with pytest.raises(UsageError, match=told):
            work(tmp_path / "in")

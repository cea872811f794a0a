"""Shards pass between us and the libraries that others use: webdataset and datasets read ours, and we read theirs."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlimages_dataset.images.registry import open_store
from mlimages_dataset.sources.contract import read_statements
from mlimages_dataset.sources.huggingface import huggingface_classes
from tests.images.folders import picture
from tests.images.test_archives import tar_of
from tests.images.test_ingest import ingested

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # what these libraries warn of is theirs

PICTURES = {
    name: picture(k, 40 + k, 30)
    for k, name in enumerate(("cats/1.jpg", "cats/v1.2.jpg", "n01440764_7.JPEG", "caf\u00e9/a b.jpg", "x%2E.jpg"))
}
IDS = ["cats/1", "cats/v1.2", "n01440764_7", "caf\u00e9/a b", "x%2E"]


@pytest.fixture
def shards(tmp_path: Path) -> list[str]:
    """Return shards of ours."""
    (tmp_path / "in.tar").write_bytes(tar_of(dict(PICTURES)))
    ingested(tmp_path / "out", tmp_path / "in.tar", part_images=2)
    return [str(path) for path in sorted((tmp_path / "out").glob("shard-*.tar"))]


def test_webdataset_reads_ours(shards: list[str]) -> None:
    webdataset = pytest.importorskip("webdataset")
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert [urllib.parse.unquote(sample["__key__"]) for sample in samples] == IDS
    assert [sample["jpg"] for sample in samples] == list(PICTURES.values())


def datasets_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return pytest.importorskip("datasets")


def test_datasets_reads_ours_of_one_suffix(shards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = datasets_of(tmp_path, monkeypatch)
    files = {"train": shards}
    cache = str(tmp_path / "hf-cache")
    found = datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=cache)
    assert [urllib.parse.unquote(key) for key in found["__key__"]] == IDS
    plain = found.cast_column("jpg", datasets.Image(decode=False))
    assert [row["jpg"]["bytes"] for row in plain] == list(PICTURES.values())


def test_datasets_refuses_shards_of_several_suffixes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the documents say: whoever wants such shards in `datasets` re-encodes them."""
    datasets = datasets_of(tmp_path, monkeypatch)
    (tmp_path / "in.tar").write_bytes(tar_of({"a.jpg": picture(0), "b.png": picture(1, form="PNG")}))
    ingested(tmp_path / "out", tmp_path / "in.tar")
    shard = str(tmp_path / "out" / "shard-00000.tar")
    with pytest.raises(ValueError, match="don't share the same prefix or the same types"):
        datasets.load_dataset("webdataset", data_files=shard, split="train", cache_dir=str(tmp_path / "hf-cache"))


def test_we_read_what_datasets_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = datasets_of(tmp_path, monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    features = datasets.Features(
        image=datasets.Image(),
        label=datasets.ClassLabel(names=["dog", "cat"]),
        tags=datasets.List(datasets.Value("string")),
    )
    rows = {
        "image": [{"bytes": content, "path": name.replace("/", "_")} for name, content in PICTURES.items()],
        "label": [0, 1, 1, -1, 0],
        "tags": [[]] * 5,
    }
    data = datasets.Dataset.from_dict(rows, features=features)
    (tmp_path / "in" / "data").mkdir(parents=True)
    for number in range(2):
        part = data.shard(2, number, contiguous=True)
        part.to_parquet(tmp_path / "in" / "data" / f"train-0000{number}-of-00002.parquet")
    store = open_store(tmp_path / "in")
    ids = ["cats_1", "cats_v1.2", "n01440764_7", "caf\u00e9_a b", "x%2E"]
    assert store.image_ids.to_pylist() == ids
    assert [store.read(k) for k in range(5)] == list(PICTURES.values())
    said, rejects = read_statements("huggingface", [tmp_path / "in"])
    assert said["class_id"].to_pylist() == ["dog", "cat", "cat", "dog"]
    assert rejects.count == 1
    assert [one.name for one in huggingface_classes(tmp_path / "in")] == ["dog", "cat"]
    assert store.finder().find(pa.array(ids), pa.array([""] * 5)).tolist() == list(range(5))


def test_we_read_what_webdataset_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    webdataset = pytest.importorskip("webdataset")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "in").mkdir()
    with webdataset.ShardWriter(str(tmp_path / "in" / "train-%06d.tar"), maxcount=2, verbose=0) as writer:
        for k, content in enumerate(PICTURES.values()):
            writer.write({"__key__": f"sample{k:03}", "jpg": content, "cls": k % 3, "json": {"caption": "a"}})
    store = open_store(tmp_path / "in")
    assert [(store.image_id(k), store.read(k)) for k in range(5)] == [
        (f"sample{k:03}", content) for k, content in enumerate(PICTURES.values())
    ]
    said, _ = read_statements("webdataset", [tmp_path / "in"])
    assert said["class_id"].to_pylist() == ["0", "1", "2", "0", "1"]

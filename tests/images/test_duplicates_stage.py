"""Copies in a folder of images are reported, those between splits too, and labels lose nothing when they are merged."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.images.check import Inspection, Limits
from mlimages_dataset.images.duplicates import HashTolerance
from mlimages_dataset.images.duplicates_stage import duplicates_stage
from mlimages_dataset.images.ingest import Form, members_of
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline import engine
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.pipeline.stage import Engine, run
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.samples import photographs
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import LABELS
from tests.images.folders import image_folder
from tests.images.foreign_folders import tar_folder
from tests.images.test_verification import label_part

if TYPE_CHECKING:
    from pathlib import Path


def smaller(content: bytes) -> bytes:
    """Return a copy at two thirds of the size."""
    sink = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        image.convert("RGB").resize((image.width * 2 // 3, image.height * 2 // 3)).save(sink, "JPEG", quality=70)
    return sink.getvalue()


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """Return images with copies of both kinds, and labels of two splits."""
    one, two, three = (path.read_bytes() for path in sorted(photographs().glob("*.jpg"))[:3])
    parts: list[dict[str, bytes | None]] = [
        {"small": smaller(one), "gone": None, "one": one, "two": two},
        {"again": one, "three": three, "val two": smaller(two)},
    ]
    labels = tmp_path / "labels"
    train = {"small": {0: 1.0, 3: 0.0}, "two": {2: 1.0}, "gone": {2: 1.0}, "again": {0: 0.5, 3: 1.0}, "three": {1: 1.0}}
    label_part(labels / "train" / "part-00000.parquet", dict(list(train.items())[:3]))
    label_part(labels / "train" / "part-00001.parquet", dict(list(train.items())[3:]))
    label_part(labels / "val" / "part-00000.parquet", {"val two": {2: 0.9}})
    return image_folder(tmp_path / "images", parts), labels


def lines(path: Path) -> list[tuple[str, str, str]]:
    with path.open(newline="") as stream:
        return [(row["image_id"], row["likeness"], row["splits"]) for row in csv.DictReader(stream)]


def rows(part: Path) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    row: dict[str, Any]
    for row in read_table(part, LABELS).to_pylist():
        assert row["image_id"] not in found
        found[row["image_id"]] = {label["class_index"]: label["confidence"] for label in row["labels"]}
    return found


def test_copies_leaks_and_merged_labels(tables: tuple[Path, Path], tmp_path: Path) -> None:
    images, labels = tables
    out = tmp_path / "out"
    outcome = run(duplicates_stage(images, labels=labels, tolerance=HashTolerance(), merge=True), OutputFolder(out))
    assert lines(out / "duplicates.csv") == [
        ("again", "kept", "train"),
        ("small", "alike", "train"),
        ("one", "same bytes", ""),
        ("two", "kept", "train"),
        ("val two", "alike", "val"),
    ]
    assert lines(out / "leakage.csv") == [("two", "kept", "train"), ("val two", "alike", "val")]
    assert not (out / "labels" / "train" / "part-00000.parquet").exists() or "small" not in rows(
        out / "labels" / "train" / "part-00000.parquet"
    )
    assert rows(out / "labels" / "train" / "part-00000.parquet") == {"two": {2: 1.0}, "gone": {2: 1.0}}
    assert rows(out / "labels" / "train" / "part-00001.parquet") == {"again": {0: 1.0, 3: 1.0}, "three": {1: 1.0}}
    assert list(rows(out / "labels" / "val" / "part-00000.parquet")) == ["val two"]
    summary = outcome.record.summary
    assert {name: summary[name] for name in ("images", "groups", "copies", "copies_of_equal_bytes")} == {
        "images": 6,
        "groups": 2,
        "copies": 3,
        "copies_of_equal_bytes": 1,
    }
    assert (summary["leaking_images"], summary["label_rows_merged_away"]) == (2, 1)
    assert verify_folder(out) == []
    assert not run(
        duplicates_stage(images, labels=labels, tolerance=HashTolerance(), merge=True), OutputFolder(out)
    ).fresh


def test_exact_copies_ask_for_no_pixels(tables: tuple[Path, Path], tmp_path: Path) -> None:
    images, _ = tables
    for shard in images.glob("*.tar"):
        shard.unlink()
    run(duplicates_stage(images), OutputFolder(tmp_path / "out"))
    assert [line[:2] for line in lines(tmp_path / "out" / "duplicates.csv")] == [
        ("one", "kept"),
        ("again", "same bytes"),
    ]


@pytest.mark.slow
def test_engines_change_nothing(tables: tuple[Path, Path], tmp_path: Path) -> None:
    images, labels = tables
    run(duplicates_stage(images, labels=labels, tolerance=HashTolerance(), merge=True), OutputFolder(tmp_path / "one"))
    with engine.local(2) as mapper:
        run(
            duplicates_stage(images, labels=labels, tolerance=HashTolerance(), merge=True),
            OutputFolder(tmp_path / "two"),
            Engine(mapper=mapper),
        )
    assert read_manifest(tmp_path / "one").files == read_manifest(tmp_path / "two").files


def test_a_folder_without_pictures_has_no_copies(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", [{"a": None}])
    label_part(tmp_path / "labels" / "part-00000.parquet", {"a": {1: 1.0}})
    run(
        duplicates_stage(images, labels=tmp_path / "labels", tolerance=HashTolerance(), merge=True),
        OutputFolder(tmp_path / "out"),
    )
    assert lines(tmp_path / "out" / "duplicates.csv") == []
    assert rows(tmp_path / "out" / "labels" / "part-00000.parquet") == {"a": {1: 1.0}}


def test_merging_needs_labels(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no labels to merge"):
        run(duplicates_stage(tmp_path, merge=True), OutputFolder(tmp_path / "out"))


def test_a_picture_that_cannot_be_decoded_is_compared_by_its_bytes(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", [{"a": b"no picture", "b": b"no picture", "c": b"nor this"}])
    outcome = run(duplicates_stage(images, tolerance=HashTolerance()), OutputFolder(tmp_path / "out"))
    assert outcome.record.summary["without_perceptual_hash"] == 3
    assert [line[:2] for line in lines(tmp_path / "out" / "duplicates.csv")] == [("a", "kept"), ("b", "same bytes")]


def test_any_store_has_the_copies_that_our_shards_have(tables: tuple[Path, Path], tmp_path: Path) -> None:
    images, labels = tables
    store = open_store(images)
    contents = {f"{store.image_id(k)}.jpg": store.read(k) for k in range(len(store))}
    folders = [images, tar_folder(tmp_path / "theirs", {"00000.tar": contents}), tmp_path / "files"]
    for name, content in contents.items():
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / name).write_bytes(content)
    found = []
    for number, folder in enumerate(folders):
        out = tmp_path / f"out-{number}"
        stage = duplicates_stage(folder, labels=labels, tolerance=HashTolerance(), merge=True)
        summary = run(stage, OutputFolder(out)).record.summary
        found.append((summary, {*lines(out / "duplicates.csv")}, {*lines(out / "leakage.csv")}))
    assert found[0] == found[1] == found[2]
    assert summary["copies"] == 3


def test_a_picture_that_is_not_that_of_its_digest_is_told(tables: tuple[Path, Path], tmp_path: Path) -> None:
    images, _ = tables
    shard = images / "shard-00001.tar"
    whole = bytearray(shard.read_bytes())
    at = whole.index(b"\xff\xd8\xff")
    whole[at + 5000] ^= 1
    shard.write_bytes(whole)
    with pytest.raises(DataError, match="the picture of again has another digest than its row") as told:
        run(duplicates_stage(images, tolerance=HashTolerance()), OutputFolder(tmp_path / "out"))
    assert told.value.where == str(shard)
    assert told.value.remedy == "run mlimages-build images verify"
    run(duplicates_stage(images), OutputFolder(tmp_path / "exact"))  # which reads no picture
    (again,) = (member.content() for member in members_of(images, Form.AUTO, Limits()) if member.path == "again")
    assert isinstance(again, Inspection)
    assert (again.status, again.detail) == (Status.BROKEN, "the picture of again has another digest than its row")

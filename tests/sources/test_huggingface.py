"""Parquet of pictures states the classes of its rows by their names, and lists these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.image_ids import image_id
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.stage import run
from mlimages_dataset.sources.contract import read_regions, read_statements
from mlimages_dataset.sources.huggingface import huggingface_classes
from mlimages_dataset.sources.source import LISTED
from mlimages_dataset.vocab.folder import read_vocabulary
from mlimages_dataset.vocab.stage import VocabularyFiles, vocabulary_stage
from tests.images.folders import picture
from tests.images.foreign_folders import class_label, features, image_table, write_parquet

if TYPE_CHECKING:
    from pathlib import Path

DOGS = class_label("dog", "cat", "golden retriever")


def said(path: Path) -> list[tuple[str, str]]:
    return [(row["image_id"], row["class_id"]) for row in read_statements("huggingface", [path])[0].to_pylist()]


def images(*paths: str | None) -> list[dict[str, Any]]:
    return [{"bytes": b"1", "path": path} for path in paths]


@pytest.mark.parametrize(
    ("labels", "feature", "expected"),
    [
        (pa.array([2, 0]), DOGS, ["golden retriever", "dog"]),
        (pa.array([[2, 0], [1]]), {"_type": "List", "feature": DOGS}, ["golden retriever", "dog", "cat"]),
        (pa.array([[2], []]), {"_type": "Sequence", "feature": DOGS}, ["golden retriever"]),
        (pa.array([[0], [1]]), [DOGS], ["dog", "cat"]),
        (pa.array([2, 0]), None, ["2", "0"]),
        (pa.array([2.0, 0.0]), None, ["2", "0"]),
        (pa.array(["n01440764", " cat "]), None, ["n01440764", "cat"]),
        (pa.array(["a", "b"]).dictionary_encode(), None, ["a", "b"]),
        (pa.array([["a", "b"], ["a"]], pa.large_list(pa.large_string())), None, ["a", "b", "a"]),
    ],
)
def test_labels_of_every_type(tmp_path: Path, labels: pa.Array, feature: Any, expected: list[str]) -> None:
    metadata = features(label=feature) if feature else b""
    write_parquet(tmp_path / "a.parquet", image_table(images("x.jpg", None), label=labels), metadata=metadata)
    found = said(tmp_path / "a.parquet")
    assert [name for _, name in found] == expected
    assert {image_id(image) for image, _ in found} <= {"x", "a.parquet/1"}


def test_rows_without_a_label_are_counted(tmp_path: Path) -> None:
    table = image_table(images(*"abcd"), label=pa.array([-1, None, 7, 0]))
    write_parquet(tmp_path / "a.parquet", table, metadata=features(label=DOGS), row_group_size=1)
    found, rejects = read_statements("huggingface", [tmp_path / "a.parquet"])
    assert found["class_id"].to_pylist() == ["dog"]
    assert [str(one) for one in rejects.first] == [
        f"{tmp_path}/a.parquet: it has no label: 'a.parquet/0/a'",
        f"{tmp_path}/a.parquet: it has no label: 'a.parquet/1/b'",
        f"{tmp_path}/a.parquet: its label is none of the 3 classes: 7: 'a.parquet/2/c'",
    ]


def test_paths_tell_the_class_where_no_column_does(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", image_table(images("cats/1.jpg", "n01440764_10026_n01440764.JPEG", None)))
    assert [name for _, name in said(tmp_path / "a.parquet")] == ["cats", "n01440764"]


def test_a_folder_is_read_with_its_files_in_order(tmp_path: Path) -> None:
    for split in ("test", "train"):
        write_parquet(tmp_path / split / "0000.parquet", image_table(images(None), label=[split]))
    write_parquet(tmp_path / "labels.parquet", pa.table({"label": [1]}))
    assert said(tmp_path) == [("test/0000.parquet/0", "test"), ("train/0000.parquet/0", "train")]


@pytest.mark.parametrize(
    ("columns", "metadata", "told"),
    [
        (["fine", "coarse"], features(fine=DOGS, coarse=DOGS), "has 2 columns of classes: fine, coarse; call the one"),
        (["label"], b"", "has no column of pictures"),
    ],
)
def test_what_is_not_said_is_not_made_up(tmp_path: Path, columns: list[str], metadata: bytes, told: str) -> None:
    others = {name: pa.array([0]) for name in columns}
    table = pa.table(others) if not metadata else image_table(images("a"), **others)
    write_parquet(tmp_path / "a.parquet", table, metadata=metadata)
    with pytest.raises(DataError, match=told):
        read_statements("huggingface", [tmp_path / "a.parquet"])


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no Parquet file with pictures in it"):
        read_statements("huggingface", [tmp_path])


@pytest.mark.parametrize(
    "metadata", [b"", b"{", b"[]", b'{"info": 3}', b'{"info": {"features": {"label": 3}}}', b"\xff"]
)
def test_metadata_of_any_content_say_nothing(tmp_path: Path, metadata: bytes) -> None:
    write_parquet(tmp_path / "a.parquet", image_table(images("a"), label=[3]), metadata=metadata)
    assert said(tmp_path / "a.parquet") == [("a.parquet/0/a", "3")]
    with pytest.raises(DataError, match="its metadata name no classes"):
        huggingface_classes(tmp_path / "a.parquet")


def test_names_of_classes_are_a_class_list_of_a_vocabulary(tmp_path: Path) -> None:
    for part in range(2):
        table = image_table(images("a"), label=[part])
        write_parquet(tmp_path / "in" / f"{part}.parquet", table, metadata=features(label=DOGS))
    assert [one.name for one in huggingface_classes(tmp_path / "in")] == ["dog", "cat", "golden retriever"]
    for number, place in enumerate((tmp_path / "in", tmp_path / "in" / "0.parquet")):
        out = tmp_path / f"vocabulary{number}"
        run(vocabulary_stage(VocabularyFiles(classes=(("mine", place),))), OutputFolder(out))
        mapping = {row.source_id: row.wnid for row in read_vocabulary(out).mapping}
        assert mapping["golden retriever"] == "n02099601"
    table = image_table(images("a"), label=[0])
    write_parquet(tmp_path / "in" / "2.parquet", table, metadata=features(label=class_label("wolf")))
    with pytest.raises(DataError, match=r"2\.parquet: has other classes than 0\.parquet"):
        huggingface_classes(tmp_path / "in")


@pytest.mark.parametrize(
    ("key", "box", "listed"),
    [("bbox", [4, 3, 8, 9], False), ("bbox", [4, 3, 8, 9], True), ("xyxy", [4, 3, 12, 12], True)],
)
def test_boxes_in_objects_of_either_form_are_regions(tmp_path: Path, key: str, box: list[int], *, listed: bool) -> None:
    one, bad = {key: box, "category": "dog"}, {key: [1, 2], "category": "cat"}
    both: object = [one, bad] if listed else {name: [one[name], bad[name]] for name in one}
    none: object = [] if listed else {key: [], "category": []}
    rows = [{"bytes": picture(n, 16, 12), "path": f"{n}.jpg"} for n in range(2)]
    write_parquet(tmp_path / "a.parquet", image_table(rows, objects=[both, none]))
    found, rejects = read_regions("huggingface", [tmp_path / "a.parquet"])
    (row,) = found.to_pylist()
    assert [row[side] for side in ("xmin", "ymin", "xmax", "ymax")] == [0.25, 0.25, 0.75, 1]
    assert (row["class_id"], row["image_id"]) == ("dog", "a.parquet/0/0.jpg")
    assert [one.what.partition(": ")[2] for one in rejects.first] == [f"its {key} has no four numbers"]
    assert said(tmp_path / "a.parquet") == [
        ("a.parquet/0/0.jpg", "dog"),
        ("a.parquet/0/0.jpg", "cat"),
        ("a.parquet/1/1.jpg", LISTED),
    ]


def test_a_file_without_boxes_is_refused_by_name(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", image_table([{"bytes": b"", "path": "a.jpg"}], label=["dog"]))
    with pytest.raises(UsageError, match="has no column of boxes; give a column `objects` with the keys"):
        read_regions("huggingface", [tmp_path / "a.parquet"])

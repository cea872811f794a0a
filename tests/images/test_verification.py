"""Verification finds whatever is changed in a folder of images, and says what labels have no picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.images.index import ImageIndex
from mlimages_dataset.images.shards import SHARD_SCHEMA
from mlimages_dataset.images.verification import Coverage, category_names, coverage, coverage_problems, verify_images
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import Manifest, StageResult
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.tables.parquet import read_table, write_table
from mlimages_dataset.tables.parts import MANIFEST_NAME
from mlimages_dataset.tables.schemas import CATEGORIES, IMAGES, LABELS, MAPPING
from mlimages_dataset.vocab.folder import CATEGORIES_FILE, MAPPING_FILE
from mlimages_dataset.vocab.tables import categories_table, mapping_table
from tests.images.folders import image_folder, picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.vocab.vocabulary import Vocabulary

A = picture(1)
PARTS: list[dict[str, bytes | None]] = [{"a": A, "b": None}, {"c": picture(2, 40, 30)}]
Row: TypeAlias = "dict[str, str | int]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of two pictures and one that is not saved."""
    return image_folder(tmp_path / "images", PARTS)


def with_rows(folder: Path, change: Callable[[Row], Row]) -> Path:
    """Return a folder with a true manifest, of whose tables the rows were changed before it was written."""
    first = image_folder(folder.with_name("first"), PARTS)

    def work(out: Location) -> StageResult[Any]:
        receipts = [write_bytes(out / p.name, p.read_bytes(), schema=SHARD_SCHEMA) for p in first.glob("*.tar")]
        for part in first.glob("part-*"):
            rows = [change(row) for row in read_table(part, IMAGES).to_pylist()]
            table = pa.Table.from_pylist(rows, schema=IMAGES.arrow)
            receipts.append(write_table(out / part.name, table, IMAGES, {}))
        return StageResult(tuple(receipts))

    OutputFolder(folder).run("ingest", parameters={}, inputs={}, work=work)
    return folder


def test_a_true_folder_has_no_problem(folder: Path) -> None:
    assert verify_images(folder) == (2, [])
    ImageIndex.open(folder)
    assert verify_images(folder, decode=False) == (2, [])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"offset": 513}, "row 0 (a): {bytes} bytes of shard-00000.tar from 513 on have another digest"),
        ({"offset": 1_000_000}, "row 0 (a): shard-00000.tar ends before {bytes} bytes at 1,000,000"),
        ({"offset": -1}, "row 0 (a): shard-00000.tar has no {bytes} bytes at -1"),
        ({"bytes": 0}, "row 0 (a): 0 bytes of shard-00000.tar from 512 on have another digest"),
        ({"digest": ""}, "row 0 (a): {bytes} bytes of shard-00000.tar from 512 on have another digest"),
        ({"shard": "../shard.tar"}, "row 0 (a): its shard '../shard.tar' is not in the manifest"),
        ({"status": "perhaps"}, "row 0 (a): its status is 'perhaps', which is unknown"),
        ({"status": "timeout"}, "row 0 (a): it has a place but is not saved"),
        ({"width": 1}, "row 0 (a): has 64 x 48 pixels, not 1 x 48"),
    ],
)
def test_each_untrue_row_is_told(tmp_path: Path, changed: Row, told: str) -> None:
    folder = with_rows(tmp_path / "images", lambda row: row | (changed if row["image_id"] == "a" else {}))
    _, problems = verify_images(folder)
    assert problems == ["part-00000.parquet: " + told.format(bytes=f"{len(A):,}")]


def test_repeated_ids_are_told(tmp_path: Path) -> None:
    folder = with_rows(tmp_path / "images", lambda row: row | {"image_id": "a"})
    assert verify_images(folder)[1] == ["a: several saved rows have this id"]


def test_what_cannot_be_decoded_is_told(tmp_path: Path) -> None:
    cut = picture(3)[:-200]
    _, problems = verify_images(image_folder(tmp_path / "images", [{"a": cut}]))
    assert len(problems) == 1
    assert "row 0 (a): cannot be decoded (broken: " in problems[0]
    assert verify_images(image_folder(tmp_path / "tiny", [{"a": picture(3, 1, 1)}]), decode=False) == (1, [])


def test_a_folder_of_image_files_is_read_picture_by_picture(tmp_path: Path) -> None:
    folder = tmp_path / "files" / "inner"
    folder.mkdir(parents=True)
    for k in range(3):
        (folder / f"{k}.jpg").write_bytes(picture(k))
    assert verify_images(folder.parent) == (3, [])
    (folder / "junk.jpg").write_bytes(b"no picture")
    (folder / "cut.jpg").write_bytes(picture(1)[:200])
    n_images, problems = verify_images(folder.parent)
    assert n_images == 5
    assert [problem.split(":")[0] for problem in problems] == ["inner/cut", "inner/junk"]


def test_many_wrong_rows_are_counted(tmp_path: Path) -> None:
    _, problems = verify_images(image_folder(tmp_path / "images", [{str(k): b"no picture" for k in range(30)}]))
    assert len(problems) == 11
    assert problems[-1] == "part-00000.parquet: 20 more rows are wrong"


@pytest.mark.parametrize("name", ["shard-00001.tar", "part-00000.parquet"])
def test_changed_cut_and_missing_files_are_told(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for changed in (content[:700], content[:600] + b"x" + content[601:], None):
        (folder / name).unlink()
        if changed is not None:
            (folder / name).write_bytes(changed)
        _, problems = verify_images(folder)
        assert any(problem.startswith(f"{name}: ") for problem in problems), (name, problems)


def test_a_folder_that_is_not_finished_is_told(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new" / MANIFEST_NAME, Manifest().to_json())
    write_bytes(tmp_path / "new" / "part-00000.parquet", b"of a cut run")
    assert verify_images(tmp_path / "new") == (0, ["the command that writes it has not finished: run it again"])


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    def work(out: Location) -> StageResult[Any]:
        return StageResult((write_bytes(out / "labels.csv", b""),))

    OutputFolder(tmp_path / "other").run("other", parameters={}, inputs={}, work=work)
    (problem,) = verify_images(tmp_path / "other")[1]
    assert problem.startswith("it holds no table of images")


def test_a_lost_shard_is_told_in_one_line(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "images", [{str(k): picture(k) for k in range(30)}, {"c": A}])
    (folder / "shard-00000.tar").unlink()
    assert verify_images(folder) == (31, ["shard-00000.tar: is missing; run the build again to restore it"])


def test_a_lost_part_is_told_in_one_line(folder: Path) -> None:
    (folder / "part-00001.parquet").unlink()
    assert verify_images(folder) == (1, ["part-00001.parquet: is missing; run the build again to restore it"])


def test_labels_that_all_have_pictures_have_no_problem(folder: Path, tmp_path: Path) -> None:
    label_part(tmp_path / "labels" / "part-00000.parquet", {"a": {0: 1.0, 2: 0.5}, "c": {103: 1.0}})
    found = coverage(tmp_path / "labels", folder)
    assert (found.images, found.missing, found.worst()) == (2, 0, [])
    assert list(coverage_problems(tmp_path / "labels", found)) == []


def label_part(path: Path, rows: dict[str, dict[int, float]]) -> Path:
    content = [
        {
            "image_id": image_id,
            "source": "s",
            "location": "",
            "labels": [{"class_index": c, "confidence": p, "origin": 0} for c, p in sorted(labels.items())],
        }
        for image_id, labels in rows.items()
    ]
    write_table(path, pa.Table.from_pylist(content, schema=LABELS.arrow), LABELS, {})
    return path


def test_labels_without_a_picture_are_counted_by_category(folder: Path, tmp_path: Path) -> None:
    label_part(tmp_path / "labels" / "part-00000.parquet", {"a": {0: 1.0, 2: 0.5}, "b": {0: 1.0, 1: 0.0}})
    label_part(tmp_path / "labels" / "part-00001.parquet", {"c": {1: 1.0}, "x": {2: 1.0, 4: 1.0}})
    found = coverage(tmp_path / "labels", folder)
    assert (found.images, found.missing, found.first_missing) == (4, 2, ("b", "x"))
    assert found.images_of_class.tolist() == [2, 1, 2, 0, 1]
    assert found.missing_of_class.tolist() == [1, 0, 1, 0, 1], "an absence is no label that asks for a picture"
    assert found.worst() == [(4, 1, 1), (0, 1, 2), (2, 1, 2)]
    assert list(coverage_problems(tmp_path / "labels", found)) == [
        f"{tmp_path / 'labels'}: 2 of 4 images have no saved picture, first b, x",
        f"{tmp_path / 'labels'}: 1 of 1 images of category 4 have no picture",
        f"{tmp_path / 'labels'}: 1 of 2 images of category 0 have no picture",
        f"{tmp_path / 'labels'}: 1 of 2 images of category 2 have no picture",
    ]


def test_categories_are_told_by_name(folder: Path, tmp_path: Path, mini_vocabulary: Vocabulary) -> None:
    write_table(tmp_path / "vocab" / CATEGORIES_FILE, categories_table(mini_vocabulary), CATEGORIES, {})
    write_table(tmp_path / "vocab" / MAPPING_FILE, mapping_table(mini_vocabulary), MAPPING, {})
    label_part(tmp_path / "labels" / "part-00000.parquet", {"x": {1: 1.0}})
    found = coverage(tmp_path / "labels", folder)
    names = category_names(tmp_path / "vocab", tmp_path / "labels")
    one = mini_vocabulary.categories[1]
    (_, told) = coverage_problems(tmp_path / "labels", found, names)
    assert told.endswith(f"1 of 1 images of category {one.wnid} ({one.name}) have no picture")


COVERAGES = st.builds(
    lambda images, of_class, ids: Coverage(
        images, len(ids), np.array(of_class, np.int64), np.array(of_class, np.int64) // 2, tuple(ids)
    ),
    st.integers(0, 9),
    st.lists(st.integers(0, 9), max_size=4),
    st.lists(st.text(max_size=1), max_size=3),
)


@given(st.lists(COVERAGES, max_size=5))
def test_coverages_add_up(parts: list[Coverage]) -> None:
    total = sum(parts, Coverage.empty())
    assert total.images == sum(part.images for part in parts)
    assert total.images_of_class.sum() == sum(part.images_of_class.sum() for part in parts)
    assert (total + Coverage.empty()).missing_of_class.tolist() == total.missing_of_class.tolist()

"""Annotations are class lists too: of the classes that their format names."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.class_files import class_files_digest, classes_of_files, format_of_files
from mlimages_dataset.sources.contract import read_statements
from tests.sources.test_contract import sample

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("form", "suffix"), [("coco", ".json"), ("cvat", ".xml"), ("voc", ""), ("labelme", ""), ("yolo", "")]
)
def test_the_ids_of_classes_are_those_of_statements(tmp_path: Path, form: str, suffix: str) -> None:
    path = sample(form, tmp_path)[0]
    path = path.rename(path.with_suffix(suffix)) if suffix else path
    stated = set(read_statements(form, [path])[0]["class_id"].to_pylist())
    found = classes_of_files(path)
    assert stated <= {one.source_id for one in found}
    assert "dog" in {one.name for one in found}
    assert class_files_digest(path) == class_files_digest(path)


def test_a_file_of_voc_is_known_by_its_content(tmp_path: Path) -> None:
    path = sample("voc", tmp_path)[-1]
    assert [one.name for one in classes_of_files(path)] == ["dog"]


def test_labels_of_cvats_task_are_classes_without_a_shape(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    label = "<meta><task><labels><label><name>cat</name></label></labels></task></meta>"
    path.write_text(f'<annotations>{label}<image name="a.jpg"><tag label="dog"/></image></annotations>')
    assert [one.source_id for one in classes_of_files(path)] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.xml", "<annotations/>", r"a\.xml: names no label"),
        ("a.xml", "<annotation/>", r"a\.xml: names no class"),
        ("a.xml", "<annotations><image", r"a\.xml: is not a complete XML file"),
        ("folder/a.csv", "id,name", r"holds no annotations of VOC, LabelMe or YOLO"),
    ],
)
def test_what_names_no_class_is_refused(tmp_path: Path, name: str, text: str, told: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        classes_of_files(path.parent if "/" in name else path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("notes", ["{}", '{"categories": [{"id": 0, "name": "dog"}]}', "[1]", "{"])
def test_yolo_of_label_studio_is_yolo_whatever_its_notes_are(tmp_path: Path, notes: str, *, packed: bool) -> None:
    files = {"classes.txt": "dog\n", "labels/a.txt": "0 .5 .5 .2 .2\n", "notes.json": notes}
    path = tmp_path / "export.zip" if packed else tmp_path / "export"
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
    else:
        for name, text in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text)
    assert format_of_files(path) == "yolo"
    assert [one.source_id for one in classes_of_files(path)] == ["dog"]

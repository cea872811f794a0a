"""Boxes through the commands: a table that verifies, once more, closed, as labels, and out again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS, REGIONS, Origin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

ANNOTATION = """<annotation><filename>{name}.jpg</filename><size><width>80</width><height>60</height></size>
<object><name>dog</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax><ymax>30</ymax></bndbox>
</object><object><name>zorb</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>
<object><name>dog</name><bndbox><xmin>9</xmin><ymin>1</ymin><xmax>4</xmax><ymax>9</ymax></bndbox></object></annotation>"""


@pytest.fixture(name="voc", scope="module")
def _voc(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a VOC folder of two pictures, and a vocabulary with the dog."""
    folder = tmp_path_factory.mktemp("voc")
    for name in ("a", "b"):
        for place in ("Annotations", "JPEGImages"):
            (folder / "voc" / place).mkdir(parents=True, exist_ok=True)
        (folder / "voc" / "Annotations" / f"{name}.xml").write_text(ANNOTATION.format(name=name))
        Image.new("RGB", (80, 60), (name == "a" and "red") or "blue").save(
            folder / "voc" / "JPEGImages" / f"{name}.jpg"
        )
    (folder / "classes.csv").write_text("id,name\ndog,dog\n")
    assert command("vocab", "--classes", f"voc={folder / 'classes.csv'}", "--out", folder / "vocabulary").code == 0
    return folder


def test_a_folder_of_voc_becomes_regions(voc: Path, command: Command) -> None:
    out = voc / "regions"
    call = ("regions", "--vocab", voc / "vocabulary", "--format", "voc", voc / "voc", "--out", out, "--workers", "1")
    ran = command(*call)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[:-1] == [
        "           2  images with regions",
        "           2  regions",
        "           2  boxes of unknown classes",
        "           2  entries that cannot be used",
        "rejected: a.xml: object 3: its box is inverted: 'dog 9, 1, 4, 9'",
        "rejected: b.xml: object 3: its box is inverted: 'dog 9, 1, 4, 9'",
        "unknown classes: zorb (2)",
    ]
    assert command(*call).out.splitlines()[-1] == f"{out} is up to date: nothing to do"
    assert command("verify", out).code == 0
    assert read_manifest(out).files["part-00000.parquet"].schema == "regions/1"
    rows = read_table(out / "part-00000.parquet", REGIONS).to_pylist()
    assert [(row["image_id"], row["xmin"], row["xmax"], row["ymax"], row["difficult"]) for row in rows] == [
        ("a", np.float32(1 / 80), 0.5, 0.5, True),
        ("b", np.float32(1 / 80), 0.5, 0.5, True),
    ]
    path = voc / "voc" / "Annotations" / "a.xml"
    before = path.read_text()
    path.write_text(before.replace("<xmax>40", "<xmax>20"))
    changed = command(*call)
    path.write_text(before)
    assert changed.code == 2
    assert "input files/voc changed" in changed.err


def test_ancestors_are_added_on_demand(voc: Path, command: Command) -> None:
    out = voc / "closed"
    call = (
        "regions",
        "--vocab",
        voc / "vocabulary",
        "--format",
        "voc",
        voc / "voc",
        "--out",
        out,
        "--ancestors",
        "--json",
    )
    ran = command(*call)
    summary = json.loads(ran.out)["summary"]
    rows = read_table(out / "part-00000.parquet", REGIONS).to_pylist()
    added = [row for row in rows if row["origin"] == Origin.ANCESTOR]
    assert len(added) == summary["ancestors"] > 0
    assert {(row["image_id"], row["xmax"], row["difficult"]) for row in added} == {("a", 0.5, True), ("b", 0.5, True)}


def test_labels_come_of_the_same_files(voc: Path, command: Command) -> None:
    out = voc / "annotations"
    call = ("annotate", "--vocab", voc / "vocabulary", "--format", "voc", voc / "voc", "--out", out)
    assert command(*call).code == 0
    rows = [row for part in table_parts(out) for row in read_table(part, ANNOTATIONS).to_pylist()]
    assert [(row["image_id"], [one["confidence"] for one in row["labels"]]) for row in rows] == [("a", [1]), ("b", [1])]


def test_regions_go_out_with_the_sizes_of_their_pictures(voc: Path, command: Command) -> None:
    pictures = voc / "pictures"
    assert command("images", "ingest", voc / "voc" / "JPEGImages", "--out", pictures, "--workers", "1").code == 0
    export = ("export", voc / "regions", "--vocab", voc / "vocabulary", "--workers", "1")
    assert command(*export, "--format", "coco", "--images", pictures, "--out", voc / "coco").code == 0
    content = json.loads((voc / "coco" / "instances.json").read_text())
    assert [(one["file_name"], one["width"], one["height"]) for one in content["images"]] == [
        ("a", 80, 60),
        ("b", 80, 60),
    ]
    assert [one["bbox"] for one in content["annotations"]] == [[1, 1, 39, 29]] * 2
    assert command("verify", voc / "coco").code == 0
    without = command(*export, "--format", "coco", "--out", voc / "none")
    assert without.code == 2
    assert "name the images' folder with --images" in without.err
    assert command(*export, "--format", "open-images", "--out", voc / "csv").code == 0


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("csv", "files of the format csv state no boxes; use one of"),
        ("open-images", "its header (id, name) has neither"),
    ],
)
def test_files_without_boxes_are_refused(voc: Path, command: Command, tmp_path: Path, form: str, told: str) -> None:
    call = ("regions", "--vocab", voc / "vocabulary", "--format", form, voc / "classes.csv", "--out", tmp_path / "out")
    ran = command(*call)
    assert ran.code in {1, 2}
    assert told in ran.err
    assert not (tmp_path / "out").exists()

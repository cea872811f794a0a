"""What an entry states beside its box is read by one rule in every format, or told."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.class_files import classes_of_files
from mlimages_dataset.sources.contract import read_regions, read_statements
from mlimages_dataset.sources.source import DOUBTED, LISTED
from mlimages_dataset.tables.schemas import REGION_FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def coco(folder: Path, entry: Mapping[str, object]) -> Path:
    images = [{"id": 1, "file_name": "a.jpg", "width": 8, "height": 8}]
    annotation = {"id": 5, "image_id": 1, "category_id": 3, "bbox": [1, 1, 3, 3], **entry}
    content = {"images": images, "annotations": [annotation], "categories": [{"id": 3, "name": "dog"}]}
    return _written(folder / "a.json", json.dumps(content))


def labelme(folder: Path, entry: Mapping[str, object]) -> Path:
    shape = {"label": "dog", "points": [[1, 1], [4, 4]], "shape_type": "rectangle", **entry}
    document = {"shapes": [shape], "imagePath": "a.jpg", "imageWidth": 8, "imageHeight": 8}
    return _written(folder / "a.json", json.dumps(document))


def voc(folder: Path, entry: Mapping[str, object]) -> Path:
    return _voc(folder, "".join(f"<{key}>{escape(str(value))}</{key}>" for key, value in entry.items()))


def _voc(folder: Path, more: str) -> Path:
    sides = "<xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax>"
    object_ = f"<object><name>dog</name>{more}<bndbox>{sides}</bndbox></object>"
    size = "<size><width>8</width><height>8</height></size>"
    return _written(folder / "a.xml", f"<annotation><filename>a.jpg</filename>{size}{object_}</annotation>")


def cvat(folder: Path, entry: Mapping[str, object]) -> Path:
    more = " ".join(f"{key}={quoteattr(str(value))}" for key, value in entry.items())
    return _cvat(folder, f'<box label="dog" xtl="1" ytl="1" xbr="4" ybr="4" {more}/>')


def _cvat(folder: Path, box: str) -> Path:
    image = f'<image name="a.jpg" width="8" height="8">{box}</image>'
    return _written(folder / "a.xml", f"<annotations>{image}</annotations>")


def coco_attributes(folder: Path, entry: Mapping[str, object]) -> Path:
    return coco(folder, {"attributes": entry})


def voc_attributes(folder: Path, entry: Mapping[str, object]) -> Path:
    pairs = (f"<name>{key}</name><value>{escape(str(value))}</value>" for key, value in entry.items())
    return _voc(folder, f"<attributes>{''.join(f'<attribute>{pair}</attribute>' for pair in pairs)}</attributes>")


def cvat_attributes(folder: Path, entry: Mapping[str, object]) -> Path:
    more = "".join(f'<attribute name="{key}">{escape(str(value))}</attribute>' for key, value in entry.items())
    return _cvat(folder, f'<box label="dog" xtl="1" ytl="1" xbr="4" ybr="4">{more}</box>')


def huggingface(folder: Path, entry: Mapping[str, object]) -> Path:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "JPEG")
    objects = [{"bbox": [1.0, 1.0, 3.0, 3.0], "category": "dog", **entry}]
    image = {"bytes": picture.getvalue(), "path": "a.jpg"}
    pq.write_table(pa.table({"image": [image], "objects": [objects]}), folder / "a.parquet")
    return folder / "a.parquet"


def boxes(folder: Path, entry: Mapping[str, object]) -> Path:
    row = {"image_id": "a.jpg", "label": "dog", "xmin": 0.125, "ymin": 0.125, "xmax": 0.5, "ymax": 0.5, **entry}
    pq.write_table(pa.Table.from_pylist([row]), folder / "a.parquet")
    return folder / "a.parquet"


def _written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


WRITERS: dict[str, Callable[[Path, Mapping[str, object]], Path]] = {
    writer.__name__: writer for writer in (coco, labelme, voc, cvat, huggingface, boxes)
}
DOCUMENTS = [form for form in WRITERS if form != "boxes"]
FLAGS = {  # what each format calls the flag of boxes that a metric leaves out
    "coco": ("iscrowd", "crowd"),
    "voc": ("difficult", "difficult"),
    "huggingface": ("is_crowd", "crowd"),
    "boxes": ("crowd", "crowd"),
}


@pytest.mark.parametrize("key", ["score", "confidence", "Confidence"])
@pytest.mark.parametrize("form", DOCUMENTS)
def test_a_stated_confidence_is_that_of_the_label_and_of_the_box(form: str, key: str, tmp_path: Path) -> None:
    path = WRITERS[form](tmp_path, {key: 0.25})
    for read in (read_statements, read_regions):
        found, log = read(form, [path])
        assert (found["confidence"].to_pylist(), log.count) == ([0.25], 0)


@pytest.mark.parametrize("form", DOCUMENTS)
@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"prob": 0.25}, "its 'prob' may be a confidence"),
        ({"confidance": 0.25}, "its 'confidance' may be a confidence"),
        ({"pred_score": 0.25}, "its 'pred_score' may be a confidence"),
        ({"score": 0.25, "confidence": 0.5}, "its score and its confidence differ"),
        ({"score": 1.5}, "its score is .*, no number in 0..1"),
        ({"confidence": "high"}, "its confidence is 'high', no number in 0..1"),
    ],
)
def test_what_may_be_a_confidence_and_is_none_makes_no_label_sure(
    form: str, entry: Mapping[str, object], told: str, tmp_path: Path
) -> None:
    path = WRITERS[form](tmp_path, entry)
    found, log = read_statements(form, [path])
    assert (found["class_id"].to_pylist(), log.count, log.placed) == ([DOUBTED], 1, 1)
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(str(log.first[0]))
    found, log = read_regions(form, [path])
    assert (found.num_rows, log.count) == (0, 1)


@pytest.mark.parametrize("write", [coco_attributes, cvat_attributes, voc_attributes])
@pytest.mark.parametrize("key", ["score", "confidence", "Confidence"])
def test_a_confidence_among_attributes_is_heard(
    write: Callable[[Path, Mapping[str, object]], Path], key: str, tmp_path: Path
) -> None:
    form = write.__name__.removesuffix("_attributes")
    for read in (read_statements, read_regions):
        found, log = read(form, [write(tmp_path, {key: 0.25})])
        assert (found["confidence"].to_pylist(), log.count) == ([0.25], 0)
        found, log = read(form, [write(tmp_path, {"prob": 0.25})])
        assert "its 'prob' may be a confidence" in log.first[0].what


@pytest.mark.parametrize("write", [cvat_attributes, voc_attributes])
def test_an_attribute_without_a_text_states_no_confidence(
    write: Callable[[Path, Mapping[str, object]], Path], tmp_path: Path
) -> None:
    form = write.__name__.removesuffix("_attributes")
    found, log = read_regions(form, [write(tmp_path, {"confidence": "", "score": " "})])
    assert (found["confidence"].to_pylist(), log.count) == ([1], 0)


def test_a_flag_of_coco_among_attributes_is_told_if_it_is_none(tmp_path: Path) -> None:
    found, log = read_regions("coco", [coco_attributes(tmp_path, {"ignore": 7})])
    assert (found.num_rows, log.count) == (0, 1)


@pytest.mark.parametrize("key", ["score", "confidence", "prob"])
@pytest.mark.parametrize("form", ["coco", "labelme", "huggingface"])
def test_a_null_states_no_confidence(form: str, key: str, tmp_path: Path) -> None:
    found, log = read_regions(form, [WRITERS[form](tmp_path, {key: None})])
    assert (found["confidence"].to_pylist(), log.count) == ([1], 0)


def test_a_key_that_another_box_of_parquet_has_is_not_stated(tmp_path: Path) -> None:
    path = huggingface(tmp_path, {})
    box = {"bbox": [1.0, 1.0, 3.0, 3.0], "category": "dog"}
    table = pq.read_table(path).set_column(1, "objects", pa.array([[{**box, "score": 0.5}, box]]))
    pq.write_table(table, path)
    found, log = read_regions("huggingface", [path])
    assert (sorted(found["confidence"].to_pylist()), log.count) == ([0.5, 1], 0)


@pytest.mark.parametrize("form", FLAGS)
@pytest.mark.parametrize("value", [1, True, 1.0, "1", "true", "Yes", 0, False, "0", "no", "Unspecified", -1])
def test_a_flag_is_read_however_it_is_written(form: str, value: object, tmp_path: Path) -> None:
    if form == "boxes" and not isinstance(value, int):
        pytest.skip("its columns are of numbers or truth values")
    key, flag = FLAGS[form]
    found, log = read_regions(form, [WRITERS[form](tmp_path, {key: value})])
    holds = str(value).lower() in {"1", "true", "1.0", "yes"}
    assert (found[flag].to_pylist(), log.count) == ([holds], 0)


@pytest.mark.parametrize("form", FLAGS)
@pytest.mark.parametrize("value", [2, 7, "maybe"])
def test_a_flag_that_is_none_is_told_and_the_label_stays(form: str, value: object, tmp_path: Path) -> None:
    if form == "boxes" and not isinstance(value, int):
        pytest.skip("its columns are of numbers or truth values")
    path = WRITERS[form](tmp_path, {FLAGS[form][0]: value})
    found, log = read_regions(form, [path])
    assert (found.num_rows, log.count) == (0, 1)
    assert f"its {FLAGS[form][0]} is " in log.first[0].what
    assert read_statements(form, [path])[0]["confidence"].to_pylist() == [1]


@pytest.mark.parametrize(
    ("flag", "value"),
    [("truncated", 0.34), ("occluded", 2), ("occluded", "heavily"), ("depiction", 7), ("group_of", 3), ("inside", 5)],
)
@pytest.mark.parametrize("form", WRITERS)
def test_a_flag_that_judges_no_box_costs_none(form: str, flag: str, value: object, tmp_path: Path) -> None:
    """KITTI's `truncated` is a share, and its `occluded` a level."""
    if form == "boxes" and not isinstance(value, int):
        pytest.skip("its columns are of numbers or truth values")
    found, log = read_regions(form, [WRITERS[form](tmp_path, {flag: value})])
    assert (found[flag].to_pylist(), log.count) == ([False], 0)


@pytest.mark.parametrize("form", [form for form in FLAGS if form != "boxes"])
@pytest.mark.parametrize("value", ["Unknown", "n", "N", "NaN"])
def test_a_flag_that_nobody_knows_does_not_hold(form: str, value: str, tmp_path: Path) -> None:
    key, flag = FLAGS[form]
    found, log = read_regions(form, [WRITERS[form](tmp_path, {key: value})])
    assert (found[flag].to_pylist(), log.count) == ([False], 0)


@pytest.mark.parametrize("key", ["is_crowd", "iscrowd", "crowd", "difficult"])
def test_a_flag_that_judges_a_box_is_told_under_each_name(key: str, tmp_path: Path) -> None:
    found, log = read_regions("huggingface", [huggingface(tmp_path, {key: 0.5})])
    assert (found.num_rows, log.count) == (0, 1)
    found, log = read_regions("huggingface", [huggingface(tmp_path, {key: float("nan")})])
    assert (found.num_rows, log.count) == (1, 0)


@pytest.mark.parametrize("value", [["dog"], {"en": "dog"}, True, 1.5])
def test_what_is_no_name_names_nothing(value: object, tmp_path: Path) -> None:
    path = coco(tmp_path, {})
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = value
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="a category has no id or name"):
        read_statements("coco", [path])
    found, log = read_statements("labelme", [labelme(tmp_path, {"label": value})])
    assert (found["class_id"].to_pylist(), log.first[0].what) == ([DOUBTED], "shape 1: it names no class")


def test_a_number_and_a_text_are_no_two_categories(tmp_path: Path) -> None:
    path = coco(tmp_path, {})
    content = json.loads(path.read_text())
    content["categories"].append({"id": "3", "name": "cat"})
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="two categories have the id 3, one as a number and one as a text"):
        read_statements("coco", [path])


@pytest.mark.parametrize("flag", REGION_FLAGS)
def test_a_flag_of_regions_is_no_class_of_a_picture_of_labelme(tmp_path: Path, flag: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"flags": {flag: True, "dog": True}, "shapes": []}))
    (tmp_path / "b.json").write_text(json.dumps({"flags": {flag: True}, "shapes": []}))
    found, rejects = read_statements("labelme", [tmp_path])
    assert not rejects.first
    assert [(row["image_id"], row["class_id"]) for row in found.to_pylist()] == [("a", "dog"), ("b", LISTED)]
    assert [one.name for one in classes_of_files(tmp_path)] == ["dog"]


def test_flags_of_a_picture_of_labelme_are_its_classes(tmp_path: Path) -> None:
    document = {"flags": {"dog": True, "cat": False}, "shapes": [], "imagePath": "a.jpg"}
    path = _written(tmp_path / "a.json", json.dumps(document))
    found, _ = read_statements("labelme", [path])
    assert found.select(["image_id", "class_id", "confidence"]).to_pylist() == [
        {"image_id": "a.jpg", "class_id": "dog", "confidence": 1}
    ]


@pytest.mark.parametrize("points", [[[1, 1], [4, 4], [2]], [[1, 1], [4, 4], [2, 2, 2]], [[1, 1], [4, 4], None]])
def test_a_point_that_cannot_be_read_is_not_left_out_of_its_polygon(points: list[object], tmp_path: Path) -> None:
    found, log = read_regions("labelme", [labelme(tmp_path, {"points": points, "shape_type": "polygon"})])
    assert (found.num_rows, log.first[0].what) == (0, "shape 1: a side of its box is no finite number")
    if points[-1] is not None:
        text = ";".join(",".join(map(str, point)) for point in points if isinstance(point, list))
        shape = f'<polygon label="dog" points="{text}"/>'
        image = f'<image name="a.jpg" width="8" height="8">{shape}</image>'
        path = _written(tmp_path / "b.xml", f"<annotations>{image}</annotations>")
        assert (read_regions("cvat", [path])[0].num_rows, read_regions("cvat", [path])[1].count) == (0, 1)

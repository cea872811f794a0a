"""What stands beside a box is read by one rule: attributes in all formats, and boxes that are none in their image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlimages_dataset.sources.registry import source_named
from mlimages_dataset.sources.rejects import RejectLog
from mlimages_dataset.sources.yolo import Yolo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOX = [[2, 2], [6, 5]]


def coco(attributes: dict[str, Any]) -> str:
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 4, 3], "attributes": attributes}
    image = {"id": 1, "file_name": "a.jpg", "width": 10, "height": 10}
    return json.dumps({"images": [image], "categories": [{"id": 1, "name": "dog"}], "annotations": [annotation]})


def labelme(attributes: dict[str, Any]) -> str:
    shape = {"label": "dog", "points": BOX, "shape_type": "rectangle", "attributes": attributes}
    return json.dumps({"imagePath": "a.jpg", "imageWidth": 10, "imageHeight": 10, "shapes": [shape]})


def voc(attributes: dict[str, Any]) -> str:
    told = "".join(f"<attribute><name>{key}</name><value>{one}</value></attribute>" for key, one in attributes.items())
    box = "<bndbox><xmin>3</xmin><ymin>3</ymin><xmax>6</xmax><ymax>5</ymax></bndbox>"
    size = "<size><width>10</width><height>10</height></size>"
    return (
        f"<annotation><filename>a.jpg</filename>{size}<object><name>dog</name>{box}"
        f"<attributes>{told}</attributes></object></annotation>"
    )


@pytest.mark.parametrize(("form", "write"), [("coco", coco), ("labelme", labelme), ("voc", voc)])
@pytest.mark.parametrize("attributes", [{}, {"score": 0.5}, {"occluded": True}, {"confidence": 0.25, "truncated": 1}])
def test_attributes_say_confidence_and_flags(
    form: str, write: Callable[[dict[str, Any]], str], attributes: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / f"a.{'xml' if form == 'voc' else 'json'}"
    path.write_text(write(attributes), "utf-8")
    source = source_named(form)
    (batch,) = source.regions(source.piece(path), RejectLog())
    (row,) = batch.to_pylist()
    assert row["confidence"] == attributes.get("score", attributes.get("confidence", 1.0))
    assert {flag for flag in ("occluded", "truncated") if row[flag]} == attributes.keys() & {"occluded", "truncated"}


numbers = st.sampled_from(["0.5", "0.25", "0", "1", "20", "-3", "1e9", "nan"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=15))
def test_labels_tell_the_boxes_that_regions_reject(tmp_path: Path, boxes: list[tuple[str, ...]]) -> None:
    (tmp_path / "classes.txt").write_text("dog\n", "utf-8")
    (tmp_path / "a.txt").write_text("".join(f"0 {' '.join(box)}\n" for box in boxes), "utf-8")
    source = Yolo()
    of_labels, of_regions = RejectLog(), RejectLog()
    piece = source.piece(tmp_path / "a.txt")
    labels = sum(batch.num_rows for batch in source.batches(piece, of_labels))
    regions = sum(batch.num_rows for batch in source.regions(piece, of_regions))
    assert labels == len(boxes) == regions + of_regions.count
    assert of_labels.count == 0
    assert (of_labels.n_boxless, of_labels.boxless) == (of_regions.count, of_regions.first)

"""A box is in its image or a reject with its reason, and masks of run lengths are COCO's own."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from mlimages_dataset.core.errors import DataError, MLImagesError
from mlimages_dataset.sources.boxes import judged
from mlimages_dataset.sources.contract import read_regions, read_statements
from mlimages_dataset.sources.rle import mask_text

if TYPE_CHECKING:
    from pathlib import Path

sides = st.one_of(
    st.floats(-0.5, 1.5, width=32),
    st.sampled_from([0.0, -0.0, 1.0, 1 + 1e-7, -1e-7, math.nan, math.inf, -math.inf, 5e-324, 1e300]),
)


@given(st.lists(st.tuples(sides, sides, sides, sides), max_size=20))
def test_a_box_is_of_some_area_in_its_image_or_has_a_fault(boxes: list[tuple[float, float, float, float]]) -> None:
    inside, faults, clipped = judged(np.array(boxes, np.float64).reshape(-1, 4))
    assert inside.dtype == np.float32
    for box, kept, fault, cut in zip(boxes, inside.tolist(), faults.tolist(), clipped.tolist(), strict=True):
        xmin, ymin, xmax, ymax = box
        if not all(map(math.isfinite, box)):
            assert fault == 1
        elif xmin > xmax or ymin > ymax:
            assert fault == 2
        elif fault == 0:
            assert 0 <= kept[0] < kept[2] <= 1
            assert 0 <= kept[1] < kept[3] <= 1
            assert kept == pytest.approx([min(max(side, 0), 1) for side in box], abs=1e-7)
            assert cut == any(side < -1e-5 or side > 1 + 1e-5 for side in box)
            assert not any(math.copysign(1, side) < 0 for side in kept)
        else:
            clip = [np.float32(min(max(side, 0), 1)) for side in box]
            assert fault in {3, 4}
            assert clip[0] >= clip[2] or clip[1] >= clip[3]


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1)))
def test_run_lengths_become_what_coco_itself_writes(mask: np.ndarray) -> None:
    flat = np.append(0, mask.T.ravel())  # down the columns; the first run is of zeros
    ends = np.append(np.flatnonzero(np.diff(flat)), mask.size)
    counts = np.diff(np.append(0, ends)).tolist()
    told = json.loads(mask_text({"size": list(mask.shape), "counts": counts}))
    assert told["counts"] == coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    assert mask_text(told) == json.dumps(told, separators=(",", ":"))


@pytest.mark.parametrize(
    "segmentation",
    [
        {},
        {"size": [2, 2]},
        {"size": [2], "counts": [4]},
        {"size": [2, 2], "counts": [3]},
        {"size": [2, 2], "counts": ""},
        {"size": [2, 2], "counts": [-1, 5]},
        {"size": ["2", 2], "counts": "04"},
        {"size": [2, 2], "counts": {"a": 1}},
    ],
)
def test_what_is_no_mask_is_none(segmentation: dict[str, Any]) -> None:
    assert mask_text(segmentation) == ""


def coco(folder: Path, annotation: dict[str, Any], **image: Any) -> Path:
    path = folder / "instances.json"
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 50, **image}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 3, "bbox": [10, 5, 20, 10], **annotation}],
        "categories": [{"id": 3, "name": "dog"}],
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("annotation", "image", "told"),
    [
        ({"bbox": [1, 2, 3]}, {}, "annotation 5: it has no bbox"),
        ({"bbox": None}, {}, "annotation 5: it has no bbox"),
        ({}, {"width": 0}, "annotation 5: its image has no width and height"),
        ({}, {"height": None}, "annotation 5: its image has no width and height"),
        ({}, {"height": "wide"}, "annotation 5: its image has no width and height"),
        ({"bbox": [10, 5, -3, 10]}, {}, "annotation 5: its box is inverted"),
        ({"bbox": [10, 5, 0, 10]}, {}, "annotation 5: its box has no area"),
        ({"bbox": [100, 5, 9, 10]}, {}, "annotation 5: its box lies outside the image"),
        ({"bbox": [10, 5, math.nan, 10]}, {}, "annotation 5: a side of its box is no finite number"),
        ({"bbox": [10, 5, math.inf, 10]}, {}, "annotation 5: a side of its box is no finite number"),
        ({"bbox": [10, [5], 3, 10]}, {}, "annotation 5: a side of its box is no finite number"),
        ({"bbox": [0.1, 0.2, 0.5, 0.5]}, {}, "annotation 5: it lies within one pixel: its sides are shares"),
        ({"bbox": [0, 0, 1, 0.5]}, {}, "annotation 5: it lies within one pixel: its sides are shares"),
        ({"score": 0}, {}, "annotation 5: a box of confidence 0"),
        ({"score": 80}, {}, "annotation 5: its score is 80, no number in 0..1"),
        ({"category_id": 4}, {}, "annotation 5 refers to a category that is not listed"),
    ],
)
def test_a_box_that_cannot_be_used_is_a_reject(
    tmp_path: Path, annotation: dict[str, Any], image: dict[str, Any], told: str
) -> None:
    path = coco(tmp_path, annotation, **image)
    try:
        found, rejects = read_regions("coco", [path])
    except DataError as error:  # NaN and Infinity are no JSON to every reader
        assert "is not a complete JSON file" in str(error)  # noqa: PT017
        return
    assert (found.num_rows, rejects.count) == (0, 1)
    assert str(rejects.first[0]).startswith(f"{path}: {told}")


def test_coco_states_boxes_flags_masks_and_scores(tmp_path: Path) -> None:
    mask = {"size": [50, 100], "counts": [5000]}
    more = {"iscrowd": 1, "ignore": 1, "attributes": {"occluded": True}, "segmentation": mask, "score": 0.25}
    (row,) = read_regions("coco", [coco(tmp_path, {**more, "bbox": [90, -5, 20, 10]})])[0].to_pylist()
    assert [row[side] for side in ("xmin", "ymin", "xmax", "ymax")] == pytest.approx([0.9, 0, 1, 0.1])
    assert {name for name, value in row.items() if value is True} == {"crowd", "difficult", "occluded", "clipped"}
    assert (row["image_id"], row["class_id"], row["confidence"]) == ("a.jpg", "3", 0.25)
    assert json.loads(row["mask"]) == {
        "size": [50, 100],
        "counts": coco_mask.encode(_empty(50, 100))["counts"].decode(),
    }


def _empty(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width), np.uint8, order="F")


@pytest.mark.parametrize("segmentation", [[[1, 2, 3, 4, 5]], {"size": [1, 1], "counts": [7]}])
def test_an_outline_that_is_left_out_is_told(tmp_path: Path, segmentation: object) -> None:
    (row,) = read_regions("coco", [coco(tmp_path, {"segmentation": segmentation})])[0].to_pylist()
    assert (row["mask"], row["outline"]) == ("", True)


def test_a_class_is_present_whatever_its_box(tmp_path: Path) -> None:
    path = coco(tmp_path, {"bbox": [10, 5, -3, 10], "score": 0.5})
    assert read_statements("coco", [path])[0].to_pylist() == [
        {"image_id": "a.jpg", "class_id": "3", "confidence": 0.5, "location": "a.jpg"}
    ]


BOX = {"image_id": ["a"], "label": ["dog"], "xmin": [0.0], "ymin": [0.0], "xmax": [0.5], "ymax": [1.0]}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"xmin": None}, "no column xmin; name them image_id, label"),
        ({"xmin": ["0"]}, "its column xmin is of the type string"),
        ({"label": [1.5]}, "its column label is of the type double"),
        ({"crowd": ["yes"]}, "its column crowd is of the type string"),
        ({"mask": [1]}, "its column mask is of the type int64"),
        ({"score": [0.5]}, "has a column score and no column confidence, so each box would be sure"),
        ({"Prob": [0.5]}, "has a column Prob"),
    ],
)
def test_a_table_without_boxes_is_refused(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    path = tmp_path / "boxes.parquet"
    pq.write_table(pa.table({name: one for name, one in {**BOX, **changed}.items() if one is not None}), path)
    with pytest.raises(MLImagesError, match=told):
        read_regions("boxes", [path])


@pytest.mark.parametrize("changed", [{"image_id": [None]}, {"label": [""]}, {"confidence": [2.0]}, {"xmax": [None]}])
def test_a_row_that_cannot_be_used_is_a_reject(tmp_path: Path, changed: dict[str, list[Any]]) -> None:
    path = tmp_path / "boxes.parquet"
    table = pa.table({**BOX, **changed})
    kinds = {"image_id": pa.string(), "label": pa.string(), "xmax": pa.float64()}
    pq.write_table(table.cast(pa.schema([(f.name, kinds.get(f.name, f.type)) for f in table.schema])), path)
    found, rejects = read_regions("boxes", [path])
    assert (found.num_rows, rejects.count) == (0, 1)
    assert "row 0: " in str(rejects.first[0])

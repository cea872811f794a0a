"""The mask of polygons is the one that COCO's own tools make of them, and what is no polygon has none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mlimages_dataset.sources.contract import read_regions
from mlimages_dataset.sources.polygons import Polygons, rings_of

if TYPE_CHECKING:
    from pathlib import Path

SIDES = st.integers(1, 60)
PLACES = st.one_of(st.integers(-20, 80), st.floats(-20, 80, allow_nan=False), st.sampled_from([0.0, 0.5, 30.0]))
RINGS = st.lists(
    st.lists(st.tuples(PLACES, PLACES), min_size=3, max_size=12).map(lambda points: [x for one in points for x in one]),
    min_size=1,
    max_size=4,
)


@given(rings=RINGS, width=SIDES, height=SIDES)
def test_polygons_have_the_mask_that_cocos_tools_make_of_them(
    rings: list[list[float]], width: int, height: int
) -> None:
    expected = coco_mask.merge(coco_mask.frPyObjects(rings, height, width))
    told = json.loads(Polygons(tuple(map(tuple, rings)), width, height).mask())
    assert (told["size"], told["counts"]) == (expected["size"], expected["counts"].decode())


@pytest.mark.parametrize(
    "ring",
    [
        (1.0, 2.0, 3.0, 4.0),
        (1.0, 2.0, 3.0, 4.0, 5.0),
        (1.0, 2.0, 3.0, 4.0, 5.0, float("nan")),
        (1.0, 2.0, 3.0, 4.0, 5.0, float("inf")),
        (1.0, 2.0, 3.0, 4.0, 5.0, 1e300),
        (1, 2, 3, 4, 5, 10**400),
        (0.0, 0.0, 1e9, 0.0, 1e9, 1e9),
    ],
)
def test_what_is_no_polygon_or_is_endless_has_no_mask(ring: tuple[float, ...]) -> None:
    assert Polygons((ring,), 10, 10).mask() == ""
    assert Polygons(((1, 1, 5, 1, 5, 5), ring), 10, 10).mask() == "", "half of an outline would be another one"


@pytest.mark.parametrize("side", [0, -1, 2.5, float("nan"), float("inf"), 1e9])
def test_an_image_without_a_size_has_no_mask(side: float) -> None:
    ring = (1, 1, 5, 1, 5, 5)
    assert Polygons((ring,), side, 10).mask() == Polygons((ring,), 10, side).mask() == ""


@pytest.mark.parametrize("segmentation", [None, {}, "1,2", [["1", 2]], [[True, 1]], [1, [2]], [[1], 2]])
def test_what_lists_no_polygons_has_none(segmentation: object) -> None:
    assert rings_of(segmentation) == ()


def test_one_outline_is_one_mask_in_every_format_that_has_polygons(tmp_path: Path) -> None:
    points: list[list[float]] = [[3, 2], [17, 4.5], [12, 18], [5, 9]]
    flat = [side for point in points for side in point]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 30, "height": 20}],
        "annotations": [
            {"image_id": 1, "category_id": 3, "bbox": [3, 2, 14, 16], "segmentation": one} for one in ([flat], flat)
        ],
        "categories": [{"id": 3, "name": "dog"}],
    }
    document = {
        "imagePath": "a.jpg",
        "imageWidth": 30,
        "imageHeight": 20,
        "shapes": [{"label": "dog", "points": points, "shape_type": "polygon"}],
    }
    pairs = ";".join(f"{x},{y}" for x, y in points)
    shape = f'<polygon label="dog" points="{pairs}"/>'
    texts = {
        "coco": json.dumps(content),
        "labelme": json.dumps(document),
        "cvat": f'<annotations><image name="a.jpg" width="30" height="20">{shape}</image></annotations>',
    }
    (expected,) = {Polygons((tuple(flat),), 30, 20).mask()}
    assert expected
    for name, text in texts.items():
        path = tmp_path / f"{name}{'.xml' if name == 'cvat' else '.json'}"
        path.write_text(text)
        rows = read_regions(name, [path])[0].to_pylist()
        assert {(row["mask"], row["outline"]) for row in rows} == {(expected, False)}, name

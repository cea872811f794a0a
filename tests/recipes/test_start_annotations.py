"""A class list of the user's wins over what annotations call their classes, in each of their formats."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import mlimages_dataset as ml
from tests.images.folders import picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlimages_dataset.api.builds import Build

BICYCLE, MOTORCYCLE = "n02834778", "n03790512"
HEADER = "id,name,wnid,parent\n"


def photos_in(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(picture(1))
    return folder


def stated(build: Build) -> list[str]:
    frame = build.labels.to_pandas(columns=["image_id", "wnid", "origin"]).query("origin == 0")
    return list(frame["wnid"])


def coco(at: Path) -> Path:
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 1, "name": "bike"}],
        "annotations": [box],
    }
    at.with_suffix(".json").write_text(json.dumps(content), "utf-8")
    return at.with_suffix(".json")


def yolo(at: Path) -> Path:
    at.mkdir()
    (at / "a.txt").write_text("0 .5 .5 .2 .2\n", "utf-8")
    (at / "classes.txt").write_text("bike\n", "utf-8")
    return at


def voc(at: Path) -> Path:
    at.mkdir()
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    size = "<size><width>40</width><height>30</height><depth>3</depth></size>"
    (at / "a.xml").write_text(
        f"<annotation><filename>a.jpg</filename>{size}<object><name>bike</name>{box}</object></annotation>", "utf-8"
    )
    return at


def labelme(at: Path) -> Path:
    at.mkdir()
    shape = {"label": "bike", "shape_type": "rectangle", "points": [[1, 1], [9, 9]]}
    content = {"imagePath": "a.jpg", "imageWidth": 40, "imageHeight": 30, "shapes": [shape]}
    (at / "a.json").write_text(json.dumps(content), "utf-8")
    return at


def cvat(at: Path) -> Path:
    box = '<box label="bike" xtl="1" ytl="1" xbr="9" ybr="9" occluded="0"/>'
    at.with_suffix(".xml").write_text(
        '<?xml version="1.0"?>\n<annotations><version>1.1</version><meta><task><labels><label><name>bike</name></label>'
        f'</labels></task></meta><image id="0" name="a.jpg" width="40" height="30">{box}</image></annotations>',
        "utf-8",
    )
    return at.with_suffix(".xml")


@pytest.mark.parametrize("written", [coco, yolo, voc, labelme, cvat])
def test_the_line_that_is_advised_decides_and_a_failed_run_says_what_to_do(
    tmp_path: Path, written: Callable[[Path], Path]
) -> None:
    given, photos, out = written(tmp_path / "given"), photos_in(tmp_path / "photos"), tmp_path / "build"
    built = ml.start(photos, classes=given, out=out)
    assert stated(built) == [BICYCLE]
    (unsure,) = (one for one in built.decisions if one.kind == "class whose meaning is not sure")
    (line,) = unsure.lines
    mine = tmp_path / "mine.csv"

    mine.write_text(HEADER + line.replace(BICYCLE, "n1234") + "\n", "utf-8")
    with pytest.raises(ml.MLImagesError, match="the wnid is 'n1234'") as told:
        ml.start(photos, classes=[given, mine], out=out, overwrite=True)
    assert "replaced" not in str(told.value), "a list that cannot be read is told before anything is replaced"
    assert ml.show(out, "a").images

    mine.write_text(HEADER + line.replace(BICYCLE, "n99999999") + "\n", "utf-8")
    with pytest.raises(ml.MLImagesError, match="is replaced in part: run again with overwrite=True"):
        ml.start(photos, classes=[given, mine], out=out, overwrite=True)
    with pytest.raises(
        ml.MLImagesError, match=f"command that writes {out} has not finished: run it again, with overwrite=True"
    ):
        ml.show(out, "a")

    mine.write_text(HEADER + line.replace(BICYCLE, MOTORCYCLE) + "\n", "utf-8")
    for classes in ([given, mine], [mine, given]):
        built = ml.start(photos, classes=classes, out=out, overwrite=True)
        assert stated(built) == [MOTORCYCLE]
        assert built.decisions == ()


def test_another_name_is_told_and_a_class_that_fits_nothing_is_decided(tmp_path: Path) -> None:
    content = json.loads(coco(tmp_path / "given").read_text("utf-8"))
    content["categories"].append({"id": 7, "name": "traffic cone"})
    content["annotations"].append({"id": 2, "image_id": 1, "category_id": 7, "bbox": [1, 1, 5, 5]})
    (tmp_path / "given.json").write_text(json.dumps(content), "utf-8")
    mine = tmp_path / "mine.csv"
    mine.write_text(f"{HEADER}1,wheel,{BICYCLE},\n7,traffic cone,,cone\n", "utf-8")
    built = ml.start(photos_in(tmp_path / "photos"), classes=[tmp_path / "given.json", mine], out=tmp_path / "build")
    (one,) = (one for one in built.decisions if one.kind == "id of two names")
    assert one.text.startswith("'1' is 'bike' in given and 'wheel' in mine, which counts; ")
    assert not [one for one in built.decisions if one.kind == "class that fits nothing"]


def test_numbers_of_two_files_of_coco_are_those_of_each(tmp_path: Path) -> None:
    photos = photos_in(tmp_path / "photos")
    (photos / "b.jpg").write_bytes(picture(2))
    files = []
    for image, name in (("a.jpg", "bicycle"), ("b.jpg", "motorcycle")):
        path = coco(tmp_path / name)
        content = json.loads(path.read_text("utf-8"))
        content["images"][0]["file_name"], content["categories"][0]["name"] = image, name
        path.write_text(json.dumps(content), "utf-8")
        files.append(path)
    build = ml.start(photos, classes=files, out=tmp_path / "out")
    told = build.labels.to_pandas(columns=["image_id", "wnid", "origin"]).query("origin == 0")
    assert dict(zip(told["image_id"], told["wnid"], strict=True)) == {"a": BICYCLE, "b": MOTORCYCLE}

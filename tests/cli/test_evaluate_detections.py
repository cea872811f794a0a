"""`mlimages-build evaluate-detections`: its three metrics, its output, and options that do not fit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

TREE = {
    "LabelName": "root",
    "Subcategory": [{"LabelName": "animal", "Subcategory": [{"LabelName": "dog"}]}, {"LabelName": "car"}],
}
HEADER = "ImageID,LabelName,XMin,XMax,YMin,YMax"


@pytest.fixture(name="files")
def _files(tmp_path: Path) -> Path:
    (tmp_path / "hierarchy.json").write_text(json.dumps(TREE))
    (tmp_path / "boxes.csv").write_text(f"{HEADER},IsGroupOf\na,dog,0,0.5,0,0.5,0\n")
    (tmp_path / "labels.csv").write_text("ImageID,LabelName,Confidence\na,dog,1\nb,animal,0\n")
    (tmp_path / "found.csv").write_text(f"{HEADER},Score\na,dog,0,0.5,0,0.5,0.9\nb,dog,0,1,0,1,0.95\na,dog,0,1,0,1,7\n")
    return tmp_path


def _challenge(files: Path) -> tuple[str | Path, ...]:
    names = {
        "boxes": "boxes.csv",
        "image-labels": "labels.csv",
        "hierarchy": "hierarchy.json",
        "predictions": "found.csv",
    }
    options = [part for name, file in names.items() for part in (f"--{name}", files / file)]
    return ("evaluate-detections", "--metric", "open-images-challenge", *options)


def test_the_challenge_is_printed_as_json_and_as_lines(files: Path, command: Command) -> None:
    ran = command(*_challenge(files), "--json")
    content = json.loads(ran.out)
    # No animal, so no dog, was seen in b: its surer detection halves the precision. Nobody detected the animal itself.
    assert (ran.code, content["mAP"], content["ap"]) == (0, 0.25, {"animal": 0.0, "car": None, "dog": 0.5})
    assert content["counts"]["rows of detections that cannot be used"] == 1
    lines = command(*_challenge(files)).out.splitlines()
    assert lines[:3] == [
        "  0.0000         1  animal",
        "  0.5000         1  dog",
        "  0.2500  mean over 2 classes with objects, of 3",
    ]
    assert lines[-1].startswith("rejected: ")


def test_no_image_labels_is_said_on_the_terminal(files: Path, command: Command) -> None:
    (files / "labels.csv").write_text("ImageID,LabelName,Confidence\n")
    ran = command(*_challenge(files))
    assert (ran.code, "there are no verified image labels" in ran.err) == (0, True)


def test_voc_in_both_of_its_interpolations(files: Path, command: Command) -> None:
    (files / "boxes.csv").write_text(f"{HEADER},IsDifficult\na,dog,1,10,1,10,0\na,dog,31,40,1,10,0\n")
    (files / "found.csv").write_text(f"{HEADER},Score\na,dog,1,10,1,10,0.9\n")
    call = (
        "evaluate-detections",
        "--metric",
        "voc",
        "--boxes",
        files / "boxes.csv",
        "--predictions",
        files / "found.csv",
        "--json",
    )
    assert json.loads(command(*call).out)["mAP"] == 0.5
    assert json.loads(command(*call, "--eleven-points").out)["mAP"] == pytest.approx(6 / 11)


def test_coco_is_measured_by_pycocotools(files: Path, command: Command) -> None:
    boxes = [(1, 1, [0, 0, 10, 10]), (1, 2, [20, 20, 30, 10]), (2, 1, [5, 5, 40, 40])]
    truth = {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "car"}, {"id": 3, "name": "tree"}],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for n, (i, c, box) in enumerate(boxes, 1)
        ],
    }
    results = [
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 9], "score": 0.9},
        {"image_id": 2, "category_id": 1, "bbox": [8, 5, 40, 40], "score": 0.8},
        {"image_id": 1, "category_id": 2, "bbox": [0, 0, 9, 9], "score": 0.7},
        {"image_id": 1, "category_id": 2, "bbox": [20, 20, 30, 10], "score": 0.6},
    ]
    (files / "truth.json").write_text(json.dumps(truth))
    (files / "results.json").write_text(json.dumps([*results, {**results[0], "image_id": 77}]))
    call = (
        "evaluate-detections",
        "--metric",
        "coco",
        "--boxes",
        files / "truth.json",
        "--predictions",
        files / "results.json",
        "--json",
    )
    content = json.loads(command(*call).out)
    (files / "known.json").write_text(json.dumps(results))
    dataset = COCO(str(files / "truth.json"))
    evaluation = COCOeval(dataset, dataset.loadRes(str(files / "known.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert content["mAP"] == pytest.approx(evaluation.stats[0])
    assert content["ap"]["tree"] is None
    assert content["counts"]["detections in unknown images"] == 1
    for name, told in (("truth.json", "is not of COCO's form"), ("results.json", "is no list of results")):
        kept = (files / name).read_text()
        (files / name).write_text('{"images": 5}')
        ran = command(*call)
        assert (ran.code, told in ran.err) == (1, True)
        (files / name).write_text(kept)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--metric", "open-images-challenge"), "the metric open-images-challenge needs --image-labels"),
        (("--metric", "voc", "--hierarchy", "x"), "the metric voc does not read --hierarchy"),
        (("--metric", "coco", "--eleven-points"), "--eleven-points is only for the metric voc"),
        (("--metric", "voc"), "cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_refused(command: Command, options: tuple[str, ...], told: str) -> None:
    ran = command("evaluate-detections", "--boxes", "no.csv", "--predictions", "none.csv", *options)
    assert ran.code in {1, 2}
    assert told in ran.err

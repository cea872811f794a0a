"""`mlimages-build evaluate-detections`: its three metrics, its output, and options that do not fit."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

if TYPE_CHECKING:
    from collections.abc import Callable
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


def _voc(folder: Path) -> tuple[str | Path, ...]:
    (folder / "Annotations").mkdir()
    for image in "ab":
        objects = "".join(
            f"<object><name>dog</name><difficult>{difficult}</difficult><bndbox><xmin>{x}</xmin><ymin>1</ymin>"
            f"<xmax>{x + 9}</xmax><ymax>10</ymax></bndbox></object>"
            for x, difficult in ((1, 0), (31, 1), (61, 0))
        )
        (folder / "Annotations" / f"{image}.xml").write_text(f"<annotation>{objects}</annotation>")
    (folder / "test.txt").write_text("a\n")
    (folder / "results").mkdir()
    (folder / "results" / "comp4_det_test_dog.txt").write_text(
        "a .9 1 1 10 10\na .8 31 1 40 10\na .7 1 1 10 10\nb .99 1 1 10 10\na .6 9 9 1 1\na high 1 1 2 2\n"
    )
    (folder / "results" / "comp4_det_test_cat.txt").write_text("a .9 1 1 10 10\n")
    image_set, results = folder / "test.txt", folder / "results"
    return (
        "evaluate-detections",
        "--metric",
        "voc",
        "--annotations",
        folder,
        "--image-set",
        image_set,
        "--results",
        results,
    )


def test_voc_gives_both_of_its_interpolations(tmp_path: Path, command: Command) -> None:
    call = _voc(tmp_path)
    content = json.loads(command(*call, "--json").out)
    # One of two objects at once, then a repeat; the difficult one is ignored.
    half = {"eleven_point": pytest.approx(6 / 11), "area": 0.5}
    assert content["ap"] == {"cat": {"eleven_point": None, "area": None}, "dog": half}
    assert {name: content[f"mAP_{name}"] for name in half} == half
    counts = content["counts"]
    assert counts["detections in images that are not in the set"] == counts["detections of difficult objects"] == 1
    assert counts["lines of results that cannot be used"] == len(content["first_rejected_rows"]) == 2
    lines = command(*call).out.splitlines()
    assert lines[1:3] == ["   0.5455    0.5000         2  dog", "   0.5455    0.5000         2  mean over 1 classes"]
    everything = json.loads(command(*call[:5], *call[7:], "--json").out)
    assert everything["counts"]["objects"] == 6


@pytest.mark.shared_data
def test_voc_gives_the_values_of_an_independent_implementation(shared_data: Path, command: Command) -> None:
    voc = shared_data / "voc"
    files = (
        "--annotations",
        voc / "Annotations",
        "--image-set",
        voc / "ImageSets/Main/test.txt",
        "--results",
        voc / "results",
    )
    content = json.loads(command("evaluate-detections", "--metric", "voc", *files, "--json").out)
    expected = json.loads((voc / "results/expected.json").read_text())
    assert set(content["ap"]) == set(expected["ap"])
    for name, values in expected["ap"].items():
        assert content["ap"][name] == pytest.approx(values, abs=1e-9), name
    for name in ("mAP_eleven_point", "mAP_area"):
        assert content[name] == pytest.approx(expected[name], abs=1e-9)


VOC_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no results": (
        lambda folder: shutil.rmtree(folder / "results"),
        "there is no comp4_det_SET_CLASS.txt",
    ),
    "several sets": (
        lambda folder: [
            (folder / "results" / "comp4_det_val_dog.txt").write_text("a 1 1 1 2 2"),
            (folder / "test.txt").rename(folder / "other.txt"),
        ],
        "has results of several image sets (test, val)",
    ),
    "two competitions": (
        lambda folder: (folder / "results" / "comp3_det_test_dog.txt").write_text("a 1 1 1 2 2"),
        "has two files of dog",
    ),
    "an absent image": (lambda folder: (folder / "test.txt").write_text("a\nz\n"), "it has no z.xml"),
    "a repeated image": (lambda folder: (folder / "test.txt").write_text("a\na\n"), "names a twice"),
    "an empty set": (lambda folder: (folder / "test.txt").write_text("\n"), "is empty"),
    "no annotations": (lambda folder: (folder / "Annotations" / "a.xml").unlink(), "it has no a.xml"),
    "no objects": (
        lambda folder: (folder / "Annotations" / "a.xml").write_text("<annotation></annotation>"),
        "no object of it can be used",
    ),
    "other XML": (lambda folder: (folder / "Annotations" / "a.xml").write_text("<a/>"), "not of <annotation>"),
}


@pytest.mark.parametrize("fault", VOC_FAULTS)
def test_files_that_are_not_voc_s_are_refused(tmp_path: Path, command: Command, fault: str) -> None:
    call = [str(part) for part in _voc(tmp_path)]
    damage, told = VOC_FAULTS[fault]
    damage(tmp_path)
    if fault == "several sets":
        call[call.index("--image-set") + 1] = str(tmp_path / "other.txt")
    ran = command(*call)
    assert ran.code in {1, 2}
    assert told in ran.err


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
    (files / "results.json").write_text(
        json.dumps([*results, {**results[0], "image_id": 77}, {**results[0], "category_id": 0}])
    )
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
    strangers = ("detections in unknown images", "detections of unknown categories")
    assert [content["counts"][name] for name in strangers] == [1, 1]
    for name, told in (
        ("truth.json", "has no annotations or no categories"),
        ("results.json", "is no list of results"),
    ):
        kept = (files / name).read_text()
        (files / name).write_text('{"images": 5}')
        ran = command(*call)
        assert (ran.code, told in ran.err) == (1, True)
        (files / name).write_text(kept)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--metric", "open-images-challenge"), "the metric open-images-challenge needs --hierarchy"),
        (("--metric", "voc"), "the metric voc needs --annotations"),
        (("--metric", "coco", "--hierarchy", "x"), "the metric coco does not read --hierarchy"),
        (("--metric", "coco"), "there is no such file"),
    ],
)
def test_options_that_do_not_fit_are_refused(command: Command, options: tuple[str, ...], told: str) -> None:
    ran = command("evaluate-detections", "--boxes", "no.csv", "--predictions", "none.csv", *options)
    assert ran.code in {1, 2}
    assert told in ran.err

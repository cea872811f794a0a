"""`mlimages-build evaluate-segmentation`: VOC's own files, its output, and files that do not fit."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mlimages_dataset.sources.label_maps import IGNORED, VOC_CLASSES, png_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Command

TRUTH = {"a": [[0, 0, 255], [15, 15, 1]], "b": [[0, 1]]}
RESULT = {"a": [[0, 15, 7], [15, 15, 1]], "b": [[0, 0]]}
EXPECTED = {"background": 2 / 4, "aeroplane": 1 / 2, "person": 2 / 3}
"""By hand: the class 7 stands where nobody labelled, so no bus was found."""


def _write(folder: Path, maps: dict[str, list[list[int]]]) -> None:
    folder.mkdir(parents=True)
    for name, rows in maps.items():
        (folder / f"{name}.png").write_bytes(png_of(np.array(rows, np.uint8)))


@pytest.fixture(name="voc")
def _voc(tmp_path: Path) -> Path:
    _write(tmp_path / "SegmentationClass", TRUTH)
    _write(tmp_path / "results" / "VOC2012" / "Segmentation" / "comp5_val_cls", {**RESULT, "c": [[0]]})
    (tmp_path / "val.txt").write_text("a\nb\n")
    return tmp_path


def _call(voc: Path) -> tuple[str | Path, ...]:
    files = ("--truth", voc, "--image-set", voc / "val.txt", "--results", voc / "results")
    return ("evaluate-segmentation", *files, "--workers", "1")


def test_each_class_and_their_mean_are_printed(voc: Path, command: Command) -> None:
    content = json.loads(command(*_call(voc), "--json").out)
    assert {name: value for name, value in content["iou"].items() if value is not None} == pytest.approx(EXPECTED)
    assert list(content["iou"]) == list(VOC_CLASSES)
    assert content["mIoU"] == pytest.approx(sum(EXPECTED.values()) / 3)
    assert content["pixel_accuracy"] == pytest.approx(5 / 7)
    assert content["counts"] == {"images": 2, "results of images that are not in the set": 1}
    assert np.sum(content["confusion"]) == 7
    lines = command(*_call(voc)).out.splitlines()
    assert lines[1] == "  0.5000             3  background"
    assert lines[4:6] == [
        "  0.5556             7  mean over 3 classes",
        "  0.7143  of the pixels have their true class",
    ]


@pytest.mark.slow
def test_any_number_of_workers_says_the_same(voc: Path, run_script: Command) -> None:
    call = _call(voc)[:-1]
    assert run_script(*call, "2").out == run_script(*call, "1").out != ""


def test_other_classes_are_named_in_a_file(voc: Path, command: Command) -> None:
    (voc / "names.txt").write_text("".join(f"class {number}\n" for number in range(16)))
    content = json.loads(command(*_call(voc), "--classes", voc / "names.txt", "--json").out)
    assert content["iou"]["class 15"] == pytest.approx(2 / 3)
    assert len(content["iou"]) == 16
    for names, told in (("x\nx\n", "names x twice"), ("\n", "is empty"), ("a\nb\n", "there are 0 to 1")):
        (voc / "names.txt").write_text(names)
        ran = command(*_call(voc), "--classes", voc / "names.txt")
        assert (ran.code > 0, told in ran.err or "names 0 classes" in ran.err) == (True, True), ran.err


RESULTS = "results/VOC2012/Segmentation/comp5_val_cls"
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no result": (lambda voc: (voc / RESULTS / "b.png").unlink(), "the result of 1 of 2 images of the set is missing"),
    "no truth": (lambda voc: (voc / "SegmentationClass/b.png").unlink(), "the truth of 1 of 2 images of the set is"),
    "an absent image": (lambda voc: (voc / "val.txt").write_text("a\nb\nz\n"), "is missing (z.png)"),
    "no image set": (lambda voc: (voc / "val.txt").unlink(), "val.txt"),
    "no results": (lambda voc: shutil.rmtree(voc / "results"), "there is no .png file in it"),
    "several results": (
        lambda voc: shutil.copytree(voc / RESULTS, voc / "results/comp6_val_cls"),
        "several folders of results (comp5_val_cls, comp6_val_cls)",
    ),
    "another size": (
        lambda voc: (voc / RESULTS / "b.png").write_bytes(png_of(np.zeros((2, 1), np.uint8))),
        "has 1 x 2 pixels, but its truth has 2 x 1",
    ),
    "a class out of range": (
        lambda voc: (voc / RESULTS / "b.png").write_bytes(png_of(np.array([[0, 21]], np.uint8))),
        "row 0, column 1 has the class 21, but there are 0 to 20",
    ),
    "nothing decided": (
        lambda voc: (voc / RESULTS / "b.png").write_bytes(png_of(np.array([[0, IGNORED]], np.uint8))),
        "only a truth has 255",
    ),
    "colours": (lambda voc: Image.new("RGB", (2, 1)).save(voc / RESULTS / "b.png"), "not indices of classes"),
    "a damaged file": (lambda voc: (voc / RESULTS / "b.png").write_bytes(b"\x89PNG"), "is not a complete PNG"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_measured_is_told_in_a_sentence(voc: Path, command: Command, fault: str) -> None:
    damage, told = FAULTS[fault]
    damage(voc)
    ran = command(*_call(voc))
    assert ran.code in {1, 2}
    assert told in ran.err, ran.err


@pytest.mark.shared_data
def test_real_label_maps_are_measured(shared_data: Path, command: Command, tmp_path: Path) -> None:
    voc = shared_data / "voc"
    results, pixels = tmp_path / "comp5_val_cls", 0
    results.mkdir()
    for path in (voc / "SegmentationClass").glob("*.png"):
        with Image.open(path) as image:
            truth = np.asarray(image)
        (results / path.name).write_bytes(png_of(np.where(truth == IGNORED, 0, truth).astype(np.uint8)))
        pixels += int((truth != IGNORED).sum())
    image_set = voc / "ImageSets" / "Segmentation" / "val.txt"
    call = ("evaluate-segmentation", "--truth", voc, "--image-set", image_set, "--results", results)
    content = json.loads(command(*call, "--workers", "1", "--json").out)
    assert (content["mIoU"], np.sum(content["confusion"])) == (1, pixels)

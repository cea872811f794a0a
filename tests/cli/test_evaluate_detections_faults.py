"""`mlimages-build evaluate-detections` given files that are wrong or doubtful: each is told, nothing is lost silently."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command, Ran

SIDES = "XMin,XMax,YMin,YMax"
TREE = {
    "LabelName": "root",
    "Subcategory": [{"LabelName": "/m/1", "Subcategory": [{"LabelName": "/m/2"}]}, {"LabelName": "/m/3"}],
}
CONTENTS = {
    "boxes": f"ImageID,LabelName,{SIDES},IsGroupOf\na,/m/2,0,0.5,0,0.5,0\nb,/m/3,0,1,0,1,1\n",
    "image-labels": "ImageID,LabelName,Confidence\na,/m/2,1\nb,/m/1,0\n",
    "hierarchy": json.dumps(TREE),
    "predictions": f"ImageID,LabelName,{SIDES},Score\na,/m/2,0,0.5,0,0.5,0.9\nb,/m/3,0.1,1,0,1,0.8\n",
}


class Challenge:
    """The files of a challenge in a folder, each of which a test may replace."""

    def __init__(self, folder: Path, command: Command) -> None:
        self.folder = folder
        self.command = command
        self.places: dict[str, Path] = {}
        for name, content in CONTENTS.items():
            self.write(name, content)

    def write(self, name: str, content: str) -> Path:
        """Replace the file of an option, and return it."""
        self.places[name] = self.folder / f"{name}.csv"
        self.places[name].write_text(content)
        return self.places[name]

    def run(self, *more: str) -> Ran:
        """Run the command."""
        options = [part for name, place in self.places.items() for part in (f"--{name}", str(place))]
        return self.command("evaluate-detections", "--metric", "open-images-challenge", *options, *more)


@pytest.fixture(name="challenge")
def _challenge(tmp_path: Path, command: Command) -> Challenge:
    return Challenge(tmp_path, command)


@pytest.mark.parametrize("option", ["boxes", "image-labels", "predictions"])
def test_of_an_archive_the_only_file_is_read_and_of_several_one_must_be_named(
    challenge: Challenge, option: str
) -> None:
    plain = challenge.run("--json")
    archive = challenge.folder / "packed.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("one.csv", CONTENTS[option])
        packed.writestr("__MACOSX/._one.csv", "x")
    challenge.places[option] = archive
    assert challenge.run("--json").out == plain.out
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("two.csv", "x")
    ran = challenge.run()
    assert ran.code == 2
    assert "packed.zip: has 2 files (one.csv, two.csv), and one is wanted; name it: " in ran.err
    challenge.places[option] = archive / "one.csv"
    assert challenge.run("--json").out == plain.out


@pytest.mark.parametrize("option", list(CONTENTS))
def test_what_is_no_file_is_wrong_use(challenge: Challenge, option: str) -> None:
    for name, told, remedy in (
        ("none.csv", "there is no such file", "check the path"),
        ("none.zip", "there is no such file", "check the path"),
        ("", "is a folder, and a file is wanted", "name a file in it"),
    ):
        challenge.places[option] = challenge.folder / name
        ran = challenge.run("--json")
        assert ran.code == 2, name
        error = json.loads(ran.out)["error"]
        assert (error["what"], error["remedy"]) == (told, remedy)
        assert f"{told}; {remedy}" in ran.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"LabelName": "r", "Subcategory": [{**TREE["Subcategory"][0], "Subcategory": [TREE]}]}, ""),  # type: ignore[dict-item]
        ([TREE], "it is no object with a list Subcategory"),
        ({"LabelName": "r", "Subcategory": [{"Name": "x"}]}, "a class has no LabelName"),
    ],
)
def test_a_hierarchy_that_is_none_is_refused(challenge: Challenge, content: object, told: str) -> None:
    challenge.write("hierarchy", json.dumps(content))
    ran = challenge.run()
    assert ran.code == 1
    assert "is not Open Images' box hierarchy (" + (told or "a class is below itself: ") in ran.err


def _voc_of(folder: Path, classes: tuple[str, ...]) -> tuple[Path, Path]:
    """Return a folder of annotations with one object of each class, and an empty one for results."""
    annotations, results = folder / "Annotations", folder / "results"
    for place in (annotations, results):
        place.mkdir()
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in classes)
    (annotations / "a.xml").write_text(f"<annotation>{objects}</annotation>")
    return annotations, results


@pytest.mark.parametrize("image_set", ["val", "mini_val"])
@pytest.mark.parametrize(
    "classes",
    [
        ("dog",),
        ("big_dog", "dog"),
        ("big_dog", "small_dog"),
        ("/m/1", "/m/22"),
        ("_m_1", "_m_22"),
        ("a_b_c", "x", "b_c"),
    ],
)
def test_classes_of_voc_s_results_are_known_from_the_annotations(
    tmp_path: Path, command: Command, classes: tuple[str, ...], image_set: str
) -> None:
    annotations, results = _voc_of(tmp_path, classes)
    for name in classes:
        (results / f"comp4_det_{image_set}_{name.replace('/', '_')}.txt").write_text("a .9 1 1 9 9\n")
    options = ("--annotations", annotations, "--results", results, "--json")
    content = json.loads(command("evaluate-detections", "--metric", "voc", *options).out)
    assert content["ap"] == {name: {"eleven_point": 1.0, "area": 1.0} for name in classes}


def test_voc_s_results_of_other_classes_are_told(tmp_path: Path, command: Command) -> None:
    annotations, results = _voc_of(tmp_path, ("dog",))
    (results / "comp4_det_val_polar_bear.txt").write_text("a .9 1 1 9 9\n")
    call = ("evaluate-detections", "--metric", "voc", "--annotations", annotations, "--results", results)
    ran = command(*call)
    assert ran.code == 0
    assert "1 of 1 files of results are of classes that no annotation of these images has" in ran.err
    (results / "comp4_det_val_dog.txt").write_text("b .9 1 1 9 9\n")
    ran = command(*call)
    assert "(comp4_det_val_polar_bear.txt): they change nothing; the annotations have dog" in ran.err
    (results / "comp4_det_test_dog.txt").write_text("a .9 1 1 9 9\n")
    ran = command(*call)
    assert (ran.code, "has results of several image sets (test, val" in ran.err) == (1, True)
    (results / "comp4_det_val_polar_bear.txt").unlink()
    (results / "comp4_det_test_dog.txt").unlink()
    assert "no detection is left" in command(*call).err

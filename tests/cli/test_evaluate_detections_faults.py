"""`mlimages-build evaluate-detections` given files that are wrong or doubtful: each is told, no loss is silent."""

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


BOX, FOUND = f"ImageID,LabelName,{SIDES},IsGroupOf", f"ImageID,LabelName,{SIDES},Score"
LABEL = "ImageID,LabelName,Confidence"


@pytest.mark.parametrize(
    ("option", "content", "told"),
    [
        ("boxes", f"{BOX}\na,/m/2,0,50,0,50,0\n", "has no box in or near its image (1 far outside): sides are shares"),
        (
            "predictions",
            f"{FOUND}\na,/m/2,0,50,0,50,0.9\n",
            "has no box in or near its image (1 far outside): sides are shares",
        ),
        ("boxes", f"{BOX}\n", "has no rows"),
        ("boxes", f"{BOX}\na,Dog,0,1,0,1,0\n", "labels such as Dog, and the hierarchy such as /m/1"),
        ("boxes", CONTENTS["predictions"], "has the column score, so these are detections"),
        ("predictions", f"{BOX},Confidence\na,/m/2,0,1,0,1,0,1\n", "has the column isgroupof, so these are true boxes"),
        ("image-labels", f"{BOX},Confidence\na,/m/2,0,1,0,1,0,1\n", "so these are boxes, not labels of images"),
    ],
)
def test_files_of_another_kind_are_refused(challenge: Challenge, option: str, content: str, told: str) -> None:
    challenge.write(option, content)
    ran = challenge.run()
    assert (ran.code, told in ran.err) == (1, True), ran.err


@pytest.mark.parametrize(
    ("option", "content", "told"),
    [
        ("boxes", f"ImageID,LabelName,{SIDES}\na,/m/2,0,0.5,0,0.5\n", "has no column IsGroupOf: no box is of a group"),
        ("boxes", f"{BOX}\na,/m/2,0,1,0,1,0\nz,/m/3,0,1,0,1,0\n", "boxes of 1 of 2 images without image labels or det"),
        ("image-labels", f"{LABEL}\na,/m/2,1\nz,/m/2,1\n", "image labels of 1 of 2 images without boxes or detections"),
        ("image-labels", f"{LABEL}\n", "has no rows"),
        ("predictions", f"{FOUND}\n", "has no rows"),
        (
            "predictions",
            f"{FOUND}\na,/m/2,0,1,0,1,1\na,/m/2,0,9,0,9,1\n",
            "1 detections are left out: sides far outside 0..1",
        ),
        ("predictions", f"{FOUND}\na.jpg,/m/2,0,1,0,1,1\na.png,/m/2,0,1,0,1,1\n", "1 images under several names"),
    ],
)
def test_doubtful_files_are_told(challenge: Challenge, option: str, content: str, told: str) -> None:
    challenge.write(option, content)
    ran = challenge.run()
    assert (ran.code, told in ran.err) == (0, True), ran.err


@pytest.mark.parametrize("option", ["boxes", "image-labels", "predictions"])
def test_names_of_pictures_are_ids(challenge: Challenge, option: str) -> None:
    plain = challenge.run("--json")
    challenge.write(option, CONTENTS[option].replace("\na,", "\na.jpg,").replace("\nb,", "\n./b.JPEG,"))
    assert challenge.run("--json").out == plain.out


def test_rejects_have_their_line_and_text(challenge: Challenge) -> None:
    rows = ["a,/m/2,0,1,0,1,0", "", "a,/m/2,1,0,0,1,0", '"a\nb",/m/2,nan,1,0,1,0', BOX, "a,,0,1,0,1,0"]
    rows += ["a,/m/2,0,1,0,1,perhaps", "a,/m/2,0,1,0,1,3"]
    challenge.write("boxes", "\n".join([BOX, *rows]))
    ran = challenge.run()
    rejected = [line for line in ran.out.splitlines() if line.startswith("rejected: ")]
    place = f"rejected: {challenge.places['boxes']}, line "
    assert rejected[0] == f"{place}4: its box is inverted or has no area: 'a,/m/2,1,0,0,1,0'"
    assert rejected[1].startswith(f"{place}5: a side of its box is no finite number: ")
    assert rejected[2].startswith(f"{place}7: it repeats the header: ")
    assert rejected[3:] == [
        f"{place}8: it names no image or no label: 'a,,0,1,0,1,0'",
        f"{place}9: its flag is neither 0 nor 1: 'a,/m/2,0,1,0,1,perhaps'",
        "rejected: and 1 more",
    ]


def test_contradictory_labels_are_counted(challenge: Challenge) -> None:
    challenge.write("image-labels", f"{LABEL}\na,/m/2,1\na,/m/2,0\nb,/m/2,0\nb,/m/2,0\n")
    counts = json.loads(challenge.run("--json").out)["counts"]
    assert counts["image labels that say present and absent of one class"] == 1


GOOD = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "score": 0.5}
COCO_FAULTS: dict[str, tuple[object, str]] = {
    "NaN": ({**GOOD, "score": float("nan")}, "its score is no number in 0..1"),
    "score above 1": ({**GOOD, "score": 7}, "its score is no number in 0..1"),
    "null": ({**GOOD, "score": None}, "its score is no number in 0..1"),
    "no score": ({name: value for name, value in GOOD.items() if name != "score"}, "its score is no number in 0..1"),
    "three numbers": ({**GOOD, "bbox": [0, 0, 1]}, "its bbox is no list of four numbers"),
    "negative size": ({**GOOD, "bbox": [0, 0, -1, 1]}, "its bbox has no area"),
    "infinite": ({**GOOD, "bbox": [0, 0, float("inf"), 1]}, "a number of its bbox is not finite"),
    "a list as id": ({**GOOD, "image_id": []}, "its image_id is no id"),
    "no category": ({"image_id": 1}, "it has no category_id"),
    "no object": (5, "it is no object"),
}


@pytest.mark.parametrize("fault", COCO_FAULTS)
def test_results_of_coco_that_cannot_be_used_are_counted(tmp_path: Path, command: Command, fault: str) -> None:
    row, told = COCO_FAULTS[fault]
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "n02084071", "words": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "area": 100, "iscrowd": 0}],
    }
    boxes, results = tmp_path / "truth.json", tmp_path / "results.json"
    boxes.write_text(json.dumps(truth))
    call = ("evaluate-detections", "--metric", "coco", "--boxes", boxes, "--predictions", results)
    results.write_text(json.dumps([GOOD, row]))
    content = json.loads(command(*call, "--json").out)
    assert (content["mAP"], content["names"]) == (pytest.approx(1), {"n02084071": "dog"})
    assert content["counts"]["rows of detections that cannot be used"] == 1
    assert content["first_rejected_rows"][0].startswith(f"{results}: result 2: {told}")
    results.write_text(json.dumps([row]))
    ran = command(*call)
    assert (ran.code, "no detection is left" in ran.err, "n02084071  dog" in ran.out) == (0, True, True)


def test_a_detector_s_boxes_as_exported_are_detections(challenge: Challenge) -> None:
    plain = challenge.run("--json")
    rows = "a,/m/2,0,0.5,0,0.5,0,0.9\nb,/m/3,0.1,1,0,1,0,0.8\n"
    challenge.write("predictions", f"{BOX},Confidence\n{rows}")
    assert challenge.run("--json").out == plain.out

"""Complete annotations from their own list to a judgement, through the commands that the documentation shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Command

SCRIPT = Path(__file__).parents[2] / "scripts" / "coco_annotations.py"
CLASSES = "person\tn00007846\ndog\tn02084071\nracket\tn04039381\n"


def converted(images: Path, classes: Path, out: Path) -> subprocess.CompletedProcess[str]:
    arguments: tuple[str | Path, ...] = (sys.executable, SCRIPT, images, classes, "--out", out)
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


def annotated(command: Command, images: Path, classes: Path, folder: Path) -> None:
    """Write folder/vocabulary and folder/annotations."""
    done = converted(images, classes, folder / "csv")
    assert done.returncode == 0, done.stderr
    vocabulary = command("vocab", "--classes", f"coco={folder / 'csv' / 'classes.csv'}", "--out", folder / "vocabulary")
    assert vocabulary.code == 0, vocabulary.err
    arguments = ("--format", "csv", "--source", "coco", folder / "csv" / "annotations.csv")
    ran = command("annotate", "--vocab", folder / "vocabulary", *arguments, "--out", folder / "annotations")
    assert ran.code == 0, ran.err


@pytest.fixture(scope="module")
def truth(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a vocabulary and annotations of 300 images; every racket is with a person."""
    folder = tmp_path_factory.mktemp("truth")
    lists = [" 0 2", "0", "1", " 1 0", "0 2", " 2 0"]
    lines = [f"COCO_{number:012d}.jpg,{lists[number % 6]}\n" for number in range(300)]
    (folder / "images.txt").write_text("".join(lines))
    (folder / "classes.tsv").write_text(CLASSES)
    annotated(command, folder / "images.txt", folder / "classes.tsv", folder)
    return folder


def arguments(folder: Path) -> tuple[str | Path, ...]:
    return ("evaluate-labels", "--vocab", folder / "vocabulary", "--truth", folder / "annotations")


def test_what_augmentation_adds_is_judged(truth: Path, command: Command) -> None:
    ran = command(*arguments(truth), "--thresholds", "0.5,0.95", "--json")
    assert ran.code == 0, ran.err
    content = json.loads(ran.out)
    assert content["images"] + content["learned_from"] == 300
    assert content["declared_classes"] == 3
    loose, strict = content["thresholds"]
    assert (loose["threshold"], strict["threshold"]) == (0.5, 0.95)
    assert strict["added"]["co_occurrence"]["declared"]["precision"] == 1
    assert loose["added"]["co_occurrence"]["declared"]["precision"] < 1
    assert strict["added"]["ancestor"]["all"]["precision"] == 1
    assert strict["noisy"] == 0
    assert strict["missing"] > loose["missing"]


def test_the_table_has_a_row_for_each_strength(truth: Path, command: Command) -> None:
    ran = command(*arguments(truth), "--thresholds", "0.5,0.95", "--seed", "3")
    assert ran.code == 0, ran.err
    rows = [line.split() for line in ran.out.splitlines() if line.startswith(("ancestor", "co-occurrence"))]
    assert [row[:3] for row in rows[1:]] == [["co-occurrence", ">", "0.5"], ["co-occurrence", ">", "0.95"]]
    assert rows[0][2] == "100.00%"
    assert command(*arguments(truth), "--thresholds", "0.5,0.95", "--seed", "3") == ran


def test_a_truth_without_absences_is_told_to_be_taken_for_complete(
    truth: Path, command: Command, tmp_path: Path
) -> None:
    said = "the annotations list no verified absence, so they are taken for complete"
    content = json.loads(command(*arguments(truth), "--json").out)
    assert content["verified_absences"] == 0
    assert [one.startswith(said) for one in content["findings"]] == [True]
    assert said in command(*arguments(truth)).out.splitlines()[-1]
    given = ("--format", "csv", "--source", "coco", "--ids-of", "coco", "--complete", truth / "csv" / "annotations.csv")
    ran = command("annotate", "--vocab", truth / "vocabulary", *given, "--out", tmp_path / "annotations")
    assert ran.code == 0, ran.err
    checked = ("evaluate-labels", "--vocab", truth / "vocabulary", "--truth", tmp_path / "annotations")
    content = json.loads(command(*checked, "--json").out)
    assert content["verified_absences"] > 0
    assert content["findings"] == []
    assert said not in command(*checked).out


def test_nothing_hidden_leaves_no_declared_class_missing(truth: Path, command: Command) -> None:
    content = json.loads(command(*arguments(truth), "--hide", "0", "--json").out)
    assert content["kept_labels"] == content["true_declared_labels"]
    declared = content["thresholds"][0]["added"]["co_occurrence"]["declared"]
    assert (declared["right"], declared["recall"]) == (0, None)


@pytest.mark.parametrize("text", ["", "a", "0.5,1", "-1", "0.5;0.6"])
def test_thresholds_that_are_none_are_wrong_use(text: str, truth: Path, command: Command) -> None:
    ran = command(*arguments(truth), "--thresholds", text)
    assert ran.code == 2
    assert "not a list of numbers from 0 to below 1" in ran.err


def test_a_folder_without_a_table_is_wrong_use(truth: Path, command: Command, tmp_path: Path) -> None:
    ran = command("evaluate-labels", "--vocab", truth / "vocabulary", "--truth", tmp_path)
    assert ran.code == 2
    assert "there is no part-*.parquet in it" in ran.err


@pytest.mark.parametrize(
    ("line", "message"),
    [("a.jpg 0 1", "has no comma behind a file name"), ("a.jpg,0 3", "'3' is no class number below 3")],
)
def test_the_converter_names_the_line_it_cannot_read(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "images.txt").write_text(f"b.jpg,1\n{line}\n")
    (tmp_path / "classes.tsv").write_text(CLASSES)
    done = converted(tmp_path / "images.txt", tmp_path / "classes.tsv", tmp_path / "out")
    assert done.returncode == 1
    assert "Line 2" in done.stderr
    assert message in done.stderr


@pytest.mark.slow
@pytest.mark.shared_data
def test_coco_is_judged(shared_data: Path, command: Command, tmp_path: Path) -> None:
    coco = shared_data / "coco"
    annotated(command, coco / "train_full.txt", coco / "classes_80_wn30.tsv", tmp_path)
    content = json.loads(command(*arguments(tmp_path), "--json").out)
    assert content["images"] + content["learned_from"] == 82_081
    assert content["declared_classes"] == 80
    figures = [row["added"]["co_occurrence"]["declared"] for row in content["thresholds"]]
    precision, recall = ([one[name] for one in figures] for name in ("precision", "recall"))
    assert precision == sorted(precision)
    assert recall == sorted(recall, reverse=True)
    assert all(one["added"]["ancestor"]["all"]["precision"] == 1 for one in content["thresholds"])


def lvis(images: int) -> dict[str, object]:
    """Return LVIS's JSON: every image shows a racket, three of four a person too; dogs were looked for in half."""
    categories = [
        {"id": number, "name": name, "synset": synset}
        for number, name, synset in ((1, "person", "person.n.01"), (2, "dog", "dog.n.01"), (3, "racket", "racket.n.04"))
    ]
    listed = [
        {"id": n, "file_name": f"{n}.jpg", "width": 9, "height": 9, "neg_category_ids": [[2], [1, 2], [], []][n % 4]}
        for n in range(images)
    ]
    boxes = [
        {"id": 2 * n + person, "image_id": n, "category_id": 1 if person else 3, "bbox": [1, 1, 2, 2], "iscrowd": 0}
        for n in range(images)
        for person in ((0,) if n % 4 == 1 else (0, 1))
    ]
    return {"images": listed, "annotations": boxes, "categories": categories}


def open_images(images: int) -> str:
    """Return the same as Open Images' verified labels, and a machine's label that is no truth."""
    rows = ["ImageID,Source,LabelName,Confidence"]
    for n in range(images):
        rows += [f"{n:016x},verification,/m/racket,1"]
        rows += [f"{n:016x},verification,/m/person,{int(n % 4 != 1)}"] if n % 4 < 3 else []
        rows += [f"{n:016x},verification,/m/dog,0"] if n % 4 < 2 else []
        rows += [f"{n:016x},machine,/m/dog,0.6"] if n % 4 == 2 else []
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("collection", ["lvis", "open-images"])
def test_verified_absences_judge_what_was_looked_for_only(collection: str, command: Command, tmp_path: Path) -> None:
    if collection == "lvis":
        (tmp_path / "truth.json").write_text(json.dumps(lvis(400)))
        classes, form, given = f"lvis={tmp_path / 'truth.json'}", "coco", tmp_path / "truth.json"
    else:
        names = ["id,name,wnid", "/m/person,person,n00007846", "/m/dog,dog,n02084071", "/m/racket,racket,n04039381"]
        (tmp_path / "classes.csv").write_text("\n".join(names) + "\n")
        (tmp_path / "truth.csv").write_text(open_images(400))
        classes, form, given = f"open-images={tmp_path / 'classes.csv'}", "open-images", tmp_path / "truth.csv"
    assert command("vocab", "--classes", classes, "--out", tmp_path / "vocabulary").code == 0
    name = classes.partition("=")[0]
    arguments = ("annotate", "--vocab", tmp_path / "vocabulary", "--format", form, "--source", name, "--ids-of", name)
    ran = command(*arguments, given, "--out", tmp_path / "annotations")
    assert ran.code == 0, ran.err
    judged = ("evaluate-labels", "--vocab", tmp_path / "vocabulary", "--truth", tmp_path / "annotations", "--json")
    ran = command(*judged, "--thresholds", "0.5")
    assert ran.code == 0, ran.err
    added = json.loads(ran.out)["thresholds"][0]["added"]["co_occurrence"]["declared"]
    assert added["absent"] > 10
    assert added["right"] > added["absent"]
    assert added["presumed_absent"] == 0
    if collection == "open-images":  # in a quarter of the images nobody says of persons, and the machine does not count
        assert added["unjudged"] > 10


def test_a_rules_file_is_judged(truth: Path, command: Command, tmp_path: Path) -> None:
    given = [text for name in ("annotations", "predictions") for text in (f"--{name}", truth / "annotations")]
    rules = ("cooccurrence", "--rule", "regression", "--precision", "0.5", "--vocab", truth / "vocabulary", *given)
    assert command(*rules, "--out", tmp_path / "rules").code == 0
    ran = command(
        *arguments(truth), "--implications", tmp_path / "rules" / "rules.parquet", "--thresholds", "0,0.99", "--json"
    )
    assert ran.code == 0, ran.err
    content = json.loads(ran.out)
    loose, strict = content["thresholds"]
    assert content["learned_from"] == 0
    assert loose["implications"] >= 1
    told = command(*arguments(truth), "--implications", tmp_path / "rules" / "rules.parquet", "--thresholds", "0")
    first = (
        f"{content['images']:>12,}  images evaluated, with the rules given: if these were learned from the same images,"
    )
    assert told.out.startswith(first)
    assert loose["added"]["co_occurrence"]["declared"]["precision"] > 0.4
    assert loose["added"]["co_occurrence"]["declared"]["right"] >= strict["added"]["co_occurrence"]["declared"]["right"]

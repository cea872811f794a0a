"""The documented commands close the loop: a teacher is trained, predicts, and labels gain what it saw together."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pytest

from mlimages_dataset import samples
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import CATEGORIES, LABELS, PREDICTIONS, Origin
from tests.train.conftest import DOCUMENT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlimages_dataset.tables.schemas import TableSchema

TRUTH = Path(__file__).parent / "photograph_truth.txt"


def documented(mark: str, language: str) -> str:
    """Return the block that the documentation has under a mark."""
    pattern = rf"<!-- {mark} -->\n```{language}\n(.*?)^```$"
    (block,) = re.findall(pattern, DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(block)


def closed_loop(folder: Path, commands: str) -> str:
    """Run commands of the documentation in a folder, and return what they print."""
    (folder / "recipe.toml").write_text(documented("teacher loop: recipe", "toml"), encoding="utf-8")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows_of(folder: Path, schema: TableSchema) -> list[dict[str, Any]]:
    """Return the rows of a table in a folder."""
    return [row for part in table_parts(folder) for row in read_table(part, schema).to_pylist()]


def class_names(folder: Path) -> list[str]:
    """Return the first name of each class of a loop's vocabulary."""
    table = read_table(folder / "build" / "vocabulary" / "categories.parquet", CATEGORIES)
    return [name.partition(",")[0] for name in table["name"].to_pylist()]


def added_labels(folder: Path) -> list[tuple[str, int]]:
    """Return the labels that co-occurrence added, as pairs of image and class."""
    return [
        (row["image_id"], label["class_index"])
        for row in rows_of(folder / "labels" / "train", LABELS)
        for label in row["labels"]
        if label["origin"] == Origin.CO_OCCURRENCE and label["confidence"] > 0
    ]


@pytest.mark.slow
def test_the_documented_commands_close_the_loop(tmp_path: Path) -> None:
    told_all = closed_loop(tmp_path, documented("teacher loop: inputs", "bash") + documented("teacher loop", "bash"))

    # The teacher: better than chance on photographs that it has not learnt from, and as sure as it is right.
    told = {line.split()[0]: line.split() for line in told_all.splitlines() if line.strip()}
    by_chance = re.search(r"by chance: precision ([\d.]+), map ([\d.]+)", told_all)
    assert by_chance is not None
    assert float(told["precision@5"][1]) >= 2 * float(by_chance[1])
    assert float(told["map"][1]) >= 1.5 * float(by_chance[2])
    labels = re.search(r"labels per image: ([\d.]+), and ([\d.]+) by its probabilities", told_all)
    assert labels is not None
    assert 0.5 < float(labels[2]) / float(labels[1]) < 2

    predictions = rows_of(tmp_path / "predictions", PREDICTIONS)
    assert [row["image_id"] for row in predictions] == sorted(path.stem for path in samples.photographs().glob("*.jpg"))
    assert {label["origin"] for row in predictions for label in row["labels"]} == {int(Origin.MODEL_PREDICTION)}
    assert all(0.5 < label["confidence"] < 1 for row in predictions for label in row["labels"])

    # Labels grow by some, and what is added is mostly true.
    assert pq.read_table(tmp_path / "cooccurrence" / "implications.parquet").num_rows > 0
    rows, names, truth = rows_of(tmp_path / "labels" / "train", LABELS), class_names(tmp_path), true_classes()
    n_present = sum(label["confidence"] > 0 for row in rows for label in row["labels"])
    added = added_labels(tmp_path)
    assert 0 < len(added) <= n_present / 2
    chance = sum(len(truth[row["image_id"]]) for row in rows) / (len(rows) * len(names))
    judged = [names[number] in truth[image_id] for image_id, number in added]
    assert sum(judged) / len(judged) >= 2 * chance


def true_classes() -> dict[str, set[str]]:
    """Return the classes of each photograph that a person sees in it, by name."""
    lines = TRUTH.read_text(encoding="utf-8").splitlines()
    return {line.partition(":")[0]: {name.strip() for name in line.partition(":")[2].split(",")} for line in lines}


VOC_AS_COCO = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
VOC_AS_OPEN_IMAGES = {
    "aeroplane": "Airplane",
    "cow": "Cattle",
    "diningtable": "Kitchen & dining room table",
    "motorbike": "Motorcycle",
    "pottedplant": "Houseplant",
    "sofa": "Couch",
    "tvmonitor": "Television",
}


def write_voc_inputs(shared: Path, folder: Path) -> None:
    """Write Pascal VOC's photographs as two collections: every class by Open Images' ids, the largest by ImageNet's."""
    wnids = dict(line.split("\t") for line in (shared / "coco" / "classes_80_wn30.tsv").read_text().splitlines())
    with (shared / "open_images" / "class_descriptions_v6.csv").open(encoding="utf-8") as stream:
        mids = {row["DisplayName"]: row["LabelName"] for row in csv.DictReader(stream)}
    largest: list[tuple[str, ...]] = []
    every: list[tuple[str, ...]] = []
    for path in sorted((shared / "voc" / "Annotations").glob("*.xml")):
        objects = ET.parse(path).iter("object")  # noqa: S314 - files of the shared data
        found = [(area(item), str(item.findtext("name"))) for item in objects]
        name = max(found)[1]
        place = (path.stem, f"{path.stem}.jpg")
        largest.append((*place, "imagenet", wnids[VOC_AS_COCO.get(name, name)], name))
        names = sorted({VOC_AS_OPEN_IMAGES.get(one, one.capitalize()) for _, one in found})
        every.extend((*place, "open-images", mids[named], named) for named in names)
    header = [("image_id", "location", "source", "label", "name")]
    write_csv(folder / "imagenet.csv", header + largest)
    write_csv(folder / "open-images.csv", header + every)
    write_csv(folder / "classes.csv", sorted({row[3:] for row in every}))
    (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in sorted({row[3] for row in largest})))


def area(item: ET.Element) -> float:
    """Return the area of an object's box in pixels."""
    xmin, ymin, xmax, ymax = (float(item.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax"))
    return (xmax - xmin) * (ymax - ymin)


def write_csv(path: Path, rows: Iterable[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


@pytest.mark.slow
def test_what_a_teacher_adds_to_photographs_that_it_has_not_seen_is_mostly_true(
    tmp_path: Path, shared_data: Path
) -> None:
    write_voc_inputs(shared_data, tmp_path)
    documented_loop = documented("teacher loop", "bash")
    looser = documented_loop.replace("--val 10", "--val 40").replace(
        "mlimages-build cooccurrence", "mlimages-build cooccurrence --probability 0.5 --strength 0.3"
    )
    assert looser.count("--val 40") == looser.count("--strength 0.3") == 1
    _, _, weights = documented("teacher loop: inputs", "bash").partition("\nWEIGHTS=")
    places = f"PHOTOGRAPHS={shlex.quote(str(shared_data / 'voc' / 'JPEGImages'))}\nWEIGHTS={weights}"
    closed_loop(tmp_path, places + looser)
    truth = {
        row["image_id"]: {label["class_index"] for label in row["labels"]}
        for row in rows_of(tmp_path / "taught" / "val", LABELS)
    }
    judged = [number in truth[image_id] for image_id, number in added_labels(tmp_path) if image_id in truth]
    chance = sum(map(len, truth.values())) / (len(truth) * len(class_names(tmp_path)))
    # What docs/training.md tells of it.
    sys.stdout.write(f"{len(judged)} labels added to {len(truth)} unseen photographs, {sum(judged)} true\n")
    sys.stdout.write(f"by chance {chance:.3f}\n")
    assert judged
    assert sum(judged) / len(judged) >= 2 * chance

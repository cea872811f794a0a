"""The packaged photographs: complete, as credited, and labelled with packaged classes only."""

from __future__ import annotations

import csv
import hashlib
from importlib import resources
from pathlib import Path

import pytest
from PIL import Image

from mlimages_dataset import samples

LONG_SIDE = 320
MOST_BYTES = 1_500_000
LICENCES = {"CC0-1.0", "CC-BY-2.0", "CC-BY-4.0", "public domain"}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


CREDITS = rows(samples.attribution_csv())
LABELS = rows(samples.labels_csv())


def packaged_ids(source: str) -> set[str]:
    data = resources.files("mlimages_dataset.vocab") / "data"
    if source == "imagenet":
        return set((data / "imagenet11k.txt").read_text(encoding="utf-8").split())
    lines = (data / "open_images_boxable.csv").read_text(encoding="utf-8").splitlines()
    return {row["LabelName"] for row in csv.DictReader(lines)}


def test_a_few_dozen_photographs_fit_into_the_package() -> None:
    files = list(samples.photographs().iterdir())
    assert 24 <= len(files) <= 40
    assert sum(file.stat().st_size for file in files) < MOST_BYTES


def test_credits_name_exactly_the_files_on_disk() -> None:
    assert sorted(credit["file"] for credit in CREDITS) == sorted(file.name for file in samples.photographs().iterdir())
    assert all(credit["file"] == f"{credit['image_id']}.jpg" for credit in CREDITS)


@pytest.mark.parametrize("credit", CREDITS, ids=lambda credit: credit["image_id"])
def test_photograph_decodes_to_what_its_credit_says(credit: dict[str, str]) -> None:
    file = samples.photographs() / credit["file"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == credit["sha256"]
    with Image.open(file) as picture:
        picture.load()
    assert (picture.format, picture.mode) == ("JPEG", "RGB")
    assert picture.size == (int(credit["width"]), int(credit["height"]))
    assert max(picture.size) <= LONG_SIDE
    assert not picture.getexif()
    assert not {"icc_profile", "comment", "xmp", "photoshop"} & picture.info.keys()


@pytest.mark.parametrize("credit", CREDITS, ids=lambda credit: credit["image_id"])
def test_photograph_may_be_shipped(credit: dict[str, str]) -> None:
    assert credit["licence"] in LICENCES
    assert all(credit[column].startswith("http") for column in ("licence_url", "source_url"))
    assert all(credit[column] for column in ("title", "author", "origin"))


def test_notice_names_every_origin() -> None:
    notice = Path(__file__).parents[2] / "NOTICE"
    if not notice.is_file():
        pytest.skip(f"{notice} is not there: the tests run outside the repository")
    text = notice.read_text(encoding="utf-8")
    assert [origin for origin in sorted({credit["origin"] for credit in CREDITS}) if origin not in text] == []


def test_every_photograph_has_a_present_label() -> None:
    present = {label["image_id"] for label in LABELS if label["confidence"] == "1"}
    assert present == {credit["image_id"] for credit in CREDITS}


@pytest.mark.parametrize("source", ["imagenet", "open-images"])
def test_every_label_is_a_packaged_class(source: str) -> None:
    ids = packaged_ids(source)
    assert [label for label in LABELS if label["source"] == source and label["label"] not in ids] == []


def test_labels_are_verified_and_said_once() -> None:
    assert {label["source"] for label in LABELS} == {"imagenet", "open-images"}
    assert {label["confidence"] for label in LABELS} == {"0", "1"}
    keys = [(label["image_id"], label["label"]) for label in LABELS]
    assert len(set(keys)) == len(keys)


def test_a_label_has_one_name_throughout() -> None:
    assert len({label["label"] for label in LABELS}) == len({(row["label"], row["name"]) for row in LABELS})

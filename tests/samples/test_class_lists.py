"""The packaged class lists against the publishers' own lists."""

from __future__ import annotations

import csv
from importlib import resources
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

DATA = resources.files("mlimages_dataset.vocab") / "data"

# The only class whose packaged name shares no word with its V6 name, "Personal flotation device".
RENAMED = {"/m/054xkw"}


def wnids(name: str) -> list[str]:
    return (DATA / name).read_text(encoding="utf-8").splitlines()


def boxable() -> dict[str, str]:
    lines = (DATA / "open_images_boxable.csv").read_text(encoding="utf-8").splitlines()
    return {row["LabelName"]: row["DisplayName"] for row in csv.DictReader(lines)}


def test_imagenet_lists_are_sorted_distinct_and_complete() -> None:
    imagenet_11k, fall_2011 = wnids("imagenet11k.txt"), wnids("imagenet_fall2011.txt")
    assert (len(imagenet_11k), len(fall_2011)) == (11_221, 21_841)
    assert imagenet_11k == sorted(set(imagenet_11k))
    assert fall_2011 == sorted(set(fall_2011))
    assert set(imagenet_11k) < set(fall_2011)


def test_boxable_classes_are_distinct() -> None:
    names = boxable()
    assert len(names) == len(set(names.values())) == 601


def test_crocodile_and_hippopotamus_are_not_swapped() -> None:
    assert (boxable()["/m/09f_2"], boxable()["/m/09f20"]) == ("Crocodile", "Hippopotamus")


@pytest.mark.shared_data
def test_imagenet_11k_is_what_has_more_than_500_images(shared_data: Path) -> None:
    with (shared_data / "imagenet" / "fall2011_counts.tsv").open(encoding="utf-8", newline="") as file:
        counts = {row[0]: int(row[1]) for row in csv.reader(file, delimiter="\t") if row[0].startswith("n")}
    assert sorted(counts) == wnids("imagenet_fall2011.txt")
    assert sorted(wnid for wnid, images in counts.items() if images > 500) == wnids("imagenet11k.txt")


@pytest.mark.shared_data
def test_boxable_names_are_those_of_open_images_v6(shared_data: Path) -> None:
    with (shared_data / "open_images" / "class_descriptions_v6.csv").open(encoding="utf-8", newline="") as file:
        name_in_v6 = {row["LabelName"]: row["DisplayName"] for row in csv.DictReader(file)}
    different = {mid for mid, name in boxable().items() if name.casefold() not in name_in_v6[mid].casefold()}
    assert different == RENAMED
    assert sum(name != name_in_v6[mid] for mid, name in boxable().items()) == 16

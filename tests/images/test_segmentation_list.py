"""The augmented list of VOC and SBD: a partition whatever the lists are, the label maps of both, and missing files."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cli.segmentation_list import segmentation_list
from mlimages_dataset.core.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.images.segmentation_list import (
    PUBLISHED,
    SegmentationLists,
    SegmentationListSummary,
    write_segmentation_list,
)
from mlimages_dataset.sources.label_maps import png_of, read_label_map
from tests.sources.test_label_maps import sbd_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

IDS = st.lists(st.sampled_from([f"2008_{number:06d}" for number in range(30)]), unique=True)


@given(train=IDS, val=IDS, sbd=IDS)
def test_no_image_is_in_both_lists_and_none_is_lost(train: list[str], val: list[str], sbd: list[str]) -> None:
    lists = SegmentationLists.of(train, val, sbd)
    assert set(lists.train).isdisjoint(lists.val)
    assert {*lists.train, *lists.val} == {*train, *val, *sbd}
    assert list(lists.val) == sorted(val)
    assert list(lists.train) == sorted(set(lists.train))
    assert lists.left_out == len(set(sbd) & set(val))


def _listed(path: Path, images: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{image}\n" for image in images))


@pytest.fixture(name="folders")
def _folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return folders of VOC and of SBD; the class of all pixels of image N is N in VOC, and 10 + N in SBD."""
    voc, sbd = tmp_path / "VOCdevkit" / "VOC2012", tmp_path / "benchmark_RELEASE" / "dataset"
    sets = voc / "ImageSets" / "Segmentation"
    _listed(sets / "train.txt", ["2", "1"])
    _listed(sets / "val.txt", ["4", "3"])
    _listed(sbd / "train.txt", ["6", "3", "1"])
    _listed(sbd / "val.txt", ["5"])
    for folder in (voc / "SegmentationClass", voc / "JPEGImages", sbd / "cls", sbd / "img"):
        folder.mkdir()
    for number in range(1, 5):
        (voc / "SegmentationClass" / f"{number}.png").write_bytes(png_of(_map(number)))
        _picture(voc / "JPEGImages" / f"{number}.jpg")
    for number in (1, 3, 5, 6):
        (sbd / "cls" / f"{number}.mat").write_bytes(sbd_file(_map(10 + number)))
        _picture(sbd / "img" / f"{number}.jpg")
    return voc, sbd


def _picture(path: Path, size: tuple[int, int] = (3, 2)) -> None:
    Image.new("RGB", size).save(path)


def _map(label: int) -> np.ndarray:
    return np.array([[label, 0, 255], [label, label, 0]], np.uint8)


def test_lists_and_label_maps_are_written(folders: tuple[Path, Path], tmp_path: Path) -> None:
    voc, sbd = folders
    for number, (one, other) in enumerate(itertools.product((voc, voc.parent), (sbd, sbd.parent))):
        out = tmp_path / f"out-{number}"
        summary = write_segmentation_list(out, one, other).summary
        assert summary == SegmentationListSummary(train=4, val=2, train_of_voc=2, left_out=1)
        assert (out / "train.txt").read_text() == "1\n2\n5\n6\n"
        assert (out / "val.txt").read_text() == "3\n4\n"
        found = {path.stem: int(read_label_map(path, 21)[0, 0]) for path in (out / "SegmentationClass").iterdir()}
        assert found == {"1": 1, "2": 2, "3": 3, "4": 4, "5": 15, "6": 16}, "VOC's own where it has one"
        assert (read_label_map(out / "SegmentationClass" / "5.png", 21) == _map(15)).all()
        assert not write_segmentation_list(out, voc, sbd).fresh


def test_other_numbers_than_the_published_ones_are_told() -> None:
    assert PUBLISHED == {"train": 10_582, "val": 1_449}
    assert SegmentationListSummary(10_582, 1_449, 1_464, 0).findings() == []
    told = SegmentationListSummary(10_581, 1_149, 1_464, 0).findings()
    assert [one.partition(":")[0] for one in told] == [
        "train.txt has 10,581 images, but 10,582 are published",
        "val.txt has 1,149 images, but 1,449 are published",
    ]


FAULTS: dict[str, tuple[Callable[[Path, Path], object], type[MLImagesError], str]] = {
    "a label map of VOC": (
        lambda voc, _: (voc / "SegmentationClass" / "3.png").unlink(),
        UsageError,
        r"SegmentationClass: has no label maps of 1 images of the lists \(3\)",
    ),
    "a label map of SBD": (
        lambda _, sbd: (sbd / "cls" / "6.mat").unlink(),
        UsageError,
        r"cls: has no label maps of 1 images of the lists \(6\)",
    ),
    "a picture": (
        lambda _, sbd: (sbd / "img" / "5.jpg").unlink(),
        UsageError,
        r"has no pictures of 1 images of the lists \(5\)",
    ),
    "a list": (lambda _, sbd: (sbd / "val.txt").unlink(), UsageError, "val.txt"),
    "an image in both lists": (
        lambda voc, _: _listed(voc / "ImageSets" / "Segmentation" / "train.txt", ["1", "4"]),
        DataError,
        "names 4, which val.txt names too",
    ),
    "another file": (
        lambda _, sbd: (sbd / "cls" / "6.mat").write_bytes(b"no MATLAB"),
        DataError,
        "6.mat: holds no label map",
    ),
    "a picture of another size": (
        lambda _, sbd: _picture(sbd / "img" / "6.jpg", (2, 3)),
        DataError,
        r"6\.mat: it has 3 x 2 pixels, but .*6\.jpg 2 x 3",
    ),
    "a damaged picture": (
        lambda voc, _: (voc / "JPEGImages" / "4.jpg").write_bytes(b"no picture"),
        DataError,
        r"4\.jpg: is no picture that can be read",
    ),
    "a class out of range": (
        lambda voc, _: (voc / "SegmentationClass" / "2.png").write_bytes(png_of(_map(21))),
        DataError,
        "2.png: the pixel in row 0, column 0 has the class 21",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_missing_or_malformed_is_told(folders: tuple[Path, Path], tmp_path: Path, fault: str) -> None:
    damage, kind, told = FAULTS[fault]
    damage(*folders)
    with pytest.raises(kind, match=told):
        write_segmentation_list(tmp_path / "out", *folders)
    assert not (tmp_path / "out" / "train.txt").exists()


def test_folders_of_something_else_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    voc, sbd = folders
    with pytest.raises(UsageError, match="there is no folder JPEGImages in it; name the folder VOC2012"):
        write_segmentation_list(tmp_path / "out", sbd, sbd)
    with pytest.raises(UsageError, match="there is no folder cls in it; name the folder dataset"):
        write_segmentation_list(tmp_path / "out", voc, voc)


def test_the_command_tells_the_numbers(folders: tuple[Path, Path], tmp_path: Path) -> None:
    voc, sbd = folders
    words = ["--voc", str(voc), "--sbd", str(sbd), "--out", str(tmp_path / "out"), "--workers", "1"]
    ran = CliRunner().invoke(segmentation_list, [*words, "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["summary"] == {"train": 4, "val": 2, "train_of_voc": 2, "left_out": 1}
    assert "Warning: train.txt has 4 images, but 10,582 are published" in ran.stderr
    assert "val.txt has 2 images, but 1,449 are published" in CliRunner().invoke(segmentation_list, words).stdout

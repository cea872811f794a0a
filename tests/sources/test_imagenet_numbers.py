"""Numbers in ImageNet's own lists mean what the list that goes with them says, and nothing without it."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.sources.class_lists import parse_imagenet_synsets
from mlimages_dataset.sources.contract import read_statements
from mlimages_dataset.sources.layout import Layout
from mlimages_dataset.sources.synsets import read_synsets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlimages_dataset.sources.rejects import RejectLog

WNIDS = ("n02119789", "n02100735", "n01440764", "n02084071")
"""In the order of their ids in a development kit of our own, from 1; the last is no leaf there."""
TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def meta(path: Path, wnids: Sequence[str] = WNIDS) -> Path:
    """Write a table of synsets in the form of the development kit's."""
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O"), ("children", "O")]
    table = np.empty((len(wnids), 1), np.dtype(fields))
    for number, wnid in enumerate(wnids):
        table[number, 0] = (float(number + 1), wnid, "a word", 0.0, np.zeros((1, 0)))
    savemat(path, {"synsets": table})
    return path


def clsloc(path: Path) -> Path:
    path.write_text("".join(f"{wnid} {number} a_word\n" for number, wnid in enumerate(WNIDS, 1)))
    return path


def listed(path: Path, wnids: Sequence[str] = WNIDS) -> Path:
    path.write_text("".join(f"{wnid} a word, another\n" for wnid in wnids))
    return path


def said(path: Path, content: str, synsets: Path | None = None) -> tuple[list[tuple[str, str]], RejectLog]:
    """Return image and class of each statement, and the rejects."""
    path.write_text(content)
    found, log = read_statements("imagenet", [path], Layout(synsets=synsets) if synsets else None)
    return [(row["image_id"], row["class_id"]) for row in found.to_pylist()], log


@settings(max_examples=20)
@given(ids=st.lists(st.integers(1, len(WNIDS)), min_size=1, max_size=30), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_line_k_of_the_ground_truth_is_of_picture_k(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], end: str
) -> None:
    folder = tmp_path_factory.mktemp("kit")
    expected = [(f"ILSVRC2012_val_{k:08}", WNIDS[number - 1]) for k, number in enumerate(ids, 1)]
    rows, log = said(folder / TRUTH, end.join(map(str, ids)), clsloc(folder / "map_clsloc.txt"))
    assert (rows, log.count) == (expected, 0)


def test_the_kits_two_lists_of_ids_say_the_same(tmp_path: Path) -> None:
    ids = read_synsets(meta(tmp_path / "meta.mat"))
    assert ids == read_synsets(clsloc(tmp_path / "map_clsloc.txt"))
    assert (dict(ids.wnids), ids.are_ids) == (dict(enumerate(WNIDS, 1)), True)


def test_lines_that_are_no_class_keep_their_number(tmp_path: Path) -> None:
    rows, log = said(tmp_path / TRUTH, "1\n0\n2\n5\nx\n\n3\n", clsloc(tmp_path / "map_clsloc.txt"))
    assert rows == [(f"ILSVRC2012_val_{k:08}", WNIDS[at]) for k, at in ((1, 0), (3, 1), (7, 2))]
    assert [reject.line for reject in log.first] == [2, 4, 5]


def test_a_ground_truth_of_wnids_needs_no_list(tmp_path: Path) -> None:
    rows, log = said(tmp_path / "imagenet_2012_validation_synset_labels.txt", "n01440764\nn02084071\n")
    assert rows == [("ILSVRC2012_val_00000001", "n01440764"), ("ILSVRC2012_val_00000002", "n02084071")]
    assert log.count == 0


@pytest.mark.parametrize(
    "name", ["ILSVRC2010_validation_ground_truth.txt", "ILSVRC2012_validation_ground_truth.txt.gz"]
)
def test_the_year_is_that_of_the_name(tmp_path: Path, name: str) -> None:
    content = b"1\n2\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    found, _ = read_statements("imagenet", [tmp_path / name], Layout(synsets=clsloc(tmp_path / "map.txt")))
    assert found["image_id"].to_pylist() == [f"{name[:10]}_val_{k:08}" for k in (1, 2)]


def test_numbers_without_a_list_are_refused_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{TRUTH}: holds numbers.*pass --synsets with meta\.mat or map_clsloc\.txt"):
        said(tmp_path / TRUTH, "490\n361\n")
    rows, log = said(tmp_path / "val.txt", "ILSVRC2012_val_00000001.JPEG 65\n")
    assert rows == []
    assert "pass --synsets with synsets.txt" in str(log.first[0])


@settings(max_examples=20)
@given(numbers=st.lists(st.integers(0, len(WNIDS) + 1), min_size=1, max_size=20))
def test_numbers_of_val_txt_count_lines_from_0(tmp_path_factory: pytest.TempPathFactory, numbers: list[int]) -> None:
    folder = tmp_path_factory.mktemp("caffe")
    # Picture k has another number than k, as in the published list.
    names = [f"ILSVRC2012_val_{k:08}.JPEG" for k in range(101, 101 + len(numbers))]
    text = "".join(f"{name} {number}\n" for name, number in zip(names, numbers, strict=True))
    rows, log = said(folder / "val.txt", text, listed(folder / "synsets.txt"))
    pairs = list(zip(names, numbers, strict=True))
    assert rows == [(name, WNIDS[number]) for name, number in pairs if number < len(WNIDS)]
    assert log.count == len(numbers) - len(rows)
    assert all(reject.what == "a number that --synsets does not list" for reject in log.first)


def test_one_list_is_not_taken_for_the_other(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"its numbers are ids of the development kit, and synsets\.txt is a list"):
        said(tmp_path / TRUTH, "1\n", listed(tmp_path / "synsets.txt"))
    with pytest.raises(DataError, match=r"its numbers count the lines .* and meta\.mat gives"):
        said(tmp_path / "val.txt", "a.jpg 1\n", meta(tmp_path / "meta.mat"))
    # A wnid in the name needs no number, whatever it counts.
    assert said(tmp_path / "t.txt", "n01440764_1.JPEG 1\n", meta(tmp_path / "meta.mat"))[0] == [
        ("n01440764_1.JPEG", "n01440764")
    ]


def test_numbers_of_lines_are_no_classes(tmp_path: Path) -> None:
    text = "".join(f"ILSVRC2012_val_{k:08} {k}\n" for k in range(1, 4))
    with pytest.raises(DataError, match=r"has the number of its line behind each picture"):
        said(tmp_path / "val.txt", text, listed(tmp_path / "synsets.txt"))


def test_rows_of_several_boxes_state_each_class_once(tmp_path: Path) -> None:
    text = (
        "ImageId,PredictionString\n"
        "n02017213_7894,n02017213 115 49 448 294 n02017213 1 2 3 4 \n"
        "ILSVRC2012_val_00048981,n03995372 85 1 499 272\n"
        "n01440764_1,n01440764 1 2 3 4 n02084071 5 6 7 8 n01440764 9 9 9 9\n"
        "n01440764_2,\n"
    )
    rows, log = said(tmp_path / "LOC_train_solution.csv", text)
    assert sorted(rows) == [
        ("ILSVRC2012_val_00048981", "n03995372"),
        ("n01440764_1", "n01440764"),
        ("n01440764_1", "n02084071"),
        ("n02017213_7894", "n02017213"),
    ]
    assert [reject.line for reject in log.first] == [5]


def test_kaggles_mapping_is_a_list_of_classes_and_of_synsets(tmp_path: Path) -> None:
    lines = ["n01440764 tench, Tinca tinca", "n01443537 goldfish, Carassius auratus"]
    found = parse_imagenet_synsets(lines, "LOC_synset_mapping.txt")
    assert [(one.source_id, one.name) for one in found] == [tuple(line.split(" ", 1)) for line in lines]
    (tmp_path / "LOC_synset_mapping.txt").write_text("\n".join(lines))
    assert read_synsets(tmp_path / "LOC_synset_mapping.txt").wnids == {0: "n01440764", 1: "n01443537"}


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0", b"\x00" * 200, b"x" * 4000])
def test_what_is_no_meta_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "meta.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"meta\.mat: is not the development kit's meta\.mat"):
        read_synsets(tmp_path / "meta.mat")


@pytest.mark.slow
def test_a_damaged_meta_is_a_sentence_or_a_table_of_wnids(tmp_path: Path) -> None:
    content = meta(tmp_path / "whole.mat").read_bytes()
    generator = np.random.default_rng(7)
    for _ in range(8):
        damaged = bytearray(content)
        for at in generator.integers(0, len(content), 3):
            damaged[at] = generator.integers(256)
        (tmp_path / "meta.mat").write_bytes(damaged)
        try:
            found = read_synsets(tmp_path / "meta.mat")
        except DataError:
            continue
        assert all(len(wnid) == 9 for wnid in found.wnids.values())


@pytest.mark.parametrize("text", ["n01440764 1\nn01440764 2\n", "n01440764 1\nn02084071 1\n", "tench\n", "\n"])
def test_a_list_that_says_a_thing_twice_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "synsets.txt").write_text(text)
    with pytest.raises(DataError, match=r"synsets\.txt"):
        read_synsets(tmp_path / "synsets.txt")
    with pytest.raises(UsageError, match="absent"):
        read_synsets(tmp_path / "absent")

"""Counts, numbers of classes, weights and thresholds are numbers by one rule (`core.decimals`), wherever they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from cli import evaluate_labels, fuse_detections, region_sample, vocab
from cli.main import main
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.images.orientation import stated_rotation
from mlimages_dataset.sources.class_lists import TENCENT_HEADER, parse_release_status, parse_tencent_dictionary
from mlimages_dataset.sources.rejects import RejectLog
from mlimages_dataset.sources.source import DOUBTED, LISTED
from mlimages_dataset.sources.voc_results import read_results
from mlimages_dataset.sources.yolo import Yolo
from mlimages_dataset.vocab.stage import _parse_image_counts
from mlimages_dataset.vocab.wordnet import load_wordnet

if TYPE_CHECKING:
    from pathlib import Path

NO_NUMBERS = ("1_0", "\u0661", "\uff11", "9" * 5000)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_a_count_of_images_has_the_digits_0_to_9(text: str) -> None:
    with pytest.raises(DataError, match="is not a number of images"):
        _parse_image_counts(["source,source_id,images", f"a,1,{text}"], "counts.csv")
    with pytest.raises(DataError, match="is no number of images"):
        parse_release_status(f'<x><synset wnid="n02084071" numImages="{text}"/></x>', "ReleaseStatus.xml")


def test_counts_of_images_are_read() -> None:
    assert _parse_image_counts(["source,source_id,images", "a,1, 650 "], "counts.csv") == [(("a", "1"), 650)]
    assert parse_release_status('<x><synset wnid="n02084071" numImages=" 650"/></x>', "x") == {"n02084071": 650}


@pytest.mark.parametrize("text", ["\u0660", "\uff10", "0_0"])
def test_an_index_of_a_dictionary_has_the_digits_0_to_9(text: str) -> None:
    lines = ["\t".join(TENCENT_HEADER), f"{text}\tn02084071\t-1\tdog"]
    with pytest.raises(DataError, match="is not an index"):
        parse_tencent_dictionary(lines, "dictionary.txt")


@pytest.mark.parametrize("text", ["\u0661", "\uff11", "0_1"])
def test_a_text_of_other_digits_is_no_number_of_a_class(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.yaml").write_text(f"names:\n  0: cat\n  '{text}': dog\n")
    with pytest.raises(DataError, match=f"names has the key '{text}', which is no number of a class"):
        Yolo().classes(tmp_path)
    (tmp_path / "data.yaml").write_text("names:\n  0: cat\n")
    (tmp_path / "a.txt").write_text(f"{text} 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n")
    log = RejectLog()
    (piece,) = Yolo().cut(Yolo().piece(tmp_path))
    assert [one.class_id for one in Yolo().instances(piece, log) if one.class_id not in {LISTED, DOUBTED}] == ["cat"]
    assert log.count == 1


@pytest.mark.parametrize("text", ["9_0", "\u0669\u0660", "0x5a"])
def test_a_rotation_is_a_plain_number(text: str) -> None:
    assert stated_rotation(text) is None
    assert stated_rotation("90.0") == 90


@pytest.mark.parametrize("text", ["1_0", "\u0661", "x", "inf"])
@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_number_of_a_result_of_voc_is_a_plain_one(tmp_path: Path, text: str, at: int) -> None:
    fields = ["a", "0.5", "1", "2", "30", "40"]
    (tmp_path / "r.txt").write_text(" ".join(fields) + "\n" + " ".join([*fields[:at], text, *fields[at + 1 :]]) + "\n")
    log = RejectLog()
    assert len(list(read_results("dog", tmp_path / "r.txt", log))) == 1
    assert [one.line for one in log.first] == [2]
    assert "is no finite number" in log.first[0].what


def test_a_synset_is_named_with_the_digits_0_to_9() -> None:
    wordnet = load_wordnet()
    assert wordnet.wnid_of_name("dog.n.01") == "n02084071"
    assert not wordnet.wnid_of_name("dog.n.\u0660\u0661")


@pytest.mark.parametrize("text", ["0_1", "\u0660.5", "1_0", "\u0661"])
def test_options_take_plain_numbers_only(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a list of numbers"):
        evaluate_labels._thresholds(click.Context(main), click.Option(["--thresholds"]), text)
    with pytest.raises(UsageError, match="is no list of numbers"):
        fuse_detections._numbers(f"1,{text}")
    with pytest.raises(UsageError, match="is not a number of images"):
        vocab._number(text)
    with pytest.raises(UsageError, match="is no NAME=N"):
        region_sample._named_number(f"train={text}")


def test_options_take_usual_numbers() -> None:
    assert evaluate_labels._thresholds(click.Context(main), click.Option(["--thresholds"]), "0.3,0,.5") == (0.3, 0, 0.5)
    assert fuse_detections._numbers("1,2.5") == (1, 2.5)
    assert (vocab._number("650"), region_sample._named_number("train=7")) == (650, ("train", 7))

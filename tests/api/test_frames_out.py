"""Frames of values: their columns on request, both tables of a vocabulary, and files whose columns have other cases."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import mlimages_dataset as ml
from mlimages_dataset.sources.class_lists import TENCENT_HEADER
from mlimages_dataset.tables.schemas import MAPPING
from tests.api.conftest import CAT, DOG

if TYPE_CHECKING:
    from pathlib import Path

SAID = pd.DataFrame(
    {"image_id": list("abcdef"), "label": [DOG, CAT] * 3, "location": [f"{one}.jpg" for one in "abcdef"]}
)
DEFAULT = ["image_id", "source", "class_index", "wnid", "name", "confidence", "origin"]


@pytest.fixture(name="labels", scope="module")
def _labels(known: ml.Vocabulary) -> ml.Labels:
    return ml.augment(SAID, known, validation_images=2)


@pytest.mark.parametrize("seed", range(5))
def test_columns_are_those_that_are_asked_for(labels: ml.Labels, seed: int) -> None:
    names = [*DEFAULT, "location", "split"]
    wanted = random.Random(seed).sample(names, seed + 1)  # noqa: S311 - no secret
    frame, every = labels.to_pandas(columns=wanted), labels.to_pandas(columns=names)
    pd.testing.assert_frame_equal(frame, every[wanted])
    pd.testing.assert_frame_equal(every[DEFAULT], labels.to_pandas())
    assert (every["location"] == every["image_id"] + ".jpg").all()
    for split in ("train", "val"):
        of_split = every[every["split"] == split].reset_index(drop=True)
        pd.testing.assert_frame_equal(of_split, labels.to_pandas(split, names))
    assert every.groupby("split")["image_id"].nunique().to_dict() == {"train": 4, "val": 2}


def test_annotations_have_locations_and_no_splits(known: ml.Vocabulary) -> None:
    annotations = ml.annotate(SAID, known)
    assert annotations.to_pandas(["location"])["location"].tolist() == SAID["location"].tolist()
    with pytest.raises(ml.MLImagesError, match=r"no column 'split'; choose of image_id, .*, location"):
        annotations.to_pandas(["image_id", "split"])


def test_the_mapping_is_a_frame_too(known: ml.Vocabulary) -> None:
    frame = known.to_pandas("mapping")
    assert list(frame.columns) == [*MAPPING.arrow.names, "name"]
    for row, told in zip(known.mapping, frame.itertuples(index=False), strict=True):
        assert all(getattr(row, name) == getattr(told, name) for name in MAPPING.arrow.names)
        assert told.name == (known.category(row.class_index).name if row.is_kept else "")
    with pytest.raises(ml.MLImagesError, match="table is 'tables', but must be 'categories' or 'mapping'"):
        known.to_pandas("tables")  # type: ignore[arg-type]  # what is refused


def test_values_tell_how_much_they_hold(known: ml.Vocabulary, labels: ml.Labels) -> None:
    assert repr(labels) == f"Labels in {labels.folder}: 6 images"
    one = ml.annotate(SAID[:1], known)
    assert (repr(one), len(one)) == (f"Annotations in {one.folder}: 1 image", 1)
    pairs = ml.cooccurrence(SAID, SAID.assign(confidence=0.99, label=CAT), known)
    assert repr(pairs) == f"Pairs in {pairs.folder}: {len(pairs.implications)} strong pair"


def test_the_published_dictionary_is_a_vocabulary(tmp_path: Path) -> None:
    rows = [TENCENT_HEADER, ("0", "n00002452", "-1", "thing"), ("1", DOG, "0", "dog")]
    dictionary = tmp_path / "dictionary.txt"
    dictionary.write_text("".join("\t".join(row) + "\n" for row in rows))
    vocabulary = ml.build_vocabulary(tencent_dictionary=dictionary)
    assert [one.wnid for one in vocabulary.categories] == ["n00002452", DOG]
    assert vocabulary == ml.build_vocabulary(tencent_dictionary=dictionary, out=tmp_path / "out")
    with pytest.raises(ml.MLImagesError, match="tencent_dictionary cannot be combined with class lists"):
        ml.build_vocabulary(tencent_dictionary=dictionary, imagenet=[DOG])


@pytest.mark.parametrize("names", [("Image_ID", "LABEL"), (" image_id", "Label "), ("IMAGE_ID", "label")])
def test_columns_of_files_are_read_regardless_of_case(
    tmp_path: Path, known: ml.Vocabulary, names: tuple[str, str]
) -> None:
    frame = SAID[["image_id", "label"]].set_axis(list(names), axis=1)
    expected = ml.annotate(SAID[["image_id", "label"]], known).to_pandas(["image_id", "class_index"])
    frame.to_parquet(tmp_path / "said.parquet")
    for suffix, separator in (("csv", ","), ("tsv", "\t"), ("semicolons.csv", ";")):
        frame.to_csv(tmp_path / f"said.{suffix}", index=False, sep=separator)
    for path, form in (
        ("said.parquet", "parquet"),
        ("said.csv", "csv"),
        ("said.tsv", "csv"),
        ("said.semicolons.csv", "csv"),
    ):
        read = ml.annotate(tmp_path / path, known, format=form).to_pandas(["image_id", "class_index"])
        pd.testing.assert_frame_equal(read, expected)


def test_the_very_name_of_a_column_wins_and_two_others_are_refused(tmp_path: Path, known: ml.Vocabulary) -> None:
    path = tmp_path / "said.csv"
    path.write_text(f"image_id,LABEL,label\na,{CAT},{DOG}\n")
    assert ml.annotate(path, known).to_pandas()["wnid"].tolist() == [DOG]
    path.write_text(f"image_id,LABEL,Label\na,{CAT},{DOG}\n")
    with pytest.raises(ml.MLImagesError, match="has two columns label"):
        ml.annotate(path, known)

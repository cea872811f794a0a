"""Tables are read back with the vocabulary that they were made with, from wherever they are, or not at all."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import mlimages_dataset as ml
from tests.api.conftest import CAT, DOG, LEASH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAID = pd.DataFrame({"image_id": ["a", "b", "c"], "label": [DOG, DOG, CAT]})
SEEN = pd.DataFrame({"image_id": ["a", "b"], "label": LEASH, "confidence": [0.99, 0.98]})


@dataclass(frozen=True, slots=True)
class Made:
    """A folder with one of each table, and the vocabulary."""

    folder: Path
    vocabulary: ml.Vocabulary


@pytest.fixture(name="made", scope="module")
def _made(known: ml.Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    pairs = ml.cooccurrence(SAID, SEEN, known)
    ml.annotate(SAID, known).write(folder / "annotations")
    ml.annotate(SEEN, known, predictions=True).write(folder / "predictions")
    pairs.write(folder / "cooccurrence")
    ml.augment(SAID, known, pairs, validation_images=1).write(folder / "labels")
    ml.write_vocabulary(known, folder / "vocabulary")
    return Made(folder, known)


READ: dict[str, Callable[[Any, Any], Any]] = {
    "annotations": ml.Annotations.read,
    "predictions": ml.Predictions.read,
    "cooccurrence": ml.Pairs.read,
    "labels": ml.Labels.read,
}


@pytest.mark.parametrize("form", ["value", "folder", "value without a folder"])
@pytest.mark.parametrize("table", READ)
def test_another_vocabulary_is_refused(table: str, form: str, made: Made, other: ml.Vocabulary, tmp_path: Path) -> None:
    if form == "folder":
        ml.write_vocabulary(other, tmp_path / "vocabulary")
    given = {
        "value": other,
        "folder": tmp_path / "vocabulary",
        "value without a folder": replace(other, folder=None, digests={}),
    }[form]
    with pytest.raises(ml.MLImagesError, match="it was made with another vocabulary than the one given; pass that"):
        READ[table](made.folder / table, given)


@pytest.mark.parametrize("table", READ)
def test_the_same_vocabulary_is_accepted_in_every_form(table: str, made: Made) -> None:
    expected = READ[table](made.folder / table, made.vocabulary).to_pandas()
    for given in (made.folder / "vocabulary", ml.read_vocabulary(made.folder / "vocabulary")):
        pd.testing.assert_frame_equal(READ[table](made.folder / table, given).to_pandas(), expected)
        pd.testing.assert_frame_equal(READ[table](made.folder, given).to_pandas(), expected)  # as a build has them


def test_pairs_of_another_vocabulary_are_refused(made: Made, other: ml.Vocabulary) -> None:
    labels = ml.augment(SAID.tail(1), other)
    with pytest.raises(ml.MLImagesError, match="made with another vocabulary"):
        ml.Labels.read(labels.folder, other, made.folder / "cooccurrence")
    frame = ml.Pairs.read(made.folder, made.vocabulary).implications
    with pytest.raises(ml.MLImagesError, match="frame of pairs: the antecedent_wnid 'n02084071' is no category of the"):
        ml.augment(SAID.tail(1), other, frame)


def test_a_frame_of_pairs_means_what_its_wnids_say(made: Made) -> None:
    frame = ml.Pairs.read(made.folder, made.vocabulary).implications
    expected = ml.augment(SAID, made.vocabulary, frame).to_pandas()
    without_indices = frame.drop(columns=["antecedent", "consequent"])
    pd.testing.assert_frame_equal(ml.augment(SAID, made.vocabulary, without_indices).to_pandas(), expected)
    without_wnids = frame.drop(columns=["antecedent_wnid", "consequent_wnid"])
    pd.testing.assert_frame_equal(ml.augment(SAID, made.vocabulary, without_wnids).to_pandas(), expected)
    for side in ("antecedent", "consequent"):
        with pytest.raises(ml.MLImagesError, match=f"row 0 has the {side} 0, but its {side}_wnid n.* is class"):
            ml.augment(SAID, made.vocabulary, frame.assign(**{side: 0}))
    with pytest.raises(ml.MLImagesError, match="no column antecedent and no column antecedent_wnid; pass rows of"):
        ml.augment(SAID, made.vocabulary, without_indices.drop(columns="antecedent_wnid"))


def test_one_split_is_read_alone(made: Made, tmp_path: Path) -> None:
    every = ml.Labels.read(made.folder / "labels", made.vocabulary)
    splits = {name: ml.Labels.read(made.folder / "labels" / name, made.vocabulary) for name in ("train", "val")}
    assert sum(map(len, splits.values())) == len(every) == len(SAID)
    for name, one in splits.items():
        pd.testing.assert_frame_equal(one.to_pandas(), every.to_pandas(name))
        pd.testing.assert_frame_equal(one.to_pandas(name), every.to_pandas(name))
        one.write(tmp_path / name)
        again = ml.Labels.read(tmp_path / name, made.vocabulary)
        pd.testing.assert_frame_equal(again.to_pandas(), every.to_pandas(name))
    assert splits["train"].to_pandas("val").empty


@pytest.mark.parametrize(
    ("table", "where", "expected"),
    [
        ("labels", "vocabulary", "vocabulary: there are no labels in it; name the folder of labels, a split or a"),
        ("labels", "nowhere", "nowhere: there are no labels in it"),
        ("labels", "annotations", "the table's schema is annotations/.*, but labels/.* is needed"),
        ("annotations", "labels", "the table's schema is labels/.*, but annotations/.* is needed"),
        ("predictions", "annotations", "the table's schema is annotations/.*, but predictions/.* is needed"),
        ("annotations", "vocabulary", r"there is no part-\*\.parquet in it"),
        ("cooccurrence", "labels", "labels: there are no pairs in it; name the folder of pairs"),
    ],
)
def test_other_tables_are_refused(table: str, where: str, expected: str, made: Made) -> None:
    with pytest.raises(ml.MLImagesError, match=expected):
        READ[table](made.folder / where, made.vocabulary)


def test_tables_say_that_their_folder_is_gone(known: ml.Vocabulary, tmp_path: Path) -> None:
    values = [ml.annotate(SAID, known), ml.cooccurrence(SAID, SEEN, known), ml.augment(SAID, known)]
    texts = [pickle.dumps(value) for value in values]
    values.clear()  # and with them their temporary folders
    for text in texts:
        value = pickle.loads(text)  # noqa: S301 - it was made above
        for use in (value.to_pandas, lambda value=value: value.write(tmp_path / "out")):
            with pytest.raises(ml.MLImagesError, match=r"the folder of these tables is gone; make them again; .* out="):
                use()

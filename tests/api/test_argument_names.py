"""Errors about frames name the argument, and a build's folder is read where its tables are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

import mlimages_dataset as ml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DOG, HAT = "n02084071", "n03497657"
SAID = pd.DataFrame({"image_id": ["1", "2"], "label": DOG})
SEEN = pd.DataFrame({"image_id": ["3", "4"], "label": HAT, "confidence": [0.99, 0.98]})


@pytest.fixture(scope="module", name="vocabulary")
def _vocabulary() -> ml.Vocabulary:
    return ml.build_vocabulary(imagenet=[DOG, HAT])


@pytest.mark.parametrize("learn", [ml.cooccurrence, ml.learn_rules])
def test_errors_about_frames_name_the_argument(learn: Callable[..., object], vocabulary: ml.Vocabulary) -> None:
    told = r"^predictions: no annotated image is predicted; predict the images of annotations$"
    with pytest.raises(ml.MLImagesError, match=told):
        learn(SAID, SEEN, vocabulary)


def test_errors_about_a_folder_name_it(tmp_path: Path, vocabulary: ml.Vocabulary) -> None:
    seen = ml.annotate(SEEN, vocabulary, predictions=True, out=tmp_path / "seen")
    with pytest.raises(ml.MLImagesError, match=f"{tmp_path / 'seen'}: no annotated image"):
        ml.cooccurrence(SAID, seen, vocabulary)


def test_a_build_s_folder_holds_rules_and_the_pairs_of_its_labels(tmp_path: Path, vocabulary: ml.Vocabulary) -> None:
    with pytest.raises(ml.MLImagesError, match="there are no rules in it"):
        ml.Rules.read(tmp_path, vocabulary)
    seen = SEEN.assign(image_id=["1", "2"])
    pairs = ml.cooccurrence(SAID, seen, vocabulary, out=tmp_path / "cooccurrence")
    labels = ml.augment(SAID, vocabulary, pairs, out=tmp_path / "labels")
    for folder in (tmp_path, tmp_path / "labels"):
        pd.testing.assert_frame_equal(ml.Labels.read(folder, vocabulary).why("1"), labels.why("1"))
    rules = ml.learn_rules(SAID, seen, vocabulary, out=tmp_path / "rules")
    pd.testing.assert_frame_equal(ml.Rules.read(tmp_path, vocabulary).to_pandas(), rules.to_pandas())


@pytest.mark.parametrize("rule", ["regression", "image"])
def test_rules_of_few_images_say_how_many_are_needed(rule: str, vocabulary: ml.Vocabulary) -> None:
    ids = [str(number) for number in range(12)]
    said = pd.DataFrame({"image_id": ids * 2, "label": [DOG] * 12 + [HAT] * 12})
    seen = said.assign(confidence=0.99)
    rules = ml.learn_rules(said if rule == "image" else said[:12], seen, vocabulary, rule=rule)  # type: ignore[arg-type]
    assert rules.summary is not None
    assert rules.summary.images == 12
    assert rules.summary.needed > 12
    assert any(one.startswith("too few images: 12 of at least") for one in rules.summary.findings())

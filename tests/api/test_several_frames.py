"""Several frames are as good as one, and what is fewer than asked for is told."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlimages_dataset as ml
from tests.api.conftest import CAT, DOG, LEASH

SAID = pd.DataFrame({"image_id": list("abcd"), "label": [DOG, DOG, CAT, LEASH], "confidence": [1, 0.25, 0, 0.5]})


@given(st.integers(0, 2))
@settings(max_examples=3, deadline=None)
def test_a_frame_in_parts_is_the_frame(cut: int) -> None:
    vocabulary = ml.build_vocabulary(imagenet=[DOG, CAT, LEASH])
    parts = [SAID.iloc[: cut + 1], SAID.iloc[cut + 1 :][["confidence", "label", "image_id"]]]
    found = ml.annotate(parts, vocabulary).to_pandas()
    pd.testing.assert_frame_equal(found, ml.annotate(SAID, vocabulary).to_pandas())


def test_parts_of_other_columns_are_refused(known: ml.Vocabulary) -> None:
    with pytest.raises(ml.MLImagesError, match="frame 2: only some of the frames have a column confidence; give it to"):
        ml.annotate([SAID, SAID.drop(columns="confidence")], known)
    with pytest.raises(ml.MLImagesError, match="frame 2: no column label"):
        ml.annotate([SAID, SAID.drop(columns="label")], known)
    with pytest.raises(ml.MLImagesError, match="data holds both frames and paths"):
        ml.annotate([SAID, "said.csv"], known)


@pytest.mark.slow
def test_ids_of_a_list_are_told_apart() -> None:
    lists = {
        "p": pd.DataFrame({"id": ["1"], "name": ["dog"]}),
        "q": pd.DataFrame({"id": ["1"], "name": ["house cat"]}),
    }
    vocabulary = ml.build_vocabulary(classes=lists)
    said = pd.DataFrame({"image_id": ["a"], "label": ["1"]})
    with pytest.raises(ml.MLImagesError, match=r"say which list's ids are meant \(ids_of\)"):
        ml.augment(said, vocabulary)
    for name, wnid in (("p", DOG), ("q", CAT)):
        assert wnid in set(ml.augment(said, vocabulary, ids_of=name).to_pandas()["wnid"])
        pairs = ml.cooccurrence(said, said.assign(confidence=0.99), vocabulary, ids_of=name, strength=0.5)
        at = vocabulary.index_of_wnid[wnid]
        assert pairs.matrix[at, at] == 1


def test_what_is_fewer_is_told(known: ml.Vocabulary) -> None:
    with pytest.warns(UserWarning, match="only 1 of 3 validation images were drawn: validation_images_per_category"):
        ml.augment(SAID[:2], known, validation_images=3, validation_images_per_category=1)
    lost = pd.DataFrame({"image_id": ["a", "b"], "label": [DOG, "z"]})
    with pytest.warns(UserWarning, match="images that lost every label: 1; labels of unknown classes: 1"):
        ml.annotate(lost, known)

"""A simulated sample has the shape of the real thing, is the same for a seed, and says what it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mlimages_dataset.augment.cooccurrence import count_pairs, strong_implications
from mlimages_dataset.augment.simulation import Simulation, simulate
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.schemas import Origin
from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES
from tests.augment.strategies import columns_from, rows_from

if TYPE_CHECKING:
    from mlimages_dataset.vocab.vocabulary import Vocabulary

HOW = Simulation(imagenet_images=200, open_images=100, seed=5)


def test_a_seed_gives_one_sample(mini_vocabulary: Vocabulary) -> None:
    first, again = simulate(mini_vocabulary, HOW), simulate(mini_vocabulary, HOW)
    assert (first.imagenet_lines, first.open_images_rows) == (again.imagenet_lines, again.open_images_rows)
    assert rows_from(first.predictions) == rows_from(again.predictions)
    other = simulate(mini_vocabulary, replace(HOW, seed=6))
    assert other.open_images_rows != first.open_images_rows


def test_imagenet_images_have_one_kept_category_each(mini_vocabulary: Vocabulary) -> None:
    sample = simulate(mini_vocabulary, HOW)
    kept = {row.source_id for row in mini_vocabulary.mapping if row.source == IMAGENET and row.class_index >= 0}
    wnids = [line.split("/")[0] for line in sample.imagenet_lines]
    assert len(set(sample.imagenet_lines)) == HOW.imagenet_images
    assert set(wnids) <= kept
    assert set(Counter(wnids).values()) == {20}, "as many of each"
    assert all(
        line == f"{wnid}/{image}.JPEG"
        for line, wnid, image in zip(sample.imagenet_lines, wnids, sample.predicted_ids, strict=True)
    )
    assert all("simulated" in line for line in sample.imagenet_lines)


def test_open_images_rows_hold_every_kind_of_label(mini_vocabulary: Vocabulary) -> None:
    rows = simulate(mini_vocabulary, HOW).open_images_rows
    kept = {row.source_id for row in mini_vocabulary.mapping if row.source == OPEN_IMAGES and row.class_index >= 0}
    assert {name for _, _, name, _ in rows} <= kept
    assert len({(image, name) for image, _, name, _ in rows}) == len(rows), "no image says a class twice"
    assert len({image for image, *_ in rows}) == HOW.open_images
    assert all("simulated" in image for image, *_ in rows)
    kinds = {source: {float(p) for _, s, _, p in rows if s == source} for _, source, _, _ in rows}
    assert kinds == {"verification": {0, 1}, "machine": {0.5, 0.7, 0.8, 0.9}}


def test_predictions_hold_strong_pairs_and_weak_ones(mini_vocabulary: Vocabulary) -> None:
    sample = simulate(mini_vocabulary, HOW)
    rows = rows_from(sample.predictions)
    assert len(rows) == len(sample.predicted_ids) == HOW.imagenet_images
    assert {origin for row in rows for _, origin in row.values()} == {int(Origin.MODEL_PREDICTION)}
    index = mini_vocabulary.index_of_wnid
    annotated = columns_from([{index[image.split("_")[0]]: (1.0, 0)} for image in sample.predicted_ids])
    counts = count_pairs(annotated, sample.predictions, len(mini_vocabulary))
    assert 0 < strong_implications(counts, mini_vocabulary.closure).nnz < counts.n_both.nnz
    assert np.unique(counts.n_left).tolist() == [0, 20]


def test_a_vocabulary_of_one_source_is_refused(mini_vocabulary: Vocabulary) -> None:
    for source in (IMAGENET, OPEN_IMAGES):
        one = replace(mini_vocabulary, mapping=tuple(row for row in mini_vocabulary.mapping if row.source == source))
        with pytest.raises(DataError, match="a simulation needs classes of imagenet and open-images; add both lists"):
            simulate(one, HOW)


@pytest.mark.parametrize("field", ["imagenet_images", "open_images"])
def test_a_sample_of_nothing_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 0, which is less than 1"):
        replace(HOW, **{field: 0})


def test_a_vocabulary_of_one_class_of_each_source_is_enough(mini_vocabulary: Vocabulary) -> None:
    dog = tuple(row for row in mini_vocabulary.mapping if row.source_id in {"n02084071", "/m/0bt9lr"})
    sample = simulate(replace(mini_vocabulary, mapping=dog), HOW)
    assert {name for _, _, name, _ in sample.open_images_rows} == {"/m/0bt9lr"}
    assert len(sample.open_images_rows) == HOW.open_images


def test_a_single_image_is_a_sample(mini_vocabulary: Vocabulary) -> None:
    sample = simulate(mini_vocabulary, Simulation(imagenet_images=1, open_images=1, seed=0))
    assert len(sample.imagenet_lines) == len(rows_from(sample.predictions)) == 1

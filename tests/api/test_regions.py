"""Boxes in Python: frames in, frames out, and what cannot be used told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pytest

import mlimages_dataset as ml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DOG = "n02084071"
BOX: dict[str, list[Any]] = {
    "image_id": ["a", "a", 3],
    "label": [DOG] * 3,
    "xmin": [0.25, 0, 0.5],
    "ymin": [0, 0, 0.5],
    "xmax": [1, 0.5, 1.0],
    "ymax": [0.5, 0.5, 1.0],
    "occluded": [True, False, False],
    "confidence": [1, 0.5, 1],
}


@pytest.fixture(name="vocabulary", scope="module")
def _vocabulary() -> ml.Vocabulary:
    return ml.build_vocabulary(imagenet=[DOG])


def frame(**changed: list[Any]) -> pd.DataFrame:
    made = pd.DataFrame({**BOX, **changed})
    return made.assign(image_id=made["image_id"].astype(str))


@pytest.mark.parametrize("kind", [lambda one: one, pl.from_pandas])
def test_a_frame_becomes_regions_and_a_frame(vocabulary: ml.Vocabulary, kind: Callable[[pd.DataFrame], Any]) -> None:
    made = ml.regions(kind(frame()), vocabulary)
    told = made.to_pandas()
    assert len(made) == 3
    assert told["image_id"].tolist() == ["3", "a", "a"]
    assert told["wnid"].tolist() == [DOG] * 3
    assert told["xmin"].tolist() == [0.5, 0, 0.25]
    assert told["occluded"].tolist() == [False, False, True]
    assert told["confidence"].tolist() == [1, 0.5, 1]
    assert made.summary is not None
    assert made.summary.images == 2


def test_regions_are_written_read_and_closed(vocabulary: ml.Vocabulary, tmp_path: Path) -> None:
    made = ml.regions(frame(), vocabulary, ancestors=True)
    made.write(tmp_path / "out")
    again = ml.Regions.read(tmp_path / "out", vocabulary)
    assert again.to_arrow().equals(made.to_arrow())
    assert len(again) > 3


def test_what_is_left_out_is_told(vocabulary: ml.Vocabulary) -> None:
    with pytest.warns(
        UserWarning, match=r"left out: entries that cannot be used: 1 .*its box is inverted.*see summary"
    ):
        ml.regions(frame(xmin=[2, 0, 0]), vocabulary)
    with pytest.warns(UserWarning, match=r"boxes of unknown classes: 1 .*class 'unheard'"):
        ml.regions(frame(label=[DOG, DOG, "unheard"]), vocabulary)


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        (frame().drop(columns="xmin"), {}, "the frame: no column xmin"),
        (frame().drop(columns="label"), {}, "no column label among"),
        (frame().iloc[:0], {}, "the frame: has no row"),
        (frame(), {"format": "coco"}, "a frame cannot have the format coco"),
        (frame(xmin=["0", "0", "0"]), {}, "the frame: its column xmin is of the type"),
        (frame(label=["unheard"] * 3), {}, "no box is kept"),
        ([], {}, "data is empty"),
    ],
)
def test_what_cannot_be_read_is_refused(
    vocabulary: ml.Vocabulary, given: object, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ml.MLImagesError, match=told):
        ml.regions(given, vocabulary, **options)

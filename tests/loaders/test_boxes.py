"""Boxes follow their pixels, and equal boxes are one."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.core.errors import ConfigError, DataError
from mlimages_dataset.loaders.batch import one_batch
from mlimages_dataset.loaders.boxes import BoxedImages, BoxTransform, resized
from tests.train.detection.shapes import Shape, content_of, drawn, row, write_regions

if TYPE_CHECKING:
    from pathlib import Path


def test_boxes_follow_their_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shape = Shape(0, (20, 10, 70, 40))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(content_of(drawn(60, 100, (shape,), rng)))
    (tmp_path / "regions").mkdir()
    write_regions(tmp_path / "regions", [row("a", 1, shape.sides, (100, 60))])
    for flip in (0.0, 1.0):
        transform = BoxTransform(image_size=90, long_side=150, flip=flip)
        data = BoxedImages(
            tmp_path / "images", tmp_path / "regions", n_classes=2, transform=transform, cache=tmp_path / "cache"
        )
        sample = data[0]
        assert sample.image.shape == (3, 90, 150)
        red = (sample.image[0].astype(int) - sample.image[1] > 100).nonzero()
        found = [red[1].min(), red[0].min(), red[1].max() + 1, red[0].max() + 1]
        assert sample.boxes.sides[0] == pytest.approx(found, abs=1.01)
        assert sample.boxes.class_index.tolist() == [1]


@given(height=st.integers(1, 3000), width=st.integers(1, 3000), short=st.integers(1, 800), more=st.integers(0, 800))
def test_the_short_side_has_its_length_unless_the_long_one_would_be_too_long(
    height: int, width: int, short: int, more: int
) -> None:
    found = resized(height, width, short, short + more)
    assert max(found) <= short + more
    assert min(found) <= short
    assert min(found) == short or max(found) == short + more
    if min(found) > 8:
        assert found[0] / found[1] == pytest.approx(height / width, rel=0.1)


@settings(max_examples=25)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 1), st.booleans(), st.sampled_from([0, 1])),
        min_size=1,
        max_size=20,
    ),
    ancestors=st.booleans(),
)
def test_equal_boxes_of_an_image_are_one_with_several_labels(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int, bool, int]], *, ancestors: bool
) -> None:
    folder = tmp_path_factory.mktemp("boxes")
    (folder / "images").mkdir()
    (folder / "regions").mkdir()
    for name in "abc":
        content = content_of(drawn(40, 40, (), np.random.default_rng(1)))
        (folder / "images" / f"{name}.png").write_bytes(content)
    boxes = ((0, 0, 20, 20), (10, 5, 30, 40))
    told = sorted(rows)
    write_regions(
        folder / "regions",
        [row(i, c, boxes[b], (40, 40), difficult=hard) | {"origin": origin} for i, c, b, hard, origin in told],
    )
    wanted: dict[str, dict[int, dict[int, bool]]] = defaultdict(lambda: defaultdict(dict))
    for image, c, b, hard, origin in told:
        if ancestors or origin == 0:
            of_box = wanted[image][b]
            of_box[c] = of_box.get(c, True) and hard

    def data_of() -> BoxedImages:
        return BoxedImages(
            folder / "images",
            folder / "regions",
            n_classes=3,
            transform=BoxTransform(image_size=40, long_side=40),
            ancestors=ancestors,
            cache=folder / "cache",
        )

    if not wanted:
        with pytest.raises(DataError, match="no box of it can be learnt"):
            data_of()
        return
    data = data_of()
    assert len(data) == len(wanted)
    for number in range(len(data)):
        sample = data[number]
        found: dict[int, dict[int, bool]] = defaultdict(dict)
        for label, box in enumerate(sample.boxes.box.tolist()):
            which = boxes.index(tuple(sample.boxes.sides[box].round().astype(int).tolist()))
            found[which][int(sample.boxes.class_index[label])] = bool(sample.boxes.special[label])
        assert len(sample.boxes.sides) == len(found)
        assert found == wanted[sample.image_id]
        present = {c for of_box in found.values() for c in of_box}
        assert data.catalogue.labels(number)[0].tolist() == sorted(present)


def test_a_batch_keeps_each_images_pixels_and_pads_with_what_a_network_sees_as_nothing() -> None:
    rng = np.random.default_rng(0)
    planes = [rng.integers(0, 255, (3, height, width), dtype=np.uint8) for height, width in ((40, 70), (65, 33))]
    images, sizes = one_batch(planes)
    assert images.shape == (2, 3, 65, 70)
    for image, size, one in zip(images, sizes.tolist(), planes, strict=True):
        assert np.array_equal(image[:, : size[0], : size[1]].numpy(), one)
        rest = image.clone()
        rest[:, : size[0], : size[1]] = 128
        assert bool((rest == 128).all())


def test_a_long_side_below_the_short_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="a short side of 600 pixels beside a long side of at most 500"):
        BoxTransform(image_size=600, long_side=500)

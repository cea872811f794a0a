"""A label map follows its picture, and what is no label map is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mlimages_dataset.core.errors import DataError, MLImagesError
from mlimages_dataset.core.locations import location
from mlimages_dataset.loaders.label_maps import MappedImages, MapTransform, collate_maps
from mlimages_dataset.sources.label_maps import IGNORED, png_of
from tests.train.detection.shapes import COLOURS, write_shapes

if TYPE_CHECKING:
    from pathlib import Path

N_CLASSES = 4


def data_of(folder: Path, transform: MapTransform, maps: str = "maps") -> MappedImages:
    return MappedImages(
        location(str(folder / "images")),
        location(str(folder / maps)),
        n_classes=N_CLASSES,
        transform=transform,
        cache=folder / "cache",
    )


@pytest.mark.parametrize("whole", [False, True])
def test_maps_follow_their_pictures(tmp_path: Path, *, whole: bool) -> None:
    write_shapes(tmp_path, 6)
    transform = MapTransform(image_size=129, flip=0.5, whole=whole, training=True)
    data = data_of(tmp_path, transform)
    for epoch in range(4):
        data.set_epoch(epoch)
        for number in range(len(data)):
            sample = data[number]
            assert sample.image.shape == (3, 129, 129)
            assert sample.label_map.shape == (129, 129)
            for kind, colour in enumerate(COLOURS):
                inside = sample.label_map == kind + 1
                near = np.abs(sample.image.astype(int) - np.array(colour)[:, None, None]).max(axis=0) < 40
                agree = (inside & near).sum()
                assert agree >= 0.85 * max(inside.sum(), near.sum()) - 150  # contours are blended
            padding = sample.label_map == IGNORED
            assert bool((sample.image[:, padding] == 128).all())
            assert not (whole and padding.any())


def test_evaluation_sees_pictures_and_maps_as_they_are_stored(tmp_path: Path) -> None:
    write_shapes(tmp_path, 3)
    data = data_of(tmp_path, MapTransform())
    batch = collate_maps([data[number] for number in range(3)])
    for number in range(3):
        name = data.catalogue.image_id(number)
        stored = np.asarray(Image.open(tmp_path / "maps" / f"{name}.png"))
        height, width = batch.map_sizes[number].tolist()
        assert (height, width) == stored.shape == tuple(batch.sizes[number].tolist())
        assert np.array_equal(batch.maps[number, :height, :width].numpy(), stored)
        rest = batch.maps[number].clone()
        rest[:height, :width] = IGNORED
        assert bool((rest == IGNORED).all())
        pixels = np.asarray(Image.open(tmp_path / "images" / f"{name}.png")).transpose(2, 0, 1)
        assert np.array_equal(batch.images[number, :, :height, :width].numpy(), pixels)


def test_classes_of_maps_are_known_to_samplers(tmp_path: Path) -> None:
    shapes = write_shapes(tmp_path, 6).shapes
    data = data_of(tmp_path, MapTransform())
    for number in range(len(data)):
        of_image = shapes[int(data.catalogue.image_id(number)[1:])]
        found = set(data.catalogue.labels(number)[0].tolist())
        assert found <= {0} | {shape.kind + 1 for shape in of_image}
        assert of_image[-1].kind + 1 in found  # nothing hides the last one


def test_a_list_chooses_maps(tmp_path: Path) -> None:
    write_shapes(tmp_path, 4)
    (tmp_path / "train.txt").write_text("p2\np0\n", encoding="utf-8")
    data = data_of(tmp_path, MapTransform(), "train.txt")
    assert {data.catalogue.image_id(number) for number in range(len(data))} == {"p0", "p2"}


def spoilt(folder: Path, what: str) -> None:
    if what == "no map":
        (folder / "maps" / "p1.png").unlink()
        (folder / "maps.txt").write_text("p0\np1\n", encoding="utf-8")
    elif what == "no picture":
        (folder / "images" / "p1.png").unlink()
    elif what == "colours":
        Image.new("RGB", (90, 90)).save(folder / "maps" / "p1.png")
    elif what == "class":
        (folder / "maps" / "p1.png").write_bytes(png_of(np.full((90, 90), 9, np.uint8)))
    elif what == "cut":
        path = folder / "maps" / "p1.png"
        path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("no map", "there is no label map of p1"),
        ("no picture", "has no picture p1, for which there is a label map"),
        ("colours", "not indices of classes"),
        ("class", "9"),
        ("cut", "is not a complete PNG"),
    ],
)
def test_what_cannot_be_learnt_is_refused_before_training(tmp_path: Path, what: str, said: str) -> None:
    write_shapes(tmp_path, 3)
    spoilt(tmp_path, what)
    with pytest.raises(MLImagesError, match=said):
        data_of(tmp_path, MapTransform(), "maps.txt" if what == "no map" else "maps")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n  \n", "is empty"),
        (png_of(np.zeros((3, 3), np.uint8)), "is not a text file"),
        ("p0\n".encode("utf-16"), "is UTF-16 text"),
        (b"p0\np1\np0\n", "names p0 twice"),
        (b"p0\np7\n", "there is no label map of p7"),
    ],
)
def test_a_list_that_is_none_is_refused_in_a_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    write_shapes(tmp_path, 3)
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(MLImagesError, match=said):
        data_of(tmp_path, MapTransform(), "list.txt")


def test_a_map_of_another_size_than_its_picture_is_told(tmp_path: Path) -> None:
    write_shapes(tmp_path, 1)
    (tmp_path / "maps" / "p0.png").write_bytes(png_of(np.zeros((10, 20), np.uint8)))
    with pytest.raises(DataError, match="its label map has 20 x 10 pixels"):
        data_of(tmp_path, MapTransform())[0]

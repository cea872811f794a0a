"""Shapes on photographs, annotated as Peng et al. 2020 (section 3) found Open Images to be.

Parents without their leaves, two names for one thing, and 1,000 objects of the most frequent kind beside 1 of the
rarest. The held-out pictures have all kinds alike, and everything that is true of them is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image, ImageDraw

import mlimages_dataset as ml
from mlimages_dataset import samples
from mlimages_dataset.core.locations import location
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import REGION_FLAGS, REGIONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlimages_dataset.vocab.vocabulary import Vocabulary

SIDE = 64
"""Pixels of a picture."""
HELD_OUT = 150
_OBJECTS = 2
_LEAF_SAID, _BOTH_NAMES = 0.7, 0.3
"""How often a leaf is annotated beside its parent, and both names of one thing; otherwise one alone."""
PARENTS = {"instrument": "n03800933", "vehicle": "n04524313"}
PAIR = {"flashlight": "n03359137", "torch": "n04456115"}
"""Two names for things that look the same."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What an object looks like and what it is.

    Attributes:
        names: all that it is; of a pair, people choose one or both.
        parent: of `PARENTS`; empty for none.
        corners: of its outline; 0 for a disc.
        hue: of its colour, 0 to 255.
        objects: in the pictures that are learnt from.
    """

    names: dict[str, str]
    parent: str
    corners: int
    hue: int
    objects: int


KINDS = (
    Kind({"car": "n02958343"}, "vehicle", 4, 0, 1000),
    Kind({"drum": "n03249569"}, "instrument", 0, 20, 500),
    Kind(PAIR, "", 3, 40, 250),
    Kind({"truck": "n04490091"}, "vehicle", 4, 30, 125),
    Kind({"ball": "n02778669"}, "", 0, 90, 63),
    Kind({"flute": "n03372029"}, "instrument", 3, 120, 31),
    Kind({"lamp": "n03636649"}, "", 4, 150, 16),
    Kind({"boat": "n02858304"}, "vehicle", 3, 10, 8),
    Kind({"harp": "n03495258"}, "instrument", 5, 180, 4),
    Kind({"key": "n03613294"}, "", 5, 220, 2),
    Kind({"bell": "n02824448"}, "", 0, 200, 1),
)


@dataclass(frozen=True, slots=True)
class World:
    """The folders of a world, and the pictures that are held out."""

    images: Path
    learnt: Path
    held_out: Path
    vocabulary: Vocabulary
    vocabulary_folder: Path
    name_of: dict[str, str]


def make(folder: Path, kinds: Sequence[Kind] = KINDS, n_held_out: int = HELD_OUT) -> World:
    """Draw the world below a folder; the same one each time.

    Args:
        folder: to write into; a world that stands there is used.
        kinds: of objects.
        n_held_out: pictures that are held out.
    """
    wnids = {**PARENTS, **{name: wnid for kind in kinds for name, wnid in kind.names.items()}}
    frame = pd.DataFrame({"id": list(wnids), "name": list(wnids), "wnid": list(wnids.values())})
    vocabulary = ml.build_vocabulary(classes={"world": frame}, ancestors="listed", out=folder / "vocabulary")
    world = World(
        folder / "images",
        folder / "learnt",
        folder / "held-out",
        vocabulary,
        folder / "vocabulary",
        {wnid: name for name, wnid in wnids.items()},
    )
    if world.held_out.is_dir():
        return world
    drawer = _Drawer(np.random.default_rng(0), world.images, _indices(vocabulary, wnids))
    learnt = np.repeat(np.arange(len(kinds)), [kind.objects for kind in kinds])
    alike = np.resize(np.arange(len(kinds)), n_held_out * _OBJECTS)
    for regions, prefix, drawn in ((world.learnt, "a", learnt), (world.held_out, "v", alike)):
        shown = [kinds[number] for number in drawer.rng.permutation(drawn)]
        drawer.collection(regions, prefix, shown, is_exhaustive=regions == world.held_out)
    return world


def _indices(vocabulary: Vocabulary, wnids: dict[str, str]) -> dict[str, int]:
    return {name: vocabulary.index_of_wnid[wnid] for name, wnid in wnids.items()}


def all_labels(truth: pa.Table, vocabulary: Vocabulary) -> pa.Table:
    """Return verified labels of the held-out pictures, of presence or absence, for every class."""
    closure = vocabulary.closure.toarray()
    images = sorted(set(truth["image_id"].to_pylist()))
    present = np.zeros((len(images), len(closure)), bool)
    at = {image: row for row, image in enumerate(images)}
    for image, label in zip(truth["image_id"].to_pylist(), truth["class_index"].to_pylist(), strict=True):
        present[at[image]] |= closure[label]
    labels = [
        [{"class_index": label, "confidence": float(value)} for label, value in enumerate(row)] for row in present
    ]
    return pa.table({"image_id": images, "labels": labels})


@dataclass(frozen=True, slots=True)
class _Drawer:
    """Draws pictures, and writes what is said of them."""

    rng: np.random.Generator
    images: Path
    index_of: dict[str, int]

    def collection(self, regions: Path, prefix: str, kinds: list[Kind], *, is_exhaustive: bool) -> None:
        self.images.mkdir(parents=True, exist_ok=True)
        rows = []
        for number, first in enumerate(range(0, len(kinds), _OBJECTS)):
            shown = kinds[first : first + _OBJECTS]
            rows += self._picture(f"{prefix}{number:04}", shown, is_exhaustive=is_exhaustive)
        table = pa.Table.from_pylist(rows, schema=REGIONS.arrow)
        write_table(location(str(regions / "part-00000.parquet")), table, REGIONS, {})

    def _picture(self, image_id: str, kinds: Sequence[Kind], *, is_exhaustive: bool) -> list[dict[str, object]]:
        """Draw the left object in the left half, and the right one in the right half."""
        canvas, rows = self._background(), []
        for place, kind in enumerate(kinds):
            side = int(self.rng.integers(14, SIDE // 2 - 1))
            left = place * SIDE // 2 + int(self.rng.integers(SIDE // 2 - side))
            top = int(self.rng.integers(SIDE - side))
            box = (left, top, left + side, top + side)
            self._object(canvas, kind, box)
            names = list(kind.names) if is_exhaustive else self._said(kind)  # the metric adds the parents
            rows += [_row(image_id, self.index_of[name], box) for name in names]
        canvas.save(self.images / f"{image_id}.png")
        return rows

    def _background(self) -> Image.Image:
        """Return a part of a photograph."""
        paths = sorted(samples.photographs().glob("*.jpg"))
        with Image.open(paths[self.rng.integers(len(paths))]) as photograph:
            side = min(photograph.size) // 2
            left, top = (int(self.rng.integers(whole - side)) for whole in photograph.size)
            cut = photograph.convert("RGB").crop((left, top, left + side, top + side))
            return cut.resize((SIDE, SIDE), Image.Resampling.BOX)

    def _object(self, canvas: Image.Image, kind: Kind, box: tuple[int, int, int, int]) -> None:
        """Draw an object that fills its box; its hue, brightness and turn vary."""
        hue = int(kind.hue + self.rng.normal(0, 6)) % 256
        colour = Image.new("HSV", (1, 1), (hue, int(self.rng.integers(120, 255)), int(self.rng.integers(110, 255))))
        fill = colour.convert("RGB").getpixel((0, 0))
        pen = ImageDraw.Draw(canvas)
        if not kind.corners:
            pen.ellipse((box[0], box[1], box[2] - 1, box[3] - 1), fill=fill)
            return
        angles = self.rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(kind.corners) / kind.corners
        points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = (points - points.min(0)) / np.ptp(points, axis=0)
        sides = np.array(box)
        pen.polygon([tuple(point) for point in sides[:2] + points * (sides[2:] - 1 - sides[:2])], fill=fill)

    def _said(self, kind: Kind) -> list[str]:
        """Return what somebody says of an object."""
        if len(kind.names) > 1:
            names = list(kind.names)
            return names if self.rng.random() < _BOTH_NAMES else [names[self.rng.integers(len(names))]]
        leaf = list(kind.names) if not kind.parent or self.rng.random() < _LEAF_SAID else []
        return leaf + ([kind.parent] if kind.parent else [])


def _row(image_id: str, class_index: int, box: tuple[int, int, int, int]) -> dict[str, object]:
    return {
        "image_id": image_id,
        "source": "world",
        "class_index": class_index,
        **dict(zip(("xmin", "ymin", "xmax", "ymax"), (side / SIDE for side in box), strict=True)),
        "confidence": 1.0,
        "origin": 0,
        **dict.fromkeys(REGION_FLAGS, False),
        "mask": "",
    }

"""Small pictures with shapes in known places, their boxes as a `regions` table, and their label maps."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from PIL import Image

from mlimages_dataset.core.locations import location
from mlimages_dataset.sources.label_maps import png_of
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import REGION_FLAGS, REGIONS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

COLOURS = ((230, 40, 40), (40, 200, 60), (50, 80, 240))
"""Of the classes `FIRST_CLASS`, and the next ones."""
FIRST_CLASS = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """A filled rectangle: its class among `COLOURS`, and its sides in pixels."""

    kind: int
    sides: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Shapes:
    """The folders of a made-up collection."""

    images: Path
    regions: Path
    maps: Path
    shapes: tuple[tuple[Shape, ...], ...]


def drawn(height: int, width: int, shapes: tuple[Shape, ...], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a picture of noise with shapes on it, shape (height, width, 3)."""
    pixels = rng.integers(90, 130, (height, width, 3), dtype=np.uint8)
    for shape in shapes:
        left, top, right, bottom = shape.sides
        pixels[top:bottom, left:right] = COLOURS[shape.kind]
    return pixels


def write_shapes(folder: Path, n_images: int, seed: int = 0, *, sides: tuple[int, int] = (72, 112)) -> Shapes:
    """Write pictures of sides in a range of pixels with one to three shapes each, their boxes and their maps."""
    rng = np.random.default_rng(seed)
    images, regions, maps = (folder / name for name in ("images", "regions", "maps"))
    for one in (images, regions, maps):
        one.mkdir(parents=True)
    all_shapes, rows = [], []
    for number in range(n_images):
        height, width = (int(side) for side in rng.integers(*sides, 2))
        shapes = tuple(_random_shape(height, width, rng) for _ in range(int(rng.integers(1, 4))))
        all_shapes.append(shapes)
        Image.fromarray(drawn(height, width, shapes, rng)).save(images / f"p{number}.png")
        label_map = np.zeros((height, width), np.uint8)
        for shape in shapes:
            left, top, right, bottom = shape.sides
            label_map[top:bottom, left:right] = shape.kind + 1
            rows.append(row(f"p{number}", FIRST_CLASS + shape.kind, shape.sides, (width, height)))
        (maps / f"p{number}.png").write_bytes(png_of(label_map))
    write_regions(regions, rows)
    return Shapes(images, regions, maps, tuple(all_shapes))


def row(
    image_id: str, class_index: int, sides: tuple[float, ...], size: tuple[int, int], **flags: bool
) -> dict[str, object]:
    """Return a row of a `regions` table for a box in pixels of a picture of a width and a height."""
    shares = (side / size[k % 2] for k, side in enumerate(sides))
    return {
        "image_id": image_id,
        "source": "shapes",
        "class_index": class_index,
        **dict(zip(("xmin", "ymin", "xmax", "ymax"), shares, strict=True)),
        "confidence": 1.0,
        "origin": 0,
        **(dict.fromkeys(REGION_FLAGS, False) | flags),
        "mask": "",
    }


def write_regions(folder: Path, rows: list[dict[str, object]]) -> None:
    """Write a `regions` table of one part."""
    table = pa.Table.from_pylist(rows, schema=REGIONS.arrow)
    write_table(location(str(folder / "part-00000.parquet")), table, REGIONS, {})


def content_of(pixels: NDArray[np.uint8]) -> bytes:
    """Return a picture as a PNG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _random_shape(height: int, width: int, rng: np.random.Generator) -> Shape:
    box_height, box_width = (int(side * rng.uniform(0.3, 0.6)) for side in (height, width))
    top, left = int(rng.integers(height - box_height)), int(rng.integers(width - box_width))
    return Shape(int(rng.integers(len(COLOURS))), (left, top, left + box_width, top + box_height))

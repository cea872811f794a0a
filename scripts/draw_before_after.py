"""Draw docs/before-after.png: a packaged photograph, its annotations, and its labels as the pipeline writes them.

python scripts/draw_before_after.py
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

import mlimages_dataset as ml
from mlimages_dataset import samples

if TYPE_CHECKING:
    from collections.abc import Sequence

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "before-after.png"
PHOTOGRAPH = "cocker-spaniels"
_WIDTH, _HEIGHT, _MARGIN, _LINE = 1120, 360, 20, 26
_COLUMNS = (360, 610, 860)
_INK, _ADDED, _PAPER = "#1c2733", "#00796b", "#ffffff"


def annotated_and_added() -> tuple[list[str], list[str]]:
    """Return the names of the photograph's annotated categories, and of those that the pipeline adds to them."""
    vocabulary = ml.build_vocabulary(
        imagenet="packaged:imagenet11k.txt", open_images="packaged:open_images_boxable.csv"
    )
    rows = pd.read_csv(samples.labels_csv())
    labels = ml.augment(rows[rows["image_id"] == PHOTOGRAPH], vocabulary).why(PHOTOGRAPH)
    present = labels[labels["confidence"] > 0]
    present = present.assign(name=present["name"].str.partition(",")[0])
    by_origin = [present.loc[present["origin"] == origin, "name"].tolist() for origin in (0, 1)]
    return by_origin[0], by_origin[1]


def draw(annotated: Sequence[str], added: Sequence[str]) -> Image.Image:
    """Return the picture: the photograph, what was annotated beside it, and what the pipeline adds, in two columns."""
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    with Image.open(samples.photographs() / f"{PHOTOGRAPH}.jpg") as photograph:
        picture.paste(photograph, (_MARGIN, (_HEIGHT - photograph.height) // 2))
    pen = ImageDraw.Draw(picture)
    head, text = ImageFont.load_default(21), ImageFont.load_default(18)
    half = (len(added) + 1) // 2
    heads = (f"Before: {len(annotated)} labels", f"After: {len(annotated) + len(added)} labels", "")
    for left, title, names in zip(_COLUMNS, heads, (annotated, added[:half], added[half:]), strict=True):
        pen.text((left, _MARGIN), title, _INK, head)
        for number, name in enumerate(names):
            sign, colour = ("", _INK) if left == _COLUMNS[0] else ("+ ", _ADDED)
            pen.text((left, _MARGIN + 44 + number * _LINE), sign + name, colour, text)
    return picture


if __name__ == "__main__":
    draw(*annotated_and_added()).quantize(128).save(PICTURE, optimize=True)

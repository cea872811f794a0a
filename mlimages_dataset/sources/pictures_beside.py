"""The picture that a file of annotations is about, for its size, where the file does not say it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mlimages_dataset.core.image_ids import PICTURE_SUFFIXES
from mlimages_dataset.sources.picture_objects import size_of
from mlimages_dataset.sources.places import exists, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location

_PICTURES_OF = {
    "labels": ("images",),
    "Annotations": ("JPEGImages", "images"),
    "annotations": ("images", "JPEGImages"),
    "xmls": ("../images",),
}
"""Folders in which pictures are called as the files of annotations in a folder of that name."""


def size_of_picture(path: Location) -> tuple[float, float]:
    """Return width and height of the picture of a file of annotations, NaN where there is none or it cannot be read."""
    stem = path.name[: -len(path.suffix)]
    for picture in (place / f"{stem}{suffix}" for place in _places(path) for suffix in PICTURE_SUFFIXES):
        if exists(picture):
            return size_of(read_file(picture))
    return math.nan, math.nan


def _places(path: Location) -> Iterator[Location]:
    """Yield the folders in which a file's picture may be: the innermost known one's neighbours, and its own."""
    folders = path.parent.parts
    at = max((k for k, name in enumerate(folders) if name in _PICTURES_OF), default=None)
    if at is not None:
        above = path.parents[len(folders) - at]
        for name in _PICTURES_OF[folders[at]]:
            inner = above.parent if name.startswith("../") else above
            yield inner.joinpath(name.removeprefix("../"), *folders[at + 1 :])
    yield path.parent

"""LabelMe's JSON: one file a picture, with shapes in pixels from 0.

https://github.com/wkentaro/labelme (label_file.py)

A class's id is its label. A rectangle, polygon, circle or mask is an area, whose box is the least that holds it; a line
or a point marks none, and says that its class is in the image. Flags that are named as ours are such of regions, and
say nothing of a whole picture; its other flags that are set are classes of it. X-AnyLabeling writes more about a shape
under `attributes`.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, ClassVar

from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import as_text
from mlimages_dataset.sources.annotation_files import FileSource, reject
from mlimages_dataset.sources.boxes import Instance, around, as_stated, is_size, number_of, of_pixels
from mlimages_dataset.sources.entries import confidence_of, flag_of, name_of, with_attributes
from mlimages_dataset.sources.pictures_beside import size_of_picture
from mlimages_dataset.sources.places import read_file
from mlimages_dataset.sources.polygons import Polygons
from mlimages_dataset.tables.schemas import REGION_FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.annotation_files import Given
    from mlimages_dataset.sources.boxes import Sides
    from mlimages_dataset.sources.rejects import Reject

_SIDES = 2
"""Numbers of a point: x and y."""
_NO_POINT = (math.nan, math.nan)
_AREAS = {"rectangle", "polygon", "circle", "mask", "rotation"}
_POLYGONS = {"polygon", "rotation"}
"""`rotation` is a turned rectangle of X-AnyLabeling, which writes LabelMe's form."""


class LabelMe(FileSource):
    """LabelMe's files and folders of them."""

    name: ClassVar[str] = "labelme"
    suffix: ClassVar[str] = ".json"

    def instances_of(self, path: Location, content: bytes, given: Given) -> Iterator[Instance | Reject]:
        """See `FileSource.instances_of`."""
        document = _document(path, content)
        stated = name_of(document.get("imagePath"))
        image = self.picture_name(path, given, stated)
        flags = _flags_of_picture(document)
        for name in flags:
            yield Instance(image, name, as_text(str(path)), f"flag {name}", None, location=stated)
        if not document["shapes"] and not flags:
            yield Instance.of_listed(image, as_text(str(path)), stated)
        size = document.get("imageWidth"), document.get("imageHeight")
        if not all(map(is_size, size)):
            size = size_of_picture(path)
        for at, shape in enumerate(document["shapes"], 1):
            place = f"shape {at}"
            if not isinstance(shape, dict):
                yield reject(path, f"{place} is no object", shape)
                continue
            box = _box(shape)
            named = with_attributes(shape)
            yield Instance(
                image=image,
                class_id=name_of(shape.get("label")),
                where=as_text(str(path)),
                place=place,
                box=of_pixels(box, *size) if isinstance(box, tuple) else box,
                confidence=confidence_of(named),
                flags=_flags(named),
                location=stated,
                stated=as_stated(shape.get("points")),
                outline=shape.get("shape_type") != "rectangle",
                polygons=_polygons(shape, *map(number_of, size)),
            )


def is_labelme(path: Location) -> bool:
    """Return whether a JSON file is one of LabelMe: others lie beside pictures too, as `notes.json` of Label Studio."""
    try:
        _document(path, read_file(path))
    except DataError:
        return False
    return True


def _flags_of_picture(document: Mapping[str, Any]) -> list[str]:
    """Return the flags of a whole picture that are set: its classes, where LabelMe is used to classify.

    Flags such as `difficult` are of regions; of a whole picture they name no class.
    """
    flags = document.get("flags")
    stated = flags if isinstance(flags, dict) else {}
    return [name for name, value in stated.items() if flag_of(value) and name not in REGION_FLAGS]


def _document(path: Location, content: bytes) -> dict[str, Any]:
    try:
        document = parse_json(content)
    except ValueError as error:
        raise DataError(f"is not a complete JSON file ({error})", where=path, remedy="obtain it again") from error
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise DataError("has no list of shapes", where=path, remedy="name files of LabelMe")
    return document


def _box(shape: Mapping[str, Any]) -> Sides | str:
    """Return the least box in pixels that holds a shape, or why there is none."""
    kind = shape.get("shape_type") or "polygon"  # as the first versions had it
    if kind not in _AREAS:
        return f"a {str(kind)[:20]} marks no area"
    pairs = _pairs(shape)
    if len(pairs) < 2:  # noqa: PLR2004 - two corners
        return "it has no two points"
    if kind == "circle":
        (x, y), edge = pairs[:2]
        radius = math.dist((x, y), edge)
        return x - radius, y - radius, x + radius, y + radius
    return around(pairs)


def _pairs(shape: Mapping[str, Any]) -> list[tuple[float, float]]:
    points = shape.get("points")
    return [
        (number_of(pair[0]), number_of(pair[1])) if isinstance(pair, list) and len(pair) == _SIDES else _NO_POINT
        for pair in (points if isinstance(points, list) else [])
    ]


def _polygons(shape: Mapping[str, Any], width: float, height: float) -> Polygons | None:
    """Return the outline of a shape that is a polygon, None for any other."""
    if (shape.get("shape_type") or "polygon") not in _POLYGONS:
        return None
    return Polygons((tuple(itertools.chain.from_iterable(_pairs(shape))),), width, height)


def _flags(shape: Mapping[str, Any]) -> frozenset[str]:
    flags = shape.get("flags")
    stated = {**(flags if isinstance(flags, dict) else {}), **shape}
    return frozenset(flag for flag in REGION_FLAGS if flag_of(stated.get(flag)))

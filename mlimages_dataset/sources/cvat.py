"""CVAT's XML of images: one file of <image> elements with shapes.

https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/

A class's id is its label. A box, polygon, ellipse or mask is an area, whose box is the least that holds it; a line or
points mark none, and a tag says that its class is in the image. Sides are pixels from 0. Attributes named as flags
(`difficult` and so on) are such where they are true, and one named `score` or `confidence` is the confidence. A video's
tracks name no image: each is a reject.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, ClassVar

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import as_text
from mlimages_dataset.sources.boxes import DocumentSource, Instance, around, number_of, of_pixels
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.sources.entries import confidence_of, flag_of
from mlimages_dataset.sources.places import opened
from mlimages_dataset.sources.polygons import Polygons
from mlimages_dataset.sources.rejects import Reject
from mlimages_dataset.tables.schemas import REGION_FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.boxes import Sides
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog

_ELLIPSE = ("cx", "cy", "rx", "ry")
_BOX = ("xtl", "ytl", "xbr", "ybr")
_MASK = ("left", "top", "width", "height")


class Cvat(DocumentSource):
    """CVAT's files."""

    name: ClassVar[str] = "cvat"
    member_suffixes: ClassVar[tuple[str, ...]] = (".xml",)

    def instances(self, piece: Piece, log: RejectLog) -> Iterator[Instance]:
        """See `BoxSource.instances`."""
        where = as_text(str(piece.path))
        for element in _elements(piece.path, "image", "track"):
            if element.tag == "track":
                what = f"track {element.get('id', '')}: a video's track names no image"
                log.add([Reject(where, 0, what, element.get("label", ""))], 1)
                continue
            name = element.get("name", "")
            if name and not len(element):
                yield Instance.of_listed(name, where, name)
            for at, shape in enumerate(element, 1):
                yield _instance(shape, element, f"shape {at} of image {name}", where)


def cvat_classes(path: Location) -> list[SourceClass]:
    """Return the labels of a file's tasks, or else of its shapes, in the order of their names.

    Raises:
        DataError: it is no such file, or names no label.
    """
    names: set[str] = set()
    for element in _elements(path, "label", "image"):
        if element.tag == "image":
            names |= {shape.get("label", "") for shape in element}
        else:
            names.add((element.findtext("name") or "").strip())
    if not names - {""}:
        raise DataError("names no label", where=path, remedy="export it in the form CVAT for images")
    return [SourceClass(name, name) for name in sorted(names - {""})]


def _elements(path: Location, *tags: str) -> Iterator[ET.Element]:
    """Yield the elements of some tags in a file, without holding more of it than one."""
    root = None
    with _xml_errors(path), opened(path) as stream:
        for event, element in ET.iterparse(stream, ("start", "end")):  # noqa: S314 - expat bounds expansion since 2.4.1
            if root is None:
                root = element
                if root.tag != "annotations":
                    raise DataError(
                        f"is a file of <{root.tag[:40]}>, not of <annotations>",
                        where=path,
                        remedy="export it in the form CVAT for images",
                    )
            elif event == "end" and element.tag in tags:
                yield element
                root.clear()


@contextlib.contextmanager
def _xml_errors(path: Location) -> Iterator[None]:
    try:
        yield
    except (ET.ParseError, ValueError, LookupError) as error:
        raise DataError(f"is not a complete XML file ({error})", where=path, remedy="obtain it again") from error


def _instance(shape: ET.Element, image: ET.Element, place: str, where: str) -> Instance:
    width, height = (number_of(image.get(side)) for side in ("width", "height"))
    box = None if shape.tag == "tag" else _box(shape)
    attributes = {one.get("name", ""): (one.text or "").strip() for one in shape.iterfind("attribute")}
    stated = {**attributes, **shape.attrib}
    return Instance(
        image=image.get("name", ""),
        class_id=shape.get("label", ""),
        where=where,
        place=place,
        box=of_pixels(box, width, height) if isinstance(box, tuple) else box,
        flags=frozenset(flag for flag in REGION_FLAGS if flag_of(stated.get(flag))),
        confidence=confidence_of({key: text for key, text in stated.items() if text}),
        location=image.get("name", ""),
        stated=_stated(shape),
        outline=shape.tag not in {"box", "tag"} or number_of(shape.get("rotation", 0)) != 0,
        polygons=Polygons((tuple(itertools.chain.from_iterable(_pairs(shape))),), width, height)
        if shape.tag == "polygon"
        else None,
    )


def _box(shape: ET.Element) -> Sides | str:
    """Return the least box in pixels that holds a shape, or why there is none."""
    match shape.tag:
        case "box":
            xmin, ymin, xmax, ymax = _numbers(shape, _BOX)
            return _turned((xmin, ymin, xmax, ymax), number_of(shape.get("rotation", 0)))
        case "polygon":
            pairs = _pairs(shape)
            return around(pairs) if pairs else "it has no points"
        case "ellipse":
            x, y, across, down = _numbers(shape, _ELLIPSE)
            return x - across, y - down, x + across, y + down
        case "mask":
            left, top, across, down = _numbers(shape, _MASK)
            return left, top, left + across, top + down
    return f"a {shape.tag} marks no area"


def _stated(shape: ET.Element) -> str:
    sides = next((names for names in (_BOX, _ELLIPSE, _MASK) if names[0] in shape.attrib), ())
    return shape.get("points", "") or ", ".join(shape.get(name, "") for name in sides)


def _pairs(shape: ET.Element) -> list[tuple[float, float]]:
    points = [tuple(map(number_of, pair.split(","))) for pair in shape.get("points", "").split(";") if pair]
    return [(pair[0], pair[1]) if len(pair) == 2 else (math.nan, math.nan) for pair in points]  # noqa: PLR2004 - x, y


def _numbers(shape: ET.Element, names: tuple[str, ...]) -> list[float]:
    return [number_of(shape.get(name)) for name in names]


def _turned(box: Sides, degrees: float) -> Sides:
    """Return the least upright box that holds a box which is turned about its centre."""
    if degrees == 0:
        return box
    xmin, ymin, xmax, ymax = box
    x, y = (xmin + xmax) / 2, (ymin + ymax) / 2
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    across = ((xmax - xmin) * cosine + (ymax - ymin) * sine) / 2
    down = ((xmax - xmin) * sine + (ymax - ymin) * cosine) / 2
    return x - across, y - down, x + across, y + down

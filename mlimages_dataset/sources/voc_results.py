"""What Pascal VOC's metric reads: objects of an image set, and detections in VOC's form of results.

A file of results, `comp4_det_SET_CLASS.txt`, has a line for each detection: image, score, xmin, ymin, xmax, ymax, in
pixels. http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 8.2.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.sources.rejects import REJECT_CHARACTERS, Reject, RejectLog
from mlimages_dataset.sources.voc import ANNOTATIONS, pixel_boxes
from mlimages_dataset.tables.files import read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.core.locations import Location

_RESULTS = re.compile(r"comp\d+_det_(.+)_([^_]+)\.txt")
_FIELDS = 6
Sides: TypeAlias = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class VocObject:
    """An object in an image, in VOC's pixels."""

    image: str
    name: str
    sides: Sides
    difficult: bool


@dataclass(frozen=True, slots=True)
class VocDetection:
    """A detection of a class in an image, in VOC's pixels."""

    image: str
    name: str
    sides: Sides
    score: float


def read_image_set(path: Location) -> list[str]:
    """Return the images of a list such as `ImageSets/Main/test.txt`; a second column is not read.

    Raises:
        UsageError: there is no such file.
        DataError: it is empty, or names an image twice.
    """
    images = [line.split()[0] for line in read_lines(path) if line.split()]
    if len(set(images)) < len(images):
        again = next(one for number, one in enumerate(images) if one in images[:number])
        raise DataError(f"names {again} twice", where=path, remedy="remove one")
    return images


def images_of(annotations: Location) -> list[str]:
    """Return the images that a folder of VOC describes.

    Raises:
        UsageError: there are none.
    """
    found = sorted(path.stem for path in _folder(annotations).glob("*.xml"))
    if not found:
        raise UsageError("there is no .xml file in it", where=annotations, remedy="name VOC's folder Annotations")
    return found


def read_objects(annotations: Location, images: Sequence[str], log: RejectLog) -> Iterator[VocObject]:
    """Yield the objects of images; those without a name or a box are logged.

    Args:
        annotations: the folder `Annotations`, or the one above it.
        images: names of images, without a suffix.
        log: what cannot be used.

    Raises:
        DataError: an image has no file there, or it is none of VOC.
    """
    folder = _folder(annotations)
    for image in images:
        path = folder / f"{image}.xml"
        if not path.is_file():
            raise DataError(f"it has no {path.name}", where=folder, remedy="complete it, or name another image set")
        for number, (name, sides, difficult) in enumerate(pixel_boxes(path), 1):
            if fault := "" if name else "it has no name":
                log.add([Reject(str(path), 0, fault, f"object {number}")], 1)
            elif fault := _fault(sides):
                log.add([Reject(str(path), 0, fault, f"object {number}, {name}")], 1)
            else:
                yield VocObject(image, name, sides, difficult)


def result_files(folder: Location, image_set: str) -> dict[str, Location]:
    """Return the files of results of an image set by class.

    Args:
        folder: the folder of the files.
        image_set: the set's name; empty for any, if the files are all of one.

    Raises:
        UsageError: there is no such file.
        DataError: there are files of several sets, or two of one class.
    """
    found: list[Location] = sorted(folder.glob("comp*_det_*.txt"))
    prefix = re.compile(rf"comp\d+_det_{re.escape(image_set)}_(.+)\.txt")
    of_set = [(path, match[1]) for path in found if image_set and (match := prefix.fullmatch(path.name))]
    if not of_set:
        parts = [(path, match) for path in found if (match := _RESULTS.fullmatch(path.name))]
        sets = sorted({match[1] for _, match in parts})
        if len(sets) > 1:
            told = f"has results of several image sets ({', '.join(sets[:4])})"
            raise DataError(told, where=folder, remedy="name the image set's file by one of these names")
        of_set = [(path, match[2]) for path, match in parts]
    if not of_set:
        raise UsageError("there is no comp4_det_SET_CLASS.txt in it", where=folder, remedy="name VOC's results")
    by_class: dict[str, Location] = {}
    for path, name in of_set:
        if name in by_class:
            raise DataError(f"has two files of {name}", where=folder, remedy="remove one")
        by_class[name] = path
    return by_class


def read_results(name: str, path: Location, log: RejectLog) -> Iterator[VocDetection]:
    """Yield the detections in a file of a class; lines that cannot be used are logged.

    Raises:
        UsageError: it cannot be read.
    """
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            score, *sides = map(float, fields[1:])
        except ValueError:
            score, sides = math.nan, []
        if len(fields) != _FIELDS or len(sides) != _FIELDS - 2:
            fault = "it is no image, score and four sides"
        else:
            fault = "its score is no finite number" if not math.isfinite(score) else _fault(tuple(sides))
        if fault:
            log.add([Reject(str(path), number, fault, line[:REJECT_CHARACTERS])], 1)
        else:
            yield VocDetection(fields[0], name, tuple(sides), score)


def _folder(annotations: Location) -> Location:
    """Return the folder itself, or the `Annotations` in it."""
    inner = annotations / ANNOTATIONS
    return inner if inner.is_dir() else annotations


def _fault(sides: Sides) -> str:
    """Return what is wrong with a box whose ends belong to it; empty if nothing is."""
    if not all(map(math.isfinite, sides)):
        return "a side of its box is no finite number"
    xmin, ymin, xmax, ymax = sides
    return "its box is inverted" if xmax < xmin or ymax < ymin else ""

"""What Pascal VOC's metric reads: objects of an image set, and detections in VOC's form of results.

A file of results, `comp4_det_SET_CLASS.txt`, has a line for each detection: image, score, xmin, ymin, xmax, ymax, in
pixels. http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 8.2.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mlimages_dataset.core.decimals import nearest_float
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.sources.rejects import REJECT_CHARACTERS, Reject, RejectLog
from mlimages_dataset.sources.voc import ANNOTATIONS, pixel_boxes
from mlimages_dataset.tables.files import read_lines

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from mlimages_dataset.core.locations import Location

_RESULTS = re.compile(r"comp\d+_det_(.+_.+)\.txt")
_NOT_IN_FILE_NAMES = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')
_NAMED = 4
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


def result_files(folder: Location, image_set: str, classes: Collection[str]) -> dict[str, Location]:
    """Return the files of results of an image set by class.

    Both a set and a class may have `_` in their names: the set is what all files begin with and leaves most of them
    with a known class. A class is known by its name, or by its `part_of_file_name`, as in files of `export`.

    Args:
        folder: the folder of the files.
        image_set: the set's name; empty for any, if the files are all of one.
        classes: the classes that the annotations have.

    Raises:
        UsageError: there is no such file.
        DataError: there are files of several sets, or two of one class.
    """
    paths: list[Location] = sorted(folder.glob("comp*_det_*.txt"))
    found = [(path, match[1]) for path in paths if (match := _RESULTS.fullmatch(path.name))]
    if not found:
        raise UsageError("there is no comp4_det_SET_CLASS.txt in it", where=folder, remedy="name VOC's results")
    known = {part_of_file_name(name): name for name in sorted(classes)} | {name: name for name in classes}
    start = f"{image_set}_"
    of_set = [(path, text) for path, text in found if image_set and _follows(text, start)]
    if not of_set:
        of_set, start = found, f"{_set_of(folder, [text for _, text in found], known)}_"
    by_class: dict[str, Location] = {}
    for path, text in of_set:
        ending = text.removeprefix(start)
        name = known.get(ending, ending)
        if name in by_class:
            raise DataError(f"has two files of {name}", where=folder, remedy="remove one")
        by_class[name] = path
    return by_class


def part_of_file_name(name: str) -> str:
    r"""Return a name with `_` in place of signs that a file's name cannot have everywhere.

    >>> part_of_file_name("a/b c"), part_of_file_name("mine:m\\42"), part_of_file_name("who?")
    ('a_b c', 'mine_m_42', 'who_')
    """
    return _NOT_IN_FILE_NAMES.sub("_", name)


def _follows(text: str, start: str) -> bool:
    return text.startswith(start) and text != start


def _set_of(folder: Location, texts: Sequence[str], known: Collection[str]) -> str:
    """Return the image set of which all files `SET_CLASS` are.

    Raises:
        DataError: they are of several.
    """
    parts = texts[0].split("_")
    starts = ["_".join(parts[:end]) for end in range(1, len(parts))]
    common = [start for start in starts if all(_follows(text, f"{start}_") for text in texts)]
    # Of several that leave equally many classes known, the first is the shortest: the classes are the longest.
    n_known = {start: sum(text.removeprefix(f"{start}_") in known for text in texts) for start in common}
    best = max(common, key=n_known.__getitem__, default="")
    if best and n_known[best]:
        return best
    sets = sorted({_set_by_end(text, known) for text in texts})
    if len(sets) == 1:
        return sets[0]
    if best and not any(_ends(text, name) for text in texts for name in known):
        return common[-1]  # no class is known: the longest start of all
    told = f"has results of several image sets ({', '.join(sets[:_NAMED])})"
    raise DataError(told, where=folder, remedy="name the image set's file by one of these names")


def _set_by_end(text: str, known: Collection[str]) -> str:
    """Return the set of one file: what stands before the longest known class, else before the last `_`."""
    fitting = [name for name in known if _ends(text, name)]
    return text.removesuffix(f"_{max(fitting, key=len)}") if fitting else text.rpartition("_")[0]


def _ends(text: str, name: str) -> bool:
    ending = f"_{name}"
    return text.endswith(ending) and text != ending


def read_results(name: str, path: Location, log: RejectLog) -> Iterator[VocDetection]:
    """Yield the detections in a file of a class; lines that cannot be used are logged.

    Raises:
        UsageError: it cannot be read.
    """
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split()
        if not fields:
            continue
        score, *sides = map(nearest_float, fields[1:] or [""])
        if len(fields) != _FIELDS:
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

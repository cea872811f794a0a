"""Pascal VOC's metric of segmentation, from VOC's own files: label maps of an image set, and results beside them."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.evaluation.detection_scores import number_or_none
from mlimages_dataset.evaluation.segmentation import Confusion
from mlimages_dataset.sources.label_maps import VOC_CLASSES, read_label_map
from mlimages_dataset.sources.voc import MASKS
from mlimages_dataset.sources.voc_results import read_image_set
from mlimages_dataset.tables.files import read_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper

_RESULTS = re.compile(r"comp\d+_.+_cls")
"""The folder of a competition's results of segmentation: comp5_test_cls.
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 8.3."""
_PNG = ".png"
_NAMED = 4
_MOST_CLASSES = 255


@dataclass(frozen=True, slots=True)
class SegmentationScores:
    """The intersection over union of each class, and what it was counted from.

    Attributes:
        names: the classes, shape (C,).
        images: number of images.
        confusion: of their pixels.
        images_not_read: results of images that are not in the set.
    """

    names: tuple[str, ...]
    images: int
    confusion: Confusion
    images_not_read: int = 0

    def to_json(self) -> dict[str, Json]:
        """Return the result with null where there is no number."""
        values = self.confusion.intersection_over_union()
        return {
            "iou": {name: number_or_none(values[c]) for c, name in enumerate(self.names)},
            "mIoU": number_or_none(self.confusion.mean_intersection_over_union()),
            "pixel_accuracy": number_or_none(self.confusion.pixel_accuracy()),
            "counts": self._counts(),
            "confusion": self.confusion.pixels.tolist(),
        }

    def lines(self) -> list[str]:
        """Return the result as lines: the classes, then the means, then the counts."""
        values, pixels = self.confusion.intersection_over_union(), self.confusion.pixels.sum(axis=1)
        known, mean = np.flatnonzero(~np.isnan(values)), self.confusion.mean_intersection_over_union()
        return [
            "     IoU   true pixels",
            *(f"{values[c]:8.4f}  {pixels[c]:>12,}  {self.names[c]}" for c in known),
            f"{mean:8.4f}  {pixels.sum():>12,}  mean over {len(known):,} classes",
            f"{self.confusion.pixel_accuracy():8.4f}  of the pixels have their true class",
            *(f"{n:>22,}  {what}" for what, n in self._counts().items() if n),
        ]

    def _counts(self) -> dict[str, Json]:
        return {"images": self.images, "results of images that are not in the set": self.images_not_read}


def evaluate_segmentation(
    truth: Location,
    results: Location,
    image_set: Location,
    *,
    classes: Location | None = None,
    mapper: Mapper = map,
) -> SegmentationScores:
    """Return the intersection over union of each class of pixels.

    Args:
        truth: VOC's folder `SegmentationClass`, or the one above it.
        results: the folder of label maps, such as `comp5_test_cls`, or one above it.
        image_set: such as ImageSets/Segmentation/val.txt.
        classes: names of the classes by index, a line each; None for VOC's 21.
        mapper: runs parts of the images.

    Raises:
        UsageError: a file or folder is missing, or an image has no truth or no result.
        DataError: a file is no label map, has a class that there is none of, or another size than its truth.
    """
    names = VOC_CLASSES if classes is None else read_classes(classes)
    images = read_image_set(image_set)
    truths = truth / MASKS if (truth / MASKS).is_dir() else truth
    found = results_folder(results)
    _check_all_there(images, truths, "truth")
    n_results = _check_all_there(images, found, "result")
    judge = functools.partial(_judged, truths, found, len(names))
    parts = mapper(judge, images)
    confusion = sum(parts, start=Confusion.empty(len(names)))
    return SegmentationScores(names, len(images), confusion, n_results - len(images))


def read_classes(path: Location) -> tuple[str, ...]:
    """Return the names of classes in a file, a line each.

    Raises:
        UsageError: it cannot be read.
        DataError: it has no name, one twice, or too many for indices below 255.
    """
    names = [line.strip() for line in read_lines(path) if line.strip()]
    if again := next((name for at, name in enumerate(names) if name in names[:at]), None):
        raise DataError(f"names {again} twice", where=path, remedy="remove one")
    if not 0 < len(names) <= _MOST_CLASSES:
        raise DataError(f"names {len(names)} classes", where=path, remedy=f"name 1 to {_MOST_CLASSES}, a line each")
    return tuple(names)


def results_folder(results: Location) -> Location:
    """Return the folder of label maps: the one named, or the only `comp5_test_cls` or the like below it.

    Raises:
        UsageError: there is none, or there are several.
    """
    if any(results.glob(f"*{_PNG}")):
        return results
    found = sorted(path for path in results.rglob("comp*_cls") if _RESULTS.fullmatch(path.name) and path.is_dir())
    if len(found) == 1:
        return found[0]
    if found:
        told = first_of((path.name for path in found), _NAMED)
        raise UsageError(f"has several folders of results ({told})", where=results, remedy="name one of them")
    raise UsageError("there is no .png file in it", where=results, remedy="name the folder of results, comp5_test_cls")


def _check_all_there(images: Sequence[str], folder: Location, kind: str) -> int:
    """Return the number of label maps in a folder, or raise a `UsageError` if an image has none."""
    there = {path.name.removesuffix(_PNG) for path in folder.glob(f"*{_PNG}")}
    missing = [image for image in images if image not in there]
    if missing:
        told = first_of([f"{image}{_PNG}" for image in missing], _NAMED)
        what = f"the {kind} of {len(missing):,} of {len(images):,} images of the set is missing ({told})"
        raise UsageError(what, where=folder, remedy="complete it, or name another image set")
    return len(there)


def _judged(truths: Location, results: Location, n_classes: int, image: str) -> Confusion:
    truth = read_label_map(truths / f"{image}{_PNG}", n_classes)
    path = results / f"{image}{_PNG}"
    result = read_label_map(path, n_classes, ignores=False)
    if result.shape != truth.shape:
        raise DataError(
            f"has {_size(result)} pixels, but its truth has {_size(truth)}", where=path, remedy="resize the result"
        )
    return Confusion.of(truth, result, n_classes)


def _size(pixels: NDArray[np.uint8]) -> str:
    height, width = pixels.shape
    return f"{width} x {height}"

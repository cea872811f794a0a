"""Pascal VOC's metric of detection, from VOC's own files.

Both ends of a side belong to a box: its width is xmax - xmin + 1. A detection finds the object of its class that it
overlaps most, if their intersection over union is above 0.5 and no surer detection has found it. Difficult objects are
neither found nor missed.

Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.evaluation.detection import Detections, Interpolation, Rule, TrueBoxes, judged, mean
from mlimages_dataset.evaluation.detection_scores import NO_DETECTIONS, number_or_none
from mlimages_dataset.sources.rejects import RejectLog, first_lines
from mlimages_dataset.sources.voc_results import (
    VocDetection,
    VocObject,
    images_of,
    read_image_set,
    read_objects,
    read_results,
    result_files,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location

VOC = Rule(groups=False, strict=True, pixel=1.0)
_LISTED = 5


@dataclass(frozen=True, slots=True)
class VocScores:
    """Both average precisions of each class, and what became of the rows.

    Attributes:
        names: the classes, shape (C,).
        truths: number of objects to be found in each class, shape (C,).
        average_precisions: by interpolation, NaN where a class has no object, each of shape (C,).
        counts: numbers of rows, each by what they are.
        first_rejected_rows: the first rows that cannot be used, each with its file and the reason.
        warnings: what makes the result doubtful.
        rejected: number of objects and lines that cannot be used.
        notes: what the files leave unsaid.
    """

    names: tuple[str, ...]
    truths: NDArray[np.int64]
    average_precisions: dict[Interpolation, NDArray[np.float64]]
    counts: dict[str, int]
    first_rejected_rows: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    rejected: int = 0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Return the result with null where there is no number."""
        return {
            "ap": {
                name: {_KEYS[way]: number_or_none(self.average_precisions[way][c]) for way in Interpolation}
                for c, name in enumerate(self.names)
            },
            **{f"mAP_{_KEYS[way]}": number_or_none(mean(self.average_precisions[way])) for way in Interpolation},
            "counts": dict(self.counts),
            "first_rejected_rows": list(self.first_rejected_rows),
        }

    def lines(self) -> list[str]:
        """Return the result as lines: the classes, then the means, then the counts."""
        eleven, area = (self.average_precisions[way] for way in (Interpolation.ELEVEN_POINTS, Interpolation.AREA))
        known = np.flatnonzero(self.truths)
        return [
            "11 points      area   objects",
            *(f"{eleven[c]:9.4f}  {area[c]:8.4f}  {self.truths[c]:>8,}  {self.names[c]}" for c in known),
            f"{mean(eleven):9.4f}  {mean(area):8.4f}  {self.truths.sum():>8,}  mean over {len(known):,} classes",
            *(f"{n:>12,}  {what}" for what, n in self.counts.items() if n),
            *first_lines("rejected", self.first_rejected_rows, self.rejected),
        ]


_KEYS = {Interpolation.ELEVEN_POINTS: "eleven_point", Interpolation.AREA: "area"}


def evaluate_voc(annotations: Location, results: Location, image_set: Location | None = None) -> VocScores:
    """Return both average precisions of each class that has objects or results.

    Args:
        annotations: VOC's folder `Annotations`, or the one above it.
        results: the folder of `comp4_det_SET_CLASS.txt`.
        image_set: such as ImageSets/Main/test.txt, whose name is that of the set; None for all images.

    Raises:
        UsageError, DataError: a file is missing or malformed, or an image of the set has no annotation.
    """
    images = images_of(annotations) if image_set is None else read_image_set(image_set)
    log = RejectLog()
    objects = list(read_objects(annotations, images, log))
    counts = {"objects": len(objects), "objects that cannot be used": log.count}
    if not objects:
        raise DataError("no object of it can be used", where=annotations, remedy="check its files")
    known_names = {one.name for one in objects}
    files = result_files(results, "" if image_set is None else image_set.stem, known_names)
    of_results = RejectLog()
    read = [found for name, path in files.items() for found in read_results(name, path, of_results)]
    known = set(images)
    detections = [one for one in read if one.image in known]
    counts |= {
        "detections": len(read),
        "lines of results that cannot be used": of_results.count,
        "detections in images that are not in the set": len(read) - len(detections),
    }
    names = sorted(known_names | set(files))
    result = judged(*_arrays(objects, detections, images, names), len(names), VOC)
    counts["detections of difficult objects"] = result.ignored
    return VocScores(
        tuple(names),
        result.truths,
        {way: result.average_precisions(way) for way in Interpolation},
        counts,
        tuple(str(one) for one in [*log.first[:_LISTED], *of_results.first[:_LISTED]]),
        tuple(_warnings(known_names, files, len(detections))),
        log.count + of_results.count,
    )


def _warnings(known: Collection[str], files: Mapping[str, Location], n_detections: int) -> list[str]:
    """Return a sentence for files of classes that no annotation has, and one if no detection is left."""
    others = [files[name].name for name in files if name not in known]
    told = []
    if others:
        listed = first_of(others, _LISTED)
        told.append(
            f"{len(others):,} of {len(files):,} files of results are of classes that no annotation of these images has "
            f"({listed}): they change nothing; the annotations have {first_of(sorted(known), _LISTED)}"
        )
    return told if n_detections else [*told, NO_DETECTIONS]


def _arrays(
    objects: Sequence[VocObject], detections: Sequence[VocDetection], images: Sequence[str], names: Sequence[str]
) -> tuple[TrueBoxes, Detections]:
    image_at = {image: number for number, image in enumerate(images)}
    name_at = {name: number for number, name in enumerate(names)}
    return (
        TrueBoxes(*_located(objects, image_at, name_at), np.array([one.difficult for one in objects], np.bool_)),
        Detections(*_located(detections, image_at, name_at), np.array([one.score for one in detections], np.float64)),
    )


def _located(
    boxes: Sequence[VocObject] | Sequence[VocDetection], image_at: Mapping[str, int], name_at: Mapping[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    return (
        np.array([image_at[one.image] for one in boxes], np.int64),
        np.array([name_at[one.name] for one in boxes], np.int64),
        np.array([one.sides for one in boxes], np.float64).reshape(-1, 4),
    )

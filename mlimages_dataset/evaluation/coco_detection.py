"""COCO's metric, by pycocotools: the mean of average precision over the overlaps 0.5, 0.55, ..., 0.95."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import reason
from mlimages_dataset.evaluation.detection_scores import NO_DETECTIONS, DetectionScores
from mlimages_dataset.sources.rejects import REJECT_CHARACTERS, Reject, RejectLog
from mlimages_dataset.tables.files import refuse_no_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location

_SIDES = 4
_LISTED = 5


def evaluate_coco(boxes: Location, predictions: Location) -> DetectionScores:
    """Return COCO's average precision of each category, by name, over all areas and at most 100 detections an image.

    Args:
        boxes: COCO's instances JSON.
        predictions: COCO's JSON of results: a list of image_id, category_id, bbox and score.

    Raises:
        UsageError: pycocotools is not installed, or a file cannot be read.
        DataError: a file is not of these forms.

    Source: https://cocodataset.org/#detection-eval.
    """
    try:
        from pycocotools.coco import COCO  # noqa: PLC0415 - an extra
        from pycocotools.cocoeval import COCOeval  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError("COCO's metric needs pycocotools", remedy="pip install 'mlimages-dataset[coco]'") from error
    truth, results = _json(boxes), _json(predictions)
    if not (isinstance(truth, dict) and truth.get("annotations") and truth.get("categories")):
        raise DataError("has no annotations or no categories", where=boxes, remedy="give COCO's instances JSON")
    if not isinstance(results, list):
        raise DataError("is no list of results", where=predictions, remedy="give COCO's JSON of results")
    with contextlib.redirect_stdout(io.StringIO()), _told(boxes):
        dataset = COCO()
        dataset.dataset = truth
        dataset.createIndex()
        categories = dataset.loadCats(dataset.getCatIds())
        names = [str(category["name"]) for category in categories]
        titles = {str(one["name"]): str(one["words"]) for one in categories if one.get("words")}
    if again := next((name for name, times in Counter(names).items() if times > 1), None):
        raise DataError(f"has two categories {again}", where=boxes, remedy="name each differently")
    log = RejectLog()
    known = _usable(results, predictions, log)
    in_images = [row for row in known if row["image_id"] in dataset.imgs]
    used = [row for row in in_images if row["category_id"] in dataset.cats]
    counts = {
        "boxes": len(dataset.anns),
        "detections": len(known),
        "rows of detections that cannot be used": log.count,
        "detections in unknown images": len(known) - len(in_images),
        "detections of unknown categories": len(in_images) - len(used),
    }
    truths = np.array([len(dataset.getAnnIds(catIds=[one], iscrowd=0)) for one in dataset.getCatIds()])
    values = np.where(truths > 0, 0.0, np.nan)
    if used:
        with contextlib.redirect_stdout(io.StringIO()), _told(predictions):
            evaluation = COCOeval(dataset, dataset.loadRes(used), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
        values = _mean_precisions(evaluation.eval["precision"][:, :, :, 0, -1])
    return DetectionScores(
        tuple(names),
        values,
        truths,
        counts,
        tuple(str(one) for one in log.first[:_LISTED]),
        () if used else (NO_DETECTIONS,),
        rejected=log.count,
        titles=titles,
    )


def _usable(rows: Sequence[Any], path: Location, log: RejectLog) -> list[dict[str, Any]]:
    """Return the results that can be used; the others are logged with their number from 1."""
    kept = []
    for number, row in enumerate(rows, 1):
        if fault := _fault(row):
            log.add([Reject(str(path), 0, f"result {number}: {fault}", json.dumps(row)[:REJECT_CHARACTERS])], 1)
        else:
            kept.append(row)
    return kept


def _fault(row: object) -> str:
    """Return what is wrong with a result; empty if nothing is."""
    if not isinstance(row, dict):
        return "it is no object"
    for name in ("image_id", "category_id"):
        if isinstance(row.get(name), bool) or not isinstance(row.get(name), (int, str)):
            return f"its {name} is no id" if name in row else f"it has no {name}"
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != _SIDES:
        return "its bbox is no list of four numbers"
    if not all(map(_is_number, box)):
        return "a number of its bbox is not finite, or none"
    if not (box[2] > 0 and box[3] > 0):
        return "its bbox has no area: it is x, y, width, height"
    score = row.get("score")
    return "" if _is_number(score) and 0 <= score <= 1 else "its score is no number in 0..1"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _mean_precisions(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each category, NaN for one without an object, shape (C,).

    Args:
        precision: by overlap, recall and category, -1 where a category has no object, shape (10, 101, C).
    """
    known = precision > -1
    n = known.sum(axis=(0, 1))
    total = np.where(known, precision, 0).sum(axis=(0, 1))
    values: NDArray[np.float64] = np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0)
    return values


def _json(path: Location) -> Any:
    try:
        return parse_json(path.read_text("utf-8"))
    except OSError as error:
        refuse_no_file(path, error)
        raise UsageError(f"cannot be read ({reason(error)})", where=path, remedy="check the path") from error
    except ValueError as error:
        raise DataError(f"is not JSON ({error})", where=path, remedy="obtain it again") from error


@contextlib.contextmanager
def _told(path: Location) -> Any:
    """Turn what pycocotools raises for a malformed file into our error."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AssertionError, AttributeError) as error:
        raise DataError(
            "is not of COCO's form", where=path, remedy="check the ids, boxes and areas of its entries"
        ) from error

"""COCO's metric, by pycocotools: the mean of average precision over the overlaps 0.5, 0.55, ..., 0.95."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import reason
from mlimages_dataset.evaluation.detection_scores import DetectionScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location


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
        names = [str(category["name"]) for category in dataset.loadCats(dataset.getCatIds())]
    with _told(predictions):
        in_images = [row for row in results if row["image_id"] in dataset.imgs]
        known = [row for row in in_images if row["category_id"] in dataset.cats]
    counts = {
        "boxes": len(dataset.anns),
        "detections": len(results),
        "detections in unknown images": len(results) - len(in_images),
        "detections of unknown categories": len(in_images) - len(known),
    }
    truths = np.array([len(dataset.getAnnIds(catIds=[one], iscrowd=0)) for one in dataset.getCatIds()])
    values = np.where(truths > 0, 0.0, np.nan)
    if known:
        with contextlib.redirect_stdout(io.StringIO()), _told(predictions):
            evaluation = COCOeval(dataset, dataset.loadRes(known), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
        values = _mean_precisions(evaluation.eval["precision"][:, :, :, 0, -1])
    return DetectionScores(tuple(names), values, truths, counts)


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
            f"is not of COCO's form ({type(error).__name__}: {error})", where=path, remedy="correct it"
        ) from error

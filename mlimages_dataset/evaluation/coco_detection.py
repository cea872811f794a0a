"""COCO's metric, by pycocotools: the mean of average precision over the overlaps 0.5, 0.55, ..., 0.95."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.evaluation.detection_scores import DetectionScores

if TYPE_CHECKING:
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
    if not isinstance(results, list):
        raise DataError("is no list of results", where=predictions, remedy="give COCO's JSON of results")
    with contextlib.redirect_stdout(io.StringIO()), _told(boxes):
        dataset = COCO()
        dataset.dataset = truth
        dataset.createIndex()
        names = [str(category["name"]) for category in dataset.loadCats(dataset.getCatIds())]
    known = [row for row in results if isinstance(row, dict) and row.get("image_id") in dataset.imgs]
    with contextlib.redirect_stdout(io.StringIO()), _told(predictions):
        evaluation = COCOeval(dataset, dataset.loadRes(known) if known else COCO(), "bbox")
        if known:
            evaluation.evaluate()
            evaluation.accumulate()
    counts = {
        "boxes": len(dataset.anns),
        "detections": len(results),
        "detections in unknown images": len(results) - len(known),
    }
    truths = np.array([len(dataset.getAnnIds(catIds=[one], iscrowd=0)) for one in dataset.getCatIds()])
    if known:
        precision = evaluation.eval["precision"][:, :, :, 0, -1]  # overlaps, recalls, categories; -1 without an object
        of_class = np.where(precision > -1, precision, np.nan)
        with np.errstate(all="ignore"):
            values = np.array(
                [np.nan if np.isnan(one).all() else np.nanmean(one) for one in np.moveaxis(of_class, 2, 0)]
            )
    else:
        values = np.where(truths > 0, 0.0, np.nan)
    return DetectionScores(tuple(names), values, truths, counts)


def _json(path: Location) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", where=path, remedy="check the path") from error
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

"""`mlimages-build evaluate-detections`: average precision of a detector's boxes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import UsageError

from .options import FILE, json_option

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.evaluation.detection_scores import DetectionScores

_CHALLENGE, _VOC, _COCO = "open-images-challenge", "voc", "coco"


@click.command("evaluate-detections")
@click.option("--metric", type=click.Choice([_CHALLENGE, _VOC, _COCO]), required=True, help="How to measure.")
@click.option("--boxes", type=FILE, required=True, help="True boxes: CSV; a VOC folder; COCO's instances JSON.")
@click.option("--predictions", type=FILE, required=True, help="Detections: CSV; for coco, JSON of results.")
@click.option("--image-labels", type=FILE, help="Verified labels of the images (open-images-challenge).")
@click.option("--hierarchy", type=FILE, help="bbox_labels_600_hierarchy.json (open-images-challenge).")
@click.option("--eleven-points", is_flag=True, help="Mean precision at eleven recalls, as VOC did until 2009 (voc).")
@json_option
def evaluate_detections(
    *,
    metric: str,
    boxes: Location,
    predictions: Location,
    image_labels: Location | None,
    hierarchy: Location | None,
    eleven_points: bool,
    as_json: bool,
) -> None:
    """Compare a detector's boxes with the true ones, and print the average precision of each class and their mean.

    CSV files have the columns ImageID, LabelName, XMin, XMax, YMin, YMax, and IsGroupOf or IsDifficult (true boxes) or
    Score (detections), in any case and order; image labels have ImageID, LabelName and Confidence (1 present, 0
    absent).
    VOC's boxes are in pixels. Ancestors are added to true boxes and image labels, never to detections.

    \b
    Examples:
      mlimages-build evaluate-detections --metric open-images-challenge --boxes boxes.csv \\
          --image-labels image_labels.csv --hierarchy bbox_labels_600_hierarchy.json --predictions predictions.csv
      mlimages-build evaluate-detections --metric voc --boxes VOCdevkit/VOC2007 --predictions predictions.csv
    """  # noqa: D301 - click wants the backspace itself
    _refuse_options(metric, {"--image-labels": image_labels, "--hierarchy": hierarchy}, eleven_points=eleven_points)
    scores = _scores(metric, boxes, predictions, image_labels, hierarchy, eleven_points=eleven_points)
    for warning in scores.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(json.dumps(scores.to_json(), indent=2) if as_json else "\n".join(scores.lines()))


def _refuse_options(metric: str, files: dict[str, Location | None], *, eleven_points: bool) -> None:
    """Raise `UsageError` for an option that the metric lacks or does not read."""
    for option, given in files.items():
        if metric == _CHALLENGE and given is None:
            raise UsageError(f"the metric {metric} needs {option}", remedy="name the file")
        if metric != _CHALLENGE and given is not None:
            raise UsageError(f"the metric {metric} does not read {option}", remedy="leave it out")
    if eleven_points and metric != _VOC:
        raise UsageError("--eleven-points is only for the metric voc", remedy="leave it out")


def _scores(
    metric: str,
    boxes: Location,
    predictions: Location,
    image_labels: Location | None,
    hierarchy: Location | None,
    *,
    eleven_points: bool,
) -> DetectionScores:
    # Here and not above: pyarrow would cost --help half a second.
    from mlimages_dataset.evaluation import detection_scores as detections  # noqa: PLC0415
    from mlimages_dataset.evaluation.detection import Interpolation  # noqa: PLC0415

    if metric == _CHALLENGE:
        assert image_labels is not None
        assert hierarchy is not None
        return detections.evaluate_challenge(boxes, image_labels, hierarchy, predictions)
    if metric == _VOC:
        points = Interpolation.ELEVEN_POINTS if eleven_points else Interpolation.AREA
        return detections.evaluate_voc(boxes, predictions, points)
    from mlimages_dataset.evaluation.coco_detection import evaluate_coco  # noqa: PLC0415 - pycocotools is an extra

    return evaluate_coco(boxes, predictions)

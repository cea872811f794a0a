"""`mlimages-build evaluate-detections`: average precision of a detector's boxes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import UsageError

from .options import FILE, FOLDER, json_option, tell_start

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.evaluation.detection_scores import DetectionScores
    from mlimages_dataset.evaluation.voc_detection import VocScores

_CHALLENGE, _VOC, _COCO = "open-images-challenge", "voc", "coco"


_FILES = {
    _CHALLENGE: {"boxes", "image_labels", "hierarchy", "predictions"},
    _VOC: {"annotations", "results", "image_set"},
    _COCO: {"boxes", "predictions"},
}
"""The options that each metric reads."""
_OPTIONAL = {"image_set"}


@click.command("evaluate-detections")
@click.option("--metric", type=click.Choice(list(_FILES)), required=True, help="How to measure.")
@click.option("--boxes", type=FILE, help="True boxes: CSV (open-images-challenge), or instances JSON (coco).")
@click.option("--predictions", type=FILE, help="Detections: CSV (open-images-challenge), or JSON of results (coco).")
@click.option("--image-labels", type=FILE, help="CSV of verified labels of the images (open-images-challenge).")
@click.option("--hierarchy", type=FILE, help="bbox_labels_600_hierarchy.json (open-images-challenge).")
@click.option("--annotations", type=FOLDER, help="VOC's folder Annotations, or the one above it (voc).")
@click.option("--image-set", type=FILE, help="Such as ImageSets/Main/test.txt (voc).  [default: all images]")
@click.option("--results", type=FOLDER, help="The folder of comp4_det_SET_CLASS.txt (voc).")
@json_option
def evaluate_detections(*, metric: str, as_json: bool, **files: Location | None) -> None:
    """Compare a detector's boxes with the true ones, and print the average precision of each class and their mean.

    CSV files have the columns ImageID, LabelName, XMin, XMax, YMin, YMax, and IsGroupOf (true boxes) or Score
    (detections), in any case and order; image labels have ImageID, LabelName and Confidence (1 present, 0 absent).
    Ancestors are added to true boxes and image labels, never to detections. VOC's own files are read as they are.

    \b
    Examples:
      mlimages-build evaluate-detections --metric open-images-challenge --boxes boxes.csv \\
          --image-labels image_labels.csv --hierarchy bbox_labels_600_hierarchy.json --predictions predictions.csv
      mlimages-build evaluate-detections --metric voc --annotations VOC2012 \\
          --image-set VOC2012/ImageSets/Main/val.txt --results results
    """  # noqa: D301 - click wants the backspace itself
    given = {name: path for name, path in files.items() if path is not None}
    for name in sorted(_FILES[metric] - _OPTIONAL - set(given)):
        raise UsageError(f"the metric {metric} needs --{name.replace('_', '-')}", remedy="name it")
    for name in sorted(set(given) - _FILES[metric]):
        raise UsageError(f"the metric {metric} does not read --{name.replace('_', '-')}", remedy="leave it out")
    tell_start(*given.values(), quiet=as_json)
    scores = _scores(metric, given)
    for warning in scores.warnings:
        click.echo(f"Warning: {warning}", err=True)
    for note in scores.notes:
        click.echo(f"Note: {note}", err=True)
    click.echo(json.dumps(scores.to_json(), indent=2) if as_json else "\n".join(scores.lines()))


def _scores(metric: str, files: dict[str, Location]) -> DetectionScores | VocScores:
    # Here and not above: pyarrow would cost --help half a second.
    if metric == _CHALLENGE:
        from mlimages_dataset.evaluation.detection_scores import evaluate_challenge  # noqa: PLC0415

        return evaluate_challenge(**files)
    if metric == _VOC:
        from mlimages_dataset.evaluation.voc_detection import evaluate_voc  # noqa: PLC0415

        return evaluate_voc(**files)
    from mlimages_dataset.evaluation.coco_detection import evaluate_coco  # noqa: PLC0415

    return evaluate_coco(**files)

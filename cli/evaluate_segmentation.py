"""`mlimages-build evaluate-segmentation`: intersection over union of label maps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from .options import FILE, FOLDER, chosen_engine, dask_option, json_option, tell_start, workers_option

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


@click.command("evaluate-segmentation")
@click.option("--truth", type=FOLDER, required=True, help="VOC's folder SegmentationClass, or the one above it.")
@click.option("--image-set", type=FILE, required=True, help="Such as ImageSets/Segmentation/val.txt.")
@click.option("--results", type=FOLDER, required=True, help="The folder of results IMAGE.png, such as comp5_test_cls.")
@click.option("--classes", type=FILE, help="Names of the classes by index, a line each.  [default: VOC's 21]")
@workers_option
@dask_option
@json_option
def evaluate_segmentation(
    *,
    truth: Location,
    image_set: Location,
    results: Location,
    classes: Location | None,
    workers: int,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Compare label maps with the true ones, and print each class's intersection over union and their mean (mIoU).

    A label map is a PNG with a palette, or with one grey value a class; the index is the class. Pixels whose truth is
    255 are not judged. A result must have the size of its truth and may not contain 255.

    \b
    Example:
      mlimages-build evaluate-segmentation --truth VOC2012/SegmentationClass \\
          --image-set VOC2012/ImageSets/Segmentation/val.txt --results results/comp5_val_cls
    """  # noqa: D301 - click wants the backspace itself
    tell_start(truth, results, quiet=as_json)
    from mlimages_dataset.evaluation import voc_segmentation as metric  # noqa: PLC0415 - Pillow would cost --help

    with chosen_engine(workers, dask_address) as mapper:
        scores = metric.evaluate_segmentation(truth, results, image_set, classes=classes, mapper=mapper)
    click.echo(json.dumps(scores.to_json(), indent=2) if as_json else "\n".join(scores.lines()))

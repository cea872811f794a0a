"""`mlimages-build segmentation-list`: the augmented training list of VOC 2012, from VOC and SBD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import (
    FOLDER,
    dask_option,
    json_option,
    out_option,
    overwrite_option,
    show,
    stage_engine,
    tell_start,
    workers_option,
)

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


@click.command("segmentation-list")
@click.option("--voc", type=FOLDER, required=True, help="VOC's folder VOC2012, or the one above it.")
@click.option("--sbd", type=FOLDER, required=True, help="SBD's folder with cls, train.txt and val.txt (dataset).")
@out_option
@overwrite_option
@workers_option
@dask_option
@json_option
def segmentation_list(
    *,
    voc: Location,
    sbd: Location,
    out: Location,
    overwrite: bool,
    workers: int,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Write the augmented training list of Pascal VOC 2012 for segmentation, with the label maps of its images.

    OUT/train.txt has the images of VOC's training list and of SBD without those of VOC's validation list, which is
    OUT/val.txt: 10,582 and 1,449 images. OUT/SegmentationClass has their label maps as PNGs with a palette.

    \b
    Example:
      mlimages-build segmentation-list --voc VOCdevkit/VOC2012 --sbd benchmark_RELEASE/dataset --out voc_augmented
    """  # noqa: D301 - click wants the backspace itself
    tell_start(voc, sbd, into=out, quiet=as_json)
    # Here and not above: they would cost --help.
    from mlimages_dataset.images.segmentation_list import write_segmentation_list  # noqa: PLC0415
    from mlimages_dataset.pipeline.stage import Engine  # noqa: PLC0415

    with stage_engine("label maps", workers, dask_address, quiet=as_json) as engine:
        outcome = write_segmentation_list(out, voc, sbd, overwrite=overwrite, engine=Engine(**engine))
    show(outcome, out, as_json=as_json)
    if as_json:  # else `show` prints them
        for finding in outcome.summary.findings():
            click.echo(f"Warning: {finding}", err=True)

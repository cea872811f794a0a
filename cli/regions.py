"""`mlimages-build regions`: files with boxes to the `regions` table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import (
    FILE,
    box_order_option,
    dask_option,
    format_option,
    ids_of_option,
    json_option,
    out_option,
    overwrite_option,
    show,
    source_option,
    stage_engine,
    tell_start,
    vocab_option,
    workers_option,
)

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


@click.command()
@vocab_option
@format_option
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Leave out machines' boxes with less.",
)
@source_option
@ids_of_option
@click.option("--ancestors", is_flag=True, help="Give each box a row for every ancestor of its categories too.")
@box_order_option
@click.argument("inputs", nargs=-1, required=True, type=FILE)
@out_option
@overwrite_option
@workers_option
@dask_option
@json_option
def regions(
    *,
    vocabulary: Location,
    form: str,
    min_confidence: float,
    source: str | None,
    ids_of: str | None,
    ancestors: bool,
    box_order: str | None,
    inputs: tuple[Location, ...],
    out: Location,
    overwrite: bool,
    workers: int,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Map the boxes that files state onto a vocabulary: one row a box and category.

    INPUTS are files, or folders where the format has such. coco: instances in COCO's JSON form, also LVIS's and
    Objects365's. voc: a folder with Annotations/*.xml, such files, or lists of a split beside it. open-images: CSV of
    boxes or segmentations of any version. cvat: the XML of images. labelme: JSON files, or a folder. yolo: a folder of
    label files, with the names of classes in a YAML file, *.names or classes.txt. boxes: Parquet with the columns
    image_id, label, xmin, ymin, xmax and ymax in shares of the image. Folders and files may be in zip and tar archives:
    a path may go on into one, as annotations.zip/annotations/instances_val2017.json.

    A box that reaches beyond its image is cut at its edge; one outside it, inverted, without area or of an image
    without size is left out and listed.

    \b
    Examples:
      mlimages-build regions --vocab vocabulary --format coco instances_val2017.json --out regions/coco
      mlimages-build regions --vocab vocabulary --format voc VOC2012 --ancestors --out regions/voc
    """  # noqa: D301 - click wants the backspace itself
    tell_start(*inputs, into=out, quiet=as_json)
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.api.regions import regions as mapped  # noqa: PLC0415

    with stage_engine("regions", workers, dask_address, quiet=as_json) as engine:
        made = mapped(
            inputs,
            vocabulary,
            format=form,
            source=source,
            ids_of=ids_of,
            min_confidence=min_confidence,
            ancestors=ancestors,
            box_order=box_order or "",
            out=out,
            overwrite=overwrite,
            **engine,
        )
    assert made.outcome is not None
    show(made.outcome, out, as_json=as_json)

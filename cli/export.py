"""`mlimages-build export`: label tables in the formats of other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.exports.registry import FORMATS, REGION_FORMATS

from .options import (
    FOLDER,
    dask_option,
    json_option,
    out_option,
    overwrite_option,
    show,
    stage_engine,
    tell_start,
    vocab_option,
    workers_option,
)

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


@click.command()
@vocab_option
@click.option(
    "--format",
    "form",
    type=click.Choice((*FORMATS, *REGION_FORMATS)),
    required=True,
    help="The format to write.",
)
@click.argument("labels", type=FOLDER)
@click.option(
    "--images", type=FOLDER, help="The pictures, as images ingest stored them: coco and voc-results need the sizes."
)
@click.option("--image-set", default="test", show_default=True, help="What voc-results call the images.")
@click.option("--name", default="multi-label images", show_default=True, help="Name of the data set, for its card.")
@click.option("--license", "licence", default="", help="Licence of the data set, for its card: an identifier or a URL.")
@click.option("--url", default="", help="Home page of the data set, for its card.")
@click.option("--date", type=click.DateTime(["%Y-%m-%d"]), help="Date of publication, for its card.")
@out_option
@overwrite_option
@workers_option
@dask_option
@json_option
def export(
    *,
    vocabulary: Location,
    form: str,
    labels: Location,
    images: Location | None,
    image_set: str,
    name: str,
    licence: str,
    url: str,
    date: object,
    out: Location,
    overwrite: bool,
    workers: int,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Write label tables in a format of other tools.

    LABELS is a folder with the tables train/ and val/ (mlimages-build labels), or with one table. tencent: the
    published text form, a URL and class:confidence pairs, and the dictionary; it cannot hold absences and origins. csv:
    one row per label. huggingface: a folder that datasets.load_dataset("parquet", data_dir=...) loads, with a dataset
    card. croissant: croissant.json beside one Parquet file per split.

    Of a folder with regions (mlimages-build regions): coco: instances.json, whose boxes are in the pixels of --images.
    open-images: boxes.csv, in the columns of V6. voc-results: what a detector found as comp4_det_SET_CLASS.txt, which
    evaluate-detections reads.

    \b
    Examples:
      mlimages-build export --format tencent labels --vocab vocabulary --out published
      mlimages-build export --format huggingface labels --vocab vocabulary --license cc-by-4.0 --out card
      mlimages-build export --format coco regions/voc --images pictures --vocab vocabulary --out coco
    """  # noqa: D301 - click wants the backspace itself
    tell_start(labels, into=out, quiet=as_json)
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.exports.export import export_stage  # noqa: PLC0415
    from mlimages_dataset.exports.publication import Publication  # noqa: PLC0415
    from mlimages_dataset.pipeline.folder import OutputFolder  # noqa: PLC0415
    from mlimages_dataset.pipeline.stage import Engine, run  # noqa: PLC0415

    publication = Publication(name=name, license=licence, url=url, date=str(date)[:10] if date else "")
    if labels.absolute() == out.absolute():
        raise UsageError("is the folder of the labels", where=out, remedy="name another folder for --out")
    stage = export_stage(vocabulary, labels, form, publication, images=images, image_set=image_set)
    with stage_engine("export", workers, dask_address, quiet=as_json) as engine:
        outcome = run(stage, OutputFolder(out, overwrite=overwrite), Engine(**engine))
    show(outcome, out, as_json=as_json)

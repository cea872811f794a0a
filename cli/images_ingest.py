"""`mlimages-build images ingest`: folders, archives and TFRecords to shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .images_options import resize_options
from .options import (
    FILE,
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
    from mlimages_dataset.images.resize import ResizeOptions


@click.command("ingest")
@click.argument("sources", nargs=-1, required=True, type=FILE)
@out_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "tfrecords"]),
    default="auto",
    show_default=True,
    help="auto: by the suffix; tfrecords: TFRecord files, or folders of them, with any names.",
)
@click.option(
    "--classes",
    type=FILE,
    help="The class ids of TFRecords' label vectors: one per line, or Tencent ML-Images' dictionary.  "
    "[default: the index of a class is its id]",
)
@resize_options
@click.option(
    "--max-bytes", type=click.IntRange(min=1), default=64 << 20, show_default=True, help="Refuse larger pictures."
)
@click.option(
    "--shard-images", type=click.IntRange(min=1), default=10_000, show_default=True, help="Pictures per shard."
)
@overwrite_option
@workers_option
@json_option
@click.pass_context
def images_ingest(
    ctx: click.Context,
    *,
    sources: tuple[Location, ...],
    out: Location,
    form: str,
    classes: Location | None,
    resize: ResizeOptions | None,
    max_bytes: int,
    shard_images: int,
    overwrite: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Copy pictures from local files into shards, and check each by decoding it.

    SOURCES are folders, tar archives (plain or compressed, also archives of archives such as ImageNet's), zip archives,
    folders of WebDataset or img2dataset shards, Parquet files with pictures, and TFRecord files. They are read in one
    pass, and nothing is unpacked to the disk. Each picture becomes a row with a status. Labels that follow from
    folders, archives, files beside pictures and label vectors go to labels.csv, for annotate --format csv.

    \b
    Examples:
      mlimages-build images ingest ILSVRC2012_img_train.tar --out images/imagenet
      mlimages-build images ingest photographs --short-edge 256 --out images/mine
      mlimages-build images ingest --format tfrecords --classes dictionary_and_semantic_hierarchy.txt \\
          data/train --out images/tencent
      mlimages-build annotate --vocab vocabulary --format csv images/imagenet/labels.csv --out annotations/imagenet
    """  # noqa: D301 - click wants the backspace itself
    tell_start(*sources, into=out, quiet=as_json)
    # Here and not above: pyarrow would cost --help half a second.
    from mlimages_dataset.images.check import Limits  # noqa: PLC0415
    from mlimages_dataset.images.ingest import Form, read_class_ids  # noqa: PLC0415
    from mlimages_dataset.images.stage import IngestOptions, ingest_stage  # noqa: PLC0415
    from mlimages_dataset.pipeline.folder import OutputFolder  # noqa: PLC0415
    from mlimages_dataset.pipeline.stage import Engine, run  # noqa: PLC0415

    options = IngestOptions(
        form=Form(form),
        limits=Limits(bytes=max_bytes),
        resize=resize,
        class_ids=() if classes is None else read_class_ids(classes),
        part_images=shard_images,
    )
    stage = ingest_stage(sources, options, out)
    with stage_engine("ingest", workers, None, quiet=as_json) as engine:
        outcome = run(stage, OutputFolder(out, overwrite=overwrite), Engine(**engine))
    show(outcome, out, as_json=as_json)
    if nothing := outcome.summary.nothing_saved():
        click.echo(f"warning: {nothing}; the rows' detail says more", err=True)
        ctx.exit(1)

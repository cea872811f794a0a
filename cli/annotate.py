"""`mlimages-build annotate`: files of annotations to the `annotations` table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import (
    FILE,
    dask_option,
    format_option,
    ids_of_option,
    json_option,
    layout_options,
    names_of,
    out_option,
    overwrite_option,
    show,
    source_option,
    stage_engine,
    standard_input,
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
    help="Drop machine labels with a lower confidence; verified absence stays. ML-Images used 0.8.",
)
@source_option
@ids_of_option
@layout_options
@click.option(
    "--complete",
    is_flag=True,
    help="Every image was checked for every class of the list: those that an image does not list are verified absent.",
)
@click.option("--predictions", is_flag=True, help="The files are a model's predictions: write a predictions table.")
@click.argument("inputs", nargs=-1, required=True, type=FILE)
@out_option
@overwrite_option
@workers_option
@dask_option
@json_option
def annotate(
    *,
    vocabulary: Location,
    form: str,
    min_confidence: float,
    source: str | None,
    ids_of: str | None,
    columns: str | None,
    separator: str,
    synsets: Location | None,
    complete: bool,
    predictions: bool,
    inputs: tuple[Location, ...],
    out: Location,
    overwrite: bool,
    workers: int,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Map files of annotations onto a vocabulary: one row per image, one label per category.

    INPUTS are files, plain or compressed, folders of parts, patterns in quotes, or - for standard input. imagenet:
    paths or URLs with a wnid in the name, one per line, the published validation labels, or a folder of images whose
    paths name their class. open-images: image-level labels V1-V7, and image tables for the URLs. tencent: a URL and
    class:confidence pairs, tab-separated, with the class indices of this vocabulary. csv, parquet, jsonl: the columns
    image_id and label, and optionally confidence and location; commas, tabs, semicolons or bars may separate the
    columns of a CSV. coco: instances in COCO's JSON form, also LVIS's; class ids are the categories' numbers.
    voc, labelme, yolo: folders, zip or tar archives of them, or single files; voc also lists of a split. cvat: the XML
    of images. boxes: Parquet (mlimages-build regions). A box says that its class is in the image. A path may go on
    into an archive, as annotations.zip/annotations/instances_val2017.json.
    webdataset: tar shards, or folders of them, with .cls or .json files beside pictures. huggingface: Parquet files
    with pictures, or folders of them; the names of a ClassLabel are the classes.

    \b
    Examples:
      mlimages-build annotate --vocab vocabulary --format imagenet fall11_urls.txt --out annotations/imagenet
      mlimages-build annotate --vocab vocabulary --format open-images --min-confidence 0.8 \\
          labels.csv images.csv --out annotations/open-images
      mlimages-build annotate --vocab vocabulary --format csv --source mine my_labels.csv --out annotations/mine
      mlimages-build annotate --vocab vocabulary --format csv --columns image_id,label --separator ' ' \\
          'kaggle/part-*.csv' --out annotations/kaggle
      zcat labels.csv.gz | mlimages-build annotate --vocab vocabulary --format csv - --out annotations/mine
      mlimages-build annotate --vocab vocabulary --format imagenet --synsets meta.mat \\
          ILSVRC2012_validation_ground_truth.txt --out annotations/imagenet-val
      mlimages-build annotate --vocab vocabulary --format parquet --predictions teacher.parquet --out predictions
    """  # noqa: D301 - click wants the backspace itself
    tell_start(*inputs, into=out, quiet=as_json)
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.api.annotations import annotate as annotated  # noqa: PLC0415

    with stage_engine("annotate", workers, dask_address, quiet=as_json) as engine, standard_input() as file_of:
        made = annotated(
            [file_of(one) for one in inputs],
            vocabulary,
            format=form,
            source=source,
            ids_of=ids_of,
            min_confidence=min_confidence,
            columns=names_of(columns),
            separator=separator,
            synsets=synsets,
            complete=complete,
            predictions=predictions,
            out=out,
            overwrite=overwrite,
            **engine,
        )
    assert made.outcome is not None
    show(made.outcome, out, as_json=as_json)

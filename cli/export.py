"""`mlimages-build export`: label tables in the formats that others read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import (
    FOLDER,
    chosen_engine,
    dask_option,
    image_progress,
    json_option,
    out_option,
    overwrite_option,
    show,
    vocab_option,
    workers_option,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import Json


@click.command()
@vocab_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["tencent", "csv", "huggingface", "croissant"]),
    required=True,
    help="The format to write.",
)
@click.argument("labels", type=FOLDER)
@click.option("--name", default="multi-label images", show_default=True, help="The data set's name on its card.")
@click.option("--license", "licence", default="", help="Its licence on its card: an identifier or a URL.")
@click.option("--url", default="", help="Its page, for its card.")
@click.option("--date", type=click.DateTime(["%Y-%m-%d"]), help="Its day of publication, for its card.")
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
    """Write label tables in a format that others read.

    LABELS is a folder with the tables train/ and val/ (mlimages-build labels), or with one table. tencent: the
    published text form, a URL and class:confidence pairs, and the dictionary; it cannot say absences and origins. csv:
    one row a label. huggingface: a folder that datasets.load_dataset("parquet", data_dir=...) loads, with a dataset
    card. croissant: croissant.json beside one Parquet file a split.

    \b
    Examples:
      mlimages-build export --format tencent labels --vocab vocabulary --out published
      mlimages-build export --format huggingface labels --vocab vocabulary --license cc-by-4.0 --out card
    """  # noqa: D301 - click wants the backspace itself
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.core.errors import UsageError  # noqa: PLC0415
    from mlimages_dataset.exports import export as stage  # noqa: PLC0415
    from mlimages_dataset.exports.cards import Publication  # noqa: PLC0415
    from mlimages_dataset.pipeline.folder import OutputFolder  # noqa: PLC0415
    from mlimages_dataset.tables.parquet import table_digests  # noqa: PLC0415
    from mlimages_dataset.vocab.stage import (  # noqa: PLC0415
        read_vocabulary,
        refuse_other_vocabulary,
        vocabulary_digests,
    )

    publication = Publication(name=name, license=licence, url=url, date=str(date)[:10] if date else "")
    if labels.absolute() == out.absolute():
        raise UsageError("is where the labels lie", where=out, remedy="name another folder for --out")
    inputs = {**vocabulary_digests(vocabulary), **table_digests("labels", labels)}
    refuse_other_vocabulary(inputs, [labels])
    with chosen_engine(workers, dask_address) as mapper, image_progress("export", quiet=as_json) as progress:
        outcome = OutputFolder(out, overwrite=overwrite).run(
            "export",
            parameters={"format": form, "name": name, "license": licence, "url": url, "date": publication.date},
            inputs=inputs,
            folders=stage.FOLDERS,
            work=lambda folder: stage.export(
                read_vocabulary(vocabulary),
                labels,
                stage.ExportFormat(form),
                folder,
                publication=publication,
                inputs=inputs,
                mapper=mapper,
                progress=progress,
            ),
        )
    show(outcome, out, as_json=as_json, lines=_lines)


def _lines(summary: Mapping[str, Json]) -> list[str]:
    texts = (
        ("images", "images"),
        ("labels", "labels"),
        ("absent_labels", "labels of verified absence left out: the format cannot say them"),
        ("images_without_labels", "images left out: no label remains that the format can say"),
        ("unsayable_images", "images left out: their address holds white space"),
    )
    return [f"{summary[name]:>12,}  {text}" for name, text in texts if summary[name] or name in {"images", "labels"}]

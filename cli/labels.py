"""`mlimages-build labels`: annotations to augmented labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from .options import (
    FILE,
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
    "--annotations", type=FOLDER, multiple=True, required=True, help="Folder of an annotations table; repeatable."
)
@click.option("--implications", type=FILE, help="implications.parquet or rules.parquet of mlimages-build cooccurrence.")
@click.option(
    "--predictions",
    type=FOLDER,
    help="Folder of a teacher's predictions of these images, for rules of cooccurrence --rule image.",
)
@click.option("--val", type=click.IntRange(min=0), default=0, show_default=True, help="Validation images to draw.")
@click.option(
    "--val-per-category",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="At most so many validation images of a category.",
)
@click.option("--salt", default="mlimages", show_default=True, help="Another salt draws other images.")
@click.option(
    "--absences",
    type=click.Choice(["expand", "keep", "drop"]),
    default="expand",
    show_default=True,
    help="List the descendants of a verified-absent category as absent, only itself, or none.",
)
@out_option
@overwrite_option
@workers_option
@dask_option
@json_option
def labels(
    *,
    vocabulary: Location,
    annotations: tuple[Location, ...],
    implications: Location | None,
    predictions: Location | None,
    val: int,
    val_per_category: int,
    salt: str,
    absences: Literal["expand", "keep", "drop"],
    out: Location,
    overwrite: bool,
    workers: int,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Augment annotations with ancestors and strong co-occurrences, and split them.

    Writes the tables train/ and val/. Every row is closed under ancestors, and confidence never falls on the way up.

    \b
    Examples:
      mlimages-build labels --vocab vocabulary --annotations annotations/imagenet --out labels
      mlimages-build labels --vocab vocabulary --annotations annotations/imagenet \\
          --annotations annotations/open-images --implications cooccurrence/implications.parquet \\
          --val 50000 --val-per-category 5 --out labels
    """  # noqa: D301 - click wants the backspace itself
    tell_start(*annotations, into=out, quiet=as_json)
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.api.labels import augment  # noqa: PLC0415

    with stage_engine("labels", workers, dask_address, quiet=as_json) as engine:
        made = augment(
            annotations,
            vocabulary,
            implications,
            validation_images=val,
            validation_images_per_category=val_per_category,
            salt=salt,
            absences=absences,
            predictions=predictions,
            out=out,
            overwrite=overwrite,
            **engine,
        )
    assert made.outcome is not None
    show(made.outcome, out, as_json=as_json)

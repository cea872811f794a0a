"""`mlimages-build images subset`: fewer images, chosen by rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import UsageError

from .options import FOLDER, image_progress, json_option, out_option, overwrite_option, show, tell_start

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


@click.command("subset")
@click.option("--labels", type=FOLDER, help="Folder of a label table to choose from.")
@click.option("--images", type=FOLDER, help="Folder of images: choose only pictures that it has.")
@click.option("--vocab", "vocabulary", type=FOLDER, help="The vocabulary of the labels, for --under.")
@click.option("--max-images", "budget_images", type=click.IntRange(min=1), help="Choose at most so many images.")
@click.option(
    "--max-bytes", "budget_bytes", type=click.IntRange(min=1), help="Choose at most so many bytes of pictures."
)
@click.option(
    "--under", multiple=True, metavar="NAME|WNID", help="Only images of this category or its descendants; repeatable."
)
@click.option(
    "--min-per-category", type=click.IntRange(min=0), default=0, help="First take so many images of each category."
)
@click.option("--balanced", is_flag=True, help="Keep the numbers of images per category as equal as possible.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed chooses other images.")
@click.option("--shards", is_flag=True, help="Copy the pictures too, into OUT/images.")
@out_option
@overwrite_option
@json_option
def images_subset(
    *,
    labels: Location | None,
    images: Location | None,
    vocabulary: Location | None,
    budget_images: int | None,
    budget_bytes: int | None,
    under: tuple[str, ...],
    min_per_category: int,
    balanced: bool,
    seed: int,
    shards: bool,
    out: Location,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Choose a part of the images, and write their list, their label rows and, with --shards, the pictures.

    The same rules always choose the same images, and a larger budget only adds images. OUT/images.csv is a list for
    images download; OUT/labels has the rows of the label table.

    \b
    Examples:
      mlimages-build images subset --labels labels/train --max-images 100000 --balanced --out small
      mlimages-build images subset --labels labels/train --vocab vocabulary --under animal --out animals
      mlimages-build images subset --images images --labels labels --max-bytes 20000000000 --min-per-category 10 \\
          --shards --out laptop
    """  # noqa: D301 - click wants the backspace itself
    tell_start(labels, images, into=out, quiet=as_json)
    # Here and not above: pyarrow would cost --help half a second.
    from mlimages_dataset.images.subset import Rules  # noqa: PLC0415
    from mlimages_dataset.images.subset_stage import choose_subset  # noqa: PLC0415

    try:
        rules = Rules(
            images=budget_images,
            bytes=budget_bytes,
            under=under,
            min_per_category=min_per_category,
            balanced=balanced,
            seed=seed,
        )
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        raise UsageError(what, remedy=remedy) from error
    with image_progress("subset", quiet=as_json) as progress:
        outcome = choose_subset(
            out,
            rules,
            labels=labels,
            images=images,
            vocabulary=vocabulary,
            shards=shards,
            overwrite=overwrite,
            progress=progress,
        )
    show(outcome, out, as_json=as_json)

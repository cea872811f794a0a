"""`mlimages-build images verify`: compare pictures with their tables and with labels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import UsageError

from .options import FOLDER, chosen_engine, image_progress, json_option, tell_start, verdict, workers_option

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


@click.command("verify")
@click.argument("folder", type=FOLDER)
@click.option("--labels", type=FOLDER, help="Folder of a label table: also list which of its pictures are missing.")
@click.option("--vocab", "vocabulary", type=FOLDER, help="The vocabulary of the labels, to name categories.")
@click.option("--no-decode", is_flag=True, help="Compare digests only; much faster.")
@workers_option
@json_option
@click.pass_context
def images_verify(
    ctx: click.Context,
    *,
    folder: Location,
    labels: Location | None,
    vocabulary: Location | None,
    no_decode: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Check that each picture of FOLDER is where its table says, has the right digest, and can be decoded.

    Of a folder of others' shards (WebDataset, Hugging Face Parquet) or of image files, each picture is read and
    decoded.

    With --labels also count, by category, the images of a label table without a saved picture.

    \b
    Examples:
      mlimages-build images verify images/imagenet
      mlimages-build images verify images/imagenet --labels labels/train --vocab vocabulary
    """  # noqa: D301 - click wants the backspace itself
    tell_start(folder, labels, quiet=as_json)
    # Here and not above: pyarrow would cost --help half a second.
    from mlimages_dataset.images.verification import (  # noqa: PLC0415
        category_names,
        coverage,
        coverage_problems,
        verify_images,
    )

    if vocabulary is not None and labels is None:
        raise UsageError("--vocab is of use only with labels", remedy="pass --labels too")
    names = category_names(vocabulary, labels) if vocabulary is not None and labels is not None else ()
    content: dict[str, object] = {}
    with chosen_engine(workers, None) as mapper, image_progress("verify", quiet=as_json) as progress:
        n_images, problems = verify_images(folder, decode=not no_decode, mapper=mapper, progress=progress)
        if labels is not None:
            found = coverage(labels, folder, mapper=mapper)
            problems += coverage_problems(labels, found, names)
            content = {
                "labelled_images": found.images,
                "labelled_images_missing": found.missing,
                "missing_by_class": {str(c): [n, of] for c, n, of in found.worst(len(found.images_of_class))},
            }
    if as_json:
        click.echo(json.dumps({"images": n_images, "problems": problems, **content}, indent=2, ensure_ascii=False))
    else:
        for problem in problems:
            click.echo(problem)
        click.echo(f"{folder}: {n_images:,} pictures, {verdict(problems)}")
    ctx.exit(1 if problems else 0)

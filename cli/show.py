"""`mlimages-build show`: an image with its labels and their reasons, or a category."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from .options import FILE, FOLDER, json_option, printable

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location

FORMAT = "mlimages.show/2"


@click.command()
@click.argument("folder", type=FOLDER)
@click.argument("what", metavar="IMAGE|CATEGORY")
@click.option(
    "--vocab", "--vocabulary", "vocabulary", type=FOLDER, help="The vocabulary.  [default: beside the labels]"
)
@click.option("--images", type=FOLDER, help="The pictures.  [default: beside the labels, if there are any]")
@click.option(
    "--implications", type=FILE, help="The pairs or rules that were applied.  [default: beside the labels, if there]"
)
@json_option
def show(
    *,
    folder: Location,
    what: str,
    vocabulary: Location | None,
    images: Location | None,
    implications: Location | None,
    as_json: bool,
) -> None:
    """Show the labels of an image and why it has them, or a category, from the FOLDER of a build or of labels.

    IMAGE is an id, or the name of a picture as files give it. CATEGORY is a wnid, a class index, an id of a class, or a
    name; all senses of a name are shown.

    \b
    Examples:
      mlimages-build show build dogs/rex.jpg
      mlimages-build show build dog
      mlimages-build show build n02084071 --json
    """  # noqa: D301 - click wants the backspace itself
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.api.show import show as shown  # noqa: PLC0415
    from mlimages_dataset.core.decoding import encode  # noqa: PLC0415

    found = shown(folder, what, vocabulary=vocabulary, images=images, implications=implications)
    if as_json:
        content = {"format": FORMAT, "images": encode(found.images), "categories": encode(found.categories)}
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(map(printable, found.lines())))

"""`mlimages-build images`: the commands about pictures."""

from __future__ import annotations

import click

from .lazy import LazyGroup, Listed

COMMANDS = {
    "download": Listed("images_download", "Download a list of pictures into shards."),
    "ingest": Listed("images_ingest", "Copy folders, archives and TFRecords into shards."),
    "subset": Listed("images_subset", "Choose fewer images: by budget, subtree, category, balance."),
    "duplicates": Listed("images_duplicates", "Find copies, merge their labels, list leaks between splits."),
    "verify": Listed("images_verify", "Check pictures against their tables and labels."),
}


@click.command(cls=LazyGroup, listed=COMMANDS)
def images() -> None:
    """Download or copy pictures into shards, choose some, find copies, and check them.

    A folder of images holds tables, part-*.parquet, with a row and a status for each picture, and shard-*.tar with the
    saved pictures. Labels are in tables of their own.

    \b
    Examples:
      mlimages-build images download labels/train --out images/train
      mlimages-build images ingest ILSVRC2012_img_train.tar --out images
      mlimages-build images verify images
      mlimages-build images COMMAND --help
    """  # noqa: D301 - click wants the backspace itself

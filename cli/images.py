"""`mlimages-build images`: the group of commands about the pictures themselves."""

from __future__ import annotations

import click

from .lazy import LazyGroup, Listed

COMMANDS = {
    "download": Listed("images_download", "Download the pictures that a list names into shards."),
    "ingest": Listed("images_ingest", "Bring folders, archives and TFRecords into shards."),
    "subset": Listed("images_subset", "Choose fewer images: by budget, subtree, category, balance."),
    "duplicates": Listed("images_duplicates", "Find copies, merge their labels, tell what leaks between splits."),
    "verify": Listed("images_verify", "Check every picture against its row, and labels against pictures."),
}


@click.command(cls=LazyGroup, listed=COMMANDS)
def images() -> None:
    """Get the pictures into shards, choose among them, find copies, check them.

    A folder of images holds part-*.parquet, the tables of every picture that was asked for and what became of it, and
    shard-*.tar with the saved ones. Labels stay in tables of their own.

    \b
    Examples:
      mlimages-build images download labels/train --out images/train
      mlimages-build images ingest ILSVRC2012_img_train.tar --out images
      mlimages-build images verify images
      mlimages-build images COMMAND --help
    """  # noqa: D301 - click wants the backspace itself

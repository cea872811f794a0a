"""`python -m mlimages_dataset.loaders bench`: measure the loader on your own pictures."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import MLImagesError
from mlimages_dataset.core.path_options import LocalPath
from mlimages_dataset.core.streams import Program
from mlimages_dataset.version import __version__

if TYPE_CHECKING:
    from pathlib import Path


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="python -m mlimages_dataset.loaders")
def main() -> None:
    """Tools for the loader."""


@main.command()
@click.option("--images", required=True, multiple=True, help="A folder of shards or of image files; repeatable.")
@click.option("--labels", required=True, help="A folder that mlimages-build labels wrote, or a table.")
@click.option("--split", default="train", show_default=True, help="train or val; none for a single table.")
@click.option("--classes", type=click.IntRange(1), help="Number of classes, if there is no manifest with it.")
@click.option("--transform", type=click.Choice(["train", "crop80", "resize256"]), default="train", show_default=True)
@click.option("--upright", is_flag=True, help="Turn pictures as their metadata (EXIF) say.")
@click.option("--image-size", type=click.IntRange(1), default=224, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option(
    "--workers", type=click.IntRange(0), default=1, show_default=True, help="Worker processes that make samples."
)
@click.option("--batches", type=click.IntRange(1), default=20, show_default=True, help="Batches to measure.")
@click.option(
    "--step-ms",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Milliseconds that a network would take per batch.",
)
@click.option("--cache", type=LocalPath(), help="Where to keep the catalogue.  [default: user's cache]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def bench(  # noqa: PLR0917 - click passes options by name
    images: tuple[str, ...],
    labels: str,
    split: str,
    classes: int | None,
    transform: str,
    image_size: int,
    batch_size: int,
    workers: int,
    batches: int,
    step_ms: float,
    cache: Path | None,
    *,
    upright: bool,
    as_json: bool,
) -> None:
    """Print images/s, the share of time spent waiting, and the time of each step of the transform.

    Example: python -m mlimages_dataset.loaders bench --images shards --labels build/labels --workers 8
    """
    try:
        # Here and not above: importing torch takes seconds, and it may not be installed.
        from mlimages_dataset.loaders.bench import measure  # noqa: PLC0415
        from mlimages_dataset.loaders.dataset import MLImages  # noqa: PLC0415
        from mlimages_dataset.loaders.transforms import eval_transform, train_transform  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mlimages_dataset"):
            raise
        click.echo(f"error: a package is missing ({error}); run: pip install 'mlimages-dataset[train]'", err=True)
        sys.exit(2)
    try:
        data = MLImages(
            images,
            labels,
            split=None if split == "none" else split,
            transform=train_transform(image_size, upright=upright)
            if transform == "train"
            else eval_transform(image_size, transform, upright=upright),
            n_classes=classes,
            cache=cache,
        )
        speed = measure(data, batch_size=batch_size, workers=workers, batches=batches, step_seconds=step_ms / 1000)
    except MLImagesError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    click.echo(json.dumps(dataclasses.asdict(speed)) if as_json else "\n".join(speed.lines()))


if __name__ == "__main__":
    main(prog_name="python -m mlimages_dataset.loaders")

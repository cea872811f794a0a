"""`mlimages-build images duplicates`: copies of pictures, leaks between splits, labels without copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import (
    FOLDER,
    chosen_engine,
    image_progress,
    json_option,
    out_option,
    overwrite_option,
    show,
    workers_option,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import Json


@click.command("duplicates")
@click.argument("images", type=FOLDER)
@click.option("--labels", type=FOLDER, help="Folder of a label table; its sub-folders, train and val, are its splits.")
@click.option("--exact", is_flag=True, help="Only files with equal bytes; decodes nothing.")
@click.option(
    "--max-bits",
    type=click.IntRange(0, 15),
    default=10,
    show_default=True,
    help="Bits of 64 in which the perceptual hashes of copies may differ.",
)
@click.option("--merge", is_flag=True, help="Also write the label table with copies merged into one row.")
@out_option
@overwrite_option
@workers_option
@json_option
def images_duplicates(
    *,
    images: Location,
    labels: Location | None,
    exact: bool,
    max_bits: int,
    merge: bool,
    out: Location,
    overwrite: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Find copies among the pictures of the folder IMAGES: equal bytes, or the same picture encoded differently.

    Writes OUT/duplicates.csv: groups of copies, the picture to keep first. With --labels also OUT/leakage.csv: pictures
    with a copy in another split. With --merge also OUT/labels: the kept picture has the labels of its copies in the
    same split.

    \b
    Examples:
      mlimages-build images duplicates images --out copies
      mlimages-build images duplicates images --labels labels --merge --out copies
    """  # noqa: D301 - click wants the backspace itself
    # Here and not above: pyarrow would cost --help half a second.
    from mlimages_dataset.images.duplicates import HashTolerance  # noqa: PLC0415
    from mlimages_dataset.images.duplicates_stage import run_duplicates  # noqa: PLC0415

    with chosen_engine(workers, None) as mapper, image_progress("duplicates", quiet=as_json) as progress:
        outcome = run_duplicates(
            out,
            images,
            labels=labels,
            tolerance=None if exact else HashTolerance(frequencies=max_bits),
            merge=merge,
            overwrite=overwrite,
            mapper=mapper,
            progress=progress,
        )
    show(outcome, out, as_json=as_json, lines=_lines)


def _lines(summary: Mapping[str, Json]) -> list[str]:
    texts = (
        ("images", "pictures"),
        ("copies", "of them are copies of others"),
        ("groups", "groups of copies"),
        ("copies_of_equal_bytes", "copies of equal bytes"),
        ("without_perceptual_hash", "pictures compared by their bytes only"),
        ("leaking_images", "pictures with a copy in another split"),
        ("label_rows_merged_away", "label rows merged into those of copies"),
    )
    return [f"{summary[name]:>12,}  {text}" for name, text in texts if name in summary]

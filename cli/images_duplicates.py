"""`mlimages-build images duplicates`: copies of pictures, leaks between splits, labels without copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import (
    FOLDER,
    json_option,
    out_option,
    overwrite_option,
    show,
    stage_engine,
    tell_start,
    workers_option,
)

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


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
    tell_start(images, into=out, quiet=as_json)
    # Here and not above: pyarrow would cost --help half a second.
    from mlimages_dataset.images.duplicates import HashTolerance  # noqa: PLC0415
    from mlimages_dataset.images.duplicates_stage import duplicates_stage  # noqa: PLC0415
    from mlimages_dataset.pipeline.folder import OutputFolder  # noqa: PLC0415
    from mlimages_dataset.pipeline.stage import Engine, run  # noqa: PLC0415

    tolerance = None if exact else HashTolerance(frequencies=max_bits)
    stage = duplicates_stage(images, labels=labels, tolerance=tolerance, merge=merge)
    with stage_engine("duplicates", workers, None, quiet=as_json) as engine:
        outcome = run(stage, OutputFolder(out, overwrite=overwrite), Engine(**engine))
    show(outcome, out, as_json=as_json)

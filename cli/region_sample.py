"""`mlimages-build region-sample`: fewer images with boxes, in which every category keeps its share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.decimals import is_whole
from mlimages_dataset.core.errors import UsageError

from .options import FOLDER, json_option, out_option, overwrite_option, show, tell_start

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


@click.command("region-sample")
@click.argument("regions", type=FOLDER)
@click.option(
    "--draw", "sizes", multiple=True, required=True, metavar="NAME=N", help="A sample of N images; repeatable."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed draws others.")
@out_option
@overwrite_option
@json_option
def region_sample(
    *, regions: Location, sizes: tuple[str, ...], seed: int, out: Location, overwrite: bool, as_json: bool
) -> None:
    """Draw images with boxes so that every category keeps its share, and write a table of each sample below OUT.

    REGIONS is the folder of a table of boxes (mlimages-build regions). No image is in two samples. Of a category that
    is the rarest in all of its images, each sample has its share up to less than two images, however rare it is.

    \b
    Example (Peng et al. 2020, section 5.1):
      mlimages-build region-sample regions --draw mini-train=115000 --draw mini-val=5000 --out mini
    """  # noqa: D301 - click wants the backspace itself
    tell_start(regions, into=out, quiet=as_json)
    # Here and not above: pyarrow would cost --help half a second.
    from mlimages_dataset.augment.region_sample import region_sample_stage  # noqa: PLC0415
    from mlimages_dataset.pipeline.folder import OutputFolder  # noqa: PLC0415
    from mlimages_dataset.pipeline.stage import run  # noqa: PLC0415

    stage = region_sample_stage(regions, [_named_number(one) for one in sizes], seed=seed)
    show(run(stage, OutputFolder(out, overwrite=overwrite)), out, as_json=as_json)


def _named_number(text: str) -> tuple[str, int]:
    """Return the parts of NAME=N.

    Raises:
        UsageError: it has another form.
    """
    name, _, number = text.partition("=")
    if not name or not is_whole(number):
        raise UsageError(f"--draw {text} is no NAME=N", remedy="write it as mini-train=115000")
    return name, int(number)

"""`mlimages-build fuse-detections`: one table of boxes from those of several detectors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.decimals import nearest_float
from mlimages_dataset.core.errors import UsageError

from .options import FOLDER, json_option, out_option, overwrite_option, show, tell_start

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location

_METHODS = ("weighted", "suppression")


@click.command("fuse-detections")
@click.argument("tables", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--method",
    type=click.Choice(_METHODS),
    default="weighted",
    show_default=True,
    help="Boxes of a class that overlap become their mean, or the surest of them.",
)
@click.option(
    "--overlap",
    type=click.FloatRange(0, 1),
    default=0.55,
    show_default=True,
    help="Boxes whose intersection over union is above this are of one object.",
)
@click.option("--weights", metavar="W,W,...", help="A weight for each table.  [default: all alike]")
@click.option(
    "--most", type=click.IntRange(min=0), default=0, show_default=True, help="Boxes kept of an image; 0: all."
)
@click.option("--source", default="ensemble", show_default=True, help="Value of the table's column source.")
@out_option
@overwrite_option
@json_option
def fuse_detections(
    *,
    tables: tuple[Location, ...],
    method: str,
    overlap: float,
    weights: str | None,
    most: int,
    source: str,
    out: Location,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Put the boxes of several detectors together, or those of one at several sizes of the pictures.

    TABLES are folders that `python -m mlimages_dataset.train predict` wrote of the same pictures. The score of a mean
    box (weighted box fusion, Solovyev et al. 2021) is lower the fewer of the tables have it.

    \b
    Examples:
      mlimages-build fuse-detections found/resnext101 found/resnext152 --weights 1,2 --out found/both
      mlimages-build fuse-detections found/600 found/800 found/1000 --out found/scales
    """  # noqa: D301 - click wants the backspace itself
    tell_start(*tables, into=out, quiet=as_json)
    # Here and not above: pyarrow and numba would cost --help half a second.
    from mlimages_dataset.evaluation.box_fusion import Fusion, FusionMethod  # noqa: PLC0415
    from mlimages_dataset.evaluation.box_fusion_stage import fusion_stage  # noqa: PLC0415
    from mlimages_dataset.pipeline.folder import OutputFolder  # noqa: PLC0415
    from mlimages_dataset.pipeline.stage import run  # noqa: PLC0415

    fusion = Fusion(method=FusionMethod(method), overlap=overlap, weights=_numbers(weights), most=most)
    outcome = run(fusion_stage(tables, fusion, source=source), OutputFolder(out, overwrite=overwrite))
    show(outcome, out, as_json=as_json)


def _numbers(text: str | None) -> tuple[float, ...]:
    """Return the numbers of a text such as `1,2.5`.

    Raises:
        UsageError: it has something else.
    """
    numbers = tuple(map(nearest_float, text.split(","))) if text else ()
    if any(map(math.isnan, numbers)):
        raise UsageError(f"--weights {text} is no list of numbers", remedy="write it as 1,2.5")
    return numbers

"""`mlimages-build region-pairs`: how often objects of one class are labelled with another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import FILE, json_option, out_option, overwrite_option, show, tell_start, vocab_option

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


@click.command()
@vocab_option
@click.argument("regions", type=FILE)
@out_option
@overwrite_option
@json_option
def region_pairs(*, vocabulary: Location, regions: Location, out: Location, overwrite: bool, as_json: bool) -> None:
    """Count how often objects of one class are labelled with another: a table for the loss concurrent-softmax.

    REGIONS is the folder of a table of boxes (mlimages-build regions). Equal boxes of an image are one object. The
    rate of a pair is the share of the objects of the first class that have the second one too (Peng et al. 2020,
    4.1.1). A run file names the table as `loss.pair_counts`.

    \b
    Example:
      mlimages-build region-pairs --vocab vocabulary regions/open-images --out pairs
    """  # noqa: D301 - click wants the backspace itself
    tell_start(regions, into=out, quiet=as_json)
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.augment.region_pairs import region_pairs_stage  # noqa: PLC0415
    from mlimages_dataset.pipeline.folder import OutputFolder  # noqa: PLC0415
    from mlimages_dataset.pipeline.stage import run  # noqa: PLC0415

    outcome = run(region_pairs_stage(vocabulary, regions), OutputFolder(out, overwrite=overwrite))
    show(outcome, out, as_json=as_json)

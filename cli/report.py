"""`mlimages-build report`: a build's report page and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import FOLDER, json_option, show

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


@click.command()
@click.argument("folder", type=FOLDER)
@json_option
def report(*, folder: Location, as_json: bool) -> None:
    """Write FOLDER/report.html, one page that needs no network, and FOLDER/figures for papers, from the manifest.

    FOLDER is an output folder of `mlimages-build run`. If the report is up to date, nothing is written.

    \b
    Example:
      mlimages-build report build
    """  # noqa: D301 - click wants the backspace itself
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.pipeline.folder import OutputFolder  # noqa: PLC0415
    from mlimages_dataset.pipeline.records import read_manifest  # noqa: PLC0415
    from mlimages_dataset.pipeline.stage import run  # noqa: PLC0415
    from mlimages_dataset.report.page import report_stage  # noqa: PLC0415

    read_manifest(folder)  # OutputFolder would create a missing folder
    output = OutputFolder(folder, overwrite=True)
    show(run(report_stage(output), output), folder, as_json=as_json)

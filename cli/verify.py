"""`mlimages-build verify`: a folder against its manifest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from .options import FOLDER, json_option, tell_start, verdict

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


@click.command()
@click.argument("folder", type=FOLDER)
@json_option
@click.pass_context
def verify(ctx: click.Context, *, folder: Location, as_json: bool) -> None:
    """Recompute the digests and row counts of FOLDER's files and check its vocabulary; explain every difference.

    \b
    Example:
      mlimages-build verify build
    """  # noqa: D301 - click wants the backspace itself
    tell_start(folder, quiet=as_json)
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.pipeline.records import read_manifest  # noqa: PLC0415
    from mlimages_dataset.recipes import build  # noqa: PLC0415

    problems = build.verify(folder)
    n_files = len(read_manifest(folder).files)
    if as_json:
        click.echo(json.dumps({"files": n_files, "problems": problems}, indent=2, ensure_ascii=False))
    else:
        for problem in problems:
            click.echo(problem)
        click.echo(f"{folder}: {n_files} files, {verdict(problems)}")
    ctx.exit(1 if problems else 0)

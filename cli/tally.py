"""`mlimages-build tally`: images per class of a source, before any mapping."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from .options import (
    FILE,
    chosen_engine,
    dask_option,
    format_option,
    json_option,
    layout_options,
    names_of,
    standard_input,
    tell_start,
    workers_option,
)

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


@click.command()
@format_option
@click.option("--source", help="Name of the collection.  [default: the format]")
@layout_options
@click.argument("inputs", nargs=-1, required=True, type=FILE)
@click.option("--out", type=FILE, required=True, help="The table to write: .csv or .parquet.")
@click.option("--overwrite", is_flag=True, help="Replace the table if it exists.")
@workers_option
@dask_option
@json_option
def tally(
    *,
    form: str,
    source: str | None,
    columns: str | None,
    separator: str,
    synsets: Location | None,
    inputs: tuple[Location, ...],
    out: Location,
    overwrite: bool,
    workers: int,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Count the images of each class of a source, before any mapping, for `vocab --image-counts`.

    INPUTS and what is stated of them are those of annotate.

    \b
    Examples:
      mlimages-build tally --format open-images labels.csv --out counts.csv
      mlimages-build tally --format imagenet fall11_urls.txt --out counts.parquet
    """  # noqa: D301 - click wants the backspace itself
    tell_start(*inputs, into=out, quiet=as_json)
    # Here and not above: pyarrow and DuckDB would cost --help half a second.
    from mlimages_dataset.augment.tally import tally as count  # noqa: PLC0415
    from mlimages_dataset.sources.layout import layout_of  # noqa: PLC0415
    from mlimages_dataset.sources.rejects import first_lines  # noqa: PLC0415

    layout = layout_of(names_of(columns), separator, synsets)
    with chosen_engine(workers, dask_address) as mapper, standard_input() as file_of:
        files = [file_of(one) for one in inputs]
        counted = count(form, files, source or form, out, layout=layout, overwrite=overwrite, mapper=mapper)
    rejects = counted.rejects
    if as_json:
        content = {
            "classes": counted.classes,
            "rejected_rows": rejects.count,
            "first_rejected_rows": [str(reject) for reject in rejects.first],
            "malformed": rejects.n_malformed,
            "first_malformed": [str(one) for one in rejects.malformed],
        }
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    click.echo(f"{counted.classes:,} classes written to {out}")
    if rejects.n_malformed:
        click.echo(f"{rejects.n_malformed:>12,}  statements without image id, class or valid confidence")
    if rejects.count:
        click.echo(f"{rejects.count:>12,}  malformed rows")
    for line in first_lines("rejected", rejects.first, rejects.count):
        click.echo(line)
    for line in first_lines("malformed", rejects.malformed, rejects.n_malformed):
        click.echo(line)

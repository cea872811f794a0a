"""The command `transfer`; torch is imported when it runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import location
from mlimages_dataset.core.path_options import LocalPath
from mlimages_dataset.train.apply_command import tell_aside
from mlimages_dataset.train.paper.rows import ROWS, Collection, Row, row_named
from mlimages_dataset.train.run_command import is_first_rank, tell_plan
from mlimages_dataset.train.run_files import read_run, run_file

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.train.caltech_stage import Transfer
    from mlimages_dataset.train.config import Run
    from mlimages_dataset.train.paper.stage import Transferred


@click.command()
@click.argument("table", required=False)
@click.option("--list", "listed", is_flag=True, help="Print all rows with the paper's figures.")
@click.option("--weights", metavar="PLACE", help="Weights to start from; all rows but imagenet-1 need them.")
@click.option("--data", metavar="FOLDER", help="The collection's folder. [required]")
@click.option("--out", type=LocalPath(), help="The folder for data, run and result. [required]")
@click.option("--sbd", metavar="FOLDER", help="SBD's folder, from which voc-segmentation makes the augmented list.")
@click.option("--run", "run_toml", metavar="RUN_TOML", help="Another run file than the row's own.")
@click.option("--plan", "only_plan", is_flag=True, help="Only print parameters, memory, steps and hours.")
@click.option("--ranks", type=click.IntRange(min=1), help="With --plan: number of ranks; by default the current ones.")
@click.option(
    "--images-per-second",
    type=click.FloatRange(min=0, min_open=True),
    help="With --plan: speed of all ranks together; measured if not given.",
)
def transfer(  # noqa: PLR0917 - as click calls it
    table: str | None,
    listed: bool,  # noqa: FBT001 - as click calls it
    weights: str | None,
    data: str | None,
    out: Path | None,
    sbd: str | None,
    run_toml: str | None,
    only_plan: bool,  # noqa: FBT001 - as click calls it
    ranks: int | None,
    images_per_second: float | None,
) -> None:
    """Run a row of tables 3 to 6 of the paper, and print its figures beside the paper's.

    TABLE is imagenet-1 to imagenet-5, caltech-256, voc-detection or voc-segmentation. --data is a folder with
    ImageNet's `train` and `val`, Caltech's 256_ObjectCategories, or VOCdevkit. An interrupted run resumes.

    \b
    Examples:
      python -m mlimages_dataset.train transfer --list
      python -m mlimages_dataset.train transfer voc-detection --plan --ranks 1
      python -m mlimages_dataset.train transfer voc-detection --weights tuned --data VOCdevkit --out detection
    """  # noqa: D301 - click wants the backspace itself
    if listed:
        click.echo("\n".join(line for row in ROWS for line in row.lines()))
        return
    if table is None:
        raise UsageError("no row is named", remedy="name one of those that --list prints")
    row = row_named(table)
    if sbd is not None and row.collection is not Collection.VOC_SEGMENTATION:
        raise UsageError(f"{row.name} has no use for --sbd", remedy="leave it out")
    if only_plan:
        run = _run(row, run_toml, weights)
        tell_plan(run, None, images=row.images, images_per_second=images_per_second, ranks=ranks)
        return
    missing = [f"--{name}" for name, value in (("data", data), ("out", out)) if value is None]
    if data is None or out is None:
        raise UsageError(f"no {' and no '.join(missing)}", remedy=f"pass {' and '.join(missing)}")
    of_sbd = None if sbd is None else location(sbd)
    result = _result(row, run_toml, weights, data=location(data), out=out, sbd=of_sbd)
    if result is not None and is_first_rank():
        click.echo("\n".join(result.lines()))


def _result(
    row: Row, run_toml: str | None, weights: str | None, *, data: Location, out: Path, sbd: Location | None
) -> Transferred | Transfer | None:
    """Run a row, and return its result; on rank 0 where the other ranks have none."""
    # Here and not above: torch would cost --help seconds.
    from mlimages_dataset.train.paper.stage import measure_features  # noqa: PLC0415
    from mlimages_dataset.train.paper.stage import transfer as work  # noqa: PLC0415

    if row.collection is not Collection.CALTECH:
        return work(row, _run(row, run_toml, weights), data, out, tell=tell_aside, sbd=sbd)
    if run_toml is not None:
        raise _no_training(row)
    if weights is None:
        raise UsageError(f"{row.name} measures a checkpoint", remedy="name it with --weights")
    return measure_features(location(weights), data, out, tell_aside)


def _no_training(row: Row) -> UsageError:
    return UsageError(
        f"{row.name} trains no network", remedy="leave out --run and --plan; the command caltech has its parameters"
    )


def _run(row: Row, run_toml: str | None, weights: str | None) -> Run:
    """Return the run of a row.

    Raises:
        ConfigError: the run file cannot be used.
        UsageError: the row trains nothing.
    """
    if row.collection is Collection.CALTECH:
        raise _no_training(row)
    run = read_run(run_file(run_toml or row.recipe))
    if weights is None:
        return run
    return dataclasses.replace(run, model=dataclasses.replace(run.model, weights=location(weights)))

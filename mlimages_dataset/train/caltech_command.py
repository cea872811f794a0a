"""The command `caltech`; torch is imported when it runs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import location
from mlimages_dataset.train.apply_command import applied, tell_aside

if TYPE_CHECKING:
    from mlimages_dataset.train.apply import Application


def _costs(_ctx: click.Context, _parameter: click.Parameter, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 0.01,0.1,1") from None


@click.command()
@functools.partial(applied, to_classes=False)
@click.option("--out", metavar="PLACE", required=True, help="The folder for features and results.")
@click.option("--per-class", default=60, show_default=True, help="Images of each class to learn from.")
@click.option("--splits", default=5, show_default=True, help="How often these are drawn.")
@click.option("--seed", default=0, show_default=True, help="Another seed draws other images.")
@click.option(
    "--costs",
    callback=_costs,
    default="0.001,0.01,0.1,1,10,100",
    show_default=True,
    help="The SVM's C; of several, cross-validation takes one in each split.",
)
@click.option("--folds", default=5, show_default=True, help="Folds of the cross-validation.")
@click.option("--normalise/--no-normalise", default=True, show_default=True, help="Divide features by their norm.")
@click.option("--clutter/--no-clutter", default=False, show_default=True, help="Keep Caltech-256's class of clutter.")
@click.option(
    "--few",
    type=click.Choice(["refuse", "use"]),
    default="refuse",
    show_default=True,
    help="Classes with too few images: refuse them, or learn from half of their images.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace the features of another checkpoint or of other pictures.")
def caltech(
    application: Application,
    *,
    out: str,
    per_class: int,
    splits: int,
    seed: int,
    costs: tuple[float, ...],
    folds: int,
    normalise: bool,
    clutter: bool,
    few: str,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Measure the features of CHECKPOINT by a linear SVM, as the paper does on Caltech-256.

    The folder of --images has one sub-folder of pictures per class (001.ak47, ..., 257.clutter). The features are
    kept in OUT/features: another call with other parameters reads them.

    \b
    Example:
      python -m mlimages_dataset.train caltech run/checkpoints/best.pt --images 256_ObjectCategories \\
          --per-class 60 --splits 5 --out caltech
    """  # noqa: D301 - click wants the backspace itself
    # Here and not above: torch would cost --help seconds.
    from mlimages_dataset.train.caltech import Few, Protocol  # noqa: PLC0415
    from mlimages_dataset.train.caltech_stage import measure_transfer  # noqa: PLC0415
    from mlimages_dataset.train.logs import json_text  # noqa: PLC0415

    try:
        protocol = Protocol(
            per_class=per_class,
            splits=splits,
            seed=seed,
            costs=costs,
            folds=folds,
            normalised=normalise,
            clutter=clutter,
            few=Few(few),
        )
    except ValueError as error:
        raise UsageError(str(error), remedy="correct the option") from error
    found = measure_transfer(application, protocol, location(out), overwrite=overwrite, tell=tell_aside)
    if found is not None:
        for bad in found.applied.first_unreadable:
            tell_aside(f"cannot be used: {bad}")
        click.echo(json_text(found.to_json(), indent=2) if as_json else "\n".join(found.lines()))

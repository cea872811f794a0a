"""`mlimages-build cooccurrence`: annotations and predictions to strong pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import (
    FOLDER,
    dask_option,
    json_option,
    out_option,
    overwrite_option,
    show,
    stage_engine,
    tell_start,
    vocab_option,
    workers_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.api.pairs import Pairs
    from mlimages_dataset.api.rules import Rules
    from mlimages_dataset.core.locations import Location


@click.command()
@vocab_option
@click.option("--annotations", type=FOLDER, required=True, help="Folder of an annotations table.")
@click.option(
    "--predictions",
    type=FOLDER,
    required=True,
    help="Folder of a teacher's predictions for the same images; or that of --annotations, if these are complete "
    "(not with --rule image).",
)
@click.option(
    "--probability",
    type=click.FloatRange(0, 1),
    help="With --rule pairs or regression: a category is predicted above this probability.  [default: 0.95]",
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    help="With --rule pairs: a pair is strong above this share of the annotated images.  [default: 0.5]",
)
@click.option(
    "--rule",
    type=click.Choice(["pairs", "regression", "image"]),
    default="pairs",
    show_default=True,
    help="Learn the paper's pairs; or what all labels of an image say together (rules.parquet); or what they and a "
    "teacher's predictions of each image say, from complete annotations.",
)
@click.option(
    "--precision",
    type=click.FloatRange(0, 1),
    help="With --rule regression or image: share of the added labels that is to be right.  [default: 0.9]",
)
@click.option(
    "--hidden",
    type=click.FloatRange(0, 1),
    help="With --rule regression or image: share of the labels that images lack.  [default: 0.5]",
)
@out_option
@overwrite_option
@workers_option
@dask_option
@json_option
def cooccurrence(
    *,
    vocabulary: Location,
    annotations: Location,
    predictions: Location,
    probability: float | None,
    strength: float | None,
    rule: str,
    precision: float | None,
    hidden: float | None,
    out: Location,
    overwrite: bool,
    workers: int,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Find categories that often appear together: CO(i, j) = n_ij / n_i for annotated i and predicted j.

    Writes pair_counts.parquet, and implications.parquet with the strong pairs (neither an ancestor of the other). With
    --rule regression or image, it writes rules.parquet instead, which adds what is right as often as --precision says.

    \b
    Examples:
      mlimages-build cooccurrence --vocab vocabulary --annotations annotations/imagenet \\
          --predictions predictions --out cooccurrence
      mlimages-build cooccurrence --rule regression --precision 0.9 --vocab vocabulary \\
          --annotations annotations/coco --predictions annotations/coco --out rules
      mlimages-build cooccurrence --rule image --precision 0.9 --vocab vocabulary \\
          --annotations annotations/coco --predictions predictions --out rules
    """  # noqa: D301 - click wants the backspace itself
    tell_start(annotations, into=out, quiet=as_json)
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.api.pairs import cooccurrence as cooccurring  # noqa: PLC0415
    from mlimages_dataset.api.rules import learn_rules  # noqa: PLC0415
    from mlimages_dataset.augment.rules_stage import idle_option  # noqa: PLC0415

    options = {"strength": strength, "precision": precision, "hidden": hidden, "probability": probability}
    stated: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if idle := idle_option(rule, stated):
        raise click.UsageError(f"--{idle} has no meaning with --rule {rule}")
    if rule != "pairs":
        stated["rule"] = rule
    learn: Callable[..., Pairs | Rules] = cooccurring if rule == "pairs" else learn_rules
    with stage_engine("cooccurrence", workers, dask_address, quiet=as_json) as engine:
        made = learn(
            annotations,
            predictions,
            vocabulary,
            out=out,
            overwrite=overwrite,
            **stated,
            **engine,
        )
    assert made.outcome is not None
    show(made.outcome, out, as_json=as_json)

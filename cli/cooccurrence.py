"""`mlimages-build cooccurrence`: annotations and predictions to strong pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import (
    FOLDER,
    dask_option,
    json_option,
    out_option,
    overwrite_option,
    show,
    stage_engine,
    vocab_option,
    workers_option,
)

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


@click.command()
@vocab_option
@click.option("--annotations", type=FOLDER, required=True, help="Folder of an annotations table.")
@click.option(
    "--predictions",
    type=FOLDER,
    required=True,
    help="Folder of a teacher's predictions for the same images; or that of --annotations, if these are complete.",
)
@click.option(
    "--probability",
    type=click.FloatRange(0, 1),
    default=0.95,
    show_default=True,
    help="A category is predicted above this probability.",
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="A pair is strong above this share of the annotated images.",
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
    probability: float,
    strength: float,
    out: Location,
    overwrite: bool,
    workers: int,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Find categories that often appear together: CO(i, j) = n_ij / n_i for annotated i and predicted j.

    Writes pair_counts.parquet, and implications.parquet with the strong pairs (neither an ancestor of the other).

    \b
    Example:
      mlimages-build cooccurrence --vocab vocabulary --annotations annotations/imagenet \\
          --predictions predictions --out cooccurrence
    """  # noqa: D301 - click wants the backspace itself
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.api.pairs import cooccurrence as cooccurring  # noqa: PLC0415

    with stage_engine("cooccurrence", workers, dask_address, quiet=as_json) as engine:
        made = cooccurring(
            annotations,
            predictions,
            vocabulary,
            probability=probability,
            strength=strength,
            out=out,
            overwrite=overwrite,
            **engine,
        )
    assert made.outcome is not None
    show(made.outcome, out, as_json=as_json)

"""`mlimages-build evaluate-labels`: precision and recall of added labels, against complete annotations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.decimals import nearest_float

from .options import FILE, FOLDER, chosen_engine, dask_option, json_option, tell_start, vocab_option, workers_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.evaluation.label_quality import AugmentationEvaluation, Quality
    from mlimages_dataset.tables.schemas import Origin

_HEADER = (
    f"{'added':>8}{'precision':>10}{'at most':>9}{'recall':>9}{'unjudged':>10}"
    f"{'added':>8}{'precision':>10}{'recall':>9}{'noisy':>9}{'missing':>9}"
)


def _thresholds(_ctx: click.Context, _parameter: click.Parameter, text: str) -> tuple[float, ...]:
    values = tuple(map(nearest_float, text.split(",")))
    if not all(0 <= value < 1 for value in values):
        raise click.BadParameter(f"{text!r} is not a list of numbers from 0 to below 1, such as 0.3,0.5,0.9")
    return values


@click.command("evaluate-labels")
@vocab_option
@click.option("--truth", type=FOLDER, required=True, help="Folder of annotations that are complete or list absences.")
@click.option(
    "--implications",
    type=FILE,
    help="implications.parquet or rules.parquet.  [default: implications learned from half of the images]",
)
@click.option("--predictions", type=FOLDER, help="Folder of a teacher's predictions, for rules that read them.")
@click.option(
    "--hide", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Share of the labels to hide."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed hides other labels.")
@click.option(
    "--thresholds",
    callback=_thresholds,
    default="0.3,0.4,0.5,0.6,0.7,0.8,0.9",
    show_default=True,
    help="Strengths that a co-occurrence must exceed; with rules, confidences.",
)
@workers_option
@dask_option
@json_option
def evaluate_labels(
    *,
    vocabulary: Location,
    truth: Location,
    implications: Location | None,
    predictions: Location | None,
    hide: float,
    seed: int,
    thresholds: tuple[float, ...],
    workers: int,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Hide labels of a collection, augment the rest, and compare the added labels with the truth.

    The collection is complete (COCO), or lists for each image what annotators verified as absent (Open Images, LVIS).
    One that lists no absence is taken for complete, and the output says so.

    Prints precision and recall of the added labels by origin and by strength of co-occurrence, and the shares of noisy
    and missing labels. An added label is wrong if annotators looked for its class, or for one of its ancestors, and
    did not see it, or if they looked for descendants of its class and saw none. Labels on which the annotations say
    nothing are not judged.

    \b
    Example:
      mlimages-build annotate --vocab vocabulary --format csv --source coco coco.csv --out annotations/coco
      mlimages-build evaluate-labels --vocab vocabulary --truth annotations/coco
    """  # noqa: D301 - click wants the backspace itself
    tell_start(truth, predictions, quiet=as_json)
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.evaluation import label_quality as quality  # noqa: PLC0415
    from mlimages_dataset.vocab.folder import read_vocabulary  # noqa: PLC0415

    with chosen_engine(workers, dask_address) as mapper:
        found = quality.evaluate_labels(
            read_vocabulary(vocabulary),
            truth,
            implications=implications,
            predictions=predictions,
            hidden=hide,
            seed=seed,
            thresholds=thresholds,
            mapper=mapper,
        )
    click.echo(json.dumps(_summary(found), indent=2) if as_json else "\n".join(_lines(found)))


def _summary(found: AugmentationEvaluation) -> dict[str, Json]:
    from mlimages_dataset.evaluation.label_quality import JUDGED_ORIGINS  # noqa: PLC0415 - as above

    counts = found.counts
    return {
        "findings": found.findings(),
        "images": counts.images,
        "learned_from": found.learned_from,
        "declared_classes": found.declared,
        "kept_labels": counts.kept,
        "verified_absences": found.absences,
        "true_labels": int(counts.present[0]),
        "true_declared_labels": int(counts.present[1]),
        "thresholds": [
            {
                "threshold": threshold,
                "implications": found.implications[number],
                "noisy": _finite(found.noisy(number)),
                "missing": _finite(found.missing(number)),
                "added": {
                    origin.name.lower(): {
                        "all": _figures(found.quality(number, origin)),
                        "declared": _figures(found.quality(number, origin, declared_only=True)),
                    }
                    for origin in JUDGED_ORIGINS
                },
            }
            for number, threshold in enumerate(found.thresholds)
        ],
    }


def _figures(one: Quality) -> dict[str, Json]:
    return {
        "added_per_image": _finite(one.added_per_image),
        "precision": _finite(one.precision),
        "precision_at_most": _finite(one.precision_at_most),
        "recall": _finite(one.recall),
        "right": one.right,
        "absent": one.absent,
        "presumed_absent": one.presumed_absent,
        "unjudged": one.unjudged,
    }


def _finite(value: float) -> float | None:
    """Return a ratio for JSON, null if its denominator is 0."""
    return round(value, 6) if value == value else None  # noqa: PLR0124 - only NaN differs from itself


def _lines(found: AugmentationEvaluation) -> list[str]:
    from mlimages_dataset.evaluation.label_quality import JUDGED_ORIGINS  # noqa: PLC0415 - as above

    ancestor, co_occurrence = JUDGED_ORIGINS
    counts = found.counts
    present, declared = counts.present.tolist()
    learned = f"{found.learned_from:,} learned from"
    if not found.learned_from:
        learned = "with the rules given: if these were learned from the same images, the figures are too good"
    lines = [
        f"{counts.images:>12,}  images evaluated, {learned}",
        f"{found.declared:>12,}  declared classes, present {declared:,} times",
        f"{present:>12,}  true labels: these and their ancestors",
        f"{counts.kept:>12,}  labels kept",
        "",
        f"{'':24}{'all categories':^46}{'declared classes':^27}{'all labels':^18}",
        f"{'origin':<14}{'strength':>10}" + _HEADER,
        # Ancestors of kept labels do not depend on the strength of co-occurrence.
        f"{'ancestor':<24}" + _columns(found, 0, ancestor) + _shares(found, 0, [ancestor]),
    ]
    lines += [
        f"{'co-occurrence':<14}{f'> {threshold:g}':>10}"
        + _columns(found, number, co_occurrence)
        + _shares(found, number, JUDGED_ORIGINS)
        for number, threshold in enumerate(found.thresholds)
    ]
    told = "added: labels per image. noisy, missing: shares of the output labels and of the true labels."
    return [*lines, "", told, *found.findings()]


def _shares(found: AugmentationEvaluation, number: int, origins: Sequence[Origin]) -> str:
    return f"{found.noisy(number, origins):>9.2%}{found.missing(number, origins):>9.2%}"


def _columns(found: AugmentationEvaluation, number: int, origin: Origin) -> str:
    every, declared = (found.quality(number, origin, declared_only=only) for only in (False, True))
    return (
        f"{every.added_per_image:>8.3f}{every.precision:>10.2%}{every.precision_at_most:>9.2%}{every.recall:>9.2%}"
        f"{every.unjudged:>10,}{declared.added_per_image:>8.3f}{declared.precision:>10.2%}{declared.recall:>9.2%}"
    )

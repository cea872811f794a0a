"""Options and output that several commands share."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.records import Json, StageOutcome


class _Place(click.ParamType):  # type: ignore[type-arg]  # generic in later versions of click only
    """A path of this machine, or a URL that fsspec opens."""

    name = "path"

    def __init__(self, local: click.Path) -> None:
        self._local = local

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        if not isinstance(value, str) or "://" not in value:
            return Path(self._local.convert(value, param, ctx))  # type: ignore[arg-type]  # as click gives it
        from mlimages_dataset.core.locations import location  # noqa: PLC0415 - fsspec is needed for URLs only

        return location(value)


LOCAL_FOLDER = click.Path(path_type=Path, file_okay=False)
FOLDER = _Place(LOCAL_FOLDER)
FILE = _Place(click.Path(path_type=Path))

out_option = click.option("--out", type=FOLDER, required=True, help="The folder to write into: new, empty, or ours.")
vocab_option = click.option(
    "--vocab", "vocabulary", type=FOLDER, required=True, help="The folder of a vocabulary (mlimages-build vocab)."
)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace what was built with other parameters or inputs."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=lambda: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    show_default="processors",
    help="Processes that work at once; the result is the same for any number.",
)
dask_option = click.option(
    "--dask",
    "dask_address",
    metavar="ADDRESS",
    help="Work on the Dask cluster with this scheduler, such as tcp://host:8786, instead of in --workers. All its "
    "workers must see the files under the same absolute paths or URLs.",
)
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["imagenet", "open-images", "tencent", "csv", "parquet"]),
    required=True,
    help="The format of the files.",
)


@contextlib.contextmanager
def chosen_engine(workers: int, dask_address: str | None) -> Iterator[Mapper]:
    """Yield the mapper that the options of a command ask for."""
    from mlimages_dataset.pipeline import engine  # noqa: PLC0415 - process pools would cost --help

    with engine.local(workers) if dask_address is None else engine.dask(dask_address) as mapper:
        yield mapper


def show(
    outcome: StageOutcome, out: Location, *, as_json: bool, lines: Callable[[Mapping[str, Json]], list[str]]
) -> None:
    """Print what a stage did: its summary as lines, or its whole record as JSON."""
    record = outcome.record
    if as_json:
        content = {
            "fresh": outcome.fresh,
            "outputs": list(record.outputs),
            "seconds": record.seconds,
            "summary": record.summary,
        }
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    for line in lines(record.summary):
        click.echo(line)
    if outcome.fresh:
        click.echo(f"{len(record.outputs)} files written to {out} in {record.seconds:.1f} s")
    else:
        click.echo(f"{out} is up to date: nothing to do")


def _ignore(images: int) -> None:
    """Report progress to nobody."""


@contextlib.contextmanager
def image_progress(title: str, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Yield a function that counts images into a progress display, shown on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield _ignore
        return
    from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above

    columns = (SpinnerColumn(), TextColumn("{task.description}: {task.completed:,} images"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda images: progress.advance(task, images)


def funnel_lines(summary: Mapping[str, Json]) -> list[str]:
    """Return a vocabulary's funnel as aligned lines."""
    steps = _rows(summary.get("funnel"))
    width = max((len(f"{source}: {step}") for source, step, _ in steps), default=0)
    lines = [f"{f'{source}: {step}':{width}}  {classes:>7,}" for source, step, classes in steps]
    repeats = summary.get("repeated_ids")
    if repeats:
        lines.append(f"repeated ids, first ones: {json.dumps(repeats)}")
    return lines


def _rows(content: Json) -> list[tuple[str, str, int]]:
    assert isinstance(content, list)
    return [(source, step, classes) for source, step, classes in content]


def annotation_lines(summary: Mapping[str, Json]) -> list[str]:
    """Return what became of statements, worst things last."""
    counts = {name: value for name, value in summary.items() if isinstance(value, int)}
    texts = (
        ("images", "images with labels"),
        ("labels", "labels"),
        ("merged", "statements merged into a label of the same image and category"),
        ("contradicted", "verified absences contradicted by a verified presence"),
        ("below_confidence", "machine labels below the least confidence"),
        ("dropped", "labels of classes that the vocabulary dropped, and absences of classes kept only as their parent"),
        ("images_without_labels", "images that lost every label"),
        ("unknown", "labels of unknown classes"),
        ("malformed", "statements without image id or valid confidence"),
        ("rejected_rows", "malformed rows"),
        ("images_of_several_names", "images of several names, which may be different pictures"),
    )
    lines = [f"{counts[name]:>12,}  {text}" for name, text in texts if counts.get(name) or name in {"images", "labels"}]
    rejected = summary.get("first_rejected_rows")
    unknown = summary.get("most_frequent_unknown_classes")
    if isinstance(rejected, list):
        lines += [f"rejected: {row}" for row in rejected]
    names = summary.get("first_names")
    if isinstance(names, list):
        lines += [f"one image: {both}" for both in names]
    if isinstance(unknown, list) and unknown:
        lines.append("unknown classes: " + ", ".join(f"{name} ({n:,})" for name, n in unknown))
    return lines


def cooccurrence_lines(summary: Mapping[str, Json]) -> list[str]:
    """Return the counts of a co-occurrence stage and its surest pairs."""
    surest = cast("list[dict[str, Any]]", summary["surest"])
    return [
        f"{summary['images']:>12,}  annotated images",
        f"{summary['predicted_images']:>12,}  of them predicted",
        f"{summary['pairs']:>12,}  pairs that occur",
        f"{summary['implications']:>12,}  strong pairs" + (", the surest ones:" if surest else ""),
        *(
            f"{pair['probability']:>12.3f}  (95 %: at least {pair['lower_bound']:.3f}; {pair['support']:,} of "
            f"{pair['images']:,} images)  {pair['antecedent_name']} -> {pair['consequent_name']}"
            for pair in surest
        ),
    ]


def label_lines(summary: Mapping[str, Json]) -> list[str]:
    """Return the published statistics of label tables."""
    lines = []
    for name in ("train", "val"):
        split = summary[name]
        assert isinstance(split, dict)
        lines.append(
            f"{name}: {split['images']:,} images, {split['labels']:,} labels, "
            f"{split['labels_per_image_mean']:.2f} an image ({split['labels_per_image_min']} to "
            f"{split['labels_per_image_max']}), {split['absent_labels']:,} absences, "
            f"{split['trainable_categories']:,} categories with more than 100 images"
        )
    audits = cast("dict[str, dict[str, Any]]", summary.get("annotations_audit", {}))
    lines += [
        f"{source}: {audit['closed_rows']:,} of {audit['rows']:,} rows came closed under ancestors; "
        f"{audit['missing_ancestors']:,} ancestors were missing"
        for source, audit in audits.items()
    ]
    asked, validation = summary["validation_images_asked"], summary["val"]
    assert isinstance(asked, int)
    assert isinstance(validation, dict)
    if validation["images"] < asked:
        lines.append(f"only {validation['images']:,} of {asked:,} validation images: the quota allows no more")
    if summary["conflicts"]:
        lines.append(f"{summary['conflicts']:,} verified absences contradicted by a present descendant: kept present")
    if summary["blocked_implications"]:
        lines.append(f"{summary['blocked_implications']:,} co-occurrences not added: verified absent in the image")
    return lines

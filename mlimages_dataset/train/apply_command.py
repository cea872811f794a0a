"""The commands `predict`, `extract`, `evaluate` and `calibrate`; torch is imported when they run."""

from __future__ import annotations

import functools
import math
import os
from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import location
from mlimages_dataset.core.path_options import LocalPath
from mlimages_dataset.loaders.views import EvaluationView
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.train.config import Device, Execution, Precision, Unknown
from mlimages_dataset.train.run_command import is_first_rank

if TYPE_CHECKING:
    import enum
    from collections.abc import Callable
    from pathlib import Path

    from mlimages_dataset.pipeline.records import StageOutcome
    from mlimages_dataset.train.apply import Application, AppliedSummary
    from mlimages_dataset.train.evaluation import EvaluationSummary
    from mlimages_dataset.train.predict import ClassName

_TOP = 10
"""How many classes `predict` prints per picture."""


def applied(command: Callable[..., None], *, to_classes: bool = True) -> Callable[..., None]:
    """Add the options of commands that apply a network, and give the command an `Application`.

    Args:
        command: the command.
        to_classes: it needs the network's classes and therefore their vocabulary; features do not.
    """

    @functools.wraps(command)
    def with_application(  # noqa: PLR0917 - as click calls it
        checkpoint: Path,
        vocabulary: str | None,
        images: str | None,
        device: str,
        precision: str,
        batch_size: int,
        workers: int,
        view: str | None,
        image_size: int | None,
        pictures: str | None = None,
        **others: object,
    ) -> None:
        from mlimages_dataset.train.apply import Application  # noqa: PLC0415 - torch would cost --help seconds

        application = Application(
            checkpoint=checkpoint,
            vocabulary=None if vocabulary is None else location(vocabulary),
            images=location(_one_place(pictures, images)),
            execution=Execution(device=Device(device), precision=Precision(precision)),
            batch_size=batch_size,
            workers=workers,
            view=None if view is None else EvaluationView(view),
            image_size=image_size or 0,
        )
        command(application, **others)

    options = (
        click.argument("checkpoint", type=LocalPath()),
        click.option(
            "--vocabulary",
            metavar="PLACE",
            help="Folder of the vocabulary it was trained with. [required, but for segmentation]"
            if to_classes
            else "Folder of a vocabulary; the checkpoint must have been trained with it.",
        ),
        click.option(
            "--images",
            metavar="PLACE",
            help="Folder of image shards or of image files; for predict and extract also one file.",
        ),
        _choice("--device", Device, Device.AUTO, "Device of each rank."),
        _choice("--precision", Precision, Precision.FLOAT32, "Type of convolutions and matrix products."),
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            default=64,
            show_default=True,
            help="Images per batch of each rank.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=0),
            default=min(4, os.cpu_count() or 1),
            show_default=True,
            help="Decoding workers per process.",
        ),
        _choice("--view", EvaluationView, None, "The part of a picture that a classifier sees.  [default: crop80]"),
        click.option(
            "--image-size",
            type=click.IntRange(min=1),
            help="Pixels of the side of what the network sees.  [default: as it was trained]",
        ),
    )
    decorated: Callable[..., None] = with_application
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def _one_place(pictures: str | None, images: str | None) -> str:
    """Return the location of the pictures, given as an argument or as --images."""
    if pictures is not None and images is not None:
        raise UsageError("pictures are given twice", remedy="name them as an argument or as --images")
    place = pictures if images is None else images
    if place is None:
        raise UsageError("no pictures", remedy="name a folder of shards or of image files with --images")
    return place


def _choice(
    name: str, kind: type[enum.Enum], default: enum.Enum | None, said: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    values = [member.value for member in kind]
    chosen = None if default is None else default.value
    return click.option(name, type=click.Choice(values), default=chosen, show_default=chosen is not None, help=said)


@click.command()
@applied
@click.argument("pictures", required=False)
@click.option("--out", metavar="PLACE", help="Write a table into this folder instead of printing.")
@click.option(
    "--maps",
    metavar="FOLDER",
    type=LocalPath(file_okay=False),
    help="With --out: also write a segmenter's label maps into this folder, as IMAGE.png.",
)
@click.option("--top", type=click.IntRange(min=1), help="Number of classes to print per picture.  [default: 10]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per picture, each on its own line.")
@click.option(
    "--above",
    type=click.FloatRange(0, 1),
    help="List classes, or boxes, above this probability.  [default: in a table 0.5, or a detector's "
    "detection.least_score; else all]",
)
@click.option(
    "--raw", is_flag=True, help="Give the sigmoid of the network's scores instead of calibrated probabilities."
)
@click.option("--source", default="model", show_default=True, help="Value of the table's column source.")
@click.option("--overwrite", is_flag=True, help="Replace what was built with other parameters or inputs.")
def predict(
    application: Application,
    *,
    out: str | None,
    maps: Path | None,
    top: int | None,
    as_json: bool,
    above: float | None,
    raw: bool,
    source: str,
    overwrite: bool,
) -> None:
    """Print the predictions of CHECKPOINT for PICTURES, or write them as a table with --out.

    PICTURES is an image file, or a folder of image files or of shards. Probabilities are calibrated if the checkpoint
    holds a fit (from a run with validation labels, or from `calibrate`). Otherwise a line says so, and only the weights
    of the loss are undone.

    \b
    Examples:
      python -m mlimages_dataset.train predict run/checkpoints/best.pt photo.jpg --vocabulary vocabulary --top 5
      torchrun --nproc-per-node 8 -m mlimages_dataset.train predict run/checkpoints/best.pt \\
          --vocabulary vocabulary --images shards --out predictions
    """  # noqa: D301 - click wants the backspace itself
    if out is None:
        if maps is not None:
            raise UsageError("--maps goes with --out", remedy="name a folder for the table too")
        _see(application, top=top or _TOP, above=-1.0 if above is None else above, raw=raw, as_json=as_json)
        return
    if top is not None or as_json:
        raise UsageError("--out writes a table, but --top and --json print", remedy="leave out --out, or both others")
    from mlimages_dataset.train.apply import predict as work  # noqa: PLC0415 - torch would cost --help seconds

    written = work(
        application, location(out), above=above, source=source, raw=raw, overwrite=overwrite, maps=maps, tell=tell_aside
    )
    _tell(written, out)


def _see(application: Application, *, top: int, above: float, raw: bool, as_json: bool) -> None:
    """Print a network's predictions for each picture.

    Raises:
        DataError: no picture can be used.
    """
    from mlimages_dataset.train.apply import class_names, see  # noqa: PLC0415 - torch would cost --help seconds
    from mlimages_dataset.train.logs import json_text  # noqa: PLC0415 - as above

    names: list[ClassName] = []
    usable = False
    for seen in see(application, top=top, above=above, raw=raw, tell=tell_aside):
        names = names or class_names(application.classes_of)  # not before: other networks than classifiers need none
        usable = usable or not seen.reason
        if as_json:
            click.echo(json_text(seen.to_json(names)))
        else:
            click.echo("\n".join(seen.lines(names)), err=bool(seen.reason))
    if not usable:
        raise DataError("no picture can be used", where=application.images, remedy="name JPEG, PNG or other pictures")


@click.command()
@functools.partial(applied, to_classes=False)
@click.option("--out", metavar="PLACE", required=True, help="The folder to write into.")
@click.option("--overwrite", is_flag=True, help="Replace what was built with other parameters or inputs.")
def extract(application: Application, *, out: str, overwrite: bool) -> None:
    """Write the pooled features that CHECKPOINT computes for a folder's pictures, as Parquet."""
    from mlimages_dataset.train.apply import extract as work  # noqa: PLC0415 - torch would cost --help seconds

    _tell(work(application, location(out), overwrite=overwrite), out)


@click.command()
@applied
@click.option("--labels", metavar="PLACE", required=True, help="Folder of the labels table to compare with.")
@_choice("--unknown", Unknown, None, "How unlisted classes count; by default as in training.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, also by group of classes.")
def evaluate(application: Application, *, labels: str, unknown: str | None, as_json: bool) -> None:
    """Evaluate CHECKPOINT on the labelled pictures of a folder."""
    from mlimages_dataset.tables.files import file_digest  # noqa: PLC0415 - torch and pyarrow would cost --help seconds
    from mlimages_dataset.train.checkpoint import found_checkpoint  # noqa: PLC0415 - as above
    from mlimages_dataset.train.evaluation import EvaluationSummary, measures_of  # noqa: PLC0415 - as above
    from mlimages_dataset.train.judge import evaluate as work  # noqa: PLC0415 - as above
    from mlimages_dataset.train.logs import json_text  # noqa: PLC0415 - as above

    summary = work(application, location(labels), unknown=None if unknown is None else Unknown(unknown))
    if is_first_rank():
        digest = file_digest(found_checkpoint(application.checkpoint)) if as_json else ""
        if not isinstance(summary, EvaluationSummary):
            found = dict(summary.measures)
            lines = [f"{name:>18}  {_figure(value)}" for name, value in found.items()]
            click.echo(json_text({"checkpoint_sha256": digest, **found}, indent=2) if as_json else "\n".join(lines))
            return
        if as_json:
            click.echo(json_text({"checkpoint_sha256": digest, **summary.to_json()}, indent=2))
            return
        lines = [f"{name:>14}  {value:.4f}" for name, value in measures_of(summary).items()]
        lower, upper = summary.bounds
        lines[-1] += f" ({lower:.4f} to {upper:.4f})"  # of map, the last
        lines += [
            f"by chance: precision {summary.chance_precision:.4f}, map {summary.chance:.4f}",
            f"labels per image: {_labels(summary)}",
        ]
        if summary.sure:
            lines.append(f"above 0.95: {summary.sure:,} labels, of which {summary.sure_present:,} are present")
        click.echo("\n".join([f"{summary.n_images:,} images", *lines]))


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _labels(summary: EvaluationSummary) -> str:
    said = "" if math.isnan(summary.labels_said) else f", and {summary.labels_said:.2f} by its probabilities"
    return f"{summary.labels:.2f}{said}"


@click.command()
@applied
@click.option("--labels", metavar="PLACE", required=True, help="Labels table of pictures that it was not trained on.")
@click.option("--out", type=LocalPath(), required=True, help="The checkpoint file to write.")
@click.option(
    "--plot",
    type=LocalPath(),
    help="Plot predicted probabilities against observed frequencies, as a PNG.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file of --out.")
def calibrate(application: Application, *, labels: str, out: Path, plot: Path | None, overwrite: bool) -> None:
    """Fit the probabilities of CHECKPOINT on labelled pictures, and write a checkpoint with the fit.

    A run with --validation-labels does this at each evaluation. Use pictures that it was not trained on.

    \b
    Example:
      python -m mlimages_dataset.train calibrate run/checkpoints/best.pt \\
          --vocabulary vocabulary --images shards --labels labels/val --out calibrated.pt --plot reliability.png
    """  # noqa: D301 - click wants the backspace itself
    from mlimages_dataset.train.judge import calibrate as work  # noqa: PLC0415 - torch would cost --help seconds
    from mlimages_dataset.train.plots import reliability_plot  # noqa: PLC0415 - as above

    if out.exists() and not overwrite:
        raise UsageError("is there already", where=out, remedy="name another file, or pass --overwrite to replace it")
    fit = work(application, location(labels), out)
    if is_first_rank():
        if plot is not None:
            write_bytes(plot, reliability_plot(*fit.reliability))
        click.echo(f"fitted on {fit.calibration.n_images:,} images; {fit.calibration.n_own:,} classes have 10 or more")
        click.echo(f"labels per image before: {_labels(fit.before)}\nlabels an image after:  {_labels(fit.after)}")
        click.echo(f"written to {out}")


def tell_aside(said: str) -> None:
    """Print a message to the standard error."""
    click.echo(said, err=True)


def _tell(outcome: StageOutcome[AppliedSummary] | None, out: str) -> None:
    if outcome is None:
        return
    summary = outcome.summary
    for bad in summary.first_unreadable:
        click.echo(f"cannot be used: {bad}", err=True)
    click.echo(f"{summary.images:,} images, and {summary.unreadable:,} that cannot be used")
    files = f"{len(outcome.record.outputs)} files written to {out} in {outcome.record.seconds:.1f} s"
    click.echo(files if outcome.fresh else f"{out} is up to date: nothing to do")

"""`python -m mlimages_dataset.train`, and under torchrun `torchrun ... -m mlimages_dataset.train`."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from mlimages_dataset.core.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.core.locations import location
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.train.config import Device, Execution, Precision, Run, Unknown, View, read_run, run_file
from mlimages_dataset.train.needed import PLACES, check_needed
from mlimages_dataset.train.weights.command import card, convert
from mlimages_dataset.version import __version__

if TYPE_CHECKING:
    import enum
    from collections.abc import Callable

    from mlimages_dataset.pipeline.records import StageOutcome
    from mlimages_dataset.train.apply import Application
    from mlimages_dataset.train.checkpoint import Progress
    from mlimages_dataset.train.evaluation import EvaluationSummary

STOPPED = 75
"""The exit code of a run that was asked to stop and saved itself: EX_TEMPFAIL of sysexits.h, "try again"."""
_FAILED, _WRONG_USE = 1, 2
_TOP, _TABLE_ABOVE = 10, 0.5
"""What `predict` prints of a picture, and from what probability on it lists a class in a table."""


class _Group(click.Group):
    """A group that says what is wrong in one sentence."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("mlimages_dataset"):
                raise
            remedy = "run: pip install 'mlimages-dataset[train]'"
            click.echo(f"Error: a package is missing ({error}); {remedy}", err=True)
            ctx.exit(_WRONG_USE)
        except MLImagesError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(_exit_code(error))


def _exit_code(error: MLImagesError) -> int:
    if isinstance(error, UsageError):
        return _WRONG_USE
    if "torch" not in sys.modules:
        return _FAILED  # nothing was begun that could have stopped
    from mlimages_dataset.train.stopping import Stopped  # noqa: PLC0415 - torch would cost --help seconds

    return STOPPED if isinstance(error, Stopped) else _FAILED


NEEDED = " [required unless RUN_TOML names it]"
_USAGE = "--images PLACE --labels PLACE --vocabulary PLACE --out FOLDER [OPTIONS]"


def _files(command: Callable[..., None], *, needed: str = "") -> Callable[..., None]:
    """Add the options that name a run's files, whose recipe is one of everybody; `needed` is said of `PLACES`."""
    for name, said in reversed(
        (
            ("images", "Folder of image shards (mlimages-build images), or of image files."),
            ("labels", "Folder of the labels table to train on, such as labels/train."),
            ("vocabulary", "Folder of the vocabulary that the labels name."),
            ("validation-images", "Folder of images to evaluate on; by default that of --images."),
            ("validation-labels", "Folder of the labels table to evaluate on, such as labels/val."),
        )
    ):
        told = said + needed if name in PLACES else said
        command = click.option(f"--{name}", metavar="PLACE", help=told)(command)
    return command


_needed_files = functools.partial(_files, needed=NEEDED)
out_option = click.option(
    "--out", metavar="FOLDER", type=click.Path(path_type=Path), help="The run's folder. [required]"
)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="python -m mlimages_dataset.train")
def main() -> None:
    """Train, evaluate and apply multi-label classifiers.

    \b
    Examples:
      torchrun --nproc-per-node 8 -m mlimages_dataset.train pretrain packaged:mlimages-pretrain.toml \\
          --images shards --labels labels/train --vocabulary vocabulary --out run
      python -m mlimages_dataset.train COMMAND --help

    Exit codes: 0 done, 1 the data or another rank failed, 2 wrong use, 75 asked to stop by SIGTERM and saved: the same
    command goes on. torchrun itself exits with 1 whenever a rank does not exit with 0.
    """  # noqa: D301 - click wants the backspace itself


main.add_command(card)
main.add_command(convert)


@main.command(options_metavar=_USAGE)
@click.argument("run_toml")
@_needed_files
@click.option("--weights", metavar="PLACE", help="Weights to start from.")
@out_option
@click.option("--plan", "only_plan", is_flag=True, help="Only say what it will take, as the command plan does.")
@click.option("--curve", type=click.Path(path_type=Path), help="With --plan: write the learning rate as a PNG.")
def pretrain(
    run_toml: str,
    *,
    out: Path | None,
    weights: str | None,
    only_plan: bool,
    curve: Path | None,
    **places: str | None,
) -> None:
    """Train RUN_TOML, a run file or packaged:NAME; a run that was cut goes on.

    \b
    Example:
      torchrun --nproc-per-node 8 -m mlimages_dataset.train pretrain packaged:mlimages-pretrain.toml \\
          --images shards --labels labels/train --vocabulary vocabulary --validation-labels labels/val --out run
    """  # noqa: D301 - click wants the backspace itself
    run = _run(run_toml, places, weights)
    if only_plan:
        _plan(run, curve)
        return
    if curve is not None:
        raise UsageError("--curve goes with --plan", remedy="pass both, or neither")
    check_needed(run, out)
    assert out is not None
    from mlimages_dataset.train.stage import pretrain as work  # noqa: PLC0415 - torch would cost --help seconds

    _tell_end(work(run, out), out)


@main.command(options_metavar=f"--weights PLACE {_USAGE}")
@click.argument("run_toml")
@_needed_files
@click.option(
    "--weights",
    metavar="PLACE",
    help="Weights to start from; the head of another vocabulary stays behind." + NEEDED,
)
@out_option
def finetune(run_toml: str, out: Path | None, weights: str | None, **places: str | None) -> None:
    """Train RUN_TOML from trained weights, with a new head where its classes are others.

    They are a checkpoint, a safetensors file, a state dict of torchvision or timm, or a TensorFlow checkpoint.

    \b
    Example:
      torchrun --nproc-per-node 8 -m mlimages_dataset.train finetune packaged:mlimages-finetune-imagenet.toml \\
          --weights run/checkpoints/best.pt --images imagenet --labels labels/train --vocabulary vocabulary --out tuned
    """  # noqa: D301 - click wants the backspace itself
    run = _run(run_toml, places, weights)
    check_needed(run, out, weights=True)
    assert out is not None
    from mlimages_dataset.train.stage import finetune as work  # noqa: PLC0415 - torch would cost --help seconds

    _tell_end(work(run, out), out)


@main.command()
@click.argument("run_toml")
@_files
@click.option("--dataset-size", type=click.IntRange(min=1), help="Images of an epoch, where they are not there yet.")
@click.option("--images-per-second", type=click.FloatRange(min=0, min_open=True), help="Of all ranks; else measured.")
@click.option("--ranks", type=click.IntRange(min=1), help="That it will run on; by default those that are here.")
@click.option("--classes", type=click.IntRange(min=1), help="Of the head, where the vocabulary is not there yet.")
@click.option(
    "--dry-run-steps",
    type=click.IntRange(min=0),
    help="Try so many steps on the run's own images and labels and say whether it learns; 0 for none. At least 20; by "
    "default 50, where both are given and 50 take at most two minutes.",
)
@click.option("--curve", type=click.Path(path_type=Path), help="Write the learning rate as a PNG.")
def plan(  # noqa: PLR0917 - as click calls it
    run_toml: str,
    dataset_size: int | None,
    images_per_second: float | None,
    ranks: int | None,
    classes: int | None,
    dry_run_steps: int | None,
    curve: Path | None,
    **places: str | None,
) -> None:
    """Say what RUN_TOML will take: parameters, memory, steps, hours; and whether its first steps learn.

    \b
    Example:
      python -m mlimages_dataset.train plan packaged:mlimages-pretrain.toml \\
          --dataset-size 17609752 --ranks 128 --images-per-second 11077 --curve rate.png
    """  # noqa: D301 - click wants the backspace itself
    run = _with_classes(_run(run_toml, places), classes)
    _plan(
        run, curve, images=dataset_size, images_per_second=images_per_second, ranks=ranks, dry_run_steps=dry_run_steps
    )


def _applied(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of commands that apply a network, and give the command an `Application`."""

    @functools.wraps(command)
    def with_application(  # noqa: PLR0917 - as click calls it
        checkpoint: Path,
        vocabulary: str,
        images: str | None,
        device: str,
        precision: str,
        batch_size: int,
        workers: int,
        view: str,
        pictures: str | None = None,
        **others: object,
    ) -> None:
        from mlimages_dataset.train.apply import Application  # noqa: PLC0415 - torch would cost --help seconds

        application = Application(
            checkpoint=checkpoint,
            vocabulary=location(vocabulary),
            images=location(_one_place(pictures, images)),
            execution=Execution(device=Device(device), precision=Precision(precision)),
            batch_size=batch_size,
            workers=workers,
            view=View(view),
        )
        command(application, **others)

    options = (
        click.argument("checkpoint", type=click.Path(path_type=Path)),
        click.option(
            "--vocabulary", metavar="PLACE", required=True, help="Folder of the vocabulary it was trained with."
        ),
        click.option(
            "--images",
            metavar="PLACE",
            help="Folder of image shards or of image files; for predict and extract also one file.",
        ),
        _choice("--device", Device, Device.AUTO, "What each rank computes on."),
        _choice("--precision", Precision, Precision.FLOAT32, "Of convolutions and matrix products."),
        click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True, help="Of each rank."),
        click.option(
            "--workers",
            type=click.IntRange(min=0),
            default=min(4, os.cpu_count() or 1),
            show_default=True,
            help="Decoding workers per process.",
        ),
        _choice("--view", View, View.CROP80, "The part of a picture that the network sees."),
    )
    decorated: Callable[..., None] = with_application
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def _one_place(pictures: str | None, images: str | None) -> str:
    """Return the place of pictures, which a command takes as an argument or as --images."""
    if pictures is not None and images is not None:
        raise UsageError("pictures are named twice", remedy="name them as an argument or as --images")
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


@main.command()
@_applied
@click.argument("pictures", required=False)
@click.option("--out", metavar="PLACE", help="Write a table into this folder, and print no classes.")
@click.option("--top", type=click.IntRange(min=1), help="Print so many classes of a picture.  [default: 10]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a picture, each on a line.")
@click.option(
    "--above", type=click.FloatRange(0, 1), help="List classes above this.  [default: 0.5 in a table, else all]"
)
@click.option("--raw", is_flag=True, help="Give the sigmoid of the network's scores, and not calibrated probabilities.")
@click.option("--source", default="model", show_default=True, help="The table's column of that name.")
@click.option("--overwrite", is_flag=True, help="Replace what was built with other parameters or inputs.")
def predict(
    application: Application,
    *,
    out: str | None,
    top: int | None,
    as_json: bool,
    above: float | None,
    raw: bool,
    source: str,
    overwrite: bool,
) -> None:
    """Print what CHECKPOINT sees in PICTURES, or write its predictions table with --out.

    PICTURES is an image file, or a folder of image files or of shards. Probabilities are calibrated where the
    checkpoint holds a fit (a run with validation labels, or `calibrate`); else the loss's weights alone are undone.

    \b
    Examples:
      python -m mlimages_dataset.train predict run/checkpoints/best.pt photo.jpg --vocabulary vocabulary --top 5
      torchrun --nproc-per-node 8 -m mlimages_dataset.train predict run/checkpoints/best.pt \\
          --vocabulary vocabulary --images shards --out predictions
    """  # noqa: D301 - click wants the backspace itself
    if out is None:
        _see(application, top=top or _TOP, above=-1.0 if above is None else above, raw=raw, as_json=as_json)
        return
    if top is not None or as_json:
        raise UsageError("--out writes a table, --top and --json print", remedy="leave out --out, or both others")
    from mlimages_dataset.train.apply import predict as work  # noqa: PLC0415 - torch would cost --help seconds

    listed = _TABLE_ABOVE if above is None else above
    _tell(work(application, location(out), above=listed, source=source, raw=raw, overwrite=overwrite), out)


def _see(application: Application, *, top: int, above: float, raw: bool, as_json: bool) -> None:
    """Print what a network sees in each picture.

    Raises:
        DataError: no picture can be used.
    """
    from mlimages_dataset.train.apply import class_names, see  # noqa: PLC0415 - torch would cost --help seconds
    from mlimages_dataset.train.logs import json_text  # noqa: PLC0415 - as above

    names = class_names(application.vocabulary)
    usable = False
    for seen in see(application, top=top, above=above, raw=raw):
        usable = usable or not seen.reason
        if as_json:
            click.echo(json_text(seen.to_json(names)))
        else:
            click.echo("\n".join(seen.lines(names)), err=bool(seen.reason))
    if not usable:
        raise DataError("no picture can be used", where=application.images, remedy="name JPEG, PNG or other pictures")


@main.command()
@_applied
@click.option("--out", metavar="PLACE", required=True, help="The folder to write into.")
@click.option("--overwrite", is_flag=True, help="Replace what was built with other parameters or inputs.")
def extract(application: Application, *, out: str, overwrite: bool) -> None:
    """Write the pooled features that CHECKPOINT has of a folder's pictures, as Parquet."""
    from mlimages_dataset.train.apply import extract as work  # noqa: PLC0415 - torch would cost --help seconds

    _tell(work(application, location(out), overwrite=overwrite), out)


@main.command()
@_applied
@click.option("--labels", metavar="PLACE", required=True, help="Folder of the labels table to compare with.")
@_choice("--unknown", Unknown, None, "What an unlisted class means; by default what it did in training.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, by group of classes too.")
def evaluate(application: Application, *, labels: str, unknown: str | None, as_json: bool) -> None:
    """Measure CHECKPOINT on the labelled pictures of a folder."""
    from mlimages_dataset.tables.files import file_digest  # noqa: PLC0415 - torch and pyarrow would cost --help seconds
    from mlimages_dataset.train.apply import evaluate as work  # noqa: PLC0415 - as above
    from mlimages_dataset.train.checkpoint import found_checkpoint  # noqa: PLC0415 - as above
    from mlimages_dataset.train.evaluation import measures_of  # noqa: PLC0415 - as above
    from mlimages_dataset.train.logs import json_text  # noqa: PLC0415 - as above

    summary = work(application, location(labels), unknown=None if unknown is None else Unknown(unknown))
    if _first():
        if as_json:
            digest = file_digest(found_checkpoint(application.checkpoint))
            click.echo(json_text({"checkpoint_sha256": digest, **summary.to_json()}, indent=2))
            return
        lines = [f"{name:>14}  {value:.4f}" for name, value in measures_of(summary).items()]
        lower, upper = summary.bounds
        lines[-1] += f" ({lower:.4f} to {upper:.4f})"  # of map, the last
        lines += [
            f"by chance: precision {summary.chance_precision:.4f}, map {summary.chance:.4f}",
            f"labels an image: {_labels(summary)}",
        ]
        if summary.sure:
            lines.append(f"above 0.95: {summary.sure:,} labels, of which {summary.sure_present:,} are present")
        click.echo("\n".join([f"{summary.n_images:,} images", *lines]))


def _labels(summary: EvaluationSummary) -> str:
    said = "" if math.isnan(summary.labels_said) else f", and {summary.labels_said:.2f} by its probabilities"
    return f"{summary.labels:.2f}{said}"


@main.command()
@_applied
@click.option("--labels", metavar="PLACE", required=True, help="Labels table of pictures that it did not learn from.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The checkpoint file to write.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw how far its probabilities hold, as a PNG.")
@click.option("--overwrite", is_flag=True, help="Replace the file of --out.")
def calibrate(application: Application, *, labels: str, out: Path, plot: Path | None, overwrite: bool) -> None:
    """Fit the probabilities of CHECKPOINT on labelled pictures, and write a checkpoint with the fit.

    A run with --validation-labels does this at each evaluation. Use other pictures than those it was trained on.

    \b
    Example:
      python -m mlimages_dataset.train calibrate run/checkpoints/best.pt \\
          --vocabulary vocabulary --images shards --labels labels/val --out calibrated.pt --plot reliability.png
    """  # noqa: D301 - click wants the backspace itself
    from mlimages_dataset.train.apply import calibrate as work  # noqa: PLC0415 - torch would cost --help seconds
    from mlimages_dataset.train.plots import reliability_plot  # noqa: PLC0415 - as above

    if out.exists() and not overwrite:
        raise UsageError("is there already", where=out, remedy="name another file, or pass --overwrite to replace it")
    fit = work(application, location(labels), out)
    if _first():
        if plot is not None:
            write_bytes(plot, reliability_plot(*fit.reliability))
        click.echo(f"fitted on {fit.calibration.n_images:,} images; {fit.calibration.n_own:,} classes have 10 or more")
        click.echo(f"labels an image before: {_labels(fit.before)}\nlabels an image after:  {_labels(fit.after)}")
        click.echo(f"written to {out}")


def _tell_end(progress: Progress, out: Path) -> None:
    from mlimages_dataset.train.checkpoint import checkpoint_path  # noqa: PLC0415 - torch would cost --help seconds

    if _first():
        click.echo(
            f"done: {progress.epoch:,} epochs; the last checkpoint is {checkpoint_path(out, progress.total_steps)}"
        )


def _tell(outcome: StageOutcome | None, out: str) -> None:
    if outcome is None:
        return
    summary = outcome.record.summary
    for bad in cast("list[str]", summary["first_unreadable"]):
        click.echo(f"cannot be used: {bad}", err=True)
    click.echo(f"{summary['images']:,} images, and {summary['unreadable']:,} that cannot be used")
    files = f"{len(outcome.record.outputs)} files written to {out} in {outcome.record.seconds:.1f} s"
    click.echo(files if outcome.fresh else f"{out} is up to date: nothing to do")


def _plan(
    run: Run,
    curve: Path | None,
    *,
    images: int | None = None,
    images_per_second: float | None = None,
    ranks: int | None = None,
    dry_run_steps: int | None = None,
) -> None:
    from mlimages_dataset.train.plan_stage import check_trial, trial  # noqa: PLC0415 - as above
    from mlimages_dataset.train.plan_stage import plan as work  # noqa: PLC0415 - torch would cost --help seconds
    from mlimages_dataset.train.trial import TRIAL_BYTES  # noqa: PLC0415 - as above

    if dry_run_steps:
        check_trial(run, dry_run_steps)
    planned = work(run, curve, images=images, images_per_second=images_per_second, ranks=ranks)
    if _first():
        click.echo("\n".join(planned.lines()))
    here = None not in (run.data.images, run.data.labels, run.data.vocabulary)
    needed = planned.images_per_pass * planned.image_bytes
    if here and dry_run_steps is None and needed > TRIAL_BYTES:
        if _first():
            click.echo(
                f"no dry run: a pass of {planned.images_per_pass:,} images keeps {needed / 2**30:,.1f} GiB; "
                "give --dry-run-steps to try it all the same"
            )
        return
    if dry_run_steps or (here and dry_run_steps is None):
        tried = trial(run, dry_run_steps)
        if _first():
            click.echo("\n".join(tried.lines()))


def _with_classes(run: Run, classes: int | None) -> Run:
    """Return a run that is meant for so many classes; None for what its file says.

    Raises:
        UsageError: it names a vocabulary besides.
    """
    if classes is None:
        return run
    if run.data.vocabulary is not None:
        raise UsageError("--classes and --vocabulary both say how many classes there are", remedy="give one of them")
    return dataclasses.replace(run, model=dataclasses.replace(run.model, classes=classes))


def _first() -> bool:
    """Return whether this is the rank that speaks."""
    return os.environ.get("RANK", "0") == "0"


def _run(run_toml: str, places: dict[str, str | None], weights: str | None = None) -> Run:
    """Return a run with the files that the options name."""
    run = read_run(run_file(run_toml))
    given = {name: location(text) for name, text in places.items() if text is not None}
    data = dataclasses.replace(run.data, **given)  # type: ignore[arg-type]  # the options are the fields that are places
    model = run.model if weights is None else dataclasses.replace(run.model, weights=location(weights))
    return dataclasses.replace(run, data=data, model=model)


if __name__ == "__main__":
    main(prog_name="python -m mlimages_dataset.train")

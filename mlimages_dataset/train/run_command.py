"""The commands `pretrain`, `finetune` and `plan`; torch is imported when they run."""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import location
from mlimages_dataset.core.path_options import LocalPath
from mlimages_dataset.train.needed import PLACES, check_needed
from mlimages_dataset.train.run_files import read_run, run_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlimages_dataset.train.checkpoint import RunProgress
    from mlimages_dataset.train.config import Run

NEEDED = " [required unless RUN_TOML names it]"
_USAGE = "--images PLACE --labels PLACE --vocabulary PLACE --out FOLDER [OPTIONS]"


def _files(command: Callable[..., None], *, needed: str = "") -> Callable[..., None]:
    """Add the options that name a run's files; `needed` is appended to the help of `PLACES`."""
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
out_option = click.option("--out", metavar="FOLDER", type=LocalPath(), help="The run's folder. [required]")


@click.command(options_metavar=_USAGE)
@click.argument("run_toml")
@_needed_files
@click.option("--weights", metavar="PLACE", help="Initial weights.")
@out_option
@click.option("--plan", "only_plan", is_flag=True, help="Only print the estimates of the command plan.")
@click.option("--curve", type=LocalPath(), help="With --plan: write a plot of the learning rate as a PNG.")
def pretrain(
    run_toml: str,
    *,
    out: Path | None,
    weights: str | None,
    only_plan: bool,
    curve: Path | None,
    **places: str | None,
) -> None:
    """Train RUN_TOML, a run file or packaged:NAME; an interrupted run resumes.

    \b
    Example:
      torchrun --nproc-per-node 8 -m mlimages_dataset.train pretrain packaged:mlimages-pretrain.toml \\
          --images shards --labels labels/train --vocabulary vocabulary --validation-labels labels/val --out run
    """  # noqa: D301 - click wants the backspace itself
    run = _run(run_toml, places, weights)
    if only_plan:
        tell_plan(run, curve)
        return
    if curve is not None:
        raise UsageError("--curve goes with --plan", remedy="pass both, or neither")
    check_needed(run, out)
    assert out is not None
    from mlimages_dataset.train.stage import pretrain as work  # noqa: PLC0415 - torch would cost --help seconds

    _tell_end(work(run, out), out)


@click.command(options_metavar=f"--weights PLACE {_USAGE}")
@click.argument("run_toml")
@_needed_files
@click.option(
    "--weights",
    metavar="PLACE",
    help="Initial weights; their head is left out if its vocabulary is another." + NEEDED,
)
@out_option
def finetune(run_toml: str, out: Path | None, weights: str | None, **places: str | None) -> None:
    """Train RUN_TOML from trained weights, with a new head if the classes differ.

    The weights are a checkpoint, a safetensors file, a state dict of torchvision or timm, or a TensorFlow checkpoint.

    \b
    Example:
      torchrun --nproc-per-node 8 -m mlimages_dataset.train finetune packaged:imagenet-4.toml \\
          --weights run/checkpoints/best.pt --images imagenet --labels annotations --vocabulary vocabulary --out tuned
    """  # noqa: D301 - click wants the backspace itself
    run = _run(run_toml, places, weights)
    check_needed(run, out, weights=True)
    assert out is not None
    from mlimages_dataset.train.stage import finetune as work  # noqa: PLC0415 - torch would cost --help seconds

    _tell_end(work(run, out), out)


@click.command()
@click.argument("run_toml")
@_files
@click.option("--dataset-size", type=click.IntRange(min=1), help="Images per epoch, if the data do not exist yet.")
@click.option(
    "--images-per-second",
    type=click.FloatRange(min=0, min_open=True),
    help="Speed of all ranks together; measured if not given.",
)
@click.option("--ranks", type=click.IntRange(min=1), help="Number of ranks of the run; by default the current ones.")
@click.option(
    "--classes", type=click.IntRange(min=1), help="Classes of the head, if the vocabulary does not exist yet."
)
@click.option(
    "--dry-run-steps",
    type=click.IntRange(min=0),
    help="Try this many steps on the run's own images and labels and report whether it learns; at least 20, or 0 for "
    "none. By default 50, if images and labels are given and 50 steps take at most two minutes.",
)
@click.option("--curve", type=LocalPath(), help="Write a plot of the learning rate as a PNG.")
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
    """Estimate parameters, memory, steps and hours of RUN_TOML, and whether its first steps learn.

    \b
    Example:
      python -m mlimages_dataset.train plan packaged:mlimages-pretrain.toml \\
          --dataset-size 17609752 --ranks 128 --images-per-second 11077 --curve rate.png
    """  # noqa: D301 - click wants the backspace itself
    run = _with_classes(_run(run_toml, places), classes)
    tell_plan(
        run, curve, images=dataset_size, images_per_second=images_per_second, ranks=ranks, dry_run_steps=dry_run_steps
    )


def _tell_end(progress: RunProgress, out: Path) -> None:
    from mlimages_dataset.train.checkpoint import checkpoint_path  # noqa: PLC0415 - torch would cost --help seconds

    if is_first_rank():
        done = f"{progress.total_steps:,} steps" if progress.step else f"{progress.epoch:,} epochs"
        click.echo(f"done: {done}; the last checkpoint is {checkpoint_path(out, progress.total_steps)}")


def tell_plan(
    run: Run,
    curve: Path | None,
    *,
    images: int | None = None,
    images_per_second: float | None = None,
    ranks: int | None = None,
    dry_run_steps: int | None = None,
) -> None:
    """Print the estimates of the command `plan`, on rank 0; arguments as of `plan_stage.plan`."""
    from mlimages_dataset.train.plan_stage import check_trial, trial  # noqa: PLC0415 - as above
    from mlimages_dataset.train.plan_stage import plan as work  # noqa: PLC0415 - torch would cost --help seconds
    from mlimages_dataset.train.trial import TRIAL_BYTES  # noqa: PLC0415 - as above

    if dry_run_steps:
        check_trial(run, dry_run_steps)
    planned = work(run, curve, images=images, images_per_second=images_per_second, ranks=ranks)
    if is_first_rank():
        click.echo("\n".join(planned.lines()))
    here = None not in (run.data.images, run.data.labels, run.data.vocabulary)
    needed = planned.images_per_pass * planned.image_bytes
    if here and dry_run_steps is None and needed > TRIAL_BYTES:
        if is_first_rank():
            click.echo(
                f"no dry run: a pass of {planned.images_per_pass:,} images needs {needed / 2**30:,.1f} GiB; "
                "pass --dry-run-steps to try it nevertheless"
            )
        return
    if dry_run_steps or (here and dry_run_steps is None):
        tried = trial(run, dry_run_steps)
        if is_first_rank():
            click.echo("\n".join(tried.lines()))


def _with_classes(run: Run, classes: int | None) -> Run:
    """Return a run with another number of classes; None keeps the number in its file.

    Raises:
        UsageError: it also names a vocabulary.
    """
    if classes is None:
        return run
    if run.data.vocabulary is not None:
        raise UsageError("--classes and --vocabulary both give the number of classes", remedy="give one of them")
    return dataclasses.replace(run, model=dataclasses.replace(run.model, classes=classes))


def is_first_rank() -> bool:
    """Return whether this is the rank that prints."""
    return os.environ.get("RANK", "0") == "0"


def _run(run_toml: str, places: dict[str, str | None], weights: str | None = None) -> Run:
    """Return a run with the files that the options name."""
    run = read_run(run_file(run_toml))
    given = {name: location(text) for name, text in places.items() if text is not None}
    data = dataclasses.replace(run.data, **given)  # type: ignore[arg-type]  # the options are the fields that are places
    model = run.model if weights is None else dataclasses.replace(run.model, weights=location(weights))
    return dataclasses.replace(run, data=data, model=model)

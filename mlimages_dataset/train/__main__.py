"""`python -m mlimages_dataset.train`, and under torchrun `torchrun ... -m mlimages_dataset.train`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlimages_dataset.errors import MLImagesError, UsageError
from mlimages_dataset.locations import location
from mlimages_dataset.train.config import Run, read_run, run_file

if TYPE_CHECKING:
    from collections.abc import Callable

STOPPED = 75
"""The exit code of a run that was asked to stop and saved itself: EX_TEMPFAIL of sysexits.h, "try again"."""
_FAILED, _WRONG_USE = 1, 2


class _Group(click.Group):
    """A group that says what is wrong in one sentence."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MLImagesError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(_exit_code(error))


def _exit_code(error: MLImagesError) -> int:
    from mlimages_dataset.train.loop import Stopped  # noqa: PLC0415 - torch would cost --help seconds

    if isinstance(error, Stopped):
        return STOPPED
    return _WRONG_USE if isinstance(error, UsageError) else _FAILED


def _files(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name a run's files, whose recipe is one of everybody."""
    for name, said in reversed(
        (
            ("images", "Folder of image shards (mlimages-build images), or of image files."),
            ("labels", "Folder of the labels table to train on, such as labels/train."),
            ("vocabulary", "Folder of the vocabulary that the labels name."),
            ("validation-images", "Folder of images to evaluate on; by default that of --images."),
            ("validation-labels", "Folder of the labels table to evaluate on, such as labels/val."),
        )
    ):
        command = click.option(f"--{name}", metavar="PLACE", help=said)(command)
    return command


out_option = click.option("--out", type=click.Path(path_type=Path), required=True, help="The run's folder.")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
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


@main.command()
@click.argument("run_toml")
@_files
@out_option
def pretrain(run_toml: str, out: Path, **places: str | None) -> None:
    """Train RUN_TOML, a run file or packaged:NAME; a run that was cut goes on."""
    from mlimages_dataset.train.stage import pretrain as work  # noqa: PLC0415 - torch would cost --help seconds

    work(_run(run_toml, places), out)


def _run(run_toml: str, places: dict[str, str | None]) -> Run:
    """Return a run with the files that the options name."""
    run = read_run(run_file(run_toml))
    given = {name: location(text) for name, text in places.items() if text is not None}
    return dataclasses.replace(run, data=dataclasses.replace(run.data, **given))


if __name__ == "__main__":
    main(prog_name="python -m mlimages_dataset.train")

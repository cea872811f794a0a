"""`python -m mlimages_dataset.train`, and under torchrun `torchrun ... -m mlimages_dataset.train`."""

from __future__ import annotations

import sys
import warnings

import click

from mlimages_dataset.core.errors import MLImagesError, UsageError
from mlimages_dataset.core.streams import Program
from mlimages_dataset.train.apply_command import calibrate, evaluate, extract, predict
from mlimages_dataset.train.caltech_command import caltech
from mlimages_dataset.train.paper.command import transfer
from mlimages_dataset.train.run_command import finetune, plan, pretrain
from mlimages_dataset.train.weights.command import card, convert
from mlimages_dataset.version import __version__

STOPPED = 75
"""Exit code of a run that was stopped by SIGTERM and saved a checkpoint: EX_TEMPFAIL of sysexits.h, "try again"."""
_FAILED, _WRONG_USE = 1, 2


class _Group(Program):
    """A group that turns errors into one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        warnings.formatwarning = lambda message, *_, **__: f"Warning: {message}\n"
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
        except (MemoryError, RuntimeError) as error:
            if not _is_of_memory(error):
                raise
            what = str(error).strip().partition("\n")[0]
            remedy = "use a smaller batch_size or image_size, or devices and machines with more"
            click.echo(f"Error: there is not enough memory{f' ({what})' if what else ''}; {remedy}", err=True)
            ctx.exit(_FAILED)


def _is_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Return whether memory was lacking: torch has an exception for that of devices, and none for its own."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: can't allocate memory" in str(error)
    )


def _exit_code(error: MLImagesError) -> int:
    if isinstance(error, UsageError):
        return _WRONG_USE
    if "torch" not in sys.modules:
        return _FAILED  # no run was started that could have been stopped
    from mlimages_dataset.train.stopping import Stopped  # noqa: PLC0415 - torch would cost --help seconds

    return STOPPED if isinstance(error, Stopped) else _FAILED


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="python -m mlimages_dataset.train")
def main() -> None:
    """Train, evaluate and apply multi-label classifiers.

    \b
    Examples:
      torchrun --nproc-per-node 8 -m mlimages_dataset.train pretrain packaged:mlimages-pretrain.toml \\
          --images shards --labels labels/train --vocabulary vocabulary --out run
      python -m mlimages_dataset.train COMMAND --help

    Exit codes: 0 success, 1 the data or another rank failed, 2 wrong use, 75 stopped by SIGTERM after saving (the same
    command resumes). torchrun itself exits with 1 whenever a rank does not exit with 0.
    """  # noqa: D301 - click wants the backspace itself


for command in (pretrain, finetune, plan, predict, extract, caltech, evaluate, calibrate, transfer, convert, card):
    main.add_command(command)


if __name__ == "__main__":
    main(prog_name="python -m mlimages_dataset.train")

"""`mlimages-build`: the group of commands, each loaded only when it is called."""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click

from mlimages_dataset import __version__
from mlimages_dataset.errors import MLImagesError, UsageError


class _Listed(NamedTuple):
    """A command as the group lists it: where it is, and its line of help."""

    module: str
    summary: str


COMMANDS = {
    "run": _Listed("run", "Build everything: vocabulary, annotations, co-occurrence, labels, report."),
    "vocab": _Listed("vocab", "Merge class lists into one WordNet vocabulary with its hierarchy."),
    "tally": _Listed("tally", "Count the images of each raw class of a source."),
    "annotate": _Listed("annotate", "Map files of annotations onto a vocabulary."),
    "cooccurrence": _Listed("cooccurrence", "Find categories that come with others, from predictions."),
    "labels": _Listed("labels", "Augment annotations and split them into training and validation."),
    "verify": _Listed("verify", "Check a folder's files against its manifest."),
    "audit": _Listed("audit", "Say how consistent label lists made elsewhere are."),
    "report": _Listed("report", "Write a build's report page again."),
    "export": _Listed("export", "Write labels as the published text form, CSV, Hugging Face or Croissant."),
    "evaluate-labels": _Listed("evaluate_labels", "Measure what augmentation adds against complete annotations."),
    "fetch": _Listed("fetch", "Get the publishers' full files."),
}


class _DataFailed(click.ClickException):
    """An error of ours as click shows it: one sentence and an exit code."""

    exit_code = 1


class _WrongUse(click.ClickException):
    """A request of the user's that cannot be carried out."""

    exit_code = 2


class _Group(click.Group):
    """A group that imports a command when it is called: `--help` must not wait for pyarrow."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name].module}", __package__)
        command = getattr(module, COMMANDS[cmd_name].module)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        with formatter.section("Commands"):
            formatter.write_dl([(name, listed.summary) for name, listed in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MLImagesError as error:
            shown = _WrongUse if isinstance(error, UsageError) else _DataFailed
            raise shown(str(error)) from error
        except OSError as error:  # what no stage foresaw: a folder without permission, a store that fails
            raise _DataFailed(f"{error.filename or 'the system'}: {error.strerror or error}") from error


@click.command(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlimages-build")
def main() -> None:
    """Build one multi-label data set, grounded in WordNet, from several labelled image collections.

    \b
    Examples:
      mlimages-build run --out build
      mlimages-build vocab --imagenet synsets.txt --open-images dict.csv --out vocabulary
      mlimages-build COMMAND --help

    Exit codes: 0 fine, 1 the data failed a check, 2 wrong use.
    """  # noqa: D301 - click wants the backspace itself

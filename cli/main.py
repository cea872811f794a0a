"""`mlimages-build`: the group of commands, each loaded only when it is called."""

from __future__ import annotations

import gc

import click

from mlimages_dataset.core.errors import MLImagesError, UsageError
from mlimages_dataset.version import __version__

from .lazy import LazyGroup, Listed

COMMANDS = {
    "run": Listed("run", "Build everything: vocabulary, annotations, co-occurrence, labels, report."),
    "vocab": Listed("vocab", "Merge class lists into one WordNet vocabulary with its hierarchy."),
    "tally": Listed("tally", "Count the images of each class of a source, before any mapping."),
    "annotate": Listed("annotate", "Map files of annotations onto a vocabulary."),
    "regions": Listed("regions", "Map the boxes of files onto a vocabulary."),
    "cooccurrence": Listed("cooccurrence", "Find categories that often appear together, from predictions."),
    "labels": Listed("labels", "Augment annotations and split them into training and validation."),
    "verify": Listed("verify", "Check a folder's files against its manifest."),
    "audit": Listed("audit", "Check whether label lists made elsewhere are consistent."),
    "report": Listed("report", "Write a build's report page again."),
    "export": Listed("export", "Write labels as the published text form, CSV, Hugging Face or Croissant."),
    "evaluate-labels": Listed("evaluate_labels", "Measure what augmentation adds against complete annotations."),
    "images": Listed("images", "Download, ingest, choose, compare and check pictures."),
    "fetch": Listed("fetch", "Download the publishers' files."),
}


class _DataFailed(click.ClickException):
    """An error of ours as click shows it: one sentence and an exit code."""

    exit_code = 1


class _WrongUse(click.ClickException):
    """A request that cannot be carried out."""

    exit_code = 2


class _Group(LazyGroup):
    """The group of all commands, which turns every `MLImagesError` into a message and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        # WordNet is hundreds of thousands of tuples without cycles: looking for some took a sixth of a build's time.
        gc.set_threshold(200_000, 50, 100)
        try:
            return super().invoke(ctx)
        except MLImagesError as error:
            shown = _WrongUse if isinstance(error, UsageError) else _DataFailed
            raise shown(str(error)) from error
        except OSError as error:  # system errors that no stage expects: a folder without permission, a store that fails
            raise _DataFailed(f"{error.filename or 'the system'}: {error.strerror or error}") from error


@click.command(cls=_Group, listed=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlimages-build")
def main() -> None:
    """Build one multi-label data set, grounded in WordNet, from several labelled image collections.

    \b
    Examples:
      mlimages-build run --out build
      mlimages-build vocab --imagenet synsets.txt --open-images dict.csv --out vocabulary
      mlimages-build COMMAND --help

    Exit codes: 0 success, 1 the data failed a check, 2 wrong use.
    """  # noqa: D301 - click wants the backspace itself

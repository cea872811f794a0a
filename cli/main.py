"""`mlimages-build`: the group of commands, each loaded only when it is called."""

from __future__ import annotations

import gc
import json

import click

from mlimages_dataset.core.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.core.streams import Program, told_system_error
from mlimages_dataset.version import __version__

from .lazy import LazyGroup, Listed
from .options import printable

COMMANDS = {
    "start": Listed("start", "Build labels from a folder of photographs, in one command."),
    "show": Listed("show", "Show the labels of an image and why it has them, or a category."),
    "run": Listed("run", "Build everything: vocabulary, annotations, co-occurrence, labels, report."),
    "vocab": Listed("vocab", "Merge class lists into one WordNet vocabulary with its hierarchy."),
    "tally": Listed("tally", "Count the images of each class of a source, before any mapping."),
    "annotate": Listed("annotate", "Map files of annotations onto a vocabulary."),
    "regions": Listed("regions", "Map the boxes of files onto a vocabulary."),
    "cooccurrence": Listed("cooccurrence", "Find categories that often appear together, from predictions."),
    "region-pairs": Listed("region_pairs", "Count how often objects of a class are labelled with another."),
    "region-sample": Listed("region_sample", "Draw images with boxes, with every category's share kept."),
    "labels": Listed("labels", "Augment annotations and split them into training and validation."),
    "verify": Listed("verify", "Check a folder's files against its manifest."),
    "audit": Listed("audit", "Check whether label lists made elsewhere are consistent."),
    "report": Listed("report", "Write a build's report page again."),
    "serve": Listed("serve", "Show a build in the browser: pictures, labels and why, categories, findings."),
    "export": Listed("export", "Write labels as the published text form, CSV, Hugging Face or Croissant."),
    "evaluate-labels": Listed("evaluate_labels", "Measure what augmentation adds against complete annotations."),
    "evaluate-detections": Listed("evaluate_detections", "Measure a detector: Open Images' challenge, VOC, COCO."),
    "fuse-detections": Listed("fuse_detections", "Put the boxes of several detectors together."),
    "evaluate-segmentation": Listed("evaluate_segmentation", "Measure label maps: intersection over union of pixels."),
    "segmentation-list": Listed("segmentation_list", "Write VOC 2012's augmented training list, from VOC and SBD."),
    "images": Listed("images", "Download, ingest, choose, compare and check pictures."),
    "fetch": Listed("fetch", "Download the publishers' files."),
}


_AS_JSON = "mlimages-build: errors as JSON"
_INTERRUPTED = 130
"""128 and the number of the signal, as shells have it."""


class _DataFailed(click.ClickException):
    """An error of ours as click shows it: one sentence and an exit code."""

    exit_code = 1


class _WrongUse(click.ClickException):
    """A request that cannot be carried out."""

    exit_code = 2


class _Group(Program, LazyGroup):
    """The group of all commands, which turns every `MLImagesError` into a message and an exit code.

    With `--json`, the error is printed as JSON too: `{"error": {"what", "where", "line", "remedy"}}`.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click; whether JSON is asked for must be known before any command is."""
        ctx.meta[_AS_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """See click."""
        # WordNet is hundreds of thousands of tuples without cycles: looking for some took a sixth of a build's time.
        gc.set_threshold(200_000, 50, 100)
        try:
            return super().invoke(ctx)
        except MLImagesError as failure:
            error = failure.in_command_words or failure
            raise _shown(error, as_json=ctx.meta[_AS_JSON]) from error
        except KeyboardInterrupt:
            click.echo("\nInterrupted. Nothing half-written counts: run the same command again to go on.", err=True)
            ctx.exit(_INTERRUPTED)
        except MemoryError as error:
            told = f" ({error})" if str(error) else ""
            remedy = "free some, or use fewer --workers where the command has them"
            lacking = DataError(f"there is not enough memory{told}", remedy=remedy)
            raise _shown(lacking, as_json=ctx.meta[_AS_JSON]) from error
        except BrokenPipeError:  # nobody reads on: the program ends quietly
            raise
        except OSError as error:  # system errors that no stage expects: a folder without permission, a store that fails
            raise _shown(told_system_error(error), as_json=ctx.meta[_AS_JSON]) from error
        finally:
            gc.freeze()  # at its end, Python looks through all of them again


def _shown(error: MLImagesError, *, as_json: bool) -> click.ClickException:
    """Return the exception by which click shows an error; print it as JSON first if that is asked for."""
    if as_json:
        content = {name: getattr(error, name) for name in ("what", "where", "line", "remedy")}
        click.echo(json.dumps({"error": content}, indent=2, ensure_ascii=False))
    shown = _WrongUse if isinstance(error, UsageError) else _DataFailed
    return shown(printable(str(error)))


@click.command(cls=_Group, listed=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlimages-build")
def main() -> None:
    """Build one multi-label data set, grounded in WordNet, from several labelled image collections.

    \b
    Examples:
      mlimages-build start my_photos --out build
      mlimages-build show build dog
      mlimages-build run --out build
      mlimages-build vocab --imagenet synsets.txt --open-images dict.csv --out vocabulary
      mlimages-build COMMAND --help

    Exit codes: 0 success, 1 the data failed a check, 2 wrong use, 130 interrupted, 141 nobody read
    the output on.
    """  # noqa: D301 - click wants the backspace itself


if __name__ == "__main__":
    main(prog_name="mlimages-build")

"""Options and output that several commands share."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from typing import TYPE_CHECKING, Protocol, TypedDict

import click

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.path_options import LocalPath
from mlimages_dataset.sources.box_orders import BOX_ORDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.records import StageOutcome


_PACKAGED = "packaged:"
_SHOWN_INPUTS = 2


class _Place(click.ParamType):  # type: ignore[type-arg]  # generic in later versions of click only
    """A path of this machine, a URL that fsspec opens, or `packaged:NAME`."""

    name = "path"

    def __init__(self, local: LocalPath) -> None:
        self._local = local

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        if isinstance(value, str) and (value.startswith(_PACKAGED) or "://" in value):
            return place(value)
        return self._local.convert(value, param, ctx)


def place(text: str) -> Location:
    """Return the place that a path, a URL or `packaged:NAME` names.

    Raises:
        ConfigError: there is no packaged file of that name.
    """
    if text.startswith(_PACKAGED):
        from mlimages_dataset.recipes.recipe import packaged_file  # noqa: PLC0415 - as below

        return packaged_file(text.removeprefix(_PACKAGED))
    from mlimages_dataset.core.locations import location  # noqa: PLC0415 - fsspec is needed for URLs only

    return location(text)


class _FormatName(click.ParamType):  # type: ignore[type-arg]  # as above
    """The name of a source, built in or added by another package."""

    name = "format"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002 - as click calls it
        return f"[{'|'.join(self._names())}]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from mlimages_dataset.sources.registry import is_known  # noqa: PLC0415 - as below

        if not isinstance(value, str) or not is_known(value):
            self.fail(f"{value!r} is not one of {', '.join(map(repr, self._names()))}.", param, ctx)
        return value

    @staticmethod
    def _names() -> list[str]:
        from mlimages_dataset.sources.registry import names  # noqa: PLC0415 - it reads entry points

        return names()


LOCAL_FOLDER = LocalPath(file_okay=False)
FOLDER = _Place(LOCAL_FOLDER)
FILE = _Place(LocalPath())

out_option = click.option(
    "--out", type=FOLDER, required=True, help="The folder to write into: new, empty, or written by an earlier run."
)
vocab_option = click.option(
    "--vocab",
    "--vocabulary",
    "vocabulary",
    type=FOLDER,
    required=True,
    help="The folder of a vocabulary (mlimages-build vocab), or of a build.",
)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace output that was built with other parameters or inputs."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=lambda: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    show_default="processors",
    help="Number of parallel processes; the result is the same for any number.",
)
dask_option = click.option(
    "--dask",
    "dask_address",
    metavar="ADDRESS",
    help="Run on the Dask cluster with this scheduler, such as tcp://host:8786, instead of --workers. All its "
    "workers must see the files under the same absolute paths or URLs.",
)
format_option = click.option(
    "--format",
    "form",
    type=_FormatName(),
    required=True,
    help="The format of the files.",
)
source_option = click.option(
    "--source",
    help="Name of the collection in the table, which a folder can have on every system.  [default: the format]",
)
ids_of_option = click.option(
    "--ids-of", help="The mapping's source whose ids the files use.  [default: the format's own]"
)

columns_option = click.option(
    "--columns",
    metavar="NAMES",
    help="Names of the columns of a file without a header, as image_id,label,_,confidence; or how the file calls ours, "
    "as image_id=path,label=class (in JSON label=annotation.class too).",
)
separator_option = click.option(
    "--separator", default="", help="What stands between several labels of a cell, and between their confidences."
)
synsets_option = click.option(
    "--synsets",
    type=FILE,
    help="Which synset a number means in ImageNet's own lists: meta.mat or map_clsloc.txt of the development kit for "
    "its ground truth, synsets.txt or synset_words.txt for val.txt.",
)
box_order_option = click.option(
    "--box-order",
    type=click.Choice(BOX_ORDERS),
    help="What the four numbers of Hugging Face's `bbox` are: left, top, width, height, or left, top, right, bottom.  "
    "[default: xywh, as COCO has it]",
)


def layout_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say what files do not say themselves."""
    for option in (synsets_option, separator_option, columns_option):
        command = option(command)
    return command


def names_of(columns: str | None) -> tuple[str, ...]:
    """Return the names in `--columns`."""
    return tuple(name.strip() for name in columns.split(",")) if columns else ()


@contextlib.contextmanager
def standard_input() -> Iterator[Callable[[Location], Location]]:
    """Yield a function that returns a place as it is, and for `-` a file of what standard input holds.

    Raises:
        UsageError: standard input is asked for twice, or is closed; or a place is a pipe, socket or device.
    """
    from mlimages_dataset.api import folders  # noqa: PLC0415 - pyarrow would cost --help
    from mlimages_dataset.api.messages import told_as  # noqa: PLC0415 - as above
    from mlimages_dataset.core.locations import refuse_special  # noqa: PLC0415 - as above
    from mlimages_dataset.sources.inputs import written_stream  # noqa: PLC0415 - as above

    folder = folders.scratch()
    names: dict[Location, str] = {}

    def file_of(place: Location) -> Location:
        if str(place) != "-":
            refuse_special(
                place, remedy="write what it gives into a file; or pipe it into this command, and name - for it"
            )
            return place
        if names:
            raise UsageError("standard input is named twice", remedy="name files")
        if sys.stdin is None:
            raise UsageError("is closed", where="standard input", remedy="name a file, or give it one with <FILE")
        path = written_stream(sys.stdin.buffer, folder)
        names[path] = "standard input"
        return path

    try:
        with told_as(names):
            yield file_of
    finally:
        folders.discard(folder)


@contextlib.contextmanager
def chosen_engine(workers: int, dask_address: str | None) -> Iterator[Mapper]:
    """Yield the mapper that the options of a command ask for."""
    from mlimages_dataset.pipeline import engine  # noqa: PLC0415 - process pools would cost --help

    with engine.local(workers) if dask_address is None else engine.dask(dask_address) as mapper:
        yield mapper


def printable(text: str) -> str:
    r"""Return a text without characters that would command a terminal or turn the direction of writing.

    >>> print(printable("a\x1b[2Jb, <b>café</b>"))
    a\x1b[2Jb, <b>café</b>
    """
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


class _Counts(Protocol):
    """The counts of a stage."""

    def lines(self) -> list[str]: ...


def show(outcome: StageOutcome[_Counts], out: Location, *, as_json: bool) -> None:
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
    for line in outcome.summary.lines():
        click.echo(line)
    if outcome.fresh:
        click.echo(f"{len(record.outputs)} files written to {out} in {record.seconds:.1f} s")
    else:
        click.echo(f"{out} is up to date: nothing to do")


def verdict(problems: Sequence[object]) -> str:
    """Return how many problems a check found, in words."""
    return f"{len(problems):,} problem{'s' * (len(problems) > 1)}" if problems else "all fine"


def tell_start(*given: Location | str | None, into: Location | None = None, quiet: bool) -> None:
    """Print which inputs a command reads, before it imports what takes a second; None is an input that is not given."""
    inputs = [one for one in given if one is not None]
    if not quiet and inputs:
        more = f" and {len(inputs) - 1:,} more" if len(inputs) > _SHOWN_INPUTS else ""
        shown = printable(" and ".join(map(str, inputs[: 1 if more else _SHOWN_INPUTS])))
        place = "" if into is None else f" into {printable(str(into))}"
        click.echo(f"Reading {shown}{more}{place} ...", err=True)


@contextlib.contextmanager
def stage_engine(title: str, workers: int, dask_address: str | None, *, quiet: bool) -> Iterator[_Engine]:
    """Yield the mapper that a command's options select, and its progress display; warnings are shown even if quiet."""
    with (
        chosen_engine(workers, dask_address) as mapper,
        image_progress(title, quiet=quiet) as progress,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UserWarning)
        yield {"mapper": mapper, "progress": progress}


class _Engine(TypedDict):
    """The arguments by which functions of the package run parts and report progress."""

    mapper: Mapper
    progress: Callable[[int], None]


def _ignore(images: int) -> None:
    """Ignore progress."""


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

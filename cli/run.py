"""`mlimages-build run`: a whole build."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from typing import TYPE_CHECKING

import click

from .builds import Teller, ways_to_look
from .options import (
    FILE,
    chosen_engine,
    dask_option,
    json_option,
    out_option,
    overwrite_option,
    workers_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.report.examples import Example

_SHOWN_EXAMPLES = 3
_SHOWN_LABELS = 6


@click.command()
@click.argument("recipe", required=False, type=FILE)
@out_option
@overwrite_option
@workers_option
@dask_option
@click.option("--verbose", is_flag=True, help="Print all counts of each stage.")
@json_option
def run(
    *,
    recipe: Location | None,
    out: Location,
    overwrite: bool,
    workers: int,
    dask_address: str | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Build everything that RECIPE (TOML) names: vocabulary, annotations, co-occurrence, labels, report.

    Without RECIPE the packaged example is built: ImageNet-11k's synsets, the classes of Open Images' boxes and of COCO,
    a few dozen photographs, and 5,000 images of COCO's complete labels. Run the same command again to continue an
    interrupted build; finished stages are skipped.

    \b
    Examples:
      mlimages-build run --out build
      mlimages-build run recipe.toml --out build --workers 8
    """  # noqa: D301 - click wants the backspace itself
    if not as_json and not (out / "manifest.json").is_file():
        click.echo(f"Building {recipe or 'the packaged example'} in {out} ...")
    told = Teller(verbose=verbose, quiet=as_json)
    # Imported after the first line is printed: pyarrow and scipy take half a second.
    from mlimages_dataset.api.builds import run as built  # noqa: PLC0415

    with chosen_engine(workers, dask_address) as mapper, _progress(quiet=as_json) as (began, progress):
        built(recipe, out, overwrite=overwrite, mapper=mapper, progress=progress, began=began, ended=told.ended)
    if as_json:
        click.echo(json.dumps(told.content(), indent=2, ensure_ascii=False))
    elif not told.any_done:
        click.echo(f"{out} is up to date: nothing to do")
    else:
        for line in itertools.chain.from_iterable(map(_before_and_after, _examples(out))):
            click.echo(line)
        click.echo(f"\nNext: {', '.join(ways_to_look(out, 'IMAGE', last='or '))}")


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Iterator[tuple[Callable[[str], None], Callable[[int], None]]]:
    """Yield what shows the stage that works now, and its images, on a line that moves; on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield (lambda stage: None), (lambda images: None)  # noqa: ARG005 - nobody watches
        return
    from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above

    columns = (SpinnerColumn(), TextColumn("{task.description}{task.fields[images]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None, images="")
        done = 0

        def began(stage: str) -> None:
            nonlocal done
            done = 0
            progress.reset(task, description=stage, images="")

        def moved(images: int) -> None:
            nonlocal done
            done += images
            progress.update(task, images=f": {done:,} images")

        yield began, moved


def _examples(out: Location) -> list[Example]:
    """Return the photographs of a build to which most labels were added."""
    from mlimages_dataset.pipeline.records import read_manifest  # noqa: PLC0415 - as in `run`
    from mlimages_dataset.report.examples import examples  # noqa: PLC0415 - as above
    from mlimages_dataset.report.page import pairs_of_build  # noqa: PLC0415 - as above
    from mlimages_dataset.vocab.folder import read_vocabulary  # noqa: PLC0415 - as above

    manifest = read_manifest(out)
    found = examples(out, manifest, read_vocabulary(out / "vocabulary"), pairs_of_build(out, manifest))
    gained = [one for one in found if one.added]
    return sorted(gained, key=lambda one: (-len(one.added), one.image_id))[:_SHOWN_EXAMPLES]


def _before_and_after(one: Example) -> list[str]:
    """Return an image's labels as stated and as added to, with one reason."""
    added = [label.name for label in one.added]
    more = ", ..." if len(added) > _SHOWN_LABELS else ""
    return [
        f"\n{one.image_id}.jpg",
        f"  stated: {', '.join(one.stated)}",
        f"  after:  these, and {len(added)} more: {', '.join(added[:_SHOWN_LABELS])}{more}",
        f"  why:    {one.added[0].sentence}",
    ]

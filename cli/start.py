"""`mlimages-build start`: from photographs to labels in one command."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from typing import TYPE_CHECKING

import click

from .builds import Teller, ways_to_look
from .options import (
    FILE,
    dask_option,
    json_option,
    out_option,
    overwrite_option,
    printable,
    stage_engine,
    workers_option,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.api.builds import Build
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.recipes.decisions import Decision

FORMAT = "mlimages.start/1"
_SHOWN_OF_KIND = 20


@click.command()
@click.argument("photos", nargs=-1, required=True, type=FILE)
@click.option(
    "--classes",
    type=FILE,
    multiple=True,
    help="What you know of the pictures: a class list (columns id and name, and wnid or parent where you know them), "
    "labels (columns image_id and label, or JSON lines with these keys), or annotations (COCO, CVAT, VOC, LabelMe, "
    "YOLO); repeatable.  "
    "[default: tables in the folder, else its folders are the classes]",
)
@click.option(
    "--attach",
    is_flag=True,
    help="Keep a class that is no noun of WordNet under what other collections take it for a kind of, else under its "
    "head word: my mug under mug.",
)
@out_option
@overwrite_option
@click.option("--verbose", is_flag=True, help="Print all counts of each stage.")
@workers_option
@dask_option
@json_option
def start(
    *,
    photos: tuple[Location, ...],
    classes: tuple[Location, ...],
    attach: bool,
    out: Location,
    overwrite: bool,
    verbose: bool,
    workers: int,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Build labels from PHOTOS: folders or archives of pictures, in any layout that images ingest reads.

    Writes into one folder: the pictures in shards, a vocabulary, annotations, labels with their parents, the report
    page, and the recipe of all this (recipe.toml). Lists what needs your decision at the end. Run it again to continue;
    finished stages are skipped.

    \b
    Examples:
      mlimages-build start my_photos --out build
      mlimages-build start photos.zip --classes labels.csv --out build
    """  # noqa: D301 - click wants the backspace itself
    if not as_json and not (out / "manifest.json").is_file():
        click.echo(f"Reading {' and '.join(map(printable, map(str, photos)))} into {out} ...")
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.api.start import start as started  # noqa: PLC0415
    from mlimages_dataset.recipes.starting import beside_pictures  # noqa: PLC0415

    told = Teller(verbose=verbose, quiet=as_json, findings=False)  # they are decisions, at the end
    with stage_engine("start", workers, dask_address, quiet=as_json) as engine:
        build = started(
            photos,
            classes=classes or None,
            attach=attach,
            out=out,
            overwrite=overwrite,
            ended=told.ended,
            **engine,
        )
    if as_json:
        click.echo(json.dumps(_content(build, told), indent=2, ensure_ascii=False))
    elif told.any_done:
        beside = not classes and any(not one.form for one in beside_pictures(photos))
        click.echo("\n".join(map(printable, _told(build, out, lists_beside=beside))))
    else:
        click.echo(f"{out} is up to date: nothing to do")


def _content(build: Build, told: Teller) -> dict[str, object]:
    """Return what is printed with --json."""
    decisions = [{"kind": one.kind, "text": one.text, "lines": list(one.lines)} for one in build.decisions]
    return {"format": FORMAT, "folder": str(build.folder), "stages": told.content(), "decisions": decisions}


def _told(build: Build, out: Location, *, lists_beside: bool) -> Iterator[str]:
    """Yield the lines about a build that is done; `lists_beside` is whether it reads class lists beside pictures."""
    summary = build.labels.summary
    assert summary is not None
    images, labels = (sum(getattr(one, what) for one in (summary.train, summary.val)) for what in ("images", "labels"))
    original = sum(one.labels_of_origin["original"] for one in (summary.train, summary.val))
    yield ""
    yield f"{images:,} images with labels: {original:,} stated, {labels:,} with their parents"
    if build.decisions:
        yield "\nFor you to decide:"
        yield from _decisions(build.decisions)
        if any(one.about_class for one in build.decisions):
            yield _how_to_decide(build, out, lists_beside=lists_beside)
    yield f"\nNext: {', '.join(ways_to_look(out, shlex.quote(build.labels.first_ids(1)[0])))},"
    yield f"or in Python: {_in_python(out)}"


def _decisions(decisions: Sequence[Decision]) -> Iterator[str]:
    """Yield the first decisions of each kind with their lines, and after these how many more there are."""
    total = Counter(one.kind for one in decisions)
    told: Counter[str] = Counter()
    for one in decisions:
        told[one.kind] += 1
        if told[one.kind] <= _SHOWN_OF_KIND:
            yield f"  {one.kind}: {one.text}"
            yield from (f"      {line}" for line in one.lines)
        elif told[one.kind] == total[one.kind]:
            yield f"  {one.kind}: {total[one.kind] - _SHOWN_OF_KIND:,} more; this command with --json lists all"


def _how_to_decide(build: Build, out: Location, *, lists_beside: bool) -> str:
    lists: list[Location] = sorted((build.folder / "classes").glob("*.csv"))
    own = next(iter(lists), None)
    stand = "lines printed above can stand in place of the classes' own"
    if own is None and lists_beside:
        where = f"your class list (columns id, name, wnid, parent; {stand})"
        return f"  To decide, change the lines of such classes in {where}, and run this again with --overwrite."
    if own is None:
        where = (
            "put lines for such classes, as those printed above, into a new CSV file below the line id,name,wnid,parent"
        )
        return f"  To decide, {where}, and add --classes FILE --overwrite to this command, last."
    where = f"a copy of {out / 'classes' / own.name} ({stand})"
    return (
        f"  To decide, change the lines of such classes in {where}, and add --classes COPY --overwrite to this command."
    )


def _in_python(out: Location) -> str:
    return f"mlimages_dataset.Labels.read({str(out)!r}, {str(out)!r}).to_pandas()"

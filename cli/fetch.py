"""`mlimages-build fetch`: the publishers' full files, resumed, recorded and checked."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import sys
from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import DownloadError, UsageError
from mlimages_dataset.core.path_options import LocalPath

from .options import LOCAL_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from mlimages_dataset.sources.fetch import Outcome, Progress
    from mlimages_dataset.sources.publishers import Collection, PublishedFile


@click.command()
@click.argument("collection", required=False)
@click.option("--out", type=LOCAL_FOLDER, help="The folder to download into.")
@click.option("--only", multiple=True, metavar="GLOB", help="Only files whose names match; repeatable.")
@click.option(
    "--list", "list_files", is_flag=True, help="Show the files, their sizes, licences and uses; download nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done, or the list, as JSON.")
@click.option(
    "--publishers",
    "publishers_file",
    type=LocalPath(dir_okay=False),
    help="A table of URLs to use instead of the packaged one, for example those of a mirror.",
)
def fetch(
    collection: str | None,
    out: Path | None,
    *,
    only: tuple[str, ...],
    list_files: bool,
    as_json: bool,
    publishers_file: Path | None,
) -> None:
    """Download the publishers' files of COLLECTION: open-images, tencent, wordnet or imagenet.

    An interrupted download is continued. OUT/mlimages.lock records the size and SHA-256 of each file when it is first
    downloaded; later runs check the files against it and download only missing ones. If a file cannot be downloaded, a
    message says where to obtain it and where to put it; a file that you put there is recorded like the others. Without
    --only, the files marked * in the list are downloaded.

    \b
    Examples:
      mlimages-build fetch --list
      mlimages-build fetch open-images --list
      mlimages-build fetch open-images --only 'v1/*' --out raw
      mlimages-build fetch open-images --only '*descriptions*' --only '*hierarchy.json' --out raw
      mlimages-build fetch tencent --out raw/tencent --json
    """  # noqa: D301 - click wants the backspace itself
    # Here and not above: requests would cost --help, and every other command, a tenth of a second.
    from mlimages_dataset.sources.fetch import fetch_collection  # noqa: PLC0415
    from mlimages_dataset.sources.publishers import read_publishers  # noqa: PLC0415

    collections = read_publishers(publishers_file)
    chosen = None if collection is None else _named(collection, collections)
    if list_files:
        shown = _narrowed([chosen] if chosen is not None else list(collections.values()), only)
        click.echo(_list_json(shown) if as_json else _list_text(shown))
        return
    if chosen is None:
        raise UsageError("no collection is named", remedy=f"name one of {', '.join(collections)}, or pass --list")
    if out is None:
        raise UsageError("no folder is given for the files", remedy="pass --out DIR")
    with _display(quiet=as_json) as display:
        outcomes = fetch_collection(chosen, out, only=only, progress=display)
    if as_json:
        report = {"collection": chosen.name, "out": str(out), "files": [_outcome_fields(each) for each in outcomes]}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    missing = [outcome.file.name for outcome in outcomes if outcome.error is not None]
    if missing:
        raise DownloadError(
            f"{len(missing)} of {len(outcomes)} files could not be obtained or checked: {', '.join(missing)}",
            where=out,
            remedy="follow the message about each file, then run the same command again",
        )


def _named(name: str, collections: Mapping[str, Collection]) -> Collection:
    if name not in collections:
        near = difflib.get_close_matches(name, collections, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"name one of {', '.join(collections)}"
        raise UsageError(f"there is no collection {name}", remedy=remedy)
    return collections[name]


def _narrowed(collections: Sequence[Collection], only: Sequence[str]) -> list[Collection]:
    """Return the collections with only their matching files; collections without any are left out."""
    narrowed = [dataclasses.replace(each, files=each.matching(only or ["*"])) for each in collections]
    found = [each for each in narrowed if each.files]
    if not found:
        raise UsageError(f"no file matches {' or '.join(only)}", remedy="--list without --only shows them all")
    return found


def _list_text(collections: Sequence[Collection]) -> str:
    """Return the files as a table: a star if downloaded by default, name, size, content and reader."""
    blocks = []
    for collection in collections:
        width = max(len(file.name) for file in collection.files)
        by_default = collection.matching(collection.default)
        rows = [
            f"{collection.name}: {collection.title}",
            f"  licence: {collection.licence}",
            f"  page: {collection.page}",
        ]
        for file in collection.files:
            star = "*" if file in by_default else " "
            licence = "" if file.licence == collection.licence else f" ({file.licence})"
            by_hand = "" if file.url else " (by hand)"
            rows.append(f"{star} {file.name:{width}}  {_size(file):>8}  {file.what}{licence}{by_hand}: {file.reader}")
        blocks.append("\n".join(rows))
    return "\n\n".join(blocks)


def _size(file: PublishedFile) -> str:
    if file.approximate_bytes < 0:
        return "?"
    megabytes = file.approximate_bytes / 1e6
    return f"{megabytes:.1f} MB" if megabytes < 1000 else f"{megabytes / 1000:.2f} GB"  # noqa: PLR2004


def _list_json(collections: Sequence[Collection]) -> str:
    return json.dumps([dataclasses.asdict(each) for each in collections], indent=2, ensure_ascii=False)


def _outcome_fields(outcome: Outcome) -> dict[str, str | int]:
    fields: dict[str, str | int] = {"name": outcome.file.name, "status": outcome.status.value, "url": outcome.file.url}
    if outcome.record is not None:
        fields |= {"bytes": outcome.record.bytes, "sha256": outcome.record.sha256, "date": outcome.record.date}
    if outcome.error is not None:
        fields["error"] = str(outcome.error)
    return fields


def _sentence(outcome: Outcome) -> str:
    if outcome.record is None:
        return f"{outcome.status}: {outcome.error}"
    return f"{outcome.status}: {outcome.file.name} ({outcome.record.bytes:,} bytes, SHA-256 {outcome.record.sha256})"


@contextlib.contextmanager
def _display(*, quiet: bool) -> Iterator[Progress]:
    """Yield the progress display: bars on a terminal, else a line per file; only failures if quiet."""
    if quiet or not sys.stderr.isatty():
        yield _Lines(quiet=quiet)
        return
    from rich import progress  # noqa: PLC0415 - only a terminal needs it
    from rich.console import Console  # noqa: PLC0415

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bars:
        yield _BarPerFile(bars)


class _Lines:
    """Shows a line for each finished file."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def received(self, file: PublishedFile, done: int, total: int) -> None:
        """Show nothing: progress bars do not belong in a log."""

    def finished(self, outcome: Outcome) -> None:
        if outcome.error is not None or not self._quiet:
            click.echo(_sentence(outcome), err=outcome.error is not None)


class _BarPerFile:
    """Shows a bar for the file under way, and a line for each finished one."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def received(self, file: PublishedFile, done: int, total: int) -> None:
        size = total if total >= 0 else None
        if file.name not in self._tasks:
            self._tasks[file.name] = self._bars.add_task(file.name, completed=done, total=size)
        self._bars.update(self._tasks[file.name], completed=done, total=size)

    def finished(self, outcome: Outcome) -> None:
        if (task := self._tasks.pop(outcome.file.name, None)) is not None:
            self._bars.remove_task(task)
        self._bars.console.print(_sentence(outcome), markup=False, highlight=False, soft_wrap=True)

"""`mlimages-build images download`: a list of pictures, downloaded into shards."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

import click

from .images_options import limited, policy_options, rules_options
from .options import FILE, LOCAL_FOLDER, json_option, out_option, overwrite_option, show, tell_start, workers_option

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import RenderableType

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.decode_pool import ImageRules
    from mlimages_dataset.images.download_run import DownloadSummary
    from mlimages_dataset.images.fetcher import FetchPolicy
    from mlimages_dataset.images.progress import Report, Snapshot

LOG_SECONDS = 10.0
"""Between two lines of progress, if there is no terminal."""

_REMEDIES = {
    "private_address": "pass --allow-private to ask hosts outside the public Internet",
    "bad_address": "the list has no http or https URLs in these rows: check its column of URLs",
    "opted_out": "their hosts forbid training on these pictures; --ignore-opt-out keeps them",
    "unsafe_name": "the list has no ids in these rows: check its column of ids",
    "placeholder": "many rows gave the same bytes; --placeholder-repeats 0 keeps such pictures",
    "unsupported": "the rows' detail names their format and what to do",
    "too_large": "--max-bytes allows larger ones",
    "too_many_pixels": "--max-pixels allows larger ones",
    "repeated_id": "the list repeats the same ids: check its column of ids",
}
"""What to do if nothing was saved, by the most frequent status."""


@click.command("download")
@click.argument("lists", nargs=-1, required=True, type=FILE)
@out_option
@click.option("--retry", type=click.Choice(["failed", "timeouts", "all"]), help="Try rows that failed again.")
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="TEMPLATE",
    help="A URL with {image_id} and optionally {subset}, tried before the list's own URL; repeatable. open-images "
    "means Open Images' public bucket, the default for its image tables; none means no mirror.",
)
@click.option(
    "--thumbnails",
    is_flag=True,
    help="If a picture cannot be saved, try the list's Thumbnail300KURL, of about 300,000 pixels; detail tells which.",
)
@rules_options
@click.option(
    "--placeholder-repeats",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="The same bytes from so many URLs count as a placeholder; 0: never.",
)
@policy_options
@click.option(
    "--spool",
    type=LOCAL_FOLDER,
    help="A folder for pictures whose shard is not complete yet.  [default: the output folder]",
)
@overwrite_option
@workers_option
@json_option
@click.pass_context
def images_download(
    ctx: click.Context,
    *,
    lists: tuple[Location, ...],
    out: Location,
    retry: str | None,
    mirrors: tuple[str, ...],
    thumbnails: bool,
    rules: ImageRules,
    shard_images: int,
    placeholder_repeats: int,
    policy: FetchPolicy,
    spool: Path | None,
    overwrite: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Download the pictures of LISTS into shards; every row ends with one status.

    LISTS are folders of annotation or label tables, Open Images' image tables, or CSV and Parquet files with the
    columns image_id and url (and md5 and size, if known). Run the same command again to continue an interrupted
    download. Run it with --retry after it has finished to try failed rows again.

    \b
    Examples:
      mlimages-build images download labels/train --out images/train
      mlimages-build images download train-images-boxable-with-rotation.csv --out images/open-images
      mlimages-build images download urls.csv --short-edge 256 --out images/mine
      mlimages-build images download urls.csv --short-edge 256 --out images/mine --retry failed
    """  # noqa: D301 - click wants the backspace itself
    tell_start(*lists, into=out, quiet=as_json)
    # Here and not above: pyarrow and aiohttp would cost --help half a second.
    from mlimages_dataset.images.download import DownloadOptions, chosen_mirrors, download  # noqa: PLC0415

    options = DownloadOptions(
        mirrors=chosen_mirrors(mirrors, lists),
        thumbnails=thumbnails,
        rules=rules,
        policy=limited(policy, rules),
        shard_images=shard_images,
        placeholder_repeats=placeholder_repeats,
        workers=workers,
    )
    with _display(quiet=as_json) as report:
        outcome = download(lists, out, options, overwrite=overwrite, retry=retry or "", spool=spool, report=report)
    show(outcome, out, as_json=as_json)
    for warning in _warnings(outcome.summary):
        click.echo(f"warning: {warning}", err=True)
    ctx.exit(1 if outcome.summary.images and not outcome.summary.saved else 0)


def _warnings(summary: DownloadSummary) -> Iterator[str]:
    """Yield warnings on a finished run: nothing was saved, or digests could not be compared."""
    if not summary.images:
        yield "the list has no rows"
    if nothing := summary.nothing_saved():
        status = max(summary.statuses, key=lambda one: summary.statuses[one])
        remedy = _REMEDIES.get(status, "the rows' detail says more; run it again with --retry failed")
        yield f"{nothing}; {remedy}"
    if unread := summary.unreadable_digests:
        yield f"{unread:,} rows have an md5, size or Rotation that cannot be read; it was not used (see their detail)"


@contextlib.contextmanager
def _display(*, quiet: bool) -> Iterator[Report]:
    """Yield the progress display: a table on a terminal, else a line every few seconds; nothing if quiet."""
    if quiet:
        yield lambda _: None
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.live import Live  # noqa: PLC0415 - as above

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        yield lambda snapshot: live.update(_table(snapshot), refresh=True)


class _Lines:
    """Prints a line of progress every few seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LOG_SECONDS

    def __call__(self, snapshot: Snapshot, /) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LOG_SECONDS
            click.echo(str(snapshot), err=True)


def _table(snapshot: Snapshot) -> RenderableType:
    """Return the progress of a download as a table for a terminal."""
    from rich.console import Group  # noqa: PLC0415 - as above
    from rich.progress_bar import ProgressBar  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    head = (
        f"{snapshot.done:,} of {snapshot.asked:,} rows   {snapshot.rate:,.0f} rows/s   "
        f"{snapshot.megabytes_per_second:,.1f} MB/s   {snapshot.remaining} left"
    )
    statuses = Table("status", "rows", box=None, pad_edge=False)
    for status, n in sorted(snapshot.ended.items(), key=lambda one: -one[1]):
        statuses.add_row(status.replace("_", " "), f"{n:,}")
    hosts = Table("host with failures", "times", "requests at once", box=None, pad_edge=False)
    for host in snapshot.hosts:
        hosts.add_row(Text(host.name[:60]), f"{host.troubles:,}", str(host.allowed))
    beside = Table.grid(padding=(0, 4))
    beside.add_row(statuses, hosts if snapshot.hosts else "")
    return Group(Text(head), ProgressBar(total=max(1, snapshot.asked), completed=snapshot.done), beside)

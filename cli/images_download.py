"""`mlimages-build images download`: the pictures that a list names, into shards."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import UsageError

from .options import FILE, LOCAL_FOLDER, json_option, out_option, overwrite_option, show, workers_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.progress import Report, Snapshot
    from mlimages_dataset.pipeline.records import Json

LOG_SECONDS = 10.0
"""Between two lines where there is no terminal."""

_REMEDIES = {
    "private_address": "pass --allow-private to ask hosts outside the public Internet",
    "bad_address": "the list has no http or https addresses there: check its column of addresses",
    "opted_out": "their hosts ask to be left out; --ignore-opt-out keeps such pictures",
    "unsafe_name": "the list gives no ids there: check its column of ids",
    "placeholder": "the same bytes came for many rows; --placeholder-repeats 0 keeps such pictures",
    "too_large": "--max-bytes allows larger ones",
    "too_many_pixels": "--max-pixels allows larger ones",
    "repeated_id": "the list gives the same ids again and again: check its column of ids",
}
"""What to do where nothing was saved, by the most frequent status."""


@click.command("download")
@click.argument("lists", nargs=-1, required=True, type=FILE)
@out_option
@click.option("--retry", type=click.Choice(["failed", "timeouts", "all"]), help="Ask again for rows that failed.")
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="TEMPLATE",
    help="An address tried before the list's own, with {image_id} and {subset}; open-images is that bucket's, which "
    "Open Images' image tables get by default, and none is none; repeatable.",
)
@click.option("--check/--no-check", default=True, show_default=True, help="Decode every picture to its end.")
@click.option("--short-edge", type=click.IntRange(min=1), help="Re-encode larger pictures to JPEGs of so many pixels.")
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help="JPEG quality of re-encoded pictures, with --short-edge.  [default: 90]",
)
@click.option("--shard-images", type=click.IntRange(min=1), default=1000, show_default=True, help="Rows of a shard.")
@click.option("--max-bytes", type=click.IntRange(min=1), default=64 << 20, show_default=True, help="Of a picture.")
@click.option(
    "--max-pixels", type=click.IntRange(1, 178_956_970), default=100_000_000, show_default=True, help="Of a picture."
)
@click.option(
    "--placeholder",
    "placeholders",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file whose bytes stand for pictures that are gone; repeatable.",
)
@click.option(
    "--placeholder-repeats",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Bytes that lie under so many addresses are a placeholder too; 0: never.",
)
@click.option(
    "--connections", type=click.IntRange(min=1), default=256, show_default=True, help="At once, to all hosts."
)
@click.option(
    "--per-host", type=click.IntRange(min=1), default=32, show_default=True, help="Requests at once to a host."
)
@click.option("--per-host-rate", type=click.FloatRange(min=0), default=0.0, help="Requests a second to a host.")
@click.option("--retries", type=click.IntRange(min=0), default=3, show_default=True, help="Attempts after the first.")
@click.option("--connect-timeout", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True)
@click.option("--read-timeout", type=click.FloatRange(0, min_open=True), default=20.0, show_default=True)
@click.option("--total-timeout", type=click.FloatRange(0, min_open=True), default=120.0, show_default=True)
@click.option("--allow-private", is_flag=True, help="Also ask hosts outside the public Internet.")
@click.option("--ignore-opt-out", is_flag=True, help="Keep pictures whose hosts say noai or noimageai.")
@click.option("--user-agent", help="As which this program makes itself known, best with an address to complain to.")
@click.option("--spool", type=LOCAL_FOLDER, help="Where pictures wait for their shard.  [default: the output folder]")
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
    check: bool,
    short_edge: int | None,
    quality: int | None,
    shard_images: int,
    max_bytes: int,
    max_pixels: int,
    placeholders: tuple[Path, ...],
    placeholder_repeats: int,
    connections: int,
    per_host: int,
    per_host_rate: float,
    retries: int,
    connect_timeout: float,
    read_timeout: float,
    total_timeout: float,
    allow_private: bool,
    ignore_opt_out: bool,
    user_agent: str | None,
    spool: Path | None,
    overwrite: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Download the pictures of LISTS into shards; every row ends with one status.

    LISTS are folders of annotation or label tables, Open Images' image tables, or CSV and Parquet files with the
    columns image_id and url (and md5 and size, where they are known). Run the same command again after it was cut: it
    goes on with the shards that are missing. Run it with --retry after it has ended: failed rows are asked again, and
    their shards written anew.

    \b
    Examples:
      mlimages-build images download labels/train --out images/train
      mlimages-build images download train-images-boxable-with-rotation.csv --out images/open-images
      mlimages-build images download urls.csv --short-edge 256 --out images/mine
      mlimages-build images download urls.csv --short-edge 256 --out images/mine --retry failed
    """  # noqa: D301 - click wants the backspace itself
    # Here and not above: pyarrow and aiohttp would cost --help half a second.
    from mlimages_dataset.images.check import Limits  # noqa: PLC0415
    from mlimages_dataset.images.download import Download, chosen_mirrors, download  # noqa: PLC0415
    from mlimages_dataset.images.examination import Placeholder, Rules  # noqa: PLC0415
    from mlimages_dataset.images.fetcher import Manners, Timeouts  # noqa: PLC0415
    from mlimages_dataset.images.politeness import Courtesy  # noqa: PLC0415
    from mlimages_dataset.images.reencode import Shrinking  # noqa: PLC0415
    from mlimages_dataset.sources.http import USER_AGENT  # noqa: PLC0415

    if user_agent is not None and not user_agent.isprintable():
        raise UsageError("--user-agent holds a control character", remedy="give it as one line of text")
    if quality is not None and short_edge is None:
        raise UsageError("--quality goes with --short-edge", remedy="give both, or none to keep the original bytes")
    options = Download(
        mirrors=chosen_mirrors(mirrors, lists),
        rules=Rules(
            limits=Limits(bytes=max_bytes, pixels=max_pixels),
            decode=check,
            placeholders=frozenset(Placeholder.of(path.read_bytes()) for path in placeholders),
            shrinking=None if short_edge is None else Shrinking(short_edge=short_edge, quality=quality or 90),
        ),
        manners=Manners(
            courtesy=Courtesy(requests=per_host, requests_per_second=per_host_rate),
            connections=connections,
            timeouts=Timeouts(connect=connect_timeout, read=read_timeout, total=total_timeout),
            retries=retries,
            max_bytes=max_bytes,
            allow_private=allow_private,
            ignore_opt_out=ignore_opt_out,
            user_agent=user_agent or USER_AGENT,
        ),
        shard_images=shard_images,
        placeholder_repeats=placeholder_repeats,
        workers=workers,
    )
    with _display(quiet=as_json) as report:
        outcome = download(lists, out, options, overwrite=overwrite, retry=retry or "", spool=spool, report=report)
    show(outcome, out, as_json=as_json, lines=_lines)
    for warning in _warnings(outcome.record.summary):
        click.echo(f"warning: {warning}", err=True)
    ctx.exit(1 if outcome.record.summary["images"] and not outcome.record.summary["saved"] else 0)


def _lines(summary: Mapping[str, Json]) -> list[str]:
    statuses, size = summary["statuses"], summary["bytes"]
    assert isinstance(statuses, dict)
    assert isinstance(size, int)
    return [
        *(f"{n:>12,}  {status.replace('_', ' ')}" for status, n in statuses.items()),
        f"{summary['images']:>12,}  asked for in all",
        f"{size / 1e6:>12,.1f}  MB of pictures",
    ]


def _warnings(summary: Mapping[str, Json]) -> Iterator[str]:
    """Yield what a run that ended well should still be told for: nothing saved, or less compared than asked."""
    statuses, rows = summary["statuses"], summary["images"]
    assert isinstance(statuses, dict)
    if not summary["saved"]:
        if not statuses:
            yield "the list has no rows"
        else:
            status = max(statuses, key=lambda one: statuses[one])
            what = f"{statuses[status]:,} of {rows:,} rows are {status.replace('_', ' ')}"
            remedy = _REMEDIES.get(status, "the rows' detail says more; run it again with --retry failed")
            yield f"nothing was saved: {what}; {remedy}"
    if unread := summary.get("unreadable_digests"):
        yield f"{unread:,} rows have an md5 or size that is none; they were not compared, and their detail says so"


@contextlib.contextmanager
def _display(*, quiet: bool) -> Iterator[Report]:
    """Yield what shows a download: a table on a terminal, else a line now and then; nothing where quiet."""
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
    """Shows a line now and then."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LOG_SECONDS

    def __call__(self, snapshot: Snapshot, /) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LOG_SECONDS
            click.echo(str(snapshot), err=True)


def _table(snapshot: Snapshot) -> RenderableType:
    """Return how far a download is, for a terminal."""
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
    hosts = Table("host in trouble", "times", "requests at once", box=None, pad_edge=False)
    for host in snapshot.hosts:
        hosts.add_row(Text(host.name[:60]), f"{host.troubles:,}", str(host.allowed))
    beside = Table.grid(padding=(0, 4))
    beside.add_row(statuses, hosts if snapshot.hosts else "")
    return Group(Text(head), ProgressBar(total=max(1, snapshot.asked), completed=snapshot.done), beside)
